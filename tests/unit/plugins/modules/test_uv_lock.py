# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_lock, from its arguments to its result, on real files and with the real uv."""

from __future__ import annotations

import json
import os
import platform
import sys
import typing as t
from pathlib import Path

import pytest
import uv
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.modules import uv_lock
from ansible_collections.uvnas.cluster.tests.support import shares
from ansible_collections.uvnas.cluster.tests.support.wheels import write_small_wheel

VERSION = platform.python_version()
KEY = f"cpython-{VERSION}-linux-{platform.machine()}-gnu"
SPEC = "5" * 64
TRAIN = {"name": "train", "python": VERSION, "requirements": ["alpha"]}
WANTS_ALPHA = {"spec_digest": SPEC, "sources": {"requirements": [["requirements.in", "alpha\n"]]}}
IMPOSSIBLE = {"spec_digest": SPEC, "sources": {"requirements": [["requirements.in", "alpha==9\n"]]}}


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A share with a uv, and the Python of the tests."""
    root = shares.make_share(tmp_path / "share")
    shares.add_interpreter(root, key=KEY, version=VERSION)
    found = Layout(str(root))
    os.symlink(uv.find_uv_bin(), found.uv)
    interpreter = found.interpreter_bin(KEY, VERSION.rpartition(".")[0])
    os.makedirs(os.path.dirname(interpreter))
    os.symlink(sys.executable, interpreter)
    return found


@pytest.fixture
def run(layout: Layout, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> t.Callable[..., dict[str, t.Any]]:
    links = tmp_path / "links"
    for version in ("1.0", "2.0"):
        write_small_wheel(links, "alpha", version)

    def run(
        inputs: dict[str, t.Any], *, check: bool = False, index: dict[str, t.Any] | None = None, **more: t.Any
    ) -> dict[str, t.Any]:
        given = {
            "share": layout.root,
            "share_name": "nas_a",
            "environments": [{**TRAIN, "name": name} for name in inputs],
            "inputs": inputs,
            "index": {"find_links": [str(links)], "offline": True, **(index or {})},
            **more,
            "_ansible_check_mode": check,
        }
        with patch_module_args(given), pytest.raises(SystemExit) as ended:
            uv_lock.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == bool(ended.value.code)
        return result

    return run


Run = t.Callable[..., dict[str, t.Any]]


def what_is_in(root: str) -> list[str]:
    return sorted(str(path) for path in Path(root).rglob("*"))


def test_first_run_second_run(run: Run, layout: Layout) -> None:
    first = run({"train": WANTS_ALPHA})
    fact = first["locks"]["train"]
    assert (first["changed"], fact["action"], fact["packages_changed"]) == (True, "resolve", ["alpha 2.0 (new)"])
    assert Path(layout.lock("train")).read_text(encoding="utf-8") == fact["text"]
    second = run({"train": {"spec_digest": SPEC}})
    assert (second["changed"], second["locks"]["train"]["digest"]) == (False, fact["digest"])


def test_check_mode_predicts_and_leaves_the_share_alone(run: Run, layout: Layout) -> None:
    before = what_is_in(layout.root)
    predicted = run({"train": WANTS_ALPHA}, check=True)
    assert what_is_in(layout.root) == before
    assert predicted == run({"train": WANTS_ALPHA})


def test_texts_that_are_needed_are_asked_for(run: Run, layout: Layout) -> None:
    result = run({"train": {"spec_digest": SPEC}})
    assert (result["changed"], result["needs"], result["locks"]) == (False, ["train"], {})
    assert os.listdir(layout.locks) == ["pythons.json"]


def test_one_that_fails_does_not_stop_the_others(run: Run, layout: Layout) -> None:
    result = run({"bad": IMPOSSIBLE, "train": WANTS_ALPHA})
    assert result["msg"].startswith("1 of 2 environments failed; the others are done\nenvironment bad: ")
    assert "alpha==9" in result["errors"][0]["stderr"]
    assert sorted(os.listdir(layout.locks)) == ["pythons.json", "train.txt"]


def test_what_is_absent_or_elsewhere_is_not_locked(run: Run) -> None:
    environments = [{"name": "old", "state": "absent"}, {**TRAIN, "shares": ["nas_b"]}]
    result = run({}, environments=environments)
    assert (result["changed"], result["locks"]) == (False, {})


def test_credentials_of_an_index_are_not_repeated(run: Run) -> None:
    index = {"default": "https://alice:geheim@index.example.org/simple"}
    assert "geheim" not in json.dumps(run({"bad": IMPOSSIBLE}, index=index))
