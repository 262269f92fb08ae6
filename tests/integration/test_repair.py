# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""verify.yml with uvnas_deep, and repair.yml, on real shares: what is damaged is found, and mended in place.

Each share is a tmpfs, so these tests are run as root. UVNAS_SOAK_DAMAGES and UVNAS_SOAK_SEED make other random damage.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import re
import signal
import subprocess
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.support import transcripts
from ansible_collections.uvnas.cluster.tests.support.damages import (
    ADD,
    BYTE,
    CUT,
    DELETE,
    EDIT,
    EMPTY,
    LINK,
    MODE,
    Damage,
    State,
    do_damage,
    fact,
)
from ansible_collections.uvnas.cluster.tests.support.pythons import VERSION, key, owner
from ansible_collections.uvnas.cluster.tests.support.sites import ROOT, Run, Site, finish, make_site
from ansible_collections.uvnas.cluster.tests.support.soaking import SEED, chance, number, tree_of

DAMAGES = number("UVNAS_SOAK_DAMAGES", 500)
SERIES = VERSION.rpartition(".")[0]
# They overlap. charset-normalizer has a script and extensions.
TRAIN: dict[str, t.Any] = {"name": "train", "requirements": ["six==1.16.0", "idna", "charset-normalizer"]}
PLOT: dict[str, t.Any] = {"name": "plot", "requirements": ["six==1.16.0", "attrs", "markupsafe"]}
LAB: dict[str, t.Any] = {"name": "lab", "requirements": ["idna", "markupsafe"]}
ENVS = (TRAIN, PLOT, LAB)
IMPORTS = {"train": "six, idna, charset_normalizer.md", "plot": "six, attr, markupsafe._speedups", "lab": "idna"}
# No index can be reached.
NOWHERE = "http://127.0.0.1:9"
CUT_OFF = {"uvnas_uv_variables": {"HTTPS_PROXY": NOWHERE, "HTTP_PROXY": NOWHERE, "UV_HTTP_RETRIES": "0"}}
REMOVE = {"uvnas_repair_remove": True}
# What trees of these kinds are called is a path below this.
INSIDE = {"generation": "generations/", "interpreter": "python/", "uv": "lib/uv/"}
# What a check says that cannot know yet.
UNSURE = {
    "only the index, or an archive, may have it: a check does not ask",
    "what tells can be read once it has its mode, which a check does not set",
    "what should be in it is known once its list is repaired, which a check does not do",
}
# Damages of one tree that a report names.
NAMED = 100
# Imports a module for each line, and says which file that is.
JOB = """
import sys, charset_normalizer.md
print("ready", flush=True)
for line in sys.stdin:
    __import__(name := line.strip())
    print(sys.modules[name].__file__, flush=True)
"""


class Damaged(t.NamedTuple):
    """What a report says of something in a share."""

    path: str
    what: str


@dataclasses.dataclass(frozen=True)
class Pair:
    """A site with the shares nas_a and nas_b."""

    site: Site
    a: Path
    b: Path

    def start(
        self, playbook: str, *options: str, both: bool = False, envs: t.Sequence[t.Any] = ENVS, **variables: t.Any
    ) -> subprocess.Popen[str]:
        """Start a playbook on nas_a, or on both shares."""
        shares = self.site.variables["uvnas_shares"]
        given = {"uvnas_shares": shares if both else shares[:1], "uvnas_report_file": str(self.report), **variables}
        return self.site.start(envs, *options, playbook=ROOT / "playbooks" / f"{playbook}.yml", **given)

    def run(self, playbook: str, *options: str, **more: t.Any) -> Run:
        return finish(self.start(playbook, *options, **more))

    def verify(self, *options: str, **more: t.Any) -> Run:
        return self.run("verify", "-e", "uvnas_deep=true", *options, **more)

    def repair(self, *options: str, **more: t.Any) -> Run:
        return self.run("repair", *options, **more)

    @property
    def report(self) -> Path:
        return self.site.path / "report.json"

    def told(self, share: str = "nas_a") -> dict[str, t.Any]:
        """What the last run reported of a share."""
        shares = json.loads(self.report.read_text())["shares"]
        found: dict[str, t.Any] = next(each for each in shares if each["name"] == share)
        return found

    def damaged(self, share: str = "nas_a", *, done: bool | None = None) -> set[Damaged]:
        """What it named there as damaged, by paths below the share: all of it, or what was mended, or was not."""
        return {
            Damaged(_below(tree, damage["path"]), damage["what"])
            for tree in self.told(share)["trees"]
            for damage in tree["damages"]
            if done is None or bool(damage["done"]) == done
        }

    def generation(self, env: str, share: Path | None = None) -> Path:
        return ((share or self.a) / "envs" / env).resolve()

    def packages(self, env: str, share: Path | None = None) -> Path:
        return self.generation(env, share) / "lib" / f"python{SERIES}" / "site-packages"

    @contextlib.contextmanager
    def restored(self, share: Path | None = None, *, killed: bool = False) -> t.Iterator[State]:
        """A block after which a share is to the last inode as it was before, and nothing is left over.

        What is killed may have compiled something for a tree, and not yet have put it in the store.
        """
        share = share or self.a
        before = State.of(share)
        yield before
        found = before.differences(State.of(share))
        assert [line for line in found if not (killed and _is_unshared(line))] == []
        assert [path for path in share.rglob("*") if ".uvnas-" in path.name and path.name.endswith(".tmp")] == []


def _is_unshared(line: str) -> bool:
    """Whether a difference is only which bytecode is in the store, and so what is one with that."""
    is_stored = line.startswith("bytecode/") and (line.endswith(" -> None") or ": None -> " in line)
    return is_stored or ".pyc: one with " in line


def _below(tree: t.Mapping[str, t.Any], place: str) -> str:
    if tree["kind"] == "record":
        return place if tree["name"] == "records" else f"{tree['name']}/{place}"
    return f"{INSIDE.get(tree['kind'], '')}{tree['name']}/{place}".rstrip("/")


def succeeded(run: Run) -> Run:
    assert run.rc == 0, run.output
    return run


def flip(path: Path, bit: int = 1) -> None:
    """Change one bit in the middle of a file, wherever it is linked to."""
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= bit
    with path.open("r+b") as file:
        file.write(content)


@contextlib.contextmanager
def writable(path: Path) -> t.Iterator[None]:
    """A block in which names in the directory of a file can be changed, and which leaves no other trace of that."""
    mode = path.parent.stat().st_mode & 0o7777
    path.parent.chmod(0o755)
    yield
    path.parent.chmod(mode)


def remove(path: Path) -> None:
    with writable(path):
        path.unlink()


def edit(path: Path) -> None:
    """As the share's owner, with ``sed -i``: a new file, so that no other environment has it."""
    with writable(path):
        subprocess.run(["sed", "-i", "s/import/ import/", path], user=owner(), check=True)


@pytest.fixture(scope="module")
def pair(public: Path) -> t.Iterator[Pair]:
    path = public / "site"
    roots = [path / name / "uv" for name in ("nas_a", "nas_b")]
    shares = [{"name": root.parent.name, "root": str(root), "builder": "builder", "owner": owner()} for root in roots]
    site = make_site(path, {"uvnas_shares": shares, "uvnas_python_compile_bytecode": True})
    mounted = []
    try:
        for root in roots:
            root.parent.mkdir()
            subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2g,mode=0755", "tmpfs", root.parent], check=True)
            mounted.append(root.parent)
        pair = Pair(site, *roots)
        succeeded(pair.run("site", both=True))
        yield pair
    finally:
        for mount in mounted:
            subprocess.run(["umount", "--lazy", mount], check=True)


def loosen(share: Path, above: t.Iterable[Path]) -> None:
    """Let others write to directories."""
    for directory in above:
        assert directory.is_relative_to(share)
        directory.chmod(0o777)


def unnamed(pair: Pair, before: State, done: t.Iterable[Damage]) -> list[Damage]:
    """Damages that the last report does not name, where it names everything; and is too short, where it does not.

    Of a tree of which it says that nobody can tell what should be in it, that will do. What was added to an unpacked
    wheel, only environments can tell.
    """
    found = {damaged.path for damaged in pair.damaged()}
    unknown = [_below(tree, "") for tree in pair.told()["trees"] if _is_unknown(tree)]
    cut = {_below(tree, ""): tree["count"] for tree in pair.told()["trees"] if tree["count"] > NAMED}
    names, left, counted = before.together(), [], dict.fromkeys(cut, 0)
    for damage in done:
        place = str(damage.path.relative_to(pair.a))
        # A file with many names is named by all of them.
        tree = next((tree for tree in (*unknown, *cut) if place.startswith(f"{tree}/")), None)
        if tree:
            counted[tree] = counted.get(tree, 0) + 1
        elif unknown and damage.kind == ADD and place.startswith("cache/"):
            pass
        elif not found & {place, *names.get(place, ())}:
            left.append(damage)
    assert [tree for tree, count in cut.items() if count < counted[tree]] == []
    return left


def _is_unknown(tree: t.Mapping[str, t.Any]) -> bool:
    """Whether a report says that what lists the files of a tree is damaged, or cannot be read, and so is its copy."""
    said = [*tree["notes"], *(damage["says"] for damage in tree["damages"])]
    says_so = any(words in each for words in ("is not known", "there is no copy", "is not on record") for each in said)
    return says_so or any(damage["what"] == "invalid" for damage in tree["damages"])


def test_random_damage_is_found_and_repaired(pair: Pair) -> None:
    """500 damages: more than a quarter of all that is there."""
    print(f"UVNAS_SOAK_SEED={SEED} UVNAS_SOAK_DAMAGES={DAMAGES}")
    with pair.restored() as before:
        done = do_damage(pair.a, chance("damages"), DAMAGES)
        train = pair.generation("train")
        loosen(pair.a, (train, train / "bin", pair.packages("plot") / "attr", pair.a / "python" / key()))
        damaged = State.of(pair.a)
        assert pair.verify(both=True).rc != 0
        assert unnamed(pair, before, done) == []
        counts = {tree["name"]: tree["count"] for tree in pair.told()["trees"]}
        checked = pair.repair("--check", both=True, **REMOVE)
        assert damaged.differences(State.of(pair.a)) == []
        assert {tree["name"]: tree["count"] for tree in pair.told()["trees"]} == counts, checked.output
        stays = [(tree["name"], fact) for tree in pair.told()["trees"] for fact in tree["damages"] if not fact["done"]]
        assert [(name, fact) for name, fact in stays if fact["why"] not in UNSURE] == []
        succeeded(pair.repair(both=True, **REMOVE))
        assert pair.damaged(done=False) == set()
        assert pair.damaged("nas_b") == set()
    again = succeeded(pair.repair(both=True, **REMOVE))  # Which reads everything, as a verification does.
    assert again.changed == 0
    assert again.output.count("nothing is damaged") == 2
    for env, modules in IMPORTS.items():
        subprocess.run([pair.a / "envs" / env / "bin" / "python", "-I", "-B", "-c", f"import {modules}"], check=True)
    told = succeeded(pair.run("history", both=True))
    assert re.search(rf" repair +train +{train.name} +by \S+ on \S+: [0-9]+ paths", told.output), told.output
    assert succeeded(pair.run("site", both=True)).changed == 0


def test_what_only_another_share_has_is_from_there_and_is_built_from_afterwards(pair: Pair) -> None:
    """No index can be reached."""
    with pair.restored(), pair.restored(pair.b):
        for name in ("api.py", "utils.py"):
            flip(pair.packages("train") / "charset_normalizer" / name)  # In the cache, too.
        succeeded(pair.repair(both=True, **CUT_OFF))
        ((origin,),) = {tuple({fact["done"] for fact in tree["damages"]}) for tree in damaged_trees(pair)}
        assert origin == f"repaired from the share at {pair.b}"
        assert {tree["kind"] for tree in damaged_trees(pair)} == {"generation", "cache"}
    fresh = {"name": "fresh", "requirements": ["charset-normalizer", "attrs"]}
    run = pair.site.envs([fresh], uvnas_shares=pair.site.variables["uvnas_shares"][:1], uvnas_index={"offline": True})
    succeeded(run)
    succeeded(pair.verify())
    assert any(tree["name"].startswith("fresh/") for tree in pair.told()["trees"])


def damaged_trees(pair: Pair) -> list[dict[str, t.Any]]:
    return [tree for tree in pair.told()["trees"] if tree["count"]]


def test_what_cannot_be_had_stays_and_the_rest_is_repaired(pair: Pair) -> None:
    with pair.restored(), pair.restored(pair.b):
        gone = {share: pair.packages("plot", share) / "attr" / "_make.py" for share in (pair.a, pair.b)}
        rest = [pair.packages("lab") / "idna" / "core.py", pair.generation("lab") / "pyvenv.cfg"]
        for bit, path in enumerate(gone.values()):
            flip(path, 1 << bit)
        contents = {path: path.read_bytes() for path in gone.values()}
        for path in rest:
            flip(path)
        run = pair.repair(both=True, **CUT_OFF)
        assert run.rc != 0
        place = str(gone[pair.a].relative_to(pair.a))
        for share in ("nas_a", "nas_b"):
            left = pair.damaged(share, done=False)
            assert Damaged(place, "content") in left
            assert {path.rpartition("/")[2] for path, _what in left} == {"_make.py"}
            assert f"share {share}: STILL DAMAGED: " in run.output
        assert "uv cannot fetch it from the index" in run.output
        assert {path: path.read_bytes() for path in gone.values()} == contents
        assert {str(path.relative_to(pair.a)) for path in rest} <= {path for path, _what in pair.damaged(done=True)}
        succeeded(pair.repair(both=True))
        assert {fact["done"] for tree in damaged_trees(pair) for fact in tree["damages"]} == {"repaired from the index"}


def test_what_nobody_has_declared_goes_only_if_that_is_asked_for(pair: Pair) -> None:
    with pair.restored():
        added = [pair.packages("train") / "sitecustomize.py", pair.a / "python" / key() / "bin" / "helper"]
        for path in added:
            with writable(path):
                path.write_text("import os\n")
        # And what a run that was killed has left.
        left = pair.packages("lab") / "idna" / "__pycache__" / ".core.pyc.uvnas-0123456789abcdef.tmp"
        with writable(left):
            left.touch()
        # And what uv writes in each environment, which is a file of its own afterwards, too.
        for env in ("train", "plot"):
            (pair.packages(env) / "six-1.16.0.dist-info" / "INSTALLER").write_text("me")
        run = pair.repair()
        assert run.rc != 0
        assert "  stays: remove it with -e uvnas_repair_remove=true" in run.output
        assert pair.damaged(done=False) == {Damaged(str(path.relative_to(pair.a)), "undeclared") for path in added}
        assert {path.read_text() for path in added} == {"import os\n"}
        assert not left.exists()
        succeeded(pair.repair(**REMOVE))


def test_uv_and_interpreters(pair: Pair) -> None:
    """uv is installed anew; an interpreter's archive has what uv changed in it, and the other share the archive."""
    (uv,), (archive,) = (pair.a / "lib" / "uv").iterdir(), (pair.a / "python-archives").glob("*.tar.gz")
    interpreter = pair.a / "python" / key()
    (adjusted,) = interpreter.glob("lib/python*/_sysconfigdata*.py")
    with pair.restored():
        remove(uv / "uv")
        flip(uv / "uvx")
        flip(adjusted)
        run = succeeded(pair.repair())
        assert f"reinstall uv {uv.name}" in run.output
        assert {fact["done"] for tree in damaged_trees(pair) for fact in tree["damages"] if tree["kind"] != "uv"} == {
            "repaired from its archive"
        }
        remove(uv / ".uvnas-files.json")
        flip(archive)
        assert f"reinstall uv {uv.name}" in succeeded(pair.repair(both=True)).output
        ((record,),) = (tree["damages"] for tree in damaged_trees(pair))
        assert (record["path"], record["done"]) == (archive.name, f"repaired from the share at {pair.b}")


def test_what_runs_goes_on_and_imports_what_is_good(pair: Pair) -> None:
    packages = pair.packages("train")
    with pair.restored():
        command = [pair.generation("train") / "bin" / "python", "-B", "-c", JOB]
        with subprocess.Popen(command, stdin=-1, stdout=-1, cwd="/", env={}, text=True) as job:
            assert job.stdin is not None
            assert job.stdout is not None
            assert job.stdout.readline() == "ready\n"
            (mapped,) = (packages / "charset_normalizer").glob("md.*.so")
            edit(mapped)
            for path in (packages / "six.py", packages / "idna" / "core.py", packages / "idna" / "__init__.py"):
                path.write_bytes(b"(")
            (packages / "idna" / "idnadata.py").unlink()
            succeeded(pair.repair())
            for name in ("six", "idna.core", "charset_normalizer.api"):
                print(name, file=job.stdin, flush=True)
                assert job.stdout.readline().strip() == str(packages / f"{name.replace('.', '/')}.py")
            job.communicate()
        assert job.returncode == 0


def test_one_that_is_killed_leaves_what_is_damaged_or_right_and_the_next_ends_it(pair: Pair) -> None:
    with pair.restored(killed=True) as before:
        done = do_damage(pair.a, chance("killed repairs"), 200, (BYTE, CUT, EMPTY, DELETE, MODE, LINK, EDIT))
        last = State.of(pair.a)
        links = {path.name: os.readlink(path) for path in (pair.a / "envs").iterdir()}
        places = [str(damage.path.relative_to(pair.a)) for damage in done]
        places = [place for place in places if last.facts.get(place) != before.facts[place]]
        for share in (1, 100):
            running = pair.start("repair", both=True)
            wait_until(running, lambda share=share: repaired(pair, before, places) >= share)
            for pid in tree_of(running.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            running.communicate()
            assert running.returncode == -signal.SIGKILL
            now = State.of(pair.a)
            assert [name for name in now.facts if not is_no_worse(name, now, last, before)] == []
            assert [name for name in last.facts if name not in now.facts and not name.endswith(".pyc")] == []
            assert {path.name: os.readlink(path) for path in (pair.a / "envs").iterdir()} == links
            print(f"killed after {repaired(pair, before, places)} of {len(places)}")
            last = now
        succeeded(pair.repair(both=True))


def repaired(pair: Pair, before: State, places: t.Iterable[str]) -> int:
    """How many of these are what they were."""
    count = 0
    for place in places:
        with contextlib.suppress(FileNotFoundError):
            count += fact(pair.a / place, (pair.a / place).lstat(), {}) == before.facts[place]
    return count


def wait_until(running: subprocess.Popen[str], reached: t.Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not reached():
        assert running.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.02)


def is_no_worse(name: str, now: State, last: State, before: State) -> bool:
    """Whether something is as it was in one of these states, but for what its owner may write to for now.

    Or it is what the next repair removes, or is more in the store of bytecode.
    """
    if name.endswith(".tmp") or (name.startswith("bytecode/") and name not in before.facts):
        return True

    def sealed(state: State) -> tuple[t.Any, ...] | None:
        kind, mode, *rest = state.facts.get(name, (0, "0o0"))
        return (kind, int(mode, 8) & ~0o200, *rest)

    return sealed(now) in (sealed(last), sealed(before))


def test_the_page_as_it_is(pair: Pair) -> None:
    """Each command of *Is it damaged?* is typed, and says what is shown."""
    page = (ROOT / "docs" / "docsite" / "rst" / "damage.rst").read_text().replace("python3.12", f"python{SERIES}")
    typed = [command for session in transcripts.sessions(page) for command in session]
    assert [" ".join(command.text.split()[3:]) for command in typed] == [
        "uvnas.cluster.verify -e uvnas_deep=true",
        "uvnas.cluster.repair --check",
        "uvnas.cluster.repair",
    ]
    with pair.restored():
        edit(pair.packages("train") / "six.py")
        remove(pair.generation("train") / "bin" / "normalizer")
        for command, rc in zip(typed, (2, 0, 0), strict=True):
            _prompt, _option, _inventory, playbook, *options = command.text.split()
            run = pair.run(playbook.rpartition(".")[2], *options, uvnas_report_file="")
            assert run.rc == rc, run.output
            assert transcripts.fits(command.output, run.output), run.output


def test_a_budget_covers_everything_in_several_runs(pair: Pair) -> None:
    """What is damaged is found by the run whose turn it is. A check remembers nothing."""
    script = pair.generation("train") / "bin" / "normalizer"
    tree = f"train/{pair.generation('train').name}"
    budget = {"uvnas_verify_bytes_per_second": 30_000_000, "uvnas_verify_seconds": 1}
    turns: list[set[str]] = []
    with pair.restored():
        script.chmod(0o777)
        for options in (["--check"], [], [], []):
            run = pair.verify(*options, **budget)
            told = pair.told()
            turns.append({each["name"] for each in told["trees"]})
            assert run.rc == (2 if tree in turns[-1] else 0), run.output
            assert turns[-1].isdisjoint(told["remaining"])
            assert re.search(rf"  {len(told['remaining'])} waits? for the next run: ", run.output), run.output
        script.chmod(0o755)
    everything = {*turns[-1], *told["remaining"]}
    checked, *read = turns
    assert checked == read[0]
    assert set.union(*read) == everything
    assert read[0] & read[1] == {"records"}  # Which are small.
    assert tree in set.union(*read[1:])
