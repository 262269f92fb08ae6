# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_env_try, from its arguments to its result, on real files."""

from __future__ import annotations

import json
import os
import tempfile
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.modules import uv_env_try
from ansible_collections.uvnas.cluster.tests.support import shares
from ansible_collections.uvnas.cluster.tests.support.generated import tree

ID, IN_FORCE = "0123456789ab", "ba9876543210"
Try = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def layout(public: Path, python: Path) -> t.Iterator[Layout]:
    """A share with two generations; what has to be tried is not in force. Root runs them as nobody."""
    with tempfile.TemporaryDirectory(dir=public) as directory:
        os.chmod(directory, 0o755)
        root = shares.make_share(Path(directory) / "uv")
        for generation_id in (ID, IN_FORCE):
            generation = shares.add_generation(root, "train", generation_id)
            (generation / "bin").mkdir()
            (generation / "bin" / "python").symlink_to(python)
        shares.publish(root, "train", IN_FORCE)
        yield Layout(str(root))


@pytest.fixture
def tried(layout: Layout, capsys: pytest.CaptureFixture[str]) -> Try:
    def tried(**more: t.Any) -> dict[str, t.Any]:
        environment = {"name": "train", "generation": ID, **more}
        given = {"share": layout.root, "share_name": "nas_a", "environments": [environment], "check_timeout": 2}
        with patch_module_args(given), pytest.raises(SystemExit):
            uv_env_try.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        return result

    return tried


def test_what_is_well(layout: Layout, tried: Try) -> None:
    before = tree(Path(layout.root))
    check = f'test "$VIRTUAL_ENV" = {layout.generation("train", ID)} && python -c "import json" && test "$(id -u)" != 0'
    result = tried(imports=["json"], checks=[check])
    assert result["environments"] == [{"name": "train", "id": ID, "problem": None}]
    assert result["changed"] is False
    assert tree(Path(layout.root)) == before


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"imports": ["no_such_module"]}, "importing no_such_module failed on this host"),
        ({"checks": ["echo oh dear >&2; exit 3"]}, "check 'echo oh dear >&2; exit 3' failed on this host:\noh dear"),
        ({"checks": ["exit 3"]}, "check 'exit 3' failed on this host with exit code 3"),
        ({"checks": ["true", "sleep 60"]}, "timed out after 2 s"),
        ({"generation": "ffffffffffff"}, "its generation ffffffffffff is not complete"),
    ],
)
def test_what_is_not_is_said_and_is_no_failure(given: dict[str, t.Any], said: str, tried: Try) -> None:
    result = tried(**given)
    assert not result.get("failed")
    assert said in result["environments"][0]["problem"]


def test_nothing_that_a_check_starts_outlives_it(tried: Try) -> None:
    seconds = str(10_000_000 + os.getpid())
    left = f"setsid sleep {seconds} >/dev/null 2>&1 &"
    assert tried(checks=[left])["environments"][0]["problem"] is None
    names = [path.read_bytes() for path in Path("/proc").glob("[0-9]*/cmdline") if path.exists()]
    assert not [name for name in names if seconds.encode() in name]


def test_a_check_that_kills_what_runs_it_has_failed(tried: Try) -> None:
    assert "killed by SIGKILL" in tried(checks=["kill -9 $PPID"])["environments"][0]["problem"]


@pytest.mark.parametrize("then", ["exit 1", "sleep 60"])
def test_what_is_said_at_length_is_told_in_short(tried: Try, then: str) -> None:
    check = f"seq 1 500000 >&2; echo the end >&2; {then}"
    problem = tried(checks=[check])["environments"][0]["problem"]
    assert problem.startswith(f"environment train: check {check!r}")
    assert problem.endswith("\nthe end")
    assert len(problem) < 10_000
    problem = tried(imports=["no_such_module", *["x" * 100_000] * 5])["environments"][0]["problem"]
    assert len(problem) < 10_000


@pytest.mark.parametrize("then", ["exit 3", "echo no >&2; exit 3", "sleep 60"])
def test_credentials_in_a_check_are_not_told(tried: Try, then: str) -> None:
    result = tried(checks=[f"true https://alice:s3cr3t@mirror/simple; {then}"])
    assert result["environments"][0]["problem"]
    assert "s3cr3t" not in json.dumps(result["environments"])


@pytest.mark.parametrize("given", [{"generation": "../train"}, {"generation": ""}, {"name": "../x"}, {"name": ""}])
def test_a_name_leads_nowhere_else(given: dict[str, str], tried: Try) -> None:
    assert tried(**given)["failed"]
