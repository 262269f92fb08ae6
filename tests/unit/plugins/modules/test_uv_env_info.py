# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_env_info, from its arguments to its result, on real files."""

from __future__ import annotations

import datetime
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.host import stamps
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.modules import uv_env_info
from ansible_collections.uvnas.cluster.tests.support import shares
from ansible_collections.uvnas.cluster.tests.support.generated import tree

ID = "0123456789ab"
TRAIN = {"name": "train", "python": "3.12", "requirements": ["numpy"], "imports": ["json"]}


@pytest.fixture
def layout(public: Path, python: Path) -> t.Iterator[Layout]:
    """A share with one environment, which root runs as nobody."""
    with tempfile.TemporaryDirectory(dir=public) as directory:
        os.chmod(directory, 0o755)
        root = shares.make_share(Path(directory) / "uv")
        generation = shares.add_generation(root, "train", ID, imports=TRAIN["imports"])
        (generation / "bin").mkdir()
        (generation / "bin" / "python").symlink_to(python)
        shares.publish(root, "train", ID)
        yield Layout(str(root))


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """Where this host remembers what has run."""
    return tmp_path / "state"


@pytest.fixture
def run(layout: Layout, state: Path, capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    def run(*, check: bool = False, **more: t.Any) -> dict[str, t.Any]:
        where = {"share": layout.root, "share_name": "nas_a", "state_dir": str(state)}
        given = {**where, **more, "_ansible_check_mode": check}
        with patch_module_args(given), pytest.raises(SystemExit) as ended:
            uv_env_info.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == bool(ended.value.code)
        return result

    return run


Run = t.Callable[..., dict[str, t.Any]]


@pytest.mark.parametrize("check", [False, True])
def test_what_is_there(check: bool, run: Run) -> None:
    result = run(check=check, verify=True, environments=[TRAIN, {"name": "old", "state": "absent"}])
    assert (result["changed"], result["share_id"], result["problems"]) == (False, shares.SHARE_ID, [])
    (fact,) = result["environments"]
    assert (fact["name"], fact["id"], "true_size" in fact) == ("train", ID, False)


def test_sizes(run: Run) -> None:
    assert run(sizes=True)["environments"][0]["true_size"]["bytes"] > 0


def test_what_a_share_takes(run: Run, layout: Layout) -> None:
    shares.add_interpreter(Path(layout.root))
    shares.add_generation(Path(layout.root), "train", "aaaaaaaaaaaa")
    os.mkdir(layout.generation("train", "bbbbbbbbbbbb"))
    shares.add_generation(Path(layout.root), "left", "cccccccccccc")
    Path(layout.cache, "file").write_text("12345")
    result = run(sizes=True)
    (train,) = result["environments"]
    states = {fact["id"]: fact["state"] for fact in train["generation_sizes"]}
    assert states == {ID: "in_force", "aaaaaaaaaaaa": "retired", "bbbbbbbbbbbb": "incomplete"}
    assert all(fact["bytes"] > 0 for fact in train["generation_sizes"] if fact["state"] != "incomplete")
    assert [fact["age_seconds"] is None for fact in train["generation_sizes"]] == [False, False, True]
    (left,) = result["unpublished"]
    assert (left["name"], left["removed"], left["generation_sizes"][0]["state"]) == ("left", True, "retired")
    shares.add_lock(Path(layout.root), "left", "")
    assert [fact["removed"] for fact in run(sizes=True)["unpublished"]] == [False]
    assert (result["cache_bytes"], result["filesystem"]["free_bytes"] > 0) == (5, True)
    (interpreter,) = result["interpreters"]
    # It is in the record, and not there.
    assert (interpreter["version"], interpreter["requests"], interpreter["bytes"]) == ("3.12.4", ["3.12"], None)
    assert not {"unpublished", "filesystem", "cache_bytes", "interpreters"} & set(run())


def test_without_details_a_result_stays_small(run: Run) -> None:
    details = {"generations", "packages", "source"}
    assert details < set(run()["environments"][0])
    (fact,) = run(details=False)["environments"]
    assert not details & set(fact)
    assert (fact["name"], fact["package_count"]) == ("train", 1)


def test_what_is_declared_but_cannot_be_used_is_a_failure(run: Run) -> None:
    environments = [{**TRAIN, "imports": ["no_such_module"]}, {**TRAIN, "name": "missing"}]
    result = run(verify=True, environments=environments)
    assert result["failed"]
    assert "environment train: importing no_such_module failed on this host" in result["msg"]
    assert "environment missing is not published on share nas_a" in result["msg"]
    assert len(result["problems"]) == 2
    assert "failed" not in run(environments=environments)


def test_what_is_declared_for_another_share_is_not_missed_here(run: Run) -> None:
    assert run(verify=True, environments=[{**TRAIN, "name": "other", "shares": ["nas_b"]}])["problems"] == []


def test_what_is_incomplete_is_one_problem(run: Run, layout: Layout) -> None:
    os.unlink(layout.manifest("train", ID))
    result = run(verify=True, environments=[TRAIN])
    assert (result["environments"], len(result["problems"])) == ([], 1)


def test_another_filesystem_mounted_here(run: Run) -> None:
    other = "00000000-0000-4000-8000-000000000000"
    result = run(share_id=other)
    assert f"its id is {shares.SHARE_ID}, not {other} as declared" in result["msg"]
    assert "Is another NAS, or a copy of the share, mounted there?" in result["msg"]
    assert "is the share nas_a, not nas_b" in run(share_name="nas_b")["msg"]


def test_no_share(run: Run, layout: Layout) -> None:
    os.unlink(layout.identity)
    assert f"{layout.root} is not a share" in run()["msg"]


def test_a_share_whose_filesystem_is_not_mounted(run: Run, layout: Layout) -> None:
    assert f"nothing is mounted at {layout.root}, the mount of share nas_a" in run(mount=layout.root)["msg"]
    assert not run(mount="/")["problems"]


def test_an_environment_that_cannot_be_meant(run: Run) -> None:
    assert "unknown key colour" in run(verify=True, environments=[{**TRAIN, "colour": "red"}])["msg"]


# What has run before


def tried(run: Run, **more: t.Any) -> list[str]:
    """What was tried in a run that need not try what has run before."""
    result = run(verify=True, **{"verify_again": False, "environments": [TRAIN], **more})
    assert (result["changed"], "__marks" in result) == (False, False)
    found: list[str] = result["tried"]
    return found


def test_what_has_run_is_not_tried_again(run: Run, state: Path) -> None:
    assert [tried(run), tried(run)] == [["train"], []]
    assert [(path.name, path.stat().st_mode & 0o777) for path in (state, *state.iterdir())] == [
        ("state", 0o700),
        (f"{shares.SHARE_ID}.json", 0o600),
    ]
    assert [tried(run, verify_again=True), tried(run)] == [["train"], []]
    assert tried(run, environments=[{**TRAIN, "imports": []}]) == ["train"]


def test_what_was_tried_anyhow_is_remembered(run: Run) -> None:
    run(verify=True, environments=[TRAIN])
    assert tried(run) == []


def test_without_verify_nothing_is_remembered(run: Run, state: Path) -> None:
    assert "tried" not in run(environments=[TRAIN])
    assert not state.exists()


def test_check_mode_remembers_nothing(run: Run, state: Path) -> None:
    assert tried(run, check=True) == ["train"]
    assert not state.exists()
    tried(run)
    before = next(state.iterdir()).read_bytes()
    assert tried(run, check=True) == []
    assert tried(run, check=True, environments=[{**TRAIN, "imports": []}]) == ["train"]
    assert next(state.iterdir()).read_bytes() == before


def test_what_fails_is_tried_every_time(run: Run) -> None:
    failing = {**TRAIN, "imports": ["no_such_module"]}
    for _time in range(2):
        assert tried(run, environments=[failing]) == ["train"]


def test_what_fails_when_it_is_tried_again_is_forgotten(run: Run, layout: Layout) -> None:
    tried(run)
    python = Path(layout.generation("train", ID)) / "bin" / "python"
    target = os.readlink(python)
    python.unlink()
    python.symlink_to("/bin/false")
    assert tried(run) == []
    assert run(verify=True, environments=[TRAIN])["failed"]
    assert tried(run) == ["train"]
    python.unlink()
    python.symlink_to(target)
    assert [tried(run), tried(run)] == [["train"], []]


def test_one_that_fails_keeps_no_other_from_being_remembered(run: Run, layout: Layout, python: Path) -> None:
    generation = shares.add_generation(Path(layout.root), "other", ID)
    (generation / "bin").mkdir()
    (generation / "bin" / "python").symlink_to(python)
    shares.publish(Path(layout.root), "other", ID)
    both = [{**TRAIN, "imports": ["no_such_module"]}, {**TRAIN, "name": "other"}]
    assert [tried(run, environments=both), tried(run, environments=both)] == [["train", "other"], ["train"]]


def test_what_is_not_declared_any_more_is_forgotten(run: Run, state: Path) -> None:
    tried(run)
    assert tried(run, environments=[]) == []
    (file,) = state.iterdir()
    assert json.loads(file.read_text())["environments"] == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", b'{"format": 99}'])
def test_a_damaged_memory_is_none(run: Run, state: Path, content: bytes) -> None:
    tried(run)
    (file,) = state.iterdir()
    file.write_bytes(content)
    assert [tried(run), tried(run)] == [["train"], []]


def test_a_memory_from_the_future_is_none(run: Run, state: Path) -> None:
    tried(run)
    (file,) = state.iterdir()
    data = json.loads(file.read_text())
    later = datetime.datetime.now(datetime.UTC) + datetime.timedelta(hours=1)
    data["environments"]["train"]["time"] = later.isoformat()
    file.write_text(json.dumps(data))
    assert [tried(run), tried(run)] == [["train"], []]


def test_without_a_place_for_it_there_is_no_memory(run: Run, state: Path) -> None:
    state.write_text("a file")
    assert [tried(run), tried(run)] == [["train"], ["train"]]
    assert state.read_text() == "a file"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
@pytest.mark.parametrize("trap", ["owner", "writable", "symlink"])
def test_a_directory_that_others_may_have_made_is_neither_believed_nor_touched(
    run: Run, state: Path, tmp_path: Path, trap: str
) -> None:
    tried(run)
    if trap == "owner":
        os.chown(state, 12345, 12345)
    elif trap == "writable":
        state.chmod(0o777)
    else:
        state.rename(tmp_path / "elsewhere")
        state.symlink_to(tmp_path / "elsewhere")
    before = tree(state)
    assert [tried(run), tried(run, environments=[{**TRAIN, "imports": []}])] == [["train"], ["train"]]
    assert tree(state) == before


# What need not be read again


@pytest.fixture
def aged(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made just now counts as old."""
    monkeypatch.setattr(stamps, "_YOUNG", -1000.0)


def look(run: Run, **more: t.Any) -> dict[str, t.Any]:
    """What the role verify asks for."""
    return run(**{"verify": True, "verify_again": False, "details": False, "environments": [TRAIN], **more})


def facts(result: dict[str, t.Any]) -> list[dict[str, t.Any]]:
    return [{**fact, "age_seconds": None} for fact in result["environments"]]


@pytest.mark.usefixtures("aged")
def test_what_is_known_is_told_as_it_was_read(run: Run, layout: Layout, state: Path) -> None:
    shares.add_generation(Path(layout.root), "old", ID)
    shares.publish(Path(layout.root), "old", ID)
    first, again = look(run), look(run)
    assert [fact["name"] for fact in first["environments"]] == ["old", "train"]
    assert (facts(again), again["tried"], again["share_id"]) == (facts(first), [], shares.SHARE_ID)
    (file,) = state.iterdir()
    assert sorted(json.loads(file.read_text())["read"]) == ["identity", "links", f"old/{ID}", f"train/{ID}"]
    assert facts(look(run, details=True)) == facts(run(environments=[TRAIN]))


@pytest.mark.usefixtures("aged")
def test_an_environment_that_nobody_declares_is_not_looked_at_unless_somebody_asks(run: Run, layout: Layout) -> None:
    shares.add_generation(Path(layout.root), "old", ID)
    shares.publish(Path(layout.root), "old", ID)
    first = look(run)
    os.unlink(layout.manifest("old", ID))
    again = look(run)
    assert (again["problems"], facts(again)) == ([], facts(first))
    problems = [f"environment old: its generation {ID} is not complete\nRun site.yml to rebuild it."]
    for more in ({"details": True}, {"sizes": True}, {"verify_again": True}):
        assert look(run, **more)["problems"] == problems, more
    assert look(run)["problems"] == problems  # By now it is known.
    assert look(run, environments=[TRAIN, {**TRAIN, "name": "old"}])["problems"] == problems


@pytest.mark.usefixtures("aged")
def test_no_memory_hides_what_is_wrong(run: Run, layout: Layout) -> None:
    for _time in range(2):
        assert look(run)["problems"] == []
    manifest = Path(layout.manifest("train", ID))
    manifest.rename(manifest.with_name("aside"))
    assert "is not complete" in look(run)["problems"][0]
    manifest.with_name("aside").rename(manifest)
    assert (look(run)["tried"], look(run)["tried"]) == (["train"], [])
    os.unlink(layout.env("train"))
    assert "is not published" in look(run)["problems"][0]
    shares.publish(Path(layout.root), "train", ID)
    assert (look(run)["tried"], look(run)["tried"]) == (["train"], [])
    os.chmod(layout.generations, 0o777)
    assert f"can write to {layout.generations}," in look(run)["problems"][0]
    os.chmod(layout.generations, 0o755)
    assert look(run)["problems"] == []
    shares.write_json(Path(layout.identity), {"layout": 1, "name": "nas_a", "id": "1" + shares.SHARE_ID[1:]})
    assert look(run)["tried"] == ["train"]
    assert "is another share called nas_a" in look(run, share_id=shares.SHARE_ID)["msg"]


@pytest.mark.usefixtures("aged")
@pytest.mark.parametrize("damage", [{"read": None}, {"read": []}, {"read": {"identity": 1}}, {"root": "/elsewhere"}])
def test_a_damaged_memory_of_what_was_read_is_none(run: Run, state: Path, damage: dict[str, t.Any]) -> None:
    first = look(run)
    (file,) = state.iterdir()
    file.write_text(json.dumps({**json.loads(file.read_text()), **damage}))
    again = look(run)
    assert (facts(again), again["tried"]) == (facts(first), ["train"] if "root" in damage else [])


# Of an environment two directories are opened, and the status of its manifest is looked at, and twice that of the
# generation's directory, which an NFS client has just been told.
FOR_EACH = 5
DRIVER = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.modules import uv_env_info
with patch_module_args(json.loads(sys.argv[1])):
    uv_env_info.main()
"""


@pytest.mark.skipif(shutil.which("strace") is None, reason="needs strace")
def test_each_environment_that_has_run_costs_five_file_operations(
    run: Run, layout: Layout, state: Path, python: Path, tmp_path: Path
) -> None:
    names = [f"env{number}" for number in range(10)]
    for name in names:
        generation = shares.add_generation(Path(layout.root), name, ID, imports=TRAIN["imports"])
        (generation / "bin").mkdir()
        (generation / "bin" / "python").symlink_to(python)
        shares.publish(Path(layout.root), name, ID)
    args = {
        "share": layout.root,
        "share_name": "nas_a",
        "environments": [TRAIN, *({**TRAIN, "name": name} for name in names)],
        "verify": True,
        "verify_again": False,
        "details": False,
        "state_dir": str(state),
    }
    time.sleep(2.1)  # What is younger is not remembered.
    assert run(**args)["tried"] == ["train", *names]
    trace = tmp_path / "trace"
    strace = ["strace", "--follow-forks", "--trace=file,process", "--string-limit=999", f"--output={trace}"]
    done = subprocess.run(
        [*strace, sys.executable, "-c", DRIVER, json.dumps(args)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)["tried"] == []
    names.append("train")
    calls = [call for call in trace.read_text().splitlines() if "execve" not in call]
    # The second one and the third are relative to the first.
    of_env = [call for call in calls if f'"{ID}"' in call or '".uvnas.json"' in call]
    of_env += [call for call in calls if any(f"{layout.root}/" in call and f"/{name}" in call for name in names)]
    assert len(of_env) <= FOR_EACH * len(names), "\n".join(of_env)
    calls = [call for call in calls if f'"{layout.root}' in call]
    of_share = [call for call in calls if call not in of_env]
    assert len(of_share) < 30, "\n".join(of_share)
    # No process but this one.
    assert trace.read_text().count("execve(") == 1
