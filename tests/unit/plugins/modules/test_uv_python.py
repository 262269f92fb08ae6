# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module uv_python, from its arguments to its result, with a real uv and real interpreters."""

from __future__ import annotations

import functools
import gzip
import hashlib
import importlib.util
import io
import json
import marshal
import os
import re
import shutil
import subprocess
import sys
import tarfile
import time
import typing as t
from pathlib import Path

import pytest
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.module_utils.python import contents
from ansible_collections.uvnas.cluster.plugins.module_utils.python.record import load_record
from ansible_collections.uvnas.cluster.plugins.module_utils.share.contents import parse
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.modules import uv_python
from ansible_collections.uvnas.cluster.tests.support import acls, shares
from ansible_collections.uvnas.cluster.tests.support.pythons import (
    PREFIX,
    VERSION,
    download_entry,
    imitation,
    key,
    link,
    make_mirror,
    make_share,
    no_uv,
    offer,
    other_versions,
    owner,
    pack_ours,
    relabel,
    serving,
    sha256,
    what_is_in,
    write_tar,
)

COLLECTIONS = str(Path(uv_python.__file__).parents[5])
TAG = sys.implementation.cache_tag
SERIES = VERSION.rpartition(".")[0]
LOWER, HIGHER = other_versions()
# Runs the module in a process of its own, which can be killed.
DRIVER = """
import json, sys
from ansible.module_utils.testing import patch_module_args
from ansible_collections.uvnas.cluster.plugins.modules import uv_python
with patch_module_args(json.loads(sys.argv[1])):
    uv_python.main()
"""
Run = t.Callable[..., dict[str, t.Any]]


@pytest.fixture
def share(tmp_path: Path) -> Path:
    return make_share(tmp_path / "share")


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def run(share: Path, check_mode: bool = False, **args: t.Any) -> dict[str, t.Any]:
        given = {
            "share": str(share),
            "share_name": "nas_a",
            "owner": owner(),
            "compile_bytecode": False,
            "_ansible_check_mode": check_mode,
        }
        with patch_module_args({**given, **args}), pytest.raises(SystemExit) as ended:
            uv_python.main()
        result: dict[str, t.Any] = json.loads(capsys.readouterr().out)
        assert bool(result.get("failed")) == bool(ended.value.code)
        result.pop("invocation", None)
        return result

    return run


def files_of(share: Path) -> dict[str, t.Any]:
    """The list of what is in the interpreter, which must be the one on record."""
    text = (share / "python" / key() / ".uvnas-files.json").read_bytes()
    assert hashlib.sha256(text).hexdigest() == record(share)["interpreters"][key()]["files"]
    found: dict[str, t.Any] = json.loads(text)
    return found


def start(share: Path, *wrapper: str | Path, **args: t.Any) -> subprocess.Popen[str]:
    given = {"share": str(share), "share_name": "nas_a", "owner": owner(), "compile_bytecode": False, **args}
    environment = {**os.environ, "PYTHONPATH": COLLECTIONS, "PYTHONDONTWRITEBYTECODE": "1"}
    cmd = [*wrapper, sys.executable, "-c", DRIVER, json.dumps(given)]
    return subprocess.Popen(cmd, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def names(directory: Path) -> list[str]:
    return sorted(path.name for path in directory.iterdir())


def record(share: Path) -> dict[str, t.Any]:
    data: dict[str, t.Any] = json.loads((share / "locks" / "pythons.json").read_text())
    return data


def ask(share: Path, version: str = VERSION, code: str = "import platform; print(platform.python_version())") -> str:
    """What the interpreter on the share says."""
    program = share / "python" / key(version) / "bin" / f"python{SERIES}"
    return subprocess.check_output([program, "-I", "-B", "-c", code], env={}, text=True).strip()


def leftovers(share: Path) -> list[str]:
    """What is left of what was going on."""
    found = [path for path in share.rglob(".*") if path.name.endswith(".tmp") or path.name.startswith(".tmp")]
    found += [path for path in (share / "python").iterdir() if path.is_symlink()]
    return sorted(str(path.relative_to(share)) for path in [*found, *(share / "python" / ".temp").glob("*")])


@pytest.fixture(scope="module")
def archives(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Archives of the Python of the tests: as it is, and calling itself an older and a newer version."""
    directory = tmp_path_factory.mktemp("archives")
    found = {version: directory / f"cpython-{version}.tar.gz" for version in (VERSION, LOWER, HIGHER)}
    pack_ours(found[VERSION])
    for version in (LOWER, HIGHER):
        relabel(found[VERSION], found[version], version)
    return found


def from_archive(path: Path, version: str = VERSION, name: str = "ours") -> dict[str, str]:
    """An item of site_pythons as the action plugin hands it on, with the archive on this host."""
    return {"name": name, "version": version, "archive": str(path), "sha256": sha256(path)}


# Site-supplied interpreters


def test_from_a_prefix_then_nothing(run: Run, tmp_path: Path) -> None:
    """The prefix may be one that only this user can read, so the share is this user's too."""
    share = tmp_path / "share"
    make_share(share)
    args = {
        "pythons": [SERIES],
        "site_pythons": [{"name": "ours", "version": VERSION, "prefix": PREFIX}],
        "owner": None,
    }
    if os.geteuid() == 0:
        subprocess.check_call(["chown", "-R", "root", share])
    before = what_is_in(share)
    predicted = run(share, **args, check_mode=True)
    assert what_is_in(share) == before
    done = run(share, **args, compile_bytecode=True)
    assert done["changed"]
    assert done["actions"] == [f"install {key()} (ours)", f"{SERIES} is {VERSION}"] == predicted["actions"]
    assert done["diff"] == {"prepared": f"install {key()} (ours)\n{SERIES} is {VERSION}\n"} == predicted["diff"]
    executable = f"{share}/python/{key()}/bin/python{SERIES}"
    digest = done["pythons"][SERIES].pop("digest")
    assert predicted["pythons"][SERIES].pop("digest") is None
    assert (
        done["pythons"]
        == {SERIES: {"key": key(), "version": VERSION, "executable": executable}}
        == predicted["pythons"]
    )
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert ask(share, code="import sys; print(sys.base_prefix)") == f"{share}/python/{key()}"
    assert ask(share, code="import sysconfig; print(sysconfig.get_config_var('LIBDIR'))").startswith(str(share))
    assert list((share / "python" / key()).rglob("*.pyc"))
    assert leftovers(share) == []

    found = record(share)
    assert found["format"] == 1
    assert found["requests"] == {SERIES: key()}
    entry = found["interpreters"][key()]
    assert (entry["version"], entry["digest"], entry["source"], entry["name"]) == (VERSION, digest, "site", "ours")
    assert names(share / "python-archives") == sorted([entry["archive"], "site.json"])

    no_uv(share)
    (share / ".uvnas.mutex").unlink()
    before = what_is_in(share)
    again = run(share, **args)
    assert (again["changed"], again["actions"], again["diff"]) == (False, [], {})
    assert again["pythons"][SERIES]["digest"] == digest
    assert what_is_in(share) == before


def test_nothing_to_do_costs_a_handful_of_file_operations(
    run: Run, share: Path, tmp_path: Path, archives: dict[str, Path]
) -> None:
    args = {"pythons": [SERIES], "site_pythons": [from_archive(archives[v], v, v) for v in (LOWER, HIGHER)]}
    run(share, **args)
    trace = tmp_path / "trace"
    start(share, "strace", "-f", "-y", "-o", trace, **args).communicate()
    lines = [line for line in trace.read_text().splitlines() if f"{share}/" in line and "execve" not in line]
    found = [re.sub(r"^\d+ +(\w+)\(.*", r"\1", line) for line in lines]
    # share.json and the record: open, read, close. Each interpreter: that it is there, and whose it is.
    assert len(found) == 12, lines
    assert not [line for line in trace.read_text().splitlines() if "connect(" in line and "AF_INET" in line]


def test_the_digest_given_for_a_prefix_is_checked(run: Run, share: Path) -> None:
    if os.geteuid() == 0:
        subprocess.check_call(["chown", "-R", "root", share])
    args = {"site_pythons": [{"name": "ours", "version": VERSION, "prefix": PREFIX, "sha256": "0" * 64}], "owner": None}
    failed = run(share, **args)
    said = re.match(r"ours: the Python in \S+ is not the one declared: sha256 is (\w+), should be 0{64}", failed["msg"])
    assert said
    assert names(share / "python-archives") == names(share / "locks") == []
    args["site_pythons"][0]["sha256"] = said[1]
    assert run(share, **args)["changed"]
    assert record(share)["interpreters"][key()]["digest"] == said[1]


def test_an_archive_is_wanted_then_installed(run: Run, share: Path, archives: dict[str, Path]) -> None:
    site = from_archive(archives[VERSION])
    args = {"pythons": [SERIES], "site_pythons": [{**site, "archive": archives[VERSION].name}]}
    before = what_is_in(share)
    for check_mode in (True, False):
        wanted = run(share, **args, check_mode=check_mode)
        assert wanted.pop("archives_wanted") == ["ours"]
    assert what_is_in(share) == before
    predicted = run(share, pythons=[SERIES], site_pythons=[site], check_mode=True)
    assert what_is_in(share) == before
    done = run(share, pythons=[SERIES], site_pythons=[site])
    assert (
        wanted["actions"]
        == predicted["actions"]
        == done["actions"]
        == [f"install {key()} (ours)", f"{SERIES} is {VERSION}"]
    )
    assert done["pythons"][SERIES]["digest"] == site["sha256"]
    assert ask(share) == VERSION
    assert {path.owner() for path in share.rglob("*")} == {owner()}
    assert not [
        path for path in (share / "python").rglob("*") if path.lstat().st_mode & 0o022 and not path.is_symlink()
    ]
    no_uv(share)
    again = run(share, **args)
    assert (again["changed"], "archives_wanted" in again) == (False, False)


def test_the_same_interpreter_has_the_same_digest_on_every_share(
    run: Run, tmp_path: Path, archives: dict[str, Path]
) -> None:
    sites = [from_archive(archives[VERSION])]
    found = [
        run(make_share(tmp_path / name), pythons=[SERIES], site_pythons=sites)["pythons"][SERIES] for name in ("a", "b")
    ]
    assert [python.pop("executable").split("/python/")[0] for python in found] == [
        str(tmp_path / n) for n in ("a", "b")
    ]
    assert found[0] == found[1]


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize(
    ("site", "said"),
    [
        ({"sha256": "0" * 64}, "the checksum of ours: python.tar.gz is wrong: sha256 is"),
        ({"version": "3.12.5"}, "ours: python.tar.gz is Python 3.12.4, but declared as 3.12.5"),
        ({"version": "3.11.4"}, "ours: python.tar.gz is not laid out as an interpreter 3.11"),
    ],
)
def test_an_archive_that_is_not_what_it_is_declared_to_be(
    run: Run, share: Path, tmp_path: Path, site: dict[str, str], said: str, check_mode: bool
) -> None:
    path = tmp_path / "python.tar.gz"
    write_tar(path, imitation("3.12.4"))
    before = what_is_in(share)
    failed = run(share, site_pythons=[{**from_archive(path, "3.12.4"), **site}], check_mode=check_mode)
    assert failed["msg"].startswith(said)
    assert what_is_in(share) == before


@pytest.mark.parametrize(("name", "target"), [("python/../../x", None), ("python/lib/x", "/etc/passwd")])
def test_an_archive_that_reaches_out_of_itself(
    run: Run, share: Path, tmp_path: Path, name: str, target: str | None
) -> None:
    path = tmp_path / "python.tar.gz"
    write_tar(path, imitation("3.12.4"), [link(name, target or "os.py")])
    before = what_is_in(share)
    assert re.search(
        "has a member that leads out of it|absolute symlink",
        run(share, site_pythons=[from_archive(path, "3.12.4")])["msg"],
    )
    assert what_is_in(share) == before


def test_an_archive_that_is_found_wrong_only_when_it_runs(
    run: Run, share: Path, tmp_path: Path, archives: dict[str, Path]
) -> None:
    """It says no version in a header; nothing stays of it, and what was there before does."""
    path = tmp_path / "python.tar.gz"
    relabel(archives[VERSION], path, HIGHER)
    assert run(share, pythons=[SERIES], site_pythons=[from_archive(archives[LOWER], LOWER)])["changed"]
    before = what_is_in(share / "python" / key(LOWER))
    unpacked = tmp_path / "unpacked"
    unpacked.mkdir()
    subprocess.check_call(["tar", "-xzf", path, "-C", unpacked])
    shutil.rmtree(unpacked / "python" / "include")
    subprocess.check_call(["tar", "-czf", path, "-C", unpacked, "python"])
    failed = run(share, pythons=[SERIES], site_pythons=[from_archive(path)])
    assert failed["msg"].startswith(f"what should be {key()} is Python {HIGHER}\n")
    assert what_is_in(share / "python" / key(LOWER)) == before
    assert list(record(share)["interpreters"]) == [key(LOWER)]
    assert list(json.loads((share / "python-archives" / "site.json").read_text())) == [key(LOWER)]
    assert len(names(share / "python-archives")) == 2
    assert leftovers(share) == []


def test_an_interpreter_that_depends_on_where_it_was_built(run: Run, share: Path, tmp_path: Path) -> None:
    """As one whose shared library is found in /opt/python only: it would run here, and nowhere else."""
    source, program = tmp_path / "main.c", tmp_path / "main"
    said = {
        "version": "3.12.4",
        "freethreaded": False,
        "prefix": "/opt/python",
        "missing": [],
        "mapped": [],
        "headers": True,
    }
    text = json.dumps(json.dumps(said))
    source.write_text(f"#include <stdio.h>\nint main(void) {{ puts({text}); return 0; }}\n")
    subprocess.check_call(["cc", "-o", program, source])
    files = {**imitation("3.12.4"), "python/bin/python3.12": program.read_bytes()}
    path = tmp_path / "python.tar.gz"
    write_tar(path, files)
    repacked = tmp_path / "x"
    repacked.mkdir()
    subprocess.check_call(["tar", "-xzf", path, "-C", repacked])
    (repacked / "python" / "bin" / "python3.12").chmod(0o755)
    subprocess.check_call(["tar", "-czf", path, "-C", repacked, "python"])
    failed = run(share, site_pythons=[from_archive(path, "3.12.4")])
    assert failed["msg"].startswith(f"{key('3.12.4')} depends on /opt/python\n")
    assert "Supply the installed Python by its prefix instead." in failed["msg"]
    assert names(share / "python-archives") == ["site.json"]
    assert key("3.12.4") not in names(share / "python")


def test_a_missing_executable_is_healed_from_the_share_itself(run: Run, share: Path, archives: dict[str, Path]) -> None:
    site = from_archive(archives[VERSION])
    run(share, pythons=[SERIES], site_pythons=[site])
    found = record(share)
    shutil.rmtree(share / "python" / key() / "bin")
    for sites in ([{**site, "archive": "not-here.tar.gz"}], []):  # Declared still, or not any more.
        predicted = run(share, pythons=[SERIES], site_pythons=sites, check_mode=True)
        assert predicted["actions"][0].endswith(": its executable was missing")
    healed = run(share, pythons=[SERIES])
    assert healed["actions"] == predicted["actions"] == [f"install {key()}: its executable was missing"]
    assert ask(share) == VERSION
    assert record(share) == found
    shutil.rmtree(share / "python" / key() / "bin")
    (share / "python-archives" / found["interpreters"][key()]["archive"]).unlink()
    failed = run(share, pythons=[SERIES])
    assert "its archive is gone from the share" in failed["msg"]


def test_other_content_replaces_what_nobody_uses(
    run: Run, share: Path, tmp_path: Path, archives: dict[str, Path]
) -> None:
    run(share, pythons=[SERIES], site_pythons=[from_archive(archives[VERSION])])
    path = tmp_path / "again.tar.gz"
    path.write_bytes(gzip.compress(gzip.decompress(archives[VERSION].read_bytes()), 1))
    other = from_archive(path)
    python = {"key": key(), "version": VERSION, "digest": "1" * 64}
    manifest = shares.add_generation(share, "train", "1a2b", python=python) / ".uvnas.json"
    before = what_is_in(share)
    failed = run(share, pythons=[SERIES], site_pythons=[other])
    assert f"{key()} has other content on this share than declared, and is in use by train (1a2b)" in failed["msg"]
    assert what_is_in(share) == before
    manifest.unlink()
    assert run(share, pythons=[SERIES], site_pythons=[other])["actions"] == [f"install {key()} (ours): other content"]
    assert record(share)["interpreters"][key()]["digest"] == other["sha256"]
    assert len(names(share / "python-archives")) == 2
    assert leftovers(share) == []


def test_what_is_in_an_interpreter_is_on_record(run: Run, share: Path, archives: dict[str, Path]) -> None:
    args = {"site_pythons": [from_archive(archives[VERSION])]}
    run(share, **args)
    found, tree = files_of(share), share / "python" / key()
    paths = [path for path in tree.rglob("*") if path.name not in (".uvnas-files.json", ".uvnas-spare")]
    there = {str(path.relative_to(tree)): path for path in paths if path.is_symlink() or path.is_file()}
    assert {**found["files"], **found["links"]}.keys() == there.keys()
    for place, file in found["files"].items():
        assert file == {"sha256": sha256(there[place]), "size": there[place].stat().st_size}
    for place, target in found["links"].items():
        assert os.readlink(there[place]) == target
    runs = [place for place in found["files"] if there[place].stat().st_mode & 0o100]
    assert found["executables"] == sorted(runs)
    assert f"bin/python{SERIES}" in runs
    assert (found["records"], "uncompiled" in found) == ({}, False)
    assert (tree / ".uvnas-spare").read_bytes() == (tree / ".uvnas-files.json").read_bytes()
    # What is installed again is what it was.
    before = (tree / ".uvnas-files.json").read_bytes()
    shutil.rmtree(tree / "bin")
    assert run(share, **args)["changed"]
    assert (tree / ".uvnas-files.json").read_bytes() == before
    assert files_of(share) == found


def test_one_that_an_earlier_version_installed_is_not_on_record(
    run: Run, share: Path, archives: dict[str, Path]
) -> None:
    """As nobody knows whether it still is what it was."""
    args = {"site_pythons": [from_archive(archives[VERSION])]}
    run(share, **args)
    tree, found = share / "python" / key(), record(share)
    subprocess.check_call(["chmod", "u+w", tree])
    (tree / ".uvnas-files.json").unlink()
    subprocess.check_call(["chmod", "u-w", tree])
    del found["interpreters"][key()]["files"]
    (share / "locks" / "pythons.json").write_text(json.dumps(found))
    assert not run(share, **args)["changed"]
    assert run(share, **args, compile_bytecode=True)["changed"]
    assert "files" not in record(share)["interpreters"][key()]
    assert not (tree / ".uvnas-files.json").exists()
    assert not run(share, **args, compile_bytecode=True)["changed"]


def sealed(share: Path, version: str = VERSION) -> bool:
    tree = share / "python" / key(version)
    found = [tree, tree / "bin" / f"python{SERIES}", *(path for path in tree.rglob("*") if path.is_dir())]
    return not [path for path in found if path.stat().st_mode & 0o222]


def test_interpreters_are_sealed_as_check_mode_says(run: Run, share: Path, archives: dict[str, Path]) -> None:
    """Whatever opened them: an earlier release, a run that was killed, a chmod. Those that nobody asks for, too."""
    sites = [from_archive(archives[VERSION]), from_archive(archives[LOWER], LOWER, "old")]
    run(share, site_pythons=sites)
    assert sealed(share)
    assert sealed(share, LOWER)
    for version, mode in ((VERSION, "u+w"), (LOWER, "g+w")):
        subprocess.check_call(["chmod", "-R", mode, share / "python" / key(version)])
    before = what_is_in(share)
    predicted = run(share, site_pythons=sites[:1], check_mode=True)
    assert what_is_in(share) == before
    done = run(share, site_pythons=sites[:1])
    assert sorted(predicted["actions"]) == sorted(done["actions"]) == sorted([f"seal {key()}", f"seal {key(LOWER)}"])
    assert predicted["warnings"] == done["warnings"]
    said = str(done["warnings"])
    assert said.count("others than the share's owner can write to ") == 1
    assert f"{key(LOWER)}: others than the share's owner can write to " in said
    assert sealed(share)
    assert sealed(share, LOWER)
    assert not run(share, site_pythons=sites[:1])["changed"]
    # What the warning says can be done about it.
    hint = re.search(r"then site\.yml: (chmod u\+w \S+ && rm -f [\w./+-]+)", said)
    assert hint
    subprocess.check_call(["/bin/sh", "-c", hint[1]])
    assert run(share, site_pythons=sites)["actions"] == [f"install {key(LOWER)} (old): its executable was missing"]
    assert ask(share, LOWER) == LOWER
    assert leftovers(share) == []


def test_default_acls_from_before_reach_no_interpreter(run: Run, share: Path, archives: dict[str, Path]) -> None:
    """Where uv unpacks, above all."""
    (share / "python" / ".temp").mkdir()
    shutil.chown(share / "python" / ".temp", owner())
    acls.let_a_group_write(share / "python" / ".temp")
    run(share, site_pythons=[from_archive(archives[VERSION])])
    assert acls.acls_in(share / "python") == []


# Bytecode


def library(share: Path, version: str = VERSION) -> Path:
    return share / "python" / key(version) / "lib" / f"python{SERIES}"


def without_bytecode(share: Path, version: str = VERSION) -> list[str]:
    """The sources of an interpreter that have no bytecode, or some that is not what the share has in its store."""
    top = library(share, version)
    stored = {path.stat().st_ino for path in (share / "bytecode").glob("*/*/*.pyc")}
    found = []
    for source in (path for path in top.rglob("*.py") if path.parent.name != "__pycache__"):
        compiled = source.parent / "__pycache__" / f"{source.stem}.{TAG}.pyc"
        if not compiled.exists() or compiled.stat().st_ino not in stored or not loads(compiled):
            found.append(str(source.relative_to(top)))
    return sorted(found)


def loads(compiled: Path) -> bool:
    """Whether Python runs it, whatever is in its source."""
    content = compiled.read_bytes()
    try:
        marshal.loads(content[16:])
    except (EOFError, ValueError, TypeError):
        return False
    return content[:8] == importlib.util.MAGIC_NUMBER + b"\1\0\0\0"


def compiled_anew(share: Path, **args: t.Any) -> int:
    """Run the module; how many sources it says that it compiled."""
    # Nobody but the one who made it looks into the directory for events.
    events = share.parent / f"events-{time.monotonic_ns()}" / "events"
    done = json.loads(start(share, **args, compile_bytecode=True, progress_to=str(events)).communicate()[0])
    assert "failed" not in done, done["msg"]
    said = [json.loads(event) for event in done["progress"]]
    numbers = [re.fullmatch("([0-9]+) modules? of its standard library", event["more"]) for event in said]
    return sum(int(number[1]) for number in numbers if number)


@pytest.fixture(scope="module")
def odd(archives: dict[str, Path]) -> Path:
    """An archive with a package, with a source that does not compile, and with stale bytecode of its own."""
    path = archives[VERSION].parent / "odd.tar.gz"
    more = {
        "broken.py": b"print 'x'",
        "__pycache__/broken.py": b"",
        f"__pycache__/bisect.{TAG}.pyc": b"stale",
        "site-packages/pip/__init__.py": b"def where(): return __file__",
        "failing.py": b"def fail():\n    raise ValueError\n",
    }
    with tarfile.open(archives[VERSION]) as source, tarfile.open(path, "w:gz", compresslevel=1) as target:
        for member in source:
            target.addfile(member, source.extractfile(member) if member.isreg() else None)
        for name, content in more.items():
            info = tarfile.TarInfo(f"python/lib/python{SERIES}/{name}")
            info.size = len(content)
            target.addfile(info, io.BytesIO(content))
    return path


def test_bytecode_is_the_share_s(run: Run, share: Path, odd: Path) -> None:
    args = {"pythons": [SERIES], "site_pythons": [from_archive(odd)]}
    run(share, **args, compile_bytecode=True)
    assert without_bytecode(share) == ["broken.py"]
    assert files_of(share)["uncompiled"] == [f"lib/python{SERIES}/broken.py"]
    assert sealed(share)
    assert {path.stat().st_mode & 0o777 for path in library(share).rglob("*.pyc")} == {0o644}
    assert len(list((share / "bytecode").glob("*/*/*.bad"))) == 1
    # A distribution's Python may look for packages elsewhere.
    packages = f"{library(share)}/site-packages"
    code = f"import bisect, sys; sys.path.append({packages!r}); import pip; print(bisect.bisect([1], 1), pip.where())"
    assert ask(share, code=code) == f"1 {packages}/pip/__init__.py"
    assert not list((share / "cache").glob(".uvnas-*"))
    assert not run(share, **args)["changed"]


def test_the_names_of_files_are_those_of_the_interpreter(run: Run, share: Path, odd: Path) -> None:
    """In tracebacks, for inspect, and for modules that are frozen."""
    run(share, site_pythons=[from_archive(odd)], compile_bytecode=True)
    code = """
import failing, inspect, os, stat, traceback, zipimport
try:
    failing.fail()
except ValueError as error:
    print(traceback.extract_tb(error.__traceback__)[-1])
print(inspect.getsourcefile(stat), inspect.getsource(failing).splitlines()[0], os.path.isabs.__code__.co_filename)
"""
    said = ask(share, code=code).splitlines()
    assert said[0] == f"<FrameSummary file {library(share)}/failing.py, line 2 in fail>"
    assert said[1].startswith(f"{library(share)}/stat.py def fail(): ")
    plain = share.parent / "plain"
    run(make_share(plain), site_pythons=[from_archive(odd)])
    assert ask(plain, code=code) == ask(share, code=code).replace(str(share), str(plain))


def test_a_second_share_copies_it(share: Path, tmp_path: Path, odd: Path) -> None:
    args = {"site_pythons": [from_archive(odd)]}
    other = make_share(tmp_path / "other")
    everything = compiled_anew(share, **args)
    assert everything == len([path for path in library(share).rglob("*.py") if path.parent.name != "__pycache__"])
    earlier = [{"name": "nas_a", "root": str(share)}]
    anew = compiled_anew(other, earlier_shares=earlier, **args)
    # uv writes into some where the interpreter is. What does not compile is tried again.
    paths = [path.relative_to(library(share)) for path in library(share).rglob("*.py")]
    differ = [path for path in paths if (library(share) / path).read_bytes() != (library(other) / path).read_bytes()]
    assert anew == len(differ) + 1 < 5
    assert without_bytecode(other) == ["broken.py"]
    assert ask(other) == VERSION


def test_what_no_interpreter_has_any_more_goes(
    run: Run, share: Path, tmp_path: Path, archives: dict[str, Path]
) -> None:
    sites = [from_archive(archives[LOWER], LOWER, "old"), from_archive(archives[HIGHER], HIGHER, "new")]
    run(share, site_pythons=sites, compile_bytecode=True)
    (kept,) = {path.parents[1] for path in (share / "bytecode").glob("*/*/*.pyc") if is_linked(path, share, HIGHER)}
    # An environment has some of it.
    (generation := tmp_path / "generation").mkdir()
    used = next(path for path in (share / "bytecode").glob("*/*/*.pyc") if path.parents[1] != kept)
    os.link(used, generation / "used.pyc")
    run(share, site_pythons=sites[1:], remove=[LOWER], compile_bytecode=True)
    assert {path.parents[1] for path in (share / "bytecode").glob("*/*/*.pyc") if path != used} == {kept}
    assert used.exists()
    assert without_bytecode(share, HIGHER) == []
    # Another one in its place, too.
    path = tmp_path / "again.tar.gz"
    path.write_bytes(gzip.compress(gzip.decompress(archives[HIGHER].read_bytes()), 1))
    run(share, site_pythons=[from_archive(path, HIGHER, "new")], compile_bytecode=True)
    assert kept not in {path.parents[1] for path in (share / "bytecode").glob("*/*/*.pyc")}
    assert without_bytecode(share, HIGHER) == []


def is_linked(entry: Path, share: Path, version: str) -> bool:
    return entry.stat().st_ino in {path.stat().st_ino for path in library(share, version).rglob("*.pyc")}


def test_what_an_interpreter_had_comes_back_with_it(run: Run, share: Path, tmp_path: Path, odd: Path) -> None:
    """The new one, which runs, has no cache tag, as if it crashed then."""
    run(share, site_pythons=[from_archive(odd)], compile_bytecode=True)
    before = what_is_in(share / "python" / key())
    path = tmp_path / "crashing.tar.gz"
    with tarfile.open(odd) as source, tarfile.open(path, "w:gz", compresslevel=1) as target:
        for member in source:
            target.addfile(member, source.extractfile(member) if member.isreg() else None)
        info = tarfile.TarInfo(f"python/lib/python{SERIES}/encodings/__init__.py")
        content = b"import os, sys\nif '-S' in sys.orig_argv: os.abort()\n"
        content += (library(share) / "encodings" / "__init__.py").read_bytes()
        info.size = len(content)
        target.addfile(info, io.BytesIO(content))
    failed = run(share, site_pythons=[from_archive(path)], compile_bytecode=True)
    assert failed["msg"].startswith(f"{key()}: cannot compile bytecode")
    assert {path: about[0] for path, about in what_is_in(share / "python" / key()).items()} == {
        path: about[0] for path, about in before.items()
    }
    assert without_bytecode(share) == ["broken.py"]
    assert leftovers(share) == []
    assert record(share)["interpreters"][key()]["digest"] == sha256(odd)


def test_bytecode_later(run: Run, share: Path, archives: dict[str, Path]) -> None:
    args = {"pythons": [SERIES], "site_pythons": [from_archive(archives[VERSION])]}
    run(share, **args)
    assert not list((share / "python" / key()).rglob("*.pyc"))
    before = ask(share, code="import os; print(os.stat(os.__file__).st_ino)")
    listed = files_of(share)
    done = run(share, **args, compile_bytecode=True)
    assert done["actions"] == [f"compile the standard library of {key()}"]
    assert without_bytecode(share) == []
    assert files_of(share) == {**listed, "uncompiled": []}
    assert ask(share, code="import os; print(os.stat(os.__file__).st_ino)") == before
    assert sealed(share)
    assert not run(share, **args, compile_bytecode=True)["changed"]
    assert not run(share, **args)["changed"]
    assert leftovers(share) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of two users")
def test_where_root_s_python_wrote_bytecode_it_stays(run: Run, share: Path, odd: Path) -> None:
    args = {"site_pythons": [from_archive(odd)]}
    run(share, **args)
    program = share / "python" / key() / "bin" / f"python{SERIES}"
    subprocess.check_call([program, "-c", "import json"], env={})
    cache = library(share) / "json" / "__pycache__"
    roots = what_is_in(cache)
    assert roots
    assert run(share, **args, compile_bytecode=True)["actions"] == [f"compile the standard library of {key()}"]
    assert what_is_in(cache) == roots
    assert without_bytecode(share) != []
    assert not [name for name in without_bytecode(share) if name.startswith(("sqlite3/", "site-packages/"))]
    assert ask(share, code="import json; print(json.dumps(1))") == "1"
    assert not run(share, **args, compile_bytecode=True)["changed"]


@pytest.mark.parametrize("operation", ["chmod|fchmodat", "execve", "link|linkat", "rename|renameat"])
def test_killed_while_bytecode_is_compiled_later(
    run: Run, share: Path, tmp_path: Path, archives: dict[str, Path], operation: str
) -> None:
    """SIGKILL at some of the steps of unsealing, compiling, linking, sealing."""
    args = {"pythons": [SERIES], "site_pythons": [from_archive(archives[VERSION])]}
    run(share, **args)
    trace = tmp_path / "trace"
    for count in (1, 2, 3, 5, 9, 40):
        found = record(share)
        found["interpreters"][key()]["compiled"] = False
        (share / "locks" / "pythons.json").write_text(json.dumps(found))
        strace = ["strace", "-f", "-o", trace, "-e", f"trace=/^({operation})$"]
        strace += ["-e", f"inject=/^({operation})$:signal=KILL:when={count}"]
        start(share, *strace, **{**args, "compile_bytecode": True}).communicate()
        healed = run(share, **args)
        assert "failed" not in healed, healed["msg"]
        assert sealed(share)
        assert not run(share, **args)["changed"]
    assert "failed" not in run(share, **args, compile_bytecode=True)
    assert without_bytecode(share) == []
    assert leftovers(share) == []


@pytest.mark.parametrize("operation", ["rename|renameat", "fsync|syncfs", "fchmod"])
def test_killed_while_the_list_of_its_files_is_written(
    run: Run, share: Path, tmp_path: Path, archives: dict[str, Path], operation: str
) -> None:
    """Whatever it is then, it is still known what was installed, and the next run puts it right."""
    args = {"site_pythons": [from_archive(archives[VERSION])]}
    path, records = share / "python" / key() / ".uvnas-files.json", share / "locks" / "pythons.json"
    run(share, **args)
    first, installed, trace = path.read_text(), records.read_text(), tmp_path / "trace"
    run(share, **args, compile_bytecode=True)
    done, states = records.read_text(), set()
    for count in range(1, 100):
        path.write_text(first)
        records.write_text(installed)
        strace = ["strace", "-f", "-o", trace, "-e", f"trace=/^({operation})$"]
        strace += ["-e", f"inject=/^({operation})$:signal=KILL:when={count}"]
        start(share, *strace, **{**args, "compile_bytecode": True}).communicate()
        if "killed by SIGKILL" not in trace.read_text():
            break
        interpreter = load_record(Layout(str(share))).interpreters[key()]
        found = contents.read(Layout(str(share)), interpreter)
        assert found is not None
        assert found.files == parse(json.loads(first), "it").files
        states.add((interpreter.compiled, path.read_text() == first))
        assert "failed" not in run(share, **args, compile_bytecode=True)
        assert records.read_text() == done
        assert files_of(share)["uncompiled"] == []
        assert leftovers(share) == []
    # Before the list is written, and between it and the record.
    assert {(False, True), (False, False)} <= states


@pytest.mark.parametrize("moment", ["compiled", "linked"])
def test_what_a_power_cut_has_damaged_is_compiled_again(
    run: Run, share: Path, archives: dict[str, Path], moment: str
) -> None:
    """Of the store, and with it of an interpreter that has links to it. A real power cut: tests/integration."""
    args = {"pythons": [SERIES], "site_pythons": [from_archive(archives[VERSION])]}
    if moment == "compiled":  # Later on; see the next test.
        run(share, **args)
    process, cache = start(share, **{**args, "compile_bytecode": True}), library(share) / "__pycache__"
    while not (any((share / "bytecode").glob("*/*/*.pyc")) if moment == "compiled" else any(cache.glob("*"))):
        assert process.poll() is None, process.communicate()
    process.kill()
    process.communicate()
    (marker,) = (share / "cache").glob(".uvnas-*")
    about, written = json.loads(marker.read_text()), marker.stat()
    marker.write_text(json.dumps({**about, "boot": "earlier"}))
    os.utime(marker, ns=(written.st_atime_ns, written.st_mtime_ns))
    for path in (share / "bytecode").glob("*/*/*.pyc"):
        os.truncate(path, 20)
    healed = run(share, **args, compile_bytecode=True)
    assert "failed" not in healed, healed["msg"]
    assert without_bytecode(share) == []
    assert not marker.exists()
    assert leftovers(share) == []


@pytest.mark.parametrize("compiled", [False, True])
def test_bytecode_is_on_the_disk_before_an_interpreter_in_use_gets_it(
    run: Run, share: Path, tmp_path: Path, archives: dict[str, Path], compiled: bool
) -> None:
    """Python could not even start with one that a power cut has cut short."""
    args = {"pythons": [SERIES], "site_pythons": [from_archive(archives[VERSION])]}
    run(share, **args)
    if compiled:  # By a run that was killed then.
        assert compiled_anew(share, **args)
        found = record(share)
        found["interpreters"][key()]["compiled"] = False
        (share / "locks" / "pythons.json").write_text(json.dumps(found))
        for path in (library(share) / "__pycache__").iterdir():
            path.unlink()
    trace = tmp_path / "trace"
    calls = "/^(syncfs|link|linkat|rename|renameat|renameat2)$"
    start(share, "strace", "-f", "-o", trace, "-e", f"trace={calls}", **args, compile_bytecode=True).communicate()
    lines = trace.read_text().splitlines()
    done = [number for number, line in enumerate(lines) if line.endswith(" = 0")]
    linked = [number for number in done if re.search(r" link(at)?\(.*/python/.*\.pyc", lines[number])]
    written = [number for number, line in enumerate(lines) if re.search(r" rename.*/bytecode/.*\.pyc\"", line)]
    synced = [number for number in done if "syncfs" in lines[number]]
    assert linked  # Far from all of them: strace cuts the lines of processes that work at the same time in two.
    assert bool(written) is not compiled
    assert [number for number in synced if max(written, default=0) < number < linked[0]]


def test_no_room(run: Run, share: Path, archives: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "statvfs", functools.partial(_nearly_full, os.statvfs))
    failed = run(share, site_pythons=[from_archive(archives[VERSION])])
    assert re.match(rf"no space for {re.escape(key())}: it takes about \d+ inodes, 10 are free\n", failed["msg"])
    assert names(share / "python-archives") == names(share / "locks") == []


def _nearly_full(real: t.Callable[[str], os.statvfs_result], path: str) -> os.statvfs_result:
    found = list(real(path))
    found[5], found[7] = 1000, 10  # f_files, f_favail
    return os.statvfs_result([*found, 0])


# Downloads


@pytest.fixture
def mirror(tmp_path: Path, archives: dict[str, Path]) -> Path:
    directory = make_mirror(tmp_path / "mirror", archives)
    offer(directory, LOWER, VERSION)
    return directory


QUICK = {"UV_HTTP_RETRIES": "0", "NO_PROXY": "127.0.0.1"}


def test_downloads_from_a_mirror(run: Run, share: Path, mirror: Path, archives: dict[str, Path]) -> None:
    newest = max(LOWER, VERSION, key=lambda version: int(version.rpartition(".")[2]))
    with serving(mirror) as address:
        args = {
            "pythons": [SERIES, LOWER],
            "mirror": address,
            "downloads_json_url": f"{address}/downloads.json",
            "uv_variables": QUICK,
        }
        before = what_is_in(share)
        predicted = run(share, **args, check_mode=True)
        assert what_is_in(share) == before
        done = run(share, **args)
    assert predicted["actions"] == done["actions"]
    assert done["pythons"][SERIES]["version"] == newest
    assert done["pythons"][SERIES]["digest"] == sha256(archives[newest])
    assert done["pythons"][LOWER]["digest"] == sha256(archives[LOWER])
    assert record(share)["requests"] == {SERIES: key(newest)}
    assert {entry["source"] for entry in record(share)["interpreters"].values()} == {"download"}
    assert ask(share, newest) == newest
    assert leftovers(share) == []
    # The mirror is gone, and so is uv: nobody needs them.
    no_uv(share)
    assert not run(share, **args)["changed"]


def test_the_digest_of_a_download_is_that_of_the_same_archive_elsewhere(
    run: Run, tmp_path: Path, mirror: Path, archives: dict[str, Path]
) -> None:
    """Whether it came over the network, from a directory, or out of python-archives."""
    lists = {"downloads_json_url": str(mirror / "downloads.json"), "uv_variables": QUICK}
    a, b = make_share(tmp_path / "a"), make_share(tmp_path / "b")
    with serving(mirror) as address:
        first = run(a, pythons=[LOWER], mirror=address, **lists)["pythons"][LOWER]["digest"]
    second = run(b, pythons=[LOWER], mirror=f"file://{mirror}", **lists)["pythons"][LOWER]["digest"]
    run(a, remove=[LOWER])
    third = run(a, pythons=[LOWER], offline=True, **lists)["pythons"][LOWER]["digest"]
    assert first == second == third == sha256(archives[LOWER])


def test_a_request_stays_until_an_upgrade(run: Run, share: Path, mirror: Path) -> None:
    args = {"pythons": [SERIES], "mirror": f"file://{mirror}", "downloads_json_url": f"file://{mirror}/downloads.json"}
    offer(mirror, LOWER)
    run(share, **args)
    offer(mirror, LOWER, HIGHER)
    assert not run(share, **args)["changed"]
    assert run(share, **args)["pythons"][SERIES]["version"] == LOWER
    before = what_is_in(share)
    predicted = run(share, **args, upgrade=[SERIES], check_mode=True)
    assert what_is_in(share) == before
    done = run(share, **args, upgrade=[SERIES])
    assert done["actions"] == predicted["actions"] == [f"install {key(HIGHER)}", f"{SERIES} is {LOWER} -> {HIGHER}"]
    assert ask(share, LOWER) == LOWER
    assert ask(share, HIGHER) == HIGHER
    assert not run(share, **args, upgrade=["all"])["changed"]
    assert not run(share, **args)["changed"]


@pytest.mark.parametrize(
    ("pythons", "said"),
    [
        (["3.99"], "Python 3.99 is not available"),
        ([f"{SERIES}.999"], f"Python {SERIES}.999 is not available .*: the newest of {SERIES} are {SERIES}."),
        (["three"], "'three' is not a request for a Python"),
        (["3.12", "pypy3.10"], "'pypy3.10' is not CPython"),
    ],
)
@pytest.mark.parametrize("check_mode", [False, True])
def test_a_python_that_does_not_exist(run: Run, share: Path, pythons: list[str], said: str, check_mode: bool) -> None:
    """The list that is built into uv answers, without any network."""
    before = what_is_in(share)
    assert re.match(said, run(share, pythons=pythons, check_mode=check_mode)["msg"])
    assert what_is_in(share) == before


@pytest.mark.parametrize("how", ["default", "mirror"])
def test_a_host_that_cannot_be_reached(run: Run, share: Path, how: str) -> None:
    nowhere = "http://127.0.0.1:9"
    proxies = dict.fromkeys(("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY"), nowhere)
    if how == "default":
        args: dict[str, t.Any] = {"uv_variables": {"UV_HTTP_RETRIES": "0", "NO_PROXY": "", **proxies}}
    else:
        args = {"mirror": "http://somebody:s3cret@127.0.0.1:9/python", "uv_variables": QUICK}
    failed = run(share, pythons=["3.12"], **args)
    host = "releases.astral.sh" if how == "default" else "127.0.0.1"
    assert re.match(rf"cannot install cpython-3\.12\.\d+-linux-\S+ from {re.escape(host)}\n", failed["msg"])
    assert "use a mirror (uvnas_python_mirror), or an interpreter of your own (uvnas_site_pythons)" in failed["msg"]
    assert "s3cret" not in json.dumps(failed)
    assert names(share / "python-archives") == names(share / "locks") == []
    assert not [name for name in names(share / "python") if not name.startswith(".")]
    assert leftovers(share) == []


def test_a_damaged_download_does_not_stay(run: Run, share: Path, mirror: Path, archives: dict[str, Path]) -> None:
    """uv keeps what it downloaded, damaged or not, and would find it there for ever."""
    path = mirror / "20260101" / f"cpython-{LOWER}+20260101-install_only.tar.gz"
    shutil.copy(archives[VERSION], path)
    args = {"pythons": [LOWER], "mirror": f"file://{mirror}", "downloads_json_url": f"file://{mirror}/downloads.json"}
    failed = run(share, **args)
    assert re.search("hash", failed["msg"], re.IGNORECASE)
    assert names(share / "python-archives") == names(share / "locks") == []
    shutil.copy(archives[LOWER], path)
    assert run(share, **args)["changed"]


def test_a_list_without_checksums_never_mixes_up_archives(
    run: Run, share: Path, tmp_path: Path, archives: dict[str, Path]
) -> None:
    """uv would take the archive of one version, kept under its file name, for that of another."""
    mirror = tmp_path / "mirror"
    entries = {}
    for version in (LOWER, HIGHER):
        path = mirror / version / "python.tar.gz"
        path.parent.mkdir(parents=True)
        shutil.copy(archives[version], path)
        entries[key(version)] = download_entry(version, f"file://{path}", None)
    (mirror / "downloads.json").write_text(json.dumps(entries))
    done = run(share, pythons=[LOWER, HIGHER], downloads_json_url=str(mirror / "downloads.json"))
    assert [done["pythons"][version]["digest"] for version in (LOWER, HIGHER)] == [
        sha256(archives[version]) for version in (LOWER, HIGHER)
    ]
    assert (ask(share, LOWER), ask(share, HIGHER)) == (LOWER, HIGHER)


def test_a_system_python_never_does(run: Run, share: Path, mirror: Path) -> None:
    """This machine has a Python of the version asked for, on PATH even. It is installed anyway."""
    offer(mirror, VERSION)
    environment = {"PATH": f"{PREFIX}/bin:/usr/bin:/bin"}
    args = {
        "mirror": f"file://{mirror}",
        "downloads_json_url": str(mirror / "downloads.json"),
        "uv_variables": environment,
    }
    done = run(share, pythons=[VERSION], **args)
    assert done.get("actions") == [f"install {key()}"], done
    assert ask(share, code="import sys; print(sys.base_prefix)") == f"{share}/python/{key()}"


# What must not happen


def test_links_of_uv_do_not_stay_and_those_of_others_do_not_move(run: Run, share: Path, mirror: Path) -> None:
    args = {"mirror": f"file://{mirror}", "downloads_json_url": str(mirror / "downloads.json")}
    offer(mirror, LOWER, HIGHER)
    run(share, pythons=[LOWER], **args)
    assert leftovers(share) == []
    minor = share / "python" / key().replace(VERSION, SERIES)
    minor.symlink_to(share / "python" / key(LOWER))
    run(share, pythons=[HIGHER], **args)
    assert os.readlink(minor) == str(share / "python" / key(LOWER))
    run(share, remove=[LOWER])
    assert not minor.is_symlink()


def test_a_link_of_uv_that_a_killed_run_left_goes(run: Run, share: Path, archives: dict[str, Path]) -> None:
    """Before the interpreter was noted."""
    args = {"pythons": [VERSION], "site_pythons": [from_archive(archives[VERSION])]}
    run(share, **args)
    (share / "python" / key().replace(VERSION, SERIES)).symlink_to(share / "python" / key(LOWER))
    assert run(share, **args, compile_bytecode=True)["actions"] == [f"compile the standard library of {key()}"]
    assert leftovers(share) == []


def test_removal(run: Run, share: Path, archives: dict[str, Path]) -> None:
    sites = [from_archive(archives[LOWER], LOWER, "old"), from_archive(archives[HIGHER], HIGHER, "new")]
    run(share, pythons=[SERIES], site_pythons=sites)
    assert record(share)["requests"] == {SERIES: key(HIGHER)}
    python = {"key": key(LOWER), "version": LOWER, "digest": "1" * 64}
    manifest = shares.add_generation(share, "legacy", "1a2b", python=python) / ".uvnas.json"
    (share / "generations" / "legacy" / "unfinished").mkdir()
    args = {"pythons": [SERIES], "site_pythons": sites[1:], "remove": [LOWER]}
    before = what_is_in(share)
    for check_mode in (True, False):
        failed = run(share, **args, check_mode=check_mode)
        assert failed["msg"].startswith(f"{key(LOWER)} cannot be removed: legacy (1a2b) uses it\n")
    assert "also requested" in run(share, pythons=[SERIES], remove=[HIGHER])["msg"]
    assert what_is_in(share) == before
    manifest.unlink()
    predicted = run(share, **args, check_mode=True)
    done = run(share, **args)
    assert done["actions"] == predicted["actions"] == [f"remove {key(LOWER)}"]
    assert [name for name in names(share / "python") if not name.startswith(".")] == [key(HIGHER)]
    assert list(record(share)["interpreters"]) == list(
        json.loads((share / "python-archives" / "site.json").read_text())
    )
    assert len(names(share / "python-archives")) == 2
    assert not run(share, **args)["changed"]
    assert leftovers(share) == []


@pytest.mark.skipif(os.geteuid() != 0, reason="needs files of two users")
def test_what_of_an_interpreter_cannot_be_removed_is_hidden(run: Run, share: Path, archives: dict[str, Path]) -> None:
    """Bytecode that root wrote, once in one that is removed, and once in one that is installed anew."""
    sites = [from_archive(archives[LOWER], LOWER, "old"), from_archive(archives[HIGHER], HIGHER, "new")]
    run(share, site_pythons=sites)
    for version in (LOWER, HIGHER):
        cache = share / "python" / key(version) / "lib" / "__pycache__"
        cache.mkdir()
        (cache / "x.pyc").touch()
    predicted = run(share, site_pythons=sites[1:], remove=[LOWER], check_mode=True)
    done = run(share, site_pythons=sites[1:], remove=[LOWER])
    assert done["actions"] == predicted["actions"] == [f"remove {key(LOWER)}"]
    (hidden,) = (share / "python").glob(f".{key(LOWER)}.uvnas-*.tmp")
    said = str(done["warnings"])
    assert f"{key(LOWER)}: {hidden} cannot be removed yet: {hidden}/lib/__pycache__/x.pyc is in a directory of" in said
    assert sorted(path.name for path in hidden.rglob("*")) == ["__pycache__", "lib", "x.pyc"]
    assert not list((share / "python-archives").glob(f"{key(LOWER)}*.tar.gz"))
    # Its executable is gone, so it is installed anew.
    (share / "python" / key(HIGHER) / "bin" / f"python{SERIES}").unlink()
    again = run(share, site_pythons=sites[1:])
    assert again["changed"]
    assert ask(share, HIGHER) == HIGHER
    (other,) = (share / "python").glob(f".{key(HIGHER)}.uvnas-*.tmp")
    assert [f"{path} cannot be removed yet" in str(again["warnings"]) for path in (hidden, other)] == [True, True]
    assert not run(share, site_pythons=sites[1:])["changed"]


@pytest.mark.parametrize("lost", ["record", "share"])
def test_when_the_record_is_lost_everything_is_made_anew(
    run: Run, share: Path, archives: dict[str, Path], lost: str
) -> None:
    args = {"pythons": [SERIES], "site_pythons": [from_archive(archives[VERSION])]}
    run(share, **args)
    if lost == "share":
        (share / "share.json").unlink()
        assert f"{share} is not a share" in run(share, **args)["msg"]
        (share / "locks" / "pythons.json").unlink()
        assert f"{share} is not a share" in run(share, **args)["msg"]
        assert not (share / "locks" / "pythons.json").exists()
        return
    (share / "locks" / "pythons.json").unlink()
    (share / "python" / key() / "lib" / f"python{SERIES}" / "os.py").unlink()
    assert run(share, **args)["changed"]
    assert ask(share) == VERSION
    assert leftovers(share) == []


def test_before_there_is_a_uv(run: Run, tmp_path: Path) -> None:
    share = make_share(tmp_path / "share")
    shutil.rmtree(share)
    for check_mode, exists in ((True, False), (True, True), (False, True)):
        if exists and not share.exists():
            make_share(share)
            (share / "bin" / "uv").unlink()
        found = run(share, pythons=["3.12"], check_mode=check_mode)
        if check_mode:
            assert (found["changed"], found["actions"], found["pythons"]) == (True, ["install a Python 3.12"], {})
        else:
            assert found["msg"].startswith(f"there is no uv on this share: {share}/bin/uv is missing\n")


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"pythons": ["3.12"], "upgrade": ["3.13"]}, "upgrade names '3.13', which is not among the requested Pythons"),
        ({"remove": ["3.12"]}, "'3.12' cannot be removed (Name the exact version, such as 3.12.4)"),
        ({"site_pythons": [{"name": "x", "version": "3.12.4"}]}, "x: exactly one of archive and prefix is required"),
        ({"site_pythons": [{"name": "x", "version": "3.12.4", "perfix": "/usr"}]}, "perfix"),
        ({"site_pythons": [{"name": "x", "prefix": "/usr"}]}, "missing required arguments: version"),
        ({"pyhtons": ["3.12"]}, "pyhtons"),
    ],
)
def test_options_that_cannot_be_meant(run: Run, share: Path, args: dict[str, t.Any], message: str) -> None:
    before = what_is_in(share)
    assert message in run(share, **args)["msg"]
    assert what_is_in(share) == before


@pytest.mark.parametrize(
    ("operation", "times"), [("rename|renameat|renameat2", 3), ("symlink|symlinkat", 1), ("unlink|unlinkat|rmdir", 1)]
)
def test_killed_at_any_step(
    run: Run, share: Path, tmp_path: Path, archives: dict[str, Path], operation: str, times: int
) -> None:
    """SIGKILL at the first, second, … of all operations of a kind, in uv too: the next run heals."""
    sites = [from_archive(archives[VERSION])]
    args = {"pythons": [SERIES], "site_pythons": sites}
    trace = tmp_path / "trace"
    for count in range(1, 100):
        strace = ["strace", "-f", "-o", trace, "-e", f"trace=/^({operation})$"]
        strace += ["-e", f"inject=/^({operation})$:signal=KILL:when={count}"]
        start(share, *strace, **args).communicate()
        if "killed by SIGKILL" not in trace.read_text():
            break
        healed = run(share, **args)
        assert "failed" not in healed, healed["msg"]
        assert ask(share) == VERSION
        assert leftovers(share) == []
        assert record(share)["requests"] == {SERIES: key()}
        assert not run(share, **args)["changed"]
        run(share, remove=[VERSION])
        assert names(share / "python-archives") == ["site.json"]
    assert count > times


def test_killed_while_it_is_installed_anew(run: Run, share: Path, tmp_path: Path, archives: dict[str, Path]) -> None:
    """What is in its place then has its executable, and perhaps nothing else: uv adjusts what it has unpacked."""
    args = {"pythons": [SERIES], "site_pythons": [from_archive(archives[VERSION])]}
    run(share, **args)
    found = record(share)
    shutil.rmtree(share / "python" / key() / "bin")
    begun = f"{share}/python/{key()}/bin/python{SERIES}"
    real = share / "bin" / "uv-real"
    (share / "bin" / "uv").rename(real)
    (share / "bin" / "uv").write_text(f"#!/bin/sh\nmkdir -p {os.path.dirname(begun)}\n>{begun}\nexec sleep 600\n")
    (share / "bin" / "uv").chmod(0o755)
    process = start(share, **args)
    while not os.path.exists(begun):
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    real.rename(share / "bin" / "uv")
    healed = run(share, **args)
    assert healed["actions"] == [f"install {key()} (ours): its installation was not finished"]
    assert (ask(share), record(share)) == (VERSION, found)
    assert not run(share, **args)["changed"]


def test_a_kept_download_that_is_damaged_is_downloaded_again(run: Run, share: Path, mirror: Path) -> None:
    """As one is that was written just before a power cut."""
    args = {"pythons": [LOWER], "mirror": f"file://{mirror}", "downloads_json_url": f"file://{mirror}/downloads.json"}
    run(share, **args)
    (kept,) = (share / "python-archives").glob("*.tar.gz")
    kept.write_bytes(b"")
    shutil.rmtree(share / "python" / key(LOWER) / "bin")
    assert "failed" not in run(share, **args)
    assert ask(share, LOWER) == LOWER


def test_killed_while_uv_unpacks(run: Run, share: Path, archives: dict[str, Path]) -> None:
    """Nobody goes on writing, and nothing of it stays."""
    real = share / "bin" / "uv-real"
    (share / "bin" / "uv").rename(real)
    (share / "bin" / "uv").write_text(
        f"#!/bin/sh\nmkdir -p {share}/python/.temp/half\ntouch {share}/begun\nexec sleep 600\n"
    )
    (share / "bin" / "uv").chmod(0o755)
    args = {"pythons": [SERIES], "site_pythons": [from_archive(archives[VERSION])]}
    process = start(share, **args)
    while not (share / "begun").exists():
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)
    process.kill()
    process.communicate()
    real.rename(share / "bin" / "uv")
    assert run(share, **args)["changed"]
    assert ask(share) == VERSION
    assert leftovers(share) == []
    assert [name for name in names(share / "python") if not name.startswith(".")] == [key()]


def test_two_at_once(share: Path, archives: dict[str, Path]) -> None:
    args = {"pythons": [SERIES], "site_pythons": [from_archive(archives[VERSION])]}
    both = [start(share, **args) for _count in range(2)]
    results = [json.loads(process.communicate()[0]) for process in both]
    assert [result.get("failed", False) for result in results] == [False, False]
    assert ask(share) == VERSION
    assert leftovers(share) == []
