# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_env, from its arguments to its result, on real files. Building is for the integration tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.modules import uv_env
from ansible_collections.uvnas.cluster.tests.support import shares

COLLECTIONS = str(Path(uv_env.__file__).parents[5])
# Runs the module in a process of its own, which can be killed.
DRIVER = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.modules import uv_env
from ansible_collections.uvnas.cluster.tests.support import shares
with patch_module_args(json.loads(sys.argv[1])):
    uv_env.main()
"""
# Stands in for uv: makes what uv makes of an environment with one package.
BUILDING_UV = """\
#!/bin/sh
set -e
case "$*" in
*" venv "*)
    for path; do :; done
    python=$(echo "$*" | sed 's/.* --python \\([^ ]*\\) .*/\\1/')
    mkdir -p "$path/bin" "$path/lib/python3.12/site-packages"
    ln -s "$python" "$path/bin/python"
    echo "home = $(dirname "$python")" >"$path/pyvenv.cfg"
    ;;
*" sync "*)
    python=$(echo "$*" | sed 's/.* --python \\([^ ]*\\) .*/\\1/')
    info=$(dirname "$python")/../lib/python3.12/site-packages/alpha-2.1.dist-info
    mkdir "$info" && echo alpha-2.1.dist-info/RECORD,, > "$info/RECORD"
    ;;
esac
"""
LOCK = "alpha==2.1 \\\n    --hash=sha256:" + "2" * 64 + "\n"
# Of what is locked; and of what goes into the generation, with this lock and with another hash in it.
DIGEST = "d4ff71d6e89ccc386065ff3f0afc887edc8e4c5b2599f60f61b3808895634f05"
ID, NEW = "f45966c2a277", "c28878e18b30"
TRAIN = {"name": "train", "python": "3.12", "requirements": ["alpha"]}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A share where the environment train is locked and built, but not published. Its uv fails."""
    shares.add_interpreter(shares.make_share(tmp_path))
    shares.add_lock(tmp_path, "train", LOCK)
    shares.add_generation(tmp_path, "train", ID, packages={"alpha": "2.1"})
    found = Layout(str(tmp_path))
    Path(found.uv).write_text("#!/bin/sh\necho 'error: no route to the index' >&2\nexit 2\n", encoding="utf-8")
    os.chmod(found.uv, 0o755)
    return found


@pytest.fixture
def run(layout: Layout, capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    def run(*environments: dict[str, t.Any], check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        given = {"share": layout.root, "share_name": "nas_a", "environments": environments or [TRAIN], **more}
        with patch_module_args({**given, "_ansible_check_mode": check}), pytest.raises(SystemExit) as ended:
            uv_env.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == bool(ended.value.code)
        return result

    return run


Run = t.Callable[..., dict[str, t.Any]]


def test_publishing_then_nothing_to_do(run: Run, layout: Layout) -> None:
    predicted, done = run(check=True), run()
    assert os.readlink(layout.env("train")) == f"../generations/train/{ID}"
    assert (predicted["changed"], predicted["diff"]) == (done["changed"], done["diff"])
    (fact,) = done["environments"]
    assert (fact["action"], fact["id"], fact["packages"]) == ("publish", ID, {"alpha": "2.1"})
    again = run()
    assert (again["changed"], again["diff"], again["environments"][0]["action"]) == (False, [], "keep")


@pytest.mark.parametrize("known", [None, {}, {"train": {"digest": DIGEST}}])
def test_what_uv_lock_said_counts(known: dict[str, t.Any] | None, run: Run) -> None:
    result = run(locks=known)
    assert [fact["action"] for fact in result["environments"]] == ["failed" if known == {} else "publish"]


def test_check_mode_writes_nothing(run: Run, layout: Layout) -> None:
    before = sorted(Path(layout.root).rglob("*"))
    assert run(check=True)["changed"]
    assert sorted(Path(layout.root).rglob("*")) == before


def test_removing(run: Run, layout: Layout) -> None:
    run()
    gone = run({"name": "train", "state": "absent"})
    assert (gone["changed"], gone["environments"][0]["action"]) == (True, "remove")
    assert [os.listdir(path) for path in (layout.envs, layout.generations_of("train"))] == [[], [ID]]
    assert not run({"name": "train", "state": "absent"})["changed"]


def test_purge_keeps_what_is_declared_here(run: Run, layout: Layout) -> None:
    run()
    assert not run(TRAIN, purge=True)["changed"]
    elsewhere = {**TRAIN, "shares": ["nas_b"]}
    assert not run(elsewhere)["changed"]
    assert run(elsewhere, purge=True)["changed"]
    assert os.listdir(layout.envs) == []


def test_another_share_is_left_alone(run: Run, layout: Layout) -> None:
    """Another NAS is mounted there, or the inventory is wrong: a purge would remove all that it has."""
    run()
    before = sorted(Path(layout.root).rglob("*"))
    for more in ({"purge": True}, {}):
        result = run({**TRAIN, "name": "other"}, {"name": "train", "state": "absent"}, share_name="nas_b", **more)
        assert f"{layout.root} is the share nas_a, not nas_b" in result["msg"]
    Path(layout.root, "share.json").unlink()
    assert f"{layout.root} is not a share" in run({"name": "train", "state": "absent"})["msg"]
    before.remove(Path(layout.root, "share.json"))
    assert sorted(Path(layout.root).rglob("*")) == before


def test_a_build_that_fails_leaves_what_is_published(run: Run, layout: Layout) -> None:
    run()
    Path(layout.lock("train")).write_text(LOCK.replace("2.1", "2.2"), encoding="utf-8")
    result = run()
    assert result["msg"].startswith("environment train: cannot create a virtual environment\nerror: no route")
    assert (result["changed"], result["environments"][0]["action"]) == (False, "failed")
    assert os.readlink(layout.env("train")) == f"../generations/train/{ID}"
    assert os.listdir(layout.generations_of("train")) == [ID]


@pytest.fixture
def upgrade(run: Run, layout: Layout) -> t.Callable[..., str]:
    """Puts the share back to where an upgrade of train is due, and is ``built`` already or not; its generation."""
    Path(layout.uv).write_text(BUILDING_UV, encoding="utf-8")
    assert run()["changed"]
    shares.add_lock(Path(layout.root), "train", LOCK.replace("2" * 64, "3" * 64))

    def upgrade(*, built: bool) -> str:
        shares.publish(Path(layout.root), "train", ID)
        if not built:
            shutil.rmtree(layout.generation("train", NEW), ignore_errors=True)
        elif not os.path.exists(layout.manifest("train", NEW)):
            assert "failed" not in run()
            return upgrade(built=True)
        return NEW

    return upgrade


@pytest.mark.parametrize(
    ("operation", "times", "built"),
    [
        # In uv, or what stands in for it; and while its processes are made.
        ("mkdir", 2, False),
        ("clone|fork|vfork", 2, False),
        # While the generation is sealed, and between build and publish.
        ("fsync", 3, False),
        ("rename", 2, False),
        # Also after the manifest is written.
        ("chmod|fchmod", 6, False),
        # While it is published.
        ("symlink", 1, True),
        ("rename", 1, True),
        ("fsync", 1, True),
        ("ftruncate|pwrite", 1, True),
    ],
)
def test_killed_at_any_step(
    run: Run,
    layout: Layout,
    upgrade: t.Callable[..., str],
    tmp_path: Path,
    operation: str,
    times: int,
    built: bool,
) -> None:
    """SIGKILL at the first, second, … of all operations of a kind that one process does.

    ``envs/train`` is the old generation or the new one at any time, and the next run heals what is left.
    """
    args = {"share": layout.root, "share_name": "nas_a", "environments": [TRAIN]}
    environment = {**os.environ, "PYTHONPATH": COLLECTIONS, "PYTHONDONTWRITEBYTECODE": "1"}
    trace = tmp_path.parent / f"{tmp_path.name}.trace"
    killed = 0
    while True:
        new = upgrade(built=built)
        targets = {generation: f"../generations/train/{generation}" for generation in (ID, new)}
        cmd = ["strace", "-f", "-o", trace, "-e", f"trace=/^({operation})"]
        cmd += ["-e", f"inject=/^({operation}):signal=KILL:when={killed + 1}"]
        cmd += [sys.executable, "-c", DRIVER, json.dumps(args)]
        subprocess.run(cmd, env=environment, check=False, capture_output=True)
        if "SIGKILL" not in trace.read_text():
            break
        killed += 1
        assert os.readlink(layout.env("train")) in targets.values()
        assert os.path.exists(os.path.join(layout.env("train"), ".uvnas.json"))
        healed = run()
        assert "failed" not in healed, healed
        assert os.readlink(layout.env("train")) == targets[new]
        assert sorted(os.listdir(layout.generations_of("train"))) == sorted(targets)
        assert os.listdir(layout.envs) == ["train"]
        assert not run()["changed"]
    assert killed >= times


def test_what_a_killed_removal_left_goes_with_the_next_change(run: Run, layout: Layout) -> None:
    trash = Path(layout.generations, ".gone.uvnas-0000000000000011.tmp")
    trash.mkdir()
    run()
    assert os.listdir(layout.generations) == ["train"]
