# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A Python that was started by the name of an environment, and what it imports when that name means something else.

And the mark by which it is known that a Python uses a generation.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import pin
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation.build import site_packages
from ansible_collections.uvnas.cluster.plugins.module_utils.host import files as fs
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout

MINOR = f"{sys.version_info.major}.{sys.version_info.minor}"
# Says that it is there, waits until it is told to go on, and then says where it is.
LAZY = """
import json, subprocess, sys
print("ready", flush=True)
sys.stdin.readline()
import late
ask = "import sys, late; print(late.__file__)"
child = subprocess.run([sys.executable, "-I", "-c", ask], capture_output=True, text=True).stdout.strip()
facts = {name: getattr(sys, name) for name in ("prefix", "exec_prefix", "executable", "path")}
print(json.dumps({**facts, "late": late.__file__, "who": late.WHO, "child": child}))
"""
WHERE = "import sys, json; print(json.dumps([sys.prefix, sys.executable, sys.path]))"


@pytest.fixture
def layout(tmp_path: Path) -> Layout:
    """A share with two generations of the environment train, with a space in its path; the first one is published."""
    return make_layout(tmp_path / "nas a")


def make_layout(nas: Path) -> Layout:
    found = Layout(str(nas / "uv"))
    Path(found.envs).mkdir(parents=True)
    for generation_id in ("one", "two"):
        path = found.generation("train", generation_id)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", "--symlinks", path], check=True)
        packages = Path(site_packages(path, MINOR))
        (packages / "late.py").write_text(f"WHO = {generation_id!r}\n", encoding="utf-8")
        (packages / "loaded_early.py").touch()
        (packages / "more").mkdir()
        (packages / "early.pth").write_text("import loaded_early\nmore\n", encoding="utf-8")
        pin.write(path, str(packages))
    publish(found, "one")
    return found


def publish(layout: Layout, generation_id: str) -> None:
    fs.replace_symlink(layout.env_link_target("train", generation_id), layout.env("train"))


def ask(*cmd: str, code: str = WHERE) -> t.Any:
    return json.loads(subprocess.run([*cmd, "-c", code], capture_output=True, text=True, check=True, env={}).stdout)


@pytest.mark.parametrize("options", [[], ["-I"], ["-E", "-B"]])
def test_what_is_imported_late_comes_from_the_generation_it_began_with(layout: Layout, options: list[str]) -> None:
    command = [f"{layout.env('train')}/bin/python", *options, "-c", LAZY]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={}) as job:
        assert job.stdout is not None
        assert job.stdout.readline() == "ready\n"
        publish(layout, "two")
        said = json.loads(job.communicate("go\n", timeout=60)[0])
    one = layout.generation("train", "one")
    assert (said["who"], said["late"], said["child"]) == ("one", said["late"], said["late"])
    assert said["late"] == str(Path(site_packages(one, MINOR), "late.py"))
    assert (said["prefix"], said["exec_prefix"], said["executable"]) == (one, one, f"{one}/bin/python")
    assert not [path for path in said["path"] if path.startswith(layout.env("train"))]
    assert str(Path(site_packages(one, MINOR), "more")) in said["path"]
    assert ask(f"{layout.env('train')}/bin/python")[0] == layout.generation("train", "two")


def test_what_other_pth_files_have_loaded_is_of_the_generation_too(layout: Layout) -> None:
    code = "import json, sys; m = sys.modules['loaded_early']; print(json.dumps([m.__file__, m.__spec__.origin]))"
    file = str(Path(site_packages(layout.generation("train", "one"), MINOR), "loaded_early.py"))
    assert ask(f"{layout.env('train')}/bin/python", code=code) == [file, file]


def test_a_python_started_by_the_generation_is_as_it_was(layout: Layout) -> None:
    one = layout.generation("train", "one")
    python, pth = f"{one}/bin/python", Path(site_packages(one, MINOR), pin.PTH)
    with_pin = ask(python)
    pth.unlink()
    assert ask(python) == with_pin
    assert with_pin[0] == one


@pytest.mark.parametrize("link", ["elsewhere", "bin-of-mine"])
def test_a_link_of_somebody_elses_is_followed_as_well(layout: Layout, tmp_path: Path, link: str) -> None:
    """A user's own name for an environment."""
    (tmp_path / link).symlink_to(layout.env("train"))
    assert ask(f"{tmp_path / link}/bin/python")[0] == layout.generation("train", "one")


def test_another_python_that_looks_in_is_left_alone(layout: Layout) -> None:
    packages = site_packages(layout.generation("train", "one"), MINOR)
    code = f"import json, site, sys; b = sys.prefix; site.addsitedir({packages!r}); print(json.dumps([b, sys.prefix]))"
    before, after = ask(sys.executable, "-I", code=code)
    assert before == after


# The mark


# Defines marks(), what a process has mapped, and descriptors().
LOOK = """
import json, os, sys
NAME = "/" + "PTH"

def marks(pid="self"):
    with open(f"/proc/{pid}/maps", "rb") as maps:
        return [os.fsdecode(line.split(None, 5)[5].rstrip()) for line in maps if os.fsencode(NAME) in line]

def descriptors():
    return len(os.listdir("/proc/self/fd"))
""".replace("PTH", pin.PTH)
SEE = f"{LOOK}\nprint(json.dumps(marks()))"


def mark(layout: Layout, generation_id: str = "one") -> list[str]:
    """What a Python of a generation shows in its maps."""
    return [str(Path(site_packages(layout.generation("train", generation_id), MINOR), pin.PTH))]


def see(*cmd: str, code: str = SEE, **variables: str) -> t.Any:
    """What the code prints as JSON, and it prints nothing else, nor does Python at its start or end."""
    done = subprocess.run([*cmd, "-c", code], capture_output=True, text=True, check=True, env=variables)
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.parametrize("options", [[], ["-I"], ["-E", "-s"], ["-X", "dev", "-W", "error"]])
def test_a_python_is_marked_however_it_is_started(layout: Layout, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "mine").symlink_to(layout.env("train"))
    for environment in (layout.generation("train", "one"), layout.env("train"), str(tmp_path / "mine")):
        assert see(f"{environment}/bin/python", *options) == mark(layout), environment


def test_a_python_is_marked_in_an_activated_shell(layout: Layout) -> None:
    shell = f". '{layout.env('train')}/bin/activate' && exec python -c \"$CODE\""
    done = subprocess.run(
        ["sh", "-c", shell], capture_output=True, text=True, check=True, env={**os.environ, "CODE": SEE}
    )
    assert (json.loads(done.stdout), done.stderr) == (mark(layout), "")


def test_without_site_there_is_no_mark(layout: Layout) -> None:
    """A limit, which the documentation names."""
    assert see(f"{layout.env('train')}/bin/python", "-S") == []


def test_odd_characters_in_the_path(tmp_path: Path) -> None:
    odd = make_layout(tmp_path / "a 'nas\" {x} %s \\n ü")
    assert see(f"{odd.env('train')}/bin/python") == mark(odd)
    assert see(f"{odd.generation('train', 'one')}/bin/python") == mark(odd)


def test_a_daemon_without_any_descriptor_is_marked(layout: Layout) -> None:
    code = f"""{LOOK}
out = os.dup(1)
os.set_inheritable(out, True)
if os.fork():
    os.wait()
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
os.closerange(0, out)
os.closerange(out + 1, 1000)
import gc
gc.collect()
os.write(out, json.dumps(marks()).encode())
"""
    assert see(f"{layout.env('train')}/bin/python", code=code) == mark(layout)


def test_what_it_executes_and_spawns_is_marked(layout: Layout) -> None:
    code = f"{LOOK}\nos.execv(sys.executable, [sys.executable, '-I', '-c', {SEE!r}])"
    assert see(f"{layout.env('train')}/bin/python", code=code) == mark(layout)
    code = f"""{LOOK}
import multiprocessing
found = []
for method in ("fork", "spawn", "forkserver"):
    with multiprocessing.get_context(method).Pool(1) as pool:
        maps = pool.apply(eval, ("open('/proc/self/maps', encoding='utf-8').read()",))
        found += [line.split(None, 5)[5] for line in maps.splitlines() if line.endswith(NAME)]
print(json.dumps(found))
"""
    assert see(f"{layout.env('train')}/bin/python", code=code) == mark(layout) * 3


def test_a_job_shows_the_generation_it_began_with(layout: Layout) -> None:
    """When another one is published, and when its own is removed."""
    code = f"""{LOOK}
print("ready", flush=True)
sys.stdin.readline()
print(json.dumps(marks()), flush=True)
sys.stdin.read()
"""
    command = [f"{layout.env('train')}/bin/python", "-c", code]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env={}) as job:
        assert job.stdout is not None
        assert job.stdin is not None
        assert job.stdout.readline() == "ready\n"
        publish(layout, "two")
        job.stdin.write("go\n")
        job.stdin.flush()
        assert json.loads(job.stdout.readline()) == mark(layout)
        assert see(f"{layout.env('train')}/bin/python") == mark(layout, "two")
        # Seen from outside.
        maps = Path(f"/proc/{job.pid}/maps").read_text(encoding="utf-8")
        assert [line.split(None, 5)[5] for line in maps.splitlines() if pin.PTH in line] == mark(layout)
        job.communicate(timeout=60)


def test_another_python_that_uses_the_packages_is_marked_with_each_generation(layout: Layout) -> None:
    """It loses its imports too, when they are removed. Twice the same is once."""
    both = [site_packages(layout.generation("train", name), MINOR) for name in ("one", "two")]
    code = f"{LOOK}\nimport site\nfor path in {both * 2!r}: site.addsitedir(path)\nprint(json.dumps(sorted(marks())))"
    assert see(sys.executable, "-I", code=code) == sorted(mark(layout) + mark(layout, "two"))


def test_subinterpreters_are_harmless(layout: Layout) -> None:
    code = f"""{LOOK}
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
other = interpreters.create()
failed = interpreters.run_string(other, "import json, sys; sys.path")
interpreters.destroy(other)
print(json.dumps([failed, marks()]))
"""
    assert see(f"{layout.env('train')}/bin/python", code=code) == [None, mark(layout)]


def test_nothing_else_is_different(layout: Layout, tmp_path: Path) -> None:
    """No descriptor, where Python can do without, and no module; the user's own of this name stay theirs."""
    builtin = "mmap" in sys.builtin_module_names
    one = f"{layout.generation('train', 'one')}/bin/python"
    (tmp_path / "mmap.py").write_text("print('mine')", encoding="utf-8")
    counting = f"{LOOK}\nprint(json.dumps([descriptors(), sorted(sys.modules)]))"
    descriptors, modules = see(one, code=counting)
    assert see(one, PYTHONPATH=str(tmp_path)) == mark(layout)
    ours = subprocess.run([one, "-c", "import mmap"], capture_output=True, text=True, cwd=tmp_path, check=True).stdout
    assert ours == ("" if builtin else "mine\n")
    Path(*mark(layout)).unlink()
    before, modules_before = see(one, code=counting)
    assert descriptors == before + (sys.version_info < (3, 13))
    assert set(modules) - set(modules_before) <= ({"mmap"} if builtin else set())


def test_mmap_works_as_ever(layout: Layout) -> None:
    code = "import json, mmap; m = mmap.mmap(-1, 9); m[:2] = b'ab'; print(json.dumps([m[:3].decode(), mmap.__name__]))"
    assert see(f"{layout.env('train')}/bin/python", code=code) == ["ab\0", "mmap"]


def test_a_mmap_that_is_built_in_is_taken(layout: Layout) -> None:
    packages = site_packages(layout.generation("train", "one"), MINOR)
    builtin = "sys.builtin_module_names = {*sys.builtin_module_names, 'mmap'}"
    code = f"{LOOK}\nimport site\n{builtin}\nsite.addsitedir({packages!r})"
    code += "\nprint(json.dumps([marks(), 'mmap' in sys.modules]))"
    assert see(sys.executable, "-I", code=code) == [mark(layout), True]


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param("import sys; sys.modules['mmap'] = sys", id="no mmap()"),
        pytest.param("import sys; sys._uvnas_marks = ()", id="nowhere to keep it"),
        pytest.param("import errno, mmap; mmap.mmap = lambda *a, **k: open('/nowhere')", id="OSError"),
    ],
)
def test_whatever_fails_python_starts_pinned_and_silent(layout: Layout, broken: str) -> None:
    packages = Path(site_packages(layout.generation("train", "one"), MINOR))
    (packages / "aaa.pth").write_text(f"{broken}\n", encoding="utf-8")
    code = f"{LOOK}\nprint(json.dumps([marks(), sys.prefix]))"
    assert see(f"{layout.env('train')}/bin/python", code=code) == [[], layout.generation("train", "one")]


def test_a_standard_library_elsewhere(layout: Layout) -> None:
    """Where mmap is a file of it."""
    packages = Path(site_packages(layout.generation("train", "one"), MINOR))
    (packages / "aaa.pth").write_text("import os; os.__file__ = '/nowhere/os.py'\n", encoding="utf-8")
    found = mark(layout) if "mmap" in sys.builtin_module_names else []
    assert see(f"{layout.env('train')}/bin/python") == found


def test_no_room_in_the_address_space(layout: Layout) -> None:
    """The allocators have some left, and the kernel gives no more."""
    packages = site_packages(layout.generation("train", "one"), MINOR)
    code = f"""{LOOK}
import mmap, resource, site
for size in (16, 64, 200, 480, 1000, 5000, 70000):
    chunks = [bytes(size) for _ in range(4_000_000 // size)]
    del chunks[: len(chunks) - 1]
    globals()[f"kept{{size}}"] = chunks
with open("/proc/self/statm") as file:
    pages = int(file.read().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (pages * mmap.PAGESIZE, resource.RLIM_INFINITY))
try:
    mmap.mmap(-1, 1)
except OSError as error:
    limited = error.errno
before = list(sys.path)
site.addsitedir({packages!r})
resource.setrlimit(resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
print(json.dumps([limited, marks(), [path for path in sys.path if path not in before]]))
"""
    limited, marks, added = see(sys.executable, "-I", code=code)
    assert (limited, marks) == (12, [])
    assert packages in added


# Closes all descriptors, opens files under their numbers, and leaves them to the very end, unwritten.
LATE = """
import os, sys
os.closerange(3, 1000)
files = [open(f"{sys.argv[1]}/{number}", "w") for number in range(4)]
class Late: pass
late = Late()
late.itself, late.files = late, files
for file in files:
    file.write("unflushed")
del files, file
"""

FIND = Path(__file__).parents[5] / "tools" / "find-python.sh"


def test_with_every_python_of_this_machine(tmp_path: Path) -> None:
    """As far as environments can be made with it: each has its own way to load mmap, and to keep descriptors."""
    pythons = {sys.executable}
    for minor in range(9, 16):
        find = subprocess.run([FIND, *[f"3.{minor}"] * 2], capture_output=True, text=True, check=False)
        pythons.update(find.stdout.split("\n")[:1] if find.returncode == 0 else [])
    report = f"{LOOK}\nn = descriptors(); import mmap\nprint(json.dumps([marks(), n, list(sys.version_info[:2])]))"
    for number, python in enumerate(sorted(pythons)):
        path = tmp_path / "generations" / "train" / str(number)
        subprocess.run([python, "-m", "venv", "--without-pip", "--symlinks", path], check=True)
        (packages,) = (path / "lib").glob("python*/site-packages")
        pin.write(str(path), str(packages))
        marks, descriptors, version = see(f"{path}/bin/python", code=report)
        assert marks == [str(packages / pin.PTH)], python
        # The number of a descriptor that mmap keeps, and closes at the end, may be somebody else's by then.
        late = subprocess.run([f"{path}/bin/python", "-c", LATE, tmp_path], capture_output=True, text=True, check=True)
        assert late.stderr == "", python
        assert [(tmp_path / str(number)).read_text() for number in range(4)] == ["unflushed"] * 4, python
        (packages / pin.PTH).unlink()
        assert descriptors - see(f"{path}/bin/python", code=report)[1] == (version < [3, 13]), python
