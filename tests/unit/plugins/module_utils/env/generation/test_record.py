# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is taken down of generations, made file by file as uv leaves them."""

from __future__ import annotations

import base64
import hashlib
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import record
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation.record import Recorder
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation.size import seal
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.share.contents import Contents

SITE = "lib/python3.12/site-packages"
COLLECTIONS = str(Path(record.__file__).parents[7])


def hashed(content: str) -> str:
    return "sha256=" + base64.urlsafe_b64encode(hashlib.sha256(content.encode()).digest()).decode().rstrip("=")


class Environment:
    """A virtual environment at a path, without a Python."""

    def __init__(self, path: Path) -> None:
        self.path = path
        (path / SITE).mkdir(parents=True)
        (path / "bin").mkdir()
        (path / "lib64").symlink_to("lib")

    def install(
        self, name: str, files: t.Mapping[str, str], *, more: str = "", hashes: bool = True, version: str = "1.0"
    ) -> None:
        """A package of these files, by path in site-packages; ``more`` are lines of its RECORD."""
        info = f"{name}-{version}.dist-info"
        lines = []
        for file, content in {**files, f"{info}/INSTALLER": "uv"}.items():
            path = self.path / SITE / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(content, encoding="utf-8")
            lines.append(f"{file},{hashed(content)},{len(content.encode())}\n" if hashes else f"{file},,\n")
        (self.path / SITE / info / "RECORD").write_text(f"{''.join(lines)}{more}{info}/RECORD,,\n", encoding="utf-8")

    def recorder(self) -> Recorder:
        return Recorder("train", str(self.path), str(self.path / SITE))

    def contents(self) -> Contents:
        recorder = self.recorder()
        seal(str(self.path), recorder.see)
        return recorder.contents()

    def refusal(self) -> UvnasError:
        with pytest.raises(UvnasError) as caught:
            self.recorder()
        return caught.value


@pytest.fixture
def here(tmp_path: Path) -> Environment:
    return Environment(tmp_path / "nas_a" / "uv" / "train")


@pytest.fixture
def there(tmp_path: Path) -> Environment:
    """On another share, too deep for the first line of a script."""
    return Environment(tmp_path / "nas_b" / ("deep" * 30) / "train")


def test_every_file_is_vouched_for_once(here: Environment) -> None:
    here.install("alpha", {"alpha.py": "1", "alpha/data.txt": "2"})
    texts = {"pyvenv.cfg": "home", "bin/activate": "export", f"{SITE}/pin.pth": "import it", "stray": ""}
    for place, text in texts.items():
        (here.path / place).write_text(text)
    (here.path / "bin" / "python").symlink_to("/mnt/nas-a/uv/python/cpython/bin/python3.12")
    found = here.contents()
    info = here.path / SITE / "alpha-1.0.dist-info" / "RECORD"
    assert {place: fact.sha256 for place, fact in found.records.items()} == {
        f"{SITE}/alpha-1.0.dist-info/RECORD": hashlib.sha256(info.read_bytes()).hexdigest()
    }
    assert {place: (file.sha256, file.size) for place, file in found.files.items()} == {
        place: (hashlib.sha256(text.encode()).hexdigest(), len(text)) for place, text in texts.items()
    }
    assert found.links == {"bin/python": "/mnt/nas-a/uv/python/cpython/bin/python3.12", "lib64": "lib"}


def test_what_the_manifest_itself_tells_of_is_left_out(here: Environment) -> None:
    for name in (".uvnas.json", ".uvnas-lock.txt", ".uvnas-files.json"):
        (here.path / name).write_text("it")
    (here.path / SITE / ".uvnas.json").write_text("not the manifest")
    assert set(here.contents().files) == {f"{SITE}/.uvnas.json"}


def test_bytecode_counts_nowhere_unless_it_is_imported_without_a_source(here: Environment) -> None:
    here.install("alpha", {"alpha.py": "1", "__pycache__/alpha.cpython-312.pyc": "of the wheel"})
    before = here.contents()
    (here.path / SITE / "__pycache__" / "alpha.cpython-312.pyc").write_text("of the compiler")
    (here.path / SITE / "__pycache__" / "other.cpython-312.opt-1.pyc").write_text("")
    assert here.contents() == before
    for place in ("alone.pyc", "__pycache__/cache.nbi"):
        (here.path / SITE / place).write_text("")
    assert set(here.contents().files) == {f"{SITE}/alone.pyc", f"{SITE}/__pycache__/cache.nbi"}


@pytest.mark.parametrize("line", ["alpha.py,,", "alpha.py", "alpha.py,md5=abc,1", "alpha.py,sha256=,1"])
def test_a_record_without_a_hash_vouches_for_nothing(here: Environment, line: str) -> None:
    here.install("alpha", {}, more=f"{line}\n")
    (here.path / SITE / "alpha.py").write_text("1")
    before = here.contents()
    assert set(before.files) == {f"{SITE}/alpha.py"}
    (here.path / SITE / "alpha.py").write_text("2")
    assert here.contents().portable != before.portable


def test_names_are_those_of_the_record_whatever_the_locale(here: Environment, tmp_path: Path) -> None:
    here.install("alpha", {"größe.py": "1"})
    (here.path / "übrig").write_text("")
    code = (
        "import sys; from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import record, size\n"
        "it = record.Recorder('train', sys.argv[1], sys.argv[2]); size.seal(sys.argv[1], it.see)\n"
        "assert list(it.contents().files) == ['\\u00fcbrig'], it.contents().files\n"
    )
    for variables in ({"LC_ALL": "C.UTF-8"}, {"LC_ALL": "POSIX", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}):
        subprocess.run(
            [sys.executable, "-c", code, here.path, here.path / SITE],
            env={"PYTHONPATH": COLLECTIONS, **variables},
            cwd=tmp_path,
            check=True,
        )


def test_what_is_neither_file_nor_directory_nor_symlink_is_not_sealed(here: Environment) -> None:
    os.mkfifo(here.path / SITE / "pipe")
    with pytest.raises(UvnasError, match=f"its build left {SITE}/pipe, which is not a file"):
        here.contents()


# What is equal on every share


SCRIPT = "# -*- coding: utf-8 -*-\nimport sys\nsys.exit(main())\n"


def add_script(environment: Environment, name: str, content: str) -> str:
    """Write a script; its line in a RECORD."""
    (environment.path / "bin" / name).write_text(content)
    return f"../../../bin/{name},{hashed(content)},{len(content)}\n"


def bound(environment: Environment, body: str = SCRIPT) -> str:
    """A script as uv makes it to run from an environment."""
    python = f"{environment.path}/bin/python"
    head = f"#!{python}\n" if len(python) < 127 else f"#!/bin/sh\n'''exec' '{python}' \"$0\" \"$@\"\n' '''\n"
    return head + body


def test_a_package_with_scripts_is_the_same_on_two_shares(here: Environment, there: Environment) -> None:
    for environment in (here, there):
        lines = add_script(environment, "run", bound(environment)) + add_script(environment, "sh", "#!/bin/sh\nls\n")
        lines += add_script(environment, "program", "\x7fELF")
        environment.install("alpha", {"alpha.py": "1"}, more=lines)
    ours, theirs = here.contents(), there.contents()
    assert ours.portable == theirs.portable
    (one,), (other,) = ours.records.values(), theirs.records.values()
    assert (one.portable == other.portable, one.sha256 == other.sha256) == (True, False)
    assert len((here.path / "bin" / "run").read_text().split("\n")) != len(
        (there.path / "bin" / "run").read_text().split("\n")
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda it: it.install("alpha", {"alpha.py": "2"}, more=add_script(it, "run", bound(it))),
        lambda it: it.install("alpha", {"beta.py": "1"}, more=add_script(it, "run", bound(it))),
        lambda it: it.install("alpha", {"alpha.py": "1"}, more=add_script(it, "run", bound(it, SCRIPT + "#\n"))),
        lambda it: it.install("alpha", {"alpha.py": "1"}, more=add_script(it, "other", bound(it))),
        lambda it: it.install("alpha", {"alpha.py": "1"}, more=add_script(it, "run", "#!/usr/bin/python\n" + SCRIPT)),
        lambda it: it.install("alpha", {"alpha.py": "1"}),
    ],
)
def test_another_content_is_another_digest(
    here: Environment, there: Environment, change: t.Callable[[Environment], None]
) -> None:
    here.install("alpha", {"alpha.py": "1"}, more=add_script(here, "run", bound(here)))
    change(there)
    assert here.contents().portable != there.contents().portable


def test_what_the_installer_adds_is_of_no_account(here: Environment, there: Environment) -> None:
    """uv notes when it was, and where the wheel came from."""
    for environment, when in ((here, "now"), (there, "later")):
        notes = {f"alpha-1.0.dist-info/{name}": when for name in ("uv_cache.json", "direct_url.json", "REQUESTED")}
        environment.install("alpha", {"alpha.py": "1", **notes})
    assert here.contents().portable == there.contents().portable
    # A package may call its own files so.
    for environment, when in ((here, "now"), (there, "later")):
        environment.install("alpha", {"alpha/uv_cache.json": when})
    assert here.contents().portable != there.contents().portable


@pytest.mark.parametrize(
    ("content", "body"),
    [
        (b"#!/g/train/bin/python\nit\n", b"it\n"),
        (b"#!/g/train/bin/python3 -E\nit\n", b"it\n"),
        (b"#!/g/train/bin/python", b""),
        (b"#!/g/train/bin/other\nit\n", None),
        (b"#!/g/train2/bin/python\nit\n", None),
        (b"#!/usr/bin/python\nit\n", None),
        (b"#!/bin/sh\n'''exec' '/g x/bin/python' \"$0\" \"$@\"\n' '''\nit\n", b"it\n"),
        (b"#!/bin/sh\n'''exec' '/g'\"'\"'x/bin/python' \"$0\" \"$@\"\n' '''\nit\n' '''\n", b"it\n' '''\n"),
        (b"#!/bin/sh\nexec /g/train/bin/python \"$0\" \"$@\"\n' '''\nit\n", None),
        (b"#!/bin/sh\n'''exec' '/g/train/bin/python' \"$0\" \"$@\"\nit\n", None),
        (b"#!/bin/sh\n", None),
        (b"#!/bin/sh", None),
    ],
)
def test_how_scripts_begin(content: bytes, body: bytes | None) -> None:
    assert record.script_body(content, "/g/train") == body


# Two packages, one path


def test_two_packages_with_different_content_at_one_path_are_an_error(here: Environment) -> None:
    here.install("alpha", {"tests/__init__.py": "A", "tests/util.py": "A", "alpha.py": ""})
    here.install("Beta_Two", {"tests/__init__.py": "B", "tests/util.py": "B", "beta.py": ""})
    error = here.refusal()
    assert str(error) == (
        "environment train: two packages install the same file with different content: "
        f"alpha and beta-two ({SITE}/tests/__init__.py and 1 more)"
    )
    assert "overrides: [\"beta-two ; python_version < '0'\"]" in error.hint


@pytest.mark.parametrize("content", ["", "__path__ = __import__('pkgutil').extend_path(__path__, __name__)\n"])
def test_the_same_content_is_none(here: Environment, content: str) -> None:
    for name in ("alpha", "beta", "gamma"):
        here.install(name, {"common/__init__.py": content, f"common/{name}.py": name})
    assert len(here.contents().records) == 3


def test_it_is_an_error_whoever_won(here: Environment) -> None:
    """What counts are the RECORDs, not what is on the disk."""
    here.install("alpha", {"common.py": "A"})
    here.install("beta", {"common.py": "B"})
    here.install("gamma", {"common.py": "A"})
    assert "alpha and beta" in str(here.refusal())


def test_files_outside_of_site_packages_count(here: Environment) -> None:
    here.install("alpha", {}, more=add_script(here, "run", "1") + f"../../../lib64/x,{hashed('1')},1\n")
    here.install("beta", {}, more=add_script(here, "run", "2") + f"../../x,{hashed('2')},1\n")
    assert str(here.refusal()).endswith("alpha and beta (bin/run and 1 more)")


def test_bytecode_is_no_content(here: Environment) -> None:
    here.install("alpha", {"tests/__init__.py": "", "tests/__pycache__/__init__.cpython-312.pyc": "A"})
    here.install("beta", {"tests/__init__.py": "", "tests/__pycache__/__init__.cpython-312.pyc": "B"})
    here.contents()


@pytest.mark.parametrize("also", [True, False])
def test_what_has_no_hash_may_be_anything(here: Environment, also: bool) -> None:
    here.install("alpha", {"common.py": "A"}, hashes=False)
    here.install("beta", {"common.py": "A"}, hashes=also)
    assert "(or unknown content, as a RECORD has no hash for it): alpha and beta" in str(here.refusal())


def test_many_are_not_all_named(here: Environment) -> None:
    for name in "abcdefg":
        here.install(name, {"LICENSE": name})
    assert str(here.refusal()).endswith(
        f"a and b ({SITE}/LICENSE); a and c ({SITE}/LICENSE); a and d ({SITE}/LICENSE); and 3 more pairs"
    )


@pytest.mark.parametrize("damage", ["absent", 'alpha.py,"' + "x" * 200_000])
def test_a_record_that_cannot_be_read(here: Environment, damage: str) -> None:
    here.install("alpha", {"alpha.py": ""})
    path = here.path / SITE / "alpha-1.0.dist-info" / "RECORD"
    path.write_text(damage)
    if damage == "absent":
        path.unlink()
    error = here.refusal()
    assert str(error).startswith("environment train: the files of alpha are unknown, because its RECORD cannot be read")


def test_a_record_leads_nowhere_else(here: Environment, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("it")
    up = "../" * (len((here.path / SITE).relative_to(tmp_path).parts))
    here.install("alpha", {}, more=f"{up}secret,,\n{tmp_path}/secret,,\n../../../bin/../{up}secret,,\n")
    assert here.contents().files == {}
