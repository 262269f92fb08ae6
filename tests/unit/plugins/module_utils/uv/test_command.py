# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How uv is called: its arguments, and no variables that are not meant to be there."""

from __future__ import annotations

import dataclasses
import os
import typing as t

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import CommandError, SpecError
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.uv import command as uv_module
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Index, Uv

LAYOUT = Layout("/mnt/nas-a/uv")
SECRET = "https://alice:geheim@index.example.org/simple"  # No secret.


@dataclasses.dataclass
class Recorder:
    """Notes what is run."""

    rc: int = 0
    cmd: list[str] = dataclasses.field(default_factory=list)
    variables: dict[str, str] = dataclasses.field(default_factory=dict)
    stdin: str | None = None

    def run(
        self,
        cmd: t.Sequence[str],
        *,
        variables: t.Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        stdin: str | None = None,
    ) -> Completed:
        self.cmd, self.variables, self.stdin = list(cmd), dict(variables or {}), stdin
        return Completed(self.rc, "", "error: it does not work\n" if self.rc else "")


@pytest.fixture(autouse=True)
def _nothing_inherited(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        monkeypatch.delenv(name)


def variables(index: Index = Index(), **extra: str) -> dict[str, str]:  # noqa: B008  # It is frozen.
    return Uv(LAYOUT, Recorder(), index, extra).variables()


def test_uv_works_on_the_share_and_nowhere_else() -> None:
    found = variables()
    assert found["UV_CACHE_DIR"] == "/mnt/nas-a/uv/cache"
    assert found["UV_PYTHON_INSTALL_DIR"] == "/mnt/nas-a/uv/python"
    assert found["UV_PYTHON_CACHE_DIR"] == "/mnt/nas-a/uv/python-archives"
    assert (found["UV_PYTHON_DOWNLOADS"], found["UV_NO_CONFIG"]) == ("never", "1")


def test_what_an_admin_has_set_for_themselves_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "UV_CACHE_DIR",
        "UV_INDEX_URL",
        "UV_INDEX_STRATEGY",
        "UV_LINK_MODE",
        "PYTHONPATH",
        "VIRTUAL_ENV",
        "LD_LIBRARY_PATH",
    ):
        monkeypatch.setenv(name, "/mine")
    assert "/mine" not in variables().values()


def test_the_way_out_to_the_network_does(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"HTTPS_PROXY": "http://proxy:3128", "no_proxy": "localhost", "UV_INDEX_SITE_PASSWORD": "geheim"}
    for name, value in kept.items():
        monkeypatch.setenv(name, value)
    assert variables().items() >= kept.items()
    assert variables(HTTPS_PROXY="http://other:3128")["HTTPS_PROXY"] == "http://other:3128"


def test_index_settings() -> None:
    index = Index(
        "https://a", ("https://b", "https://c"), ("/wheels", "https://d"), True, "unsafe-best-match", True, "cpu"
    )
    expected = {
        "UV_DEFAULT_INDEX": "https://a",
        "UV_INDEX": "https://b https://c",
        "UV_FIND_LINKS": "/wheels,https://d",
        "UV_OFFLINE": "1",
        "UV_INDEX_STRATEGY": "unsafe-best-match",
        "UV_KEYRING_PROVIDER": "subprocess",
        "UV_TORCH_BACKEND": "cpu",
    }
    assert variables(index).items() >= expected.items()
    assert not {*expected, "UV_OFFLINE"} & set(variables())


@pytest.mark.parametrize(("there", "expected"), [(True, "1"), (False, None)])
def test_what_the_host_trusts_is_trusted(
    there: bool, expected: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: t.Any
) -> None:
    bundle = tmp_path / "ca.crt"
    if there:
        bundle.touch()
    monkeypatch.setattr(uv_module, "_CERTIFICATES", (str(bundle),))
    assert variables().get("UV_SYSTEM_CERTS") == expected
    assert variables(UV_SYSTEM_CERTS="0")["UV_SYSTEM_CERTS"] == "0"


def test_credentials_are_in_no_argument_and_in_no_variable() -> None:
    recorder = Recorder()
    Uv(LAYOUT, recorder, Index(SECRET)).run("pip", "compile", variables={"UV_OFFLINE": "1"})
    told = ["--config-file", "/proc/self/fd/0"]
    assert recorder.cmd == ["/mnt/nas-a/uv/bin/uv", "--color", "never", *told, "pip", "compile"]
    assert recorder.variables["UV_OFFLINE"] == "1"
    assert "geheim" not in str(recorder.variables)
    assert recorder.stdin == f'[[index]]\nurl = "{SECRET}"\ndefault = true\n'


def test_what_is_told_for_one_command_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    recorder = Recorder()
    uv = Uv(LAYOUT, recorder, Index("https://a"), {"UV_DEFAULT_INDEX": "https://b"})
    uv.run("pip", "compile")
    assert recorder.stdin == '[[index]]\nurl = "https://b"\ndefault = true\n'
    uv.run("pip", "compile", variables={"UV_DEFAULT_INDEX": "https://c"})
    assert recorder.stdin == '[[index]]\nurl = "https://c"\ndefault = true\n'


def test_nothing_to_hide_needs_no_file() -> None:
    recorder = Recorder()
    Uv(LAYOUT, recorder, Index(strategy="first-index", torch_backend="cpu")).run("pip", "compile")
    assert recorder.cmd == ["/mnt/nas-a/uv/bin/uv", "--color", "never", "pip", "compile"]
    assert recorder.stdin is None


def test_secrets_that_uv_would_pass_on_are_refused() -> None:
    with pytest.raises(SpecError, match="HF_TOKEN, MY_INDEX: every source distribution") as caught:
        Uv(LAYOUT, Recorder(), extra_variables={"HF_TOKEN": "geheim", "MY_INDEX": SECRET, "CUDA_HOME": "/opt/cuda"})
    assert "geheim" not in caught.value.explain()


def test_what_has_python_find_other_modules_is_refused() -> None:
    variables = {"PYTHONPATH": "/opt/modules", "PYTHONUSERBASE": "/home/ada/.local", "PYTHONUTF8": "1"}
    with pytest.raises(SpecError, match="uvnas_uv_variables cannot have PYTHONPATH and PYTHONUSERBASE: builds and"):
        Uv(LAYOUT, Recorder(), extra_variables=variables)
    assert Uv(LAYOUT, Recorder(), extra_variables={"PYTHONUTF8": "1"}).variables()["PYTHONNOUSERSITE"] == "1"


def test_a_failure_says_what_was_meant_and_what_uv_said() -> None:
    with pytest.raises(CommandError) as caught:
        Uv(LAYOUT, Recorder(2)).check("venv", "/somewhere", message="cannot do it", hint="Do this.")
    assert caught.value.explain() == "cannot do it\nerror: it does not work\nDo this."
    assert (caught.value.rc, caught.value.cmd[-1]) == (2, "/somewhere")


def test_a_cache_of_its_own() -> None:
    assert Uv(LAYOUT, Recorder(), cache_dir="/scratch").variables()["UV_CACHE_DIR"] == "/scratch"


@pytest.mark.parametrize(
    ("index", "wrong"),
    [
        (Index(default="https://alice:ge heim@a"), "uvnas_index.default: an address contains white space"),
        (Index(extra=("https://a", "https://alice:ge\theim@b")), "uvnas_index.extra: an address contains white space"),
        (
            Index(find_links=("https://alice:ge,heim@b",)),
            "find_links: an address contains a comma or white space",
        ),
        (
            Index(find_links=("https://alice:ge heim@b",)),
            "find_links: an address contains a comma or white space",
        ),
    ],
)
def test_addresses_that_uv_would_take_apart(index: Index, wrong: str) -> None:
    with pytest.raises(SpecError, match=wrong) as caught:
        Uv(LAYOUT, Recorder(), index)
    assert "heim" not in caught.value.explain()


@pytest.mark.parametrize("place", ["wheels", "./wheels", "corp=simple"])
def test_a_relative_place_is_refused(place: str) -> None:
    """uv would look for it where it reads its settings from."""
    for index in (Index(default=place), Index(extra=(place,)), Index(find_links=(place,))):
        with pytest.raises(SpecError, match="is neither an address nor an absolute path"):
            Uv(LAYOUT, Recorder(), index)
    Uv(LAYOUT, Recorder(), Index(default="corp=https://a/b", extra=("/srv/simple",), find_links=("file:///srv/w",)))


def test_what_others_than_uv_may_know(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smoke tests run what somebody else has written: with no index, no password, and nothing of uv's."""
    monkeypatch.setenv("UV_INDEX_INTERNAL_PASSWORD", "geheim")
    monkeypatch.setenv("NETRC", "/home/alice/.netrc")
    monkeypatch.setenv("HTTPS_PROXY", "http://alice:geheim@proxy.example.org:3128")
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.org:3128")
    extra = {"ALL_PROXY": "alice:geheim@proxy.example.org:3128", "OMP_NUM_THREADS": "1"}
    uv = Uv(LAYOUT, Recorder(), Index(default=SECRET, extra=(SECRET,)), extra)
    known = uv.public_variables()
    assert "geheim" not in str(known)
    assert (
        known.keys() & {"HTTP_PROXY", "OMP_NUM_THREADS", "PATH", "HOME", "LC_ALL", "PYTHONNOUSERSITE"} == known.keys()
    )
    assert len(known) == 6


def test_what_is_pinned_may_come_from_any_index() -> None:
    """But not where there is one only, or where the site says otherwise."""
    extra = ("https://more.example.org/simple",)
    wanted = {"UV_INDEX_STRATEGY": "unsafe-best-match"}
    for index, found in (
        (Index(), {}),
        (Index(default="https://x.example.org/simple"), {}),
        (Index(extra=extra), wanted),
        (Index(extra=extra, strategy="first-index"), {}),
    ):
        assert Uv(LAYOUT, Recorder(), index).pinned_variables() == found
