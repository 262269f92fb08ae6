# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read on the controller, from real files."""

from __future__ import annotations

import json
import os
import re
import shutil
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock import file as locks
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.plan import Kept
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec, Sources, spec_digest
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import SpecError, UvnasError
from ansible_collections.uvnas.cluster.plugins.plugin_utils.declaration import Declaration

PYLOCK = Path(__file__).parent.parent / "module_utils" / "env" / "lock" / "golden" / "pylock.toml"
KEYS = ("requirements", "constraints", "overrides", "build_constraints")
LOCK = "iniconfig==2.1 \\\n    --hash=sha256:" + "2" * 64 + "\n"


@pytest.fixture
def files(tmp_path: Path) -> t.Callable[..., Declaration]:
    """Write files; the declaration that reads them."""

    def files(**texts: str) -> Declaration:
        for name, text in texts.items():
            path = tmp_path / name.replace("__", "/").replace("_", ".")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        return Declaration(str(tmp_path), str(tmp_path / "kept"))

    return files


Files = t.Callable[..., Declaration]


def spec(**fields: t.Any) -> EnvironmentSpec:
    return EnvironmentSpec("analysis", python="3.12", **fields)


def of_file(name: str = "a.txt", **fields: t.Any) -> EnvironmentSpec:
    return spec(requirements_files=(name,), **fields)


def test_what_stands_in_the_inventory(files: Files) -> None:
    given = spec(requirements=("alpha", "beta>=2"), constraints=("beta<3",), overrides=("gamma==1",))
    assert files().sources(given) == Sources(
        requirements=(("requirements.in", "alpha\nbeta>=2\n"),),
        constraints=(("constraints.in", "beta<3\n"),),
        overrides=(("overrides.in", "gamma==1\n"),),
    )


def test_what_stands_in_files(files: Files) -> None:
    here = files(a_txt="# why\nalpha  # because\n\n", c_txt="beta<3\n", o_txt="gamma==1\n")
    given = of_file(requirements=("delta",), constraints_files=("c.txt",), overrides_files=("o.txt",))
    assert here.sources(given) == Sources(
        requirements=(("requirements.in", "delta\n"), ("a.txt", "alpha\n")),
        constraints=(("c.txt", "beta<3\n"),),
        overrides=(("o.txt", "gamma==1\n"),),
    )


def test_what_packages_are_built_with(files: Files) -> None:
    """In the inventory, in files as uv writes them, and in a project."""
    here = files(
        b_txt=f"helper==1.0 \\\n    --hash=sha256:{'1' * 64}\n    # via x\n",
        a_txt="alpha\n",
        l_txt=f"alpha==1 --hash=sha256:{'1' * 64}\n",
        p__pyproject_toml=PROJECT,
        p__uv_lock="version = 1\n",
    )
    builds = (("build-constraints.in", "smith<2\n"), ("b.txt", f"helper==1.0 --hash=sha256:{'1' * 64}\n"))
    fields = {"build_constraints": ("smith<2",), "build_constraints_files": ("b.txt",)}
    assert here.sources(of_file(**fields)).build_constraints == builds
    assert here.sources(spec(lock="l.txt", **fields)).build_constraints == builds
    of_project = ("pyproject.toml.in", f"cmake>4\nsmith==1 --hash=sha256:{'2' * 64}\n")
    assert here.sources(spec(project="p", **fields)).build_constraints == (*builds, of_project)
    assert here.sources(spec(project="p")).build_constraints == (of_project,)


PROJECT = f"""
[project]
name = "p"
version = "1"
[tool.uv]
build-constraint-dependencies = ["cmake>4", {{requirement = "smith==1", hashes = ["sha256:{"2" * 64}"]}}]
"""


@pytest.mark.parametrize(
    "given", ["[1]", '["-r x"]', '["a\\n-r x"]', '[{hashes = ["x"]}]', "1", '["a @ https://me:x@host/a.zip"]']
)
def test_what_a_project_cannot_say_of_it(files: Files, given: str) -> None:
    text = f"[tool.uv]\nbuild-constraint-dependencies = {given}\n"
    with pytest.raises(SpecError, match="pyproject.toml"):
        files(p__pyproject_toml=text, p__uv_lock="version = 1\n").sources(spec(project="p"))


@pytest.mark.parametrize("word", ["-r ", "-r", "--requirement ", "--requirement="])
def test_includes_stand_where_they_are_and_start_at_their_file(word: str, files: Files) -> None:
    here = files(a_txt=f"alpha\n{word}sub/b.txt\ndelta\n", sub__b_txt="-r c.txt\n", sub__c_txt="gamma\n")
    ((name, text),) = here.sources(of_file()).requirements
    assert (name, text.split()) == ("a.txt", ["alpha", "gamma", "delta"])


@pytest.mark.parametrize("word", ["-c ", "-c", "--constraint ", "--constraint="])
def test_constraints_of_a_file(word: str, files: Files) -> None:
    here = files(a_txt="-r sub/b.txt\n", sub__b_txt=f"alpha\n{word}limits.txt\n", sub__limits_txt="alpha<3\n")
    sources = here.sources(of_file(constraints=("beta<2",)))
    assert sources.constraints == (("constraints.in", "beta<2\n"), ("limits.txt", "alpha<3\n"))
    assert [text.split() for _name, text in sources.requirements] == [["alpha"]]


def test_a_file_may_be_included_twice(files: Files) -> None:
    here = files(a_txt="-r b.txt\n-r c.txt\n", b_txt="-r c.txt\n", c_txt="gamma\n")
    assert here.sources(of_file()).requirements[0][1].split() == ["gamma", "gamma"]


@pytest.mark.parametrize(
    "texts",
    [
        {"a_txt": "-r a.txt\n"},
        {"a_txt": "-r b.txt\n", "b_txt": "-r a.txt\n"},
        {"a_txt": "-r sub/b.txt\n", "sub__b_txt": "-r ../a.txt\n"},
    ],
)
def test_circles(texts: dict[str, str], files: Files) -> None:
    with pytest.raises(SpecError, match=r"a\.txt includes itself"):
        files(**texts).sources(of_file())


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("--index-url https://index.example.org/simple", "--index-url cannot be used here; set uvnas_index.default"),
        ("-e .", "-e cannot be used here; local code is not installed; publish"),
        ("gamma>=", "'gamma>=' is not a requirement; a version is missing after >="),
        ("gamma @ ./gamma", "'gamma @ ./gamma' is a local path, which builders may not have"),
    ],
)
@pytest.mark.parametrize("where", [f"{key}_files" for key in KEYS])
def test_what_is_not_a_requirement_is_named_by_file_and_line(
    line: str, said: str, where: str, files: Files, tmp_path: Path
) -> None:
    here = files(a_txt=f"alpha\n{line}\n", fine_txt="alpha\n")
    fields = {"requirements_files": ("fine.txt",), where: ("a.txt",)}
    with pytest.raises(SpecError) as caught:
        here.inputs([spec(**fields)], {})
    assert str(caught.value).startswith(f"environment analysis: {tmp_path}/a.txt:2: {said}")


def test_credentials_have_no_place_in_a_file_and_are_not_repeated(files: Files) -> None:
    with pytest.raises(SpecError, match="contains credentials") as caught:
        files(a_txt="alpha @ https://alice:geheim@example.org/alpha.whl\n").sources(of_file())
    assert "geheim" not in caught.value.explain()


def test_everything_missing_is_reported_at_once(files: Files, tmp_path: Path) -> None:
    specs = [
        EnvironmentSpec("one", python="3.12", requirements_files=("one.txt",)),
        EnvironmentSpec("two", python="3.12", lock="two.txt"),
        EnvironmentSpec("three", python="3.12", project="three"),
        EnvironmentSpec("fine", python="3.12", requirements=("alpha",)),
    ]
    with pytest.raises(SpecError) as caught:
        files().inputs(specs, {})
    said = caught.value.explain()
    assert f"environment one: cannot read {tmp_path}/one.txt: No such file or directory" in said
    assert f"environment two: cannot read {tmp_path}/two.txt" in said
    assert f"environment three: {tmp_path}/three is not a directory with a project" in said
    assert "fine" not in said
    assert len(said.splitlines()) == 3


def test_an_absolute_path_is_one(files: Files, tmp_path: Path) -> None:
    files(a_txt="alpha\n")
    assert Declaration("/nowhere").sources(of_file(str(tmp_path / "a.txt"))).requirements == (("a.txt", "alpha\n"),)


WORKSPACE = '[project]\nname = "ours"\n[tool.uv.workspace]\nmembers = ["packages/*"]\nexclude = ["packages/old"]\n'


def test_a_project_and_the_members_of_its_workspace(files: Files) -> None:
    here = files(
        p__pyproject_toml=WORKSPACE,
        p__uv_lock="version = 1\n",
        p__packages__one__pyproject_toml="[project]\n",
        p__packages__old__pyproject_toml="[project]\n",
        p__packages__notes__README="no member\n",
        p__src__main_py="",
    )
    sources = here.sources(spec(project="p"))
    assert sources.project == (
        ("packages/one/pyproject.toml", "[project]\n"),
        ("pyproject.toml", WORKSPACE),
        ("uv.lock", "version = 1\n"),
    )


def test_a_project_without_a_lock(files: Files) -> None:
    with pytest.raises(SpecError, match=r"cannot read .*/p/uv\.lock"):
        files(p__pyproject_toml="[project]\n").sources(spec(project="p"))


def test_a_project_that_is_not_toml(files: Files) -> None:
    with pytest.raises(SpecError, match=r"pyproject\.toml is not valid TOML"):
        files(p__pyproject_toml="[project\n", p__uv_lock="").sources(spec(project="p"))


def test_a_ready_lock(files: Files) -> None:
    assert files(ready_txt=LOCK).sources(spec(lock="ready.txt")) == Sources(lock=LOCK)


HASHES = f"iniconfig==2.1 --hash=sha256:{'2' * 64}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("iniconfig\n", "/ready.txt is not a lock: 'iniconfig' is not pinned (name==version)"),
        ("iniconfig==2.1\n", "/ready.txt is not a lock: 'iniconfig==2.1' has no --hash"),
        ("", "/ready.txt has no packages; for an environment without any, declare requirements: []"),
        ("# nothing\n\n", "/ready.txt has no packages"),
        (
            "--index-url https://a.example\n",
            "/ready.txt:1: --index-url has no place in a lock; remove the line (pip-comp",
        ),
        (
            "-i https://a.example\n",
            "/ready.txt:1: -i has no place in a lock; remove the line (pip-compile --no-emit-index",
        ),
        (
            "--find-links=/srv\n",
            "/ready.txt:1: --find-links has no place in a lock; remove the line (pip-compile --no-em",
        ),
        (
            "--trusted-host x\n",
            "/ready.txt:1: --trusted-host has no place in a lock; remove the line (pip-compile --no-",
        ),
        (
            "--only-binary :all:\n",
            "/ready.txt:1: --only-binary has no place in a lock; remove the line (pip-compile --n",
        ),
        (
            f"six==1.16.0 \\\n# why\n--hash=sha256:{'1' * 64}\n",
            "/ready.txt:3: --hash has no place in a lock; it belongs to the package before it; end the line before",
        ),
        ("-r other.txt\n", "/ready.txt:1: -r has no place in a lock; a lock is complete in itself"),
        (f"{HASHES}# via x\n-e .\n", "/ready.txt:3: '-e .' is local; export without it: uv export --no-emit-project"),
        ("./libs/x\n", "/ready.txt:1: './libs/x' is local; export without it: uv export --no-emit-project"),
        (
            "x @ git+https://h/x@1\n",
            "/ready.txt:1: 'x @ git+https://h/x@1' comes from version control, which has no hash",
        ),
        ("x @ file:///srv/x.whl --hash=sha256:" + "2" * 64, "/ready.txt:1: 'x @ file:///srv/x.whl' is a local path"),
        ("# uvnas.cluster lock: {}}\n" + HASHES, "/ready.txt is not a lock: its first line is damaged"),
    ],
)
def test_a_ready_lock_that_is_not_one(text: str, said: str, files: Files, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        files(ready_txt=text).inputs([spec(lock="ready.txt")], {})
    assert str(caught.value).startswith(f"environment analysis: {tmp_path}{said}")


def test_a_ready_lock_in_the_standard_format(files: Files, tmp_path: Path) -> None:
    shutil.copy(PYLOCK, tmp_path / "pylock.toml")
    text = files().sources(spec(lock="pylock.toml")).lock
    assert text is not None
    assert locks.parse(text, what="it").versions["iniconfig"] == "2.1.0"


def test_keeping_and_reading_what_is_kept(files: Files, tmp_path: Path) -> None:
    here = files()
    text = locks.render([], environment="analysis", spec_digest="5" * 64, python="3.12")
    assert here.kept("analysis") is None
    assert here.keeps("analysis", text)
    assert here.kept("analysis") is None
    assert [here.keep("analysis", text) for _time in range(2)] == [True, False]
    assert not here.keeps("analysis", text)
    kept = here.kept("analysis")
    assert kept is not None
    assert (kept.text, kept.spec_digest) == (text, "5" * 64)
    assert os.listdir(tmp_path / "kept") == ["analysis.txt"]


def test_nothing_is_kept_where_no_locks_are_kept(tmp_path: Path) -> None:
    here = Declaration(str(tmp_path))
    assert not here.keep("analysis", LOCK)
    assert here.kept("analysis") is None
    assert list(tmp_path.iterdir()) == []


def test_inputs(files: Files) -> None:
    here, given = files(), spec(requirements=("alpha",))
    settings = {"strategy": "unsafe-best-match"}
    found = here.inputs([given], settings)["analysis"]
    assert found.spec_digest == spec_digest(given, here.sources(given), settings)
    assert (found.sources, found.kept, found.want_text) == (here.sources(given), None, True)
    here.keep("analysis", LOCK)
    again = here.inputs([given], settings)["analysis"]
    kept = here.kept("analysis")
    assert kept is not None
    assert (again.kept, again.want_text) == (Kept.of(kept), False)
    assert here.again({"analysis": found}) == {"analysis": again}


HEADER = '# uvnas.cluster lock: {"format": 1, "packages": 2, "spec": "5"}\n'


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "it is empty"),
        ("\n\n", "it is empty"),
        ("# gone\n", "it is empty"),
        ("<<<<<<< HEAD\n", "'<<<<<<< HEAD' is not pinned"),
        ("\0\0\0", "it is not text"),
        (HEADER[:40], "its first line is damaged"),
        (HEADER[:40] + "\n" + LOCK, "its first line is damaged"),
        (HEADER, "it has 0 packages, but its first line says 2"),
        (HEADER + LOCK, "it has 1 packages, but its first line says 2"),
    ],
)
def test_a_kept_lock_that_was_spoilt_is_named(text: str, said: str, files: Files, tmp_path: Path) -> None:
    with pytest.raises(SpecError) as caught:
        files(kept__analysis_txt=text).inputs([spec(requirements=("alpha",))], {})
    problem = str(caught.value)
    assert problem.startswith("environment analysis: ")
    assert f"{tmp_path}/kept/analysis.txt" in problem
    assert said in problem
    if "not text" not in problem:
        assert problem.endswith("Restore it, for example with git, or remove it: the next run recreates it.")


def test_a_kept_lock_of_an_environment_without_packages_is_one(files: Files) -> None:
    here = files()
    here.keep("analysis", locks.render([], environment="analysis", spec_digest="5" * 64, python="3.12"))
    assert here.inputs([spec(requirements=())], {}, check_locks=True)["analysis"].kept


def test_a_kept_lock_is_the_same_whatever_an_editor_or_git_made_of_its_line_ends(files: Files, tmp_path: Path) -> None:
    here = files()
    text = locks.render(locks.parse(LOCK, what="it").packages, environment="a", spec_digest="5" * 64, python="3.12")
    here.keep("analysis", text)
    path = tmp_path / "kept" / "analysis.txt"
    path.write_bytes(b"\xef\xbb\xbf" + text.replace("\n", "\r\n").encode())
    assert not here.keeps("analysis", text)
    assert here.inputs([spec(requirements=("alpha",))], {}, check_locks=True)["analysis"].kept


def test_everything_wrong_is_reported_at_once_a_line_each(files: Files) -> None:
    here = files(a_txt="alpha>=\n-r none.txt\n--pre\n", c_txt="./x\n", locks_txt="-e .\n--pre\n")
    specs = [
        of_file(constraints_files=("c.txt",), overrides=("x @ y",)),
        EnvironmentSpec("two", python="3.12", lock="locks.txt"),
    ]
    with pytest.raises(SpecError) as caught:
        here.inputs(specs, {})
    problems = str(caught.value).split("\n")
    assert len(problems) == 7
    assert all(re.match("environment (analysis|two): .+; .+", line) or "none.txt" in line for line in problems)


def test_a_pipe_among_kept_locks_keeps_nobody_waiting(files: Files, tmp_path: Path) -> None:
    here = files()
    os.makedirs(tmp_path / "kept", exist_ok=True)
    os.mkfifo(tmp_path / "kept" / "analysis.txt")
    with pytest.raises(UvnasError, match=r"kept/analysis\.txt is not a regular file"):
        here.inputs([spec(requirements=("alpha",))], {})


def test_a_kept_lock_that_will_not_be_replaced_is_checked_once(files: Files) -> None:
    """By the filter, before the first task. Whoever runs a converge with nothing to do reads its first line."""
    given = spec(requirements=("alpha",))
    header = json.dumps({"spec": spec_digest(given, files().sources(given), {})})
    here = files(kept__analysis_txt=f"# uvnas.cluster lock: {header}\n<<<<<<< HEAD\n")
    assert here.inputs([given], {})["analysis"].kept
    with pytest.raises(SpecError, match=r"environment analysis: .*kept/analysis\.txt is not a lock"):
        here.inputs([given], {}, check_locks=True)


@pytest.mark.parametrize(("umask", "mode"), [(0o000, 0o664), (0o002, 0o664), (0o022, 0o644), (0o077, 0o600)])
def test_a_kept_lock_is_writable_for_a_group_that_shares_the_checkout_and_never_for_everybody(
    tmp_path: Path, umask: int, mode: int
) -> None:
    before = os.umask(umask)
    try:
        assert Declaration(str(tmp_path), str(tmp_path / "locks")).keep("train", "# nothing\n")
    finally:
        os.umask(before)
    assert (tmp_path / "locks" / "train.txt").stat().st_mode & 0o7777 == mode
