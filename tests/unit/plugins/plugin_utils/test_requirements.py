# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Files of requirements: what they may hold is what the page *Requirements* says."""

from __future__ import annotations

import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.plugin_utils.foreign import advice
from ansible_collections.uvnas.cluster.plugins.plugin_utils.requirements import Reader, logical_lines, name_of

HASH = f"--hash=sha256:{'1' * 64}"
Read = t.Callable[..., tuple[list[str], list[str]]]


@pytest.fixture
def read(tmp_path: Path) -> Read:
    """Write files and read one of them: its lines, and what is wrong."""

    def read(text: str, key: str = "requirements", **others: str) -> tuple[list[str], list[str]]:
        for name, other in {"a.txt": text, **others}.items():
            (tmp_path / name).write_text(other)
        reader = Reader()
        _name, found = reader.file(str(tmp_path / "a.txt"), key)
        lines = found.splitlines() + [f"-c {line}" for _name, text in reader.constraints for line in text.splitlines()]
        return lines, [problem.replace(f"{tmp_path}/", "") for problem in reader.problems]

    return read


@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("", []),
        ("\n \n# nothing\n", []),
        ("a\nb", [(1, "a"), (2, "b")]),
        ("a # why\n", [(1, "a")]),
        ("a @ https://h/a.whl#sha256=1\n", [(1, "a @ https://h/a.whl#sha256=1")]),
        ("\na==1 \\\n    --hash=x \\\n    --hash=y\nb\n", [(2, "a==1 --hash=x --hash=y"), (5, "b")]),
        ("a\\\n==1\n", [(1, "a==1")]),
        ("a \\", [(1, "a")]),
        ("a \\\n\nb", [(1, "a"), (3, "b")]),
        ("# a \\\nb\n", [(2, "b")]),
        ("a # \\\nb\n", [(1, "a"), (2, "b")]),
        ("a \\\n# b\n--hash=x\n", [(1, "a"), (3, "--hash=x")]),
    ],
)
def test_lines(text: str, lines: list[tuple[int, str]]) -> None:
    """As pip and uv 0.13 read them. Where they differ (a backslash at the end of a comment), uv counts."""
    assert list(logical_lines(text)) == lines


@pytest.mark.parametrize(
    "line",
    [
        "numpy",
        "numpy[x,y]>=2,<3",
        "numpy ~= 2.0 ; python_version < '3.13' and sys_platform == \"linux\"",
        "numpy===2.0",
        "numpy==2.*",
        "torch==2.0+cu118",
        "six (>=1.0)",
        f"six==1.16.0 {HASH}",
        f"six==1.16.0 ; python_version > '3' {HASH} {HASH.replace('=', ' ', 1)}",
        f"six @ https://h/six-1.16.0-py2.py3-none-any.whl {HASH}",
        "six@https://h/six.tar.gz",
        "six[x] @ https://h/six.zip#sha256=1&subdirectory=x ; python_version > '3'",
        "https://h/six-1.16.0.tar.gz",
        "https://h/six.whl?x=1#egg=six",
        "git",
        "git-python>=1",
        "zip",
    ],
)
@pytest.mark.parametrize("key", ["requirements", "constraints", "overrides", "build_constraints"])
def test_what_is_taken(line: str, key: str, read: Read) -> None:
    assert read(f"{line}\n", key) == ([line], [])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("numpy>=", "'numpy>=' is not a requirement; a version is missing after >="),
        ("numpy 2.0", "'numpy 2.0' is not a requirement; did you mean numpy==2.0?"),
        ("numpy=2.0", "'numpy=2.0' is not a requirement; did you mean numpy==2.0? (a single = is conda's)"),
        ("numpy=1.26=py312_0", "'numpy=1.26=py312_0' is not a requirement; did you mean numpy==1.26? (a single = "),
        ("numpy=>2", "'numpy=>2' is not a requirement; did you mean numpy>=2?"),
        ("nump y", "'nump y' is not a requirement; write one such as numpy, "),
        ("numpy>1 <2", "'numpy>1 <2' is not a requirement; write one such as"),
        ("numpy>=2.*", "'numpy>=2.*' is not a requirement; write one such as"),
        ("'numpy'", "\"'numpy'\" is not a requirement; write one such as"),
        ("six; sys_platform == win32", "'six; sys_platform == win32' is not a requirement; its marker cannot be read"),
        ("a\x0cb", "'a\\x0cb' is not a requirement; each is one line"),
        ("a\u2028b", "'a\\u2028b' is not a requirement; each is one line"),
        ("- numpy", "'- numpy' is not a requirement; leave out the dash, this is not YAML"),
        ("-e .", "-e cannot be used here; local code is not installed; publish it to an index, or put a wheel of it w"),
        ("--editable ./x", "--editable cannot be used here; local code is not installed"),
        ("-e git+https://h/r", "'-e git+https://h/r' comes from version control, which has no hash; publish it"),
        ("--pre", "--pre cannot be used here; ask for it in the requirement itself, such as"),
        ("--only-binary :all:", "--only-binary cannot be used here; leave it out: wheels are preferred"),
        ("--no-binary=six", "--no-binary cannot be used here; list packages to build from source in the env"),
        ("-ihttps://h", "-i cannot be used here; set uvnas_index.default"),
        ("--index-url https://h", "--index-url cannot be used here; set uvnas_index.default"),
        ("--extra-index-url=https://h", "--extra-index-url cannot be used here; set uvnas_index.extra"),
        ("-f wheels", "-f cannot be used here; set uvnas_index.find_links"),
        ("--trusted-host h", "--trusted-host cannot be used here; set SSL_CERT_FILE (or UV_INSECURE_HOST) in uvnas_u"),
        ("--require-hashes", "--require-hashes cannot be used here; leave it out: everything in a lock has hashes"),
        ("--use-feature x", "--use-feature cannot be used here; leave it out"),
        ("six --global-option=x", "'six --global-option=x' has the option --global-option, which cannot be used here"),
        (HASH, "--hash cannot be used here; it belongs to the requirement before it; end that line with a backslash"),
        (f"six>=1 {HASH}", "'six>=1' has a hash, so it needs an exact version: name==version --hash=..."),
        (f"six==1.* {HASH}", "'six==1.*' has a hash, so it needs an exact version"),
        ("six==1 --hash=sha256:12", "'sha256:12' is not a hash; write sha256: and 64 hexadecimal digits (or sha384"),
        (f"six==1 --hash=md5:{'1' * 32}", f"'md5:{'1' * 32}' is not a hash; write sha256: and 64"),
        ("a @ git+https://h/r@1", "'a @ git+https://h/r@1' comes from version control, which has no hash; publish it"),
        ("git+file:///r", "'git+file:///r' comes from version control"),
        ("hg+https://h/r", "'hg+https://h/r' comes from version control"),
        ("git@h:o/r.git", "'git@h:o/r.git' comes from version control"),
        ("./vendor/x.whl", "'./vendor/x.whl' is a local path, which builders may not have; publish it to an index, "),
        ("vendor/x.whl", "'vendor/x.whl' is a local path"),
        ("vendor\\x.whl", "'vendor\\\\x.whl' is a local path"),
        ("C:\\x.whl", "'C:\\\\x.whl' is a local path"),
        ("x-1.0.tar.gz", "'x-1.0.tar.gz' is a local path"),
        (".[dev]", "'.[dev]' is a local path"),
        ("~/x", "'~/x' is a local path"),
        ("/srv/x", "'/srv/x' is a local path"),
        ("x @ ./x", "'x @ ./x' is a local path"),
        ("x @ file:///srv/x.whl", "'x @ file:///srv/x.whl' is a local path"),
        ("file:///srv/x.whl", "'file:///srv/x.whl' is a local path"),
        ("x @ file:///croot/x/work", "'x @ file:///croot/x/work' is where conda built it; write x==version instead ("),
        ("x @ ftp://h/x.whl", "'x @ ftp://h/x.whl' has an address that is neither https nor http; publish it"),
        ("https://h/x", "'https://h/x' is not the address of a wheel or a source archive; name such a file"),
        ("x @ https://h/x.whl;m", "'x @ https://h/x.whl;m' is not the address of a wheel or a source archive; put a s"),
        ("${PKG}==1", "'${PKG}==1' names a variable, which is not expanded; write its value (credentials"),
        ("x @ https://u:${T}@h/x.whl", "'x @ https://****@h/x.whl' names a variable, which is not expanded; write i"),
        ("x @ https://u:p@h/x.whl", "'x @ https://****@h/x.whl' contains credentials, which the lock would show to e"),
        ("-r https://h/x.txt", "'https://h/x.txt' is not a file on the controller; download it, and include the file"),
        ("-c https://h/x.txt", "'https://h/x.txt' is not a file on the controller; download it, and include the file"),
        ("-r my file.txt", "'my file.txt' is not one file name; quote a name with spaces: -r \"my file.txt\""),
        ("-r \"my", "'\"my' is not a file name: no closing quotation"),
        ("-r ${X}", "'${X}' names a variable, which is not expanded; write the name out"),
        ("-r", "-r cannot be used here; name files in requirements_files"),
    ],
)  # fmt: skip
def test_what_is_refused(line: str, said: str, read: Read) -> None:
    _lines, problems = read(f"# first\n{line}\n")
    assert len(problems) == 1
    assert problems[0].startswith(f"a.txt:2: {said}")


@pytest.mark.parametrize(
    "word", ['"my file.txt"', "'my file.txt'", "my\\ file.txt", "my' 'file.txt", '"my file.txt" # x']
)
def test_names_of_files_may_be_quoted(word: str, read: Read) -> None:
    assert read(f"-r {word}\n", **{"my file.txt": "six\n"}) == (["six"], [])
    assert read(f"a\n--constraint={word}\n", **{"my file.txt": "six\n"}) == (["a", "-c six"], [])


def test_a_constraints_file_may_include_others(read: Read) -> None:
    more = {"b.txt": "beta<2\n-r c.txt\n", "c.txt": "gamma<3\n"}
    assert read("alpha<1\n-c b.txt\n", "constraints", **more) == (["alpha<1", "beta<2", "gamma<3"], [])
    assert read("-c b.txt\nalpha\n", **more) == (["alpha", "-c beta<2", "-c gamma<3"], [])
    assert read("-r c.txt\n", "overrides", **more) == (["gamma<3"], [])
    said = ["a.txt:1: -c cannot be used here; name it in constraints_files"]
    assert read("-c c.txt\n", "overrides", **more) == ([], said)


def test_a_problem_in_an_included_file_is_reported_where_it_is(read: Read) -> None:
    said = [
        "b.txt:2: 'x y' is not a requirement",
        "a.txt:2: cannot read none.txt: No such file",
        "b.txt:1: a.txt includes",
    ]
    _lines, problems = read("-r b.txt\n-r none.txt\n", **{"b.txt": "-r a.txt\nx y\n"})
    assert len(problems) == 3
    assert all(any(problem.startswith(each) for problem in problems) for each in said)


def test_some_lines_of_a_file_that_is_all_wrong_are_reported(read: Read) -> None:
    _lines, problems = read("this is no file of requirements\n" * 100)
    assert len(problems) == 6
    assert problems[-1] == "a.txt: 95 more lines cannot be used"


def test_what_uv_calls_a_text() -> None:
    """uv would read a .toml, .py or .cfg as something else, and a name with a dash as an option."""
    names = [name_of(f"/x/{name}") for name in ("a.txt", "a.in", "a", "a.py", "a.toml", "--a.txt")]
    assert names == ["a.txt", "a.in", "a.in", "a.py.in", "a.toml.in", "a.txt"]


UV_LOCK = 'version = 1\nrevision = 3\nrequires-python = ">=3.12"\n\n[[package]]\nname = "a"\n'


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("uv.lock", "", "is a lock file of uv; give its directory as project, or export it: uv export"),
        ("x.txt", UV_LOCK, "is a lock file of uv; "),
        (
            "poetry.lock",
            "",
            "is a lock file of Poetry; export it (poetry export -o requirements.txt), and give the result as lock",
        ),
        ("x.txt", "# This file is automatically @generated by Poetry 2.0\n", "is a lock file of Poetry; "),
        ("pdm.lock", "", "is a lock file of PDM; export it (pdm export"),
        (
            "Pipfile",
            "",
            "is a Pipenv file; export it (pipenv requirements --hash > requirements.txt), and give the result as lock",
        ),
        ("Pipfile.lock", "", "is a Pipenv file; "),
        ("x.txt", '{\n    "_meta": {\n', "is a Pipenv file; "),
        (
            "pyproject.toml",
            "",
            "is a project's pyproject.toml; give its directory as project, which needs",
        ),
        ("x.txt", "# x\n[project]\nname = 1\n", "is a project's pyproject.toml; "),
        ("setup.py", "", "is a setuptools file; write its install_requires to a requirements file"),
        ("x.txt", "from setuptools import setup\n", "is a setuptools file; "),
        ("setup.cfg", "", "is a setuptools file; "),
        (
            "environment.yml",
            "",
            "is a conda file; write the packages that are on the index to a requirements file, as name==",
        ),
        ("env.yaml", "", "is a conda file; "),
        ("x.txt", "name: x\nchannels:\n  - defaults\n", "is a conda file; "),
        ("x.txt", "# This file may be used to create an environment using:\n", "is a conda file; "),
        ("x.txt", "@EXPLICIT\n", "is a conda file; "),
        (
            "x.txt",
            "Package    Version\n---------- -------\nsix 1\n",
            "is what `pip list` prints; `pip freeze` writes requ",
        ),
        (
            "x.txt",
            "\n<!DOCTYPE html>\n",
            "is a web page; was it downloaded without logging in? Get the file it",
        ),
        ("x-1.0-py3-none-any.whl", "", "is a wheel; put it where uvnas_index.find_links looks, and name==version here"),
        ("x.txt", "six\n<<<<<<< HEAD\n", "has git merge conflicts in it; resolve them"),
    ],
)
def test_files_of_other_tools(name: str, text: str, said: str) -> None:
    for key in ("requirements", "constraints", "lock"):
        assert (advice(f"/x/{name}", text, key) or "").startswith(said)


def test_a_pylock_is_not_a_requirements_file() -> None:
    for path, text in (("pylock.toml", ""), ("pylock.dev.toml", ""), ("x.txt", 'lock-version = "1.0"\n')):
        assert advice(path, text, "requirements") == "is a pylock.toml; give it as lock"
    assert advice("x.txt", 'lock-version = "1.0"\n', "lock") == "is a pylock.toml; its name must end in .toml"


@pytest.mark.parametrize(
    "text", ["six\n", "", "version>=1\n", "project\n", "name\n", f"# pip-compile\nsix==1 {HASH}\n"]
)
def test_requirements_files_are_not_taken_for_other_files(text: str) -> None:
    for key in ("requirements", "lock"):
        assert advice("/x/requirements.txt", text, key) is None
