# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bytecode of real sources, compiled and run by a real interpreter."""

from __future__ import annotations

import dataclasses
import errno
import importlib.util
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.bytecode import compiler, store
from ansible_collections.uvnas.cluster.plugins.module_utils.bytecode.digests import Digests
from ansible_collections.uvnas.cluster.plugins.module_utils.bytecode.store import (
    Bytecode,
    Done,
    Interpreter,
    sweep,
)
from ansible_collections.uvnas.cluster.plugins.module_utils.bytecode.whole import mark_in
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import CommandError, UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed, SystemRunner
from ansible_collections.uvnas.cluster.plugins.module_utils.host.workers import Work, call_many
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout

TAG = sys.implementation.cache_tag
HERE = Interpreter(os.path.realpath(sys.executable), "digest")


@dataclasses.dataclass
class Packages:
    """A directory for packages, as in a generation."""

    path: Path
    store: Bytecode

    def write(self, **sources: str) -> None:
        for name, text in sources.items():
            path = self.path / f"{name.replace('__', '/')}.py"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def add(self) -> Done:
        return self.store.add(str(self.path), self._names())

    def tried(self) -> int:
        """How many sources have to be compiled."""
        tried = [0]
        self.store.add(str(self.path), self._names(), tried.append)
        return tried[-1]

    def _names(self) -> list[str]:
        return [str(path.relative_to(self.path)) for path in self.path.rglob("*.py")]

    def compiled(self, name: str) -> Path:
        head, tail = os.path.split(name)
        return self.path / head / "__pycache__" / f"{tail}.{TAG}.pyc"

    def run(self, code: str, *options: str) -> str:
        """What ``code`` prints with these packages, without writing bytecode."""
        done = subprocess.run(
            [
                HERE.path,
                "-B",
                "-S",
                "-s",
                *options,
                "-c",
                f"import sys; sys.path.insert(0, {str(self.path)!r})\n{code}",
            ],
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    return Layout(str(tmp_path / "uv"))


@pytest.fixture
def packages(layout: Layout, tmp_path: Path) -> t.Callable[[str], Packages]:
    os.mkdir(layout.root)

    def make(name: str) -> Packages:
        path = tmp_path / name / "site-packages"
        path.mkdir(parents=True)
        return Packages(path, Bytecode(layout, HERE, SystemRunner()))

    return make


Make = t.Callable[[str], Packages]


def test_what_is_compiled_once_is_linked_after_that(packages: Make) -> None:
    one, other = packages("one"), packages("other")
    for each in (one, other):
        each.write(top="X = 1", pack__first="", pack__deep__mod="def f(): pass")
    assert one.add() == Done(0, 3, 0)
    assert other.add() == Done(3, 0, 0)
    for name in ("top", "pack/first", "pack/deep/mod"):
        assert one.compiled(name).samefile(other.compiled(name))
        assert one.compiled(name).stat().st_nlink == 3
        assert one.compiled(name).stat().st_mode & 0o777 == 0o644


def test_it_is_what_python_runs(packages: Make) -> None:
    one = packages("one")
    one.write(mod="VALUE = 'from bytecode'")
    one.add()
    one.write(mod="VALUE = 'from source'")  # Which nobody does in a generation.
    assert one.run("import mod; print(mod.VALUE)") == "from bytecode"
    head = one.compiled("mod").read_bytes()[:16]
    assert head[:8] == importlib.util.MAGIC_NUMBER + b"\x01\0\0\0"  # unchecked-hash
    assert head[8:] == importlib.util.source_hash(b"VALUE = 'from bytecode'")


@pytest.mark.parametrize("other", ["VALUE = 2", "VALUE = 1 ", ""])
def test_a_name_with_another_source_gets_its_own(packages: Make, other: str) -> None:
    one, two = packages("one"), packages("two")
    one.write(pack__mod="VALUE = 1")
    two.write(pack__mod=other)
    one.add()
    assert two.add() == Done(0, 1, 0)
    assert not one.compiled("pack/mod").samefile(two.compiled("pack/mod"))
    assert two.run("import pack.mod; print(vars(pack.mod).get('VALUE'))") == {"VALUE = 2": "2", "": "None"}.get(
        other, "1"
    )


def test_a_source_with_another_name_gets_its_own(packages: Make) -> None:
    """Its name is in its code, for whoever reads it without importing it."""
    one = packages("one")
    one.write(first="", second="")
    assert one.add() == Done(0, 2, 0)
    assert not one.compiled("first").samefile(one.compiled("second"))


def test_another_interpreter_gets_its_own(packages: Make) -> None:
    one, two = packages("one"), packages("two")
    two.store = dataclasses.replace(two.store, interpreter=dataclasses.replace(HERE, digest="another"))
    for each in (one, two):
        each.write(mod="")
        assert each.add() == Done(0, 1, 0)


def test_an_interpreter_that_is_none_compiles_nothing(packages: Make) -> None:
    one = packages("one")
    one.write(mod="")
    one.store = dataclasses.replace(one.store, interpreter=Interpreter("/bin/echo", "digest"))
    with pytest.raises(UvnasError, match="cannot compile bytecode: /bin/echo has no cache tag"):
        one.add()
    one.store = dataclasses.replace(one.store, interpreter=Interpreter("/bin/false", "digest"))
    with pytest.raises(CommandError, match="cannot compile bytecode"):
        one.add()


def test_without_sources_nothing_is_done(packages: Make, layout: Layout) -> None:
    assert packages("one").add() == Done()
    assert not os.path.exists(layout.bytecode)


def test_the_same_source_gives_the_same_bytes(packages: Make, tmp_path: Path) -> None:
    one = packages("one")
    source = "NAMES = {'a', 'b', 'c', 'd'}\ndef f(x):\n    return x in {'e', 'f', 'g'}\n"
    one.write(mod=source)
    one.add()
    os.mkdir(tmp_path / "elsewhere")
    two = Packages(tmp_path / "two", Bytecode(Layout(str(tmp_path / "elsewhere")), HERE, SystemRunner()))
    two.write(mod=source)
    two.add()
    assert one.compiled("mod").read_bytes() == two.compiled("mod").read_bytes()
    assert str(tmp_path).encode() not in one.compiled("mod").read_bytes()


def test_tracebacks_name_the_real_file(packages: Make) -> None:
    code = """
import inspect, traceback
from pack import mod
try:
    mod.fail()
except ValueError as error:
    print(traceback.extract_tb(error.__traceback__)[-1])
print(inspect.getsourcefile(mod.fail), inspect.getsource(mod.fail).splitlines()[0], mod.fail.__code__.co_filename)
"""
    for name in ("one", "two"):
        each = packages(name)
        each.write(pack__first="", pack__mod="def fail():\n    raise ValueError\n")
        each.add()
        path = each.path / "pack" / "mod.py"
        assert each.run(code) == f"<FrameSummary file {path}, line 2 in fail>\n{path} def fail(): {path}"


@pytest.mark.parametrize("option", ["-O", "-OO"])
def test_with_optimization_python_compiles_for_itself(packages: Make, option: str) -> None:
    one = packages("one")
    one.write(mod='"""Text."""\nassert False')
    one.add()
    assert one.run("import mod; print(mod.__doc__)", option) == ("Text." if option == "-O" else "None")


def test_what_another_share_has_is_copied(packages: Make, layout: Layout, tmp_path: Path) -> None:
    one, two = packages("one"), packages("two")
    for each in (one, two):
        each.write(mod="X = 1", bad="{{")
    one.add()
    another = Layout(str(tmp_path / "another"))
    os.mkdir(another.root)
    two.write(new="X = 2")
    two.store = dataclasses.replace(two.store, layout=another, others=(Layout(str(tmp_path / "none")), layout))
    assert two.add() == Done(1, 1, 1)
    assert not one.compiled("mod").samefile(two.compiled("mod"))
    assert one.compiled("mod").read_bytes() == two.compiled("mod").read_bytes()
    assert two.compiled("mod").stat().st_nlink == 2


@pytest.mark.parametrize("code", [errno.EACCES, errno.EIO, errno.ESTALE])
def test_trouble_with_another_share_is_none_of_this_one(
    packages: Make, layout: Layout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    """As with caches. Another share may be root's, so that this owner cannot look into it."""
    one, two = packages("one"), packages("two")
    for each in (one, two):
        each.write(mod="X = 1")
    one.add()
    another = Layout(str(tmp_path / "another"))
    os.mkdir(another.root)
    two.store = dataclasses.replace(two.store, layout=another, others=(layout,))

    def fail(path: str) -> bytes:
        raise OSError(code, os.strerror(code), path)

    with monkeypatch.context() as patched:
        patched.setattr(files, "read_bytes", fail)
        assert two.add() == Done(0, 1, 0)
    assert [name for name in os.listdir(another.bytecode) if name.endswith(".tmp")] == []


@pytest.mark.parametrize("how", ["byte", "cut", "empty", "another", "pipe"])
def test_what_is_damaged_on_another_share_is_compiled_here(
    packages: Make, layout: Layout, tmp_path: Path, how: str
) -> None:
    one, two = packages("one"), packages("two")
    for each in (one, two):
        each.write(mod="X = 1")
    one.write(other="Y = 2")
    one.add()
    another = Layout(str(tmp_path / "another"))
    os.mkdir(another.root)
    two.store = dataclasses.replace(two.store, layout=another, others=(layout,))
    entry = Path(os.path.realpath(one.compiled("mod")))
    (stored,) = [path for path in Path(layout.bytecode).rglob("*.pyc") if path.samefile(entry)]
    content = stored.read_bytes()
    stored.unlink()
    if how == "pipe":
        os.mkfifo(stored)
    else:
        changed = {"byte": bytes([content[0] ^ 1]) + content[1:], "cut": content[:-1], "empty": b""}
        stored.write_bytes(changed.get(how, one.compiled("other").read_bytes()))
    assert two.add() == Done(0, 1, 0)
    assert mark_in(two.compiled("mod").read_bytes()) is not None


def test_what_does_not_compile_is_no_error_and_not_tried_again(packages: Make) -> None:
    broken = {"python2": "print 'x'", "template": "import {{ name }}", "nul": "\0", "cookie": "# coding: nonsense\n"}
    one, two = packages("one"), packages("two")
    for each in (one, two):
        each.write(good="X = 1", **broken)
    assert one.add() == Done(0, 1, len(broken))
    tried: list[int] = []
    names = [f"{name}.py" for name in ("good", *broken)]
    assert two.store.add(str(two.path), names, tried.append) == Done(1, 0, len(broken))
    assert tried == []
    assert not one.compiled("python2").exists()


@pytest.mark.parametrize("deep", [f"x{'.a' * 100_000}", f"{'-' * 100_000}1"], ids=["compiler", "parser"])
def test_a_source_that_is_too_deep_is_not_tried_again(packages: Make, deep: str) -> None:
    one = packages("one")
    one.write(deep=f"X = {deep}", mod="X = 1")
    assert one.add() == Done(0, 1, 1)
    # Some parsers only say that there is no memory, which may be there the next time.
    code = (
        "import sys\ntry: compile(sys.stdin.read(), '', 'exec')\nexcept MemoryError as error: print(bool(error.args))"
    )
    said = subprocess.run([HERE.path, "-c", code], input=deep, capture_output=True, text=True, check=False).stdout
    assert one.tried() == (1 if said.strip() == "False" else 0)


def test_no_more_compilers_than_processors(packages: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """uv may be told to have a thousand threads, which share a process."""
    jobs: list[int] = []

    def count(works: t.Sequence[Work], **how: t.Any) -> list[Work]:
        jobs.append(how["jobs"])
        return call_many(works, **how)

    monkeypatch.setattr(compiler, "call_many", count)
    for limit, expected in ((1000, 3), (2, 2), (None, 3)):
        monkeypatch.setattr(store, "processors", lambda: 3)
        one = packages(f"limit{limit}")
        one.store = dataclasses.replace(one.store, limit=limit)
        one.write(**{f"mod{limit}_{number}": "" for number in range(5)})
        assert one.add() == Done(0, 5, 0)
        assert jobs.pop() == expected


@pytest.mark.parametrize("encoding", ["utf-8-sig", "latin-1"])
def test_sources_in_other_encodings(packages: Make, encoding: str) -> None:
    one = packages("one")
    (one.path / "mod.py").write_text(f"# coding: {encoding.removesuffix('-sig')}\nX = 'ä'\n", encoding=encoding)
    assert one.add() == Done(0, 1, 0)
    assert one.run("import mod; print(ascii(mod.X))") == r"'\xe4'"


@pytest.mark.parametrize("length", [245, 252])
def test_a_name_too_long_for_bytecode_is_no_error(packages: Make, length: int) -> None:
    one = packages("one")
    one.write(**{"x" * length: "X = 1", "mod": "X = 1"})
    assert one.add() == Done(0, 1, 1)
    assert one.add() == Done(1, 0, 1)
    assert one.run(f"import {'x' * length} as long; print(long.X)") == "1"


def test_a_directory_in_the_place_of_bytecode_is_no_error(packages: Make) -> None:
    one = packages("one")
    one.write(mod="X = 1", other="X = 2")
    (one.compiled("mod") / "full").mkdir(parents=True)
    assert one.add() == Done(0, 1, 1)
    assert one.run("import mod; print(mod.X)") == "1"


def test_a_file_in_the_place_of_their_directory_is_no_error(packages: Make) -> None:
    one = packages("one")
    one.write(mod="X = 1")
    (one.path / "__pycache__").write_text("")
    assert one.add() == Done(0, 0, 1)
    assert one.run("import mod; print(mod.X)") == "1"


def test_names_that_are_no_text(packages: Make) -> None:
    one = packages("one")
    name = os.fsdecode(b"odd\xff name\n.py")
    (one.path / name).write_text("X = 1")
    assert one.add() == Done(0, 1, 0)
    assert one.compiled(name[:-3]).exists()


def test_what_a_package_brought_is_replaced(packages: Make) -> None:
    one = packages("one")
    one.write(mod="X = 1", broken="import {{")
    for name in ("mod", "broken"):
        one.compiled(name).parent.mkdir(exist_ok=True)
        one.compiled(name).write_bytes(b"stale")
    assert one.add() == Done(0, 1, 1)
    assert one.run("import mod; print(mod.X)") == "1"
    # As when Python, or uv, compiles.
    assert one.compiled("broken").read_bytes() == b"stale"


def test_a_source_that_crashes_the_compiler_costs_its_own_bytecode_only(packages: Make, tmp_path: Path) -> None:
    """The same for one that keeps it busy: see test_one_that_takes_too_long()."""

    class Crashing(SystemRunner):
        def run(self, cmd: t.Sequence[str], **more: t.Any) -> Completed:
            before, crash, _after = str(more.get("stdin")).partition('/crash.py"')
            if not crash:
                return super().run(cmd, **more)
            done = super().run(cmd, **{**more, "stdin": before[: before.rfind("\n") + 1]})
            return dataclasses.replace(done, rc=-11)

    one = packages("one")
    one.store = dataclasses.replace(one.store, runner=Crashing(), limit=1)
    one.write(crash="", **{f"mod{number}": f"X = {number}" for number in range(20)})
    assert one.add() == Done(0, 20, 1)
    assert not one.compiled("crash").exists()
    # It would crash it every time.
    assert one.tried() == 0


def test_one_that_takes_too_long(packages: Make) -> None:
    class Slow(SystemRunner):
        def run(self, cmd: t.Sequence[str], **more: t.Any) -> Completed:
            if '/slow.py"' in str(more.get("stdin")):
                raise CommandError(f"timed out after {more['timeout']} s", cmd=cmd, rc=-9, stdout="", stderr="")
            return super().run(cmd, **more)

    one = packages("one")
    one.store = dataclasses.replace(one.store, runner=Slow(), limit=1)
    one.write(slow="", mod1="", mod2="", mod3="")
    assert one.add() == Done(0, 3, 1)
    assert one.tried() == 1  # It was killed, for whatever reason: a NAS may have hung.


def test_one_that_never_ends_does_not_use_up_the_time_of_the_others(
    packages: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each source has a time of its own: the whole portion's is ten times that."""
    monkeypatch.setattr(compiler, "_ONE", 1.0)
    one = packages("one")
    one.store = dataclasses.replace(one.store, limit=1)
    # The compiler doubles what is in a ``finally``.
    levels = range(30)
    endless = "".join(f"{' ' * level}try: pass\n{' ' * level}finally:\n" for level in levels) + " " * len(levels) + "x"
    one.write(endless=endless, **{f"mod{number}": f"X = {number}" for number in range(12)})
    started = time.monotonic()
    assert one.add() == Done(0, 12, 1)
    assert one.tried() == 0
    assert time.monotonic() - started < 20


def test_a_source_that_changes_meanwhile_is_not_compiled_under_the_key_of_what_it_was(packages: Make) -> None:
    class Changing(SystemRunner):
        def run(self, cmd: t.Sequence[str], **more: t.Any) -> Completed:
            if "stdin" in more:
                one.write(mod="X = 'another'")
            return super().run(cmd, **more)

    one = packages("one")
    one.store = dataclasses.replace(one.store, runner=Changing())
    one.write(mod="X = 1")
    with pytest.raises(UvnasError, match=r"mod\.py was changed while it was compiled"):
        one.add()
    assert list(Path(one.store.directory).rglob("*.pyc")) == []


def test_a_memory_that_is_wrong_fails_no_more_than_one_build(packages: Make) -> None:
    """Where inodes are no names for good, as on some network filesystems."""
    one = packages("one")
    one.write(pack__mod="X = 1", pack__other="X = 2")
    os.makedirs(one.store.layout.bytecode)
    status = (one.path / "pack" / "mod.py").stat()
    os.utime(one.path / "pack" / "mod.py", ns=(status.st_atime_ns, 1_700_000_000_123_456_789))
    wrong = (1_700_000_000_123_456_789, status.st_size, "0" * 64)
    Digests(one.store.layout).remember("pack", {str(status.st_ino): wrong})
    with pytest.raises(UvnasError, match="was changed"):
        one.add()
    assert one.add().failed == 0
    assert one.tried() == 0


def test_builds_at_the_same_time_compile_once(packages: Make) -> None:
    each = [packages(f"p{number}") for number in range(4)]
    for one in each:
        one.write(**{f"mod{number}": f"X = {number}" for number in range(300)})
    found = [
        Done(**answer())
        for answer in call_many([lambda one=one: dataclasses.asdict(one.add()) for one in each], jobs=4)
    ]
    assert sum(done.compiled for done in found) == 300
    assert sum(done.linked for done in found) == 900
    assert len({one.compiled("mod7").stat().st_ino for one in each}) == 1


@pytest.mark.parametrize("code", [errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK])
def test_without_links_there_are_copies(packages: Make, monkeypatch: pytest.MonkeyPatch, code: int) -> None:
    one, two, three = packages("one"), packages("two"), packages("three")
    for each in (one, two, three):
        each.write(mod="X = 1")
    one.add()
    link = os.link

    def refuse(source: str, target: str) -> None:
        if os.stat(source).st_nlink > 1 or code != errno.EMLINK:
            raise OSError(code, os.strerror(code), source)
        link(source, target)

    monkeypatch.setattr(os, "link", refuse)
    assert two.add() == Done(1, 0, 0)
    assert not two.compiled("mod").samefile(one.compiled("mod"))
    assert two.compiled("mod").read_bytes() == one.compiled("mod").read_bytes()
    assert two.compiled("mod").stat().st_mode & 0o777 == 0o644
    assert three.add() == Done(1, 0, 0)


def test_after_a_file_has_all_the_links_it_can_have_others_link_to_its_copy(
    packages: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two, three = packages("one"), packages("two"), packages("three")
    for each in (one, two, three):
        each.write(mod="X = 1")
    one.add()
    full, link = one.compiled("mod").stat().st_ino, os.link

    def refuse(source: str, target: str) -> None:
        if os.stat(source).st_ino == full:
            raise OSError(errno.EMLINK, os.strerror(errno.EMLINK), source)
        link(source, target)

    monkeypatch.setattr(os, "link", refuse)
    two.add()
    three.add()
    assert two.compiled("mod").samefile(three.compiled("mod"))


@pytest.fixture
def small(tmp_path: Path) -> t.Iterator[Path]:
    """A small filesystem."""
    mount = tmp_path / "small"
    mount.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", mount], check=True)
    yield mount
    subprocess.run(["umount", mount], check=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small filesystem")
def test_a_full_disk_is_an_error(packages: Make, small: Path) -> None:
    one = packages("one")
    layout = Layout(str(small / "uv"))
    os.mkdir(layout.root)
    one.store = Bytecode(layout, HERE, SystemRunner())
    one.write(mod="X = 1", **{f"big{number}": f"X = '{'x' * 200_000}'" for number in range(50)})
    with pytest.raises(UvnasError, match="No space left on device"):
        one.add()
    assert [path for path in Path(layout.bytecode).rglob("*.pyc") if path.stat().st_size < 100] == []
    assert [name for name in os.listdir(layout.bytecode) if name.endswith(".tmp")] == []


def test_what_nothing_uses_goes(packages: Make, layout: Layout) -> None:
    one = packages("one")
    one.write(used="X = 1", unused="X = 2", bad="{{")
    one.add()
    one.compiled("unused").unlink()
    sweep(layout)
    left = [path for path in Path(layout.bytecode).rglob("*") if path.is_file() and path.name != ".turn"]
    assert [path.samefile(one.compiled("used")) for path in left] == [True]
    one.compiled("used").unlink()
    sweep(layout)
    assert os.listdir(layout.bytecode) == [".turn"]
    assert one.add() == Done(0, 2, 1)


def test_there_may_be_nothing_to_sweep(layout: Layout) -> None:
    sweep(layout)


def test_the_mode_of_a_share_that_was_laid_out_stays(packages: Make, layout: Layout) -> None:
    """Or else the next run of site.yml would find something to change (a share with mode 2755)."""
    one = packages("one")
    one.write(mod="")
    os.mkdir(layout.bytecode)
    os.chmod(layout.bytecode, 0o2700)
    one.add()
    assert os.stat(layout.bytecode).st_mode & 0o7777 == 0o2700


def test_others_cannot_look_into_it(packages: Make, layout: Layout) -> None:
    one = packages("one")
    one.write(mod="")
    one.add()
    assert os.stat(layout.bytecode).st_mode & 0o777 == 0o700
