# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""People cannot change what admins publish, and each has a cache."""

from __future__ import annotations

import base64
import io
import zipfile

import pytest

ROOT_OF = {"nas_a": "/mnt/nas-a/uv", "nas_b": "/mnt/nas-b/uv"}
# One of each kind of thing that only the owner writes: patterns of a directory, and of a file in it.
PUBLISHED = {
    "share": ("", "share.json"),
    "bin": ("/bin", "uv"),
    "uv": ("/lib/uv/*", "uv"),
    "lock": ("/locks", "train.txt"),
    "lock file": ("", ".uvnas.mutex"),
    "link": ("/envs", "train"),
    "manifest": ("/envs/train/", ".uvnas.json"),
    "program": ("/envs/train/bin", "activate"),
    "module": ("/envs/train/lib/python3*/site-packages/numpy", "__init__.py"),
    "bytecode": ("/envs/train/lib/python3*/site-packages/numpy/__pycache__", "__init__.*.pyc"),
    "interpreter": ("/python/cpython-3*/bin", "python3.*"),
    "standard library": ("/python/cpython-3*/lib/python3*", "os.py"),
    "archive": ("/python-archives", "*"),
    "cache": ("/cache", "CACHEDIR.TAG"),
    "cached wheel": ("/cache/archive-v*/*/numpy", "__init__.py"),
}
ATTEMPTS = {
    "create": 'touch "$directory/mine"',
    "make a directory": 'mkdir "$directory/mine"',
    "edit": 'echo >>"$file"',
    "replace": 'cp /etc/hostname /tmp/mine; mv -f /tmp/mine "$file"',
    "delete": 'rm -f "$file"',
    "rename": 'mv "$file" "$file.old"',
    "chmod": 'chmod a+w "$file"',
    "chmod the directory": 'chmod a+w "$directory"',
}


@pytest.mark.parametrize("what", PUBLISHED)
@pytest.mark.parametrize("share", ROOT_OF)
def test_nobody_but_the_owner_changes_what_is_published(machines, share, what):
    directory, file = (
        machines.root("dev1", f"ls -d {ROOT_OF[share]}{part} | head -1").strip()
        for part in (PUBLISHED[what][0], "/".join(PUBLISHED[what]))
    )
    script = "".join(f"\n{{ {attempt}; }} 2>/dev/null && echo {name}" for name, attempt in ATTEMPTS.items())
    state = f"stat -c '%n %a %U %s %Y' {directory} {file}"
    before = machines.root("dev1", state)
    for user in ("alice", "bob"):
        assert machines.user("dev1", user, f"directory={directory}; file={file}{script}\ntrue") == ""
    assert machines.root("dev1", state) == before


@pytest.mark.parametrize("share", ROOT_OF)
def test_nothing_on_the_share_is_writable_for_others(machines, share):
    root = ROOT_OF[share]
    # Only the owner gets into the builder's cache, so it does not matter what uv leaves open in it.
    assert machines.root("dev1", f"stat -c '%a %U' {root}/cache").strip() == "700 uvadmin"
    pruned = f"-path {root}/user-cache -prune -o -path {root}/cache -prune -o ! -type l"
    writable = f"find {root} {pruned} '(' ! -user uvadmin -o -perm /022 ')' -print"
    assert machines.root("dev1", writable) == ""


def test_people_cannot_use_the_builders_cache_by_mistake(machines):
    done = machines.as_user(
        "dev1",
        "alice",
        f"UV_CACHE_DIR=$UVNAS_ROOT/cache uv venv --python {machines.series} /mnt/nas-a/people/alice/wrong",
    )
    assert done.rc != 0
    assert "Permission denied" in done.stderr


def install(machines, user, share, *packages):
    """Install packages into a user's own environment, from a shell with the usual umask."""
    env = f"{ROOT_OF[share].removesuffix('/uv')}/people/{user}/own"
    machines.root("dev1", f"rm -rf {env}")
    done = machines.as_user(
        "dev1",
        user,
        f"umask 022; uvnas_use {share}; uv venv --quiet --python {machines.series} {env} && "
        f"uv pip install --python {env} {' '.join(packages)}",
    )
    assert done.rc == 0, done.stderr
    return env, done.stderr


@pytest.mark.parametrize("share", ROOT_OF)
def test_each_user_has_a_cache_of_their_own(machines, share):
    """Their uv makes it; no list of users is needed."""
    for user, other in (("alice", "bob"), ("bob", "alice")):
        env, printed = install(machines, user, share, "idna", "certifi")
        assert "Installed 2 packages" in printed
        cache = f"{ROOT_OF[share]}/user-cache/{user}"
        assert machines.root("dev1", f"stat -c %U {cache}").strip() == user
        if share == "nas_b":
            # The same file.
            module = f"{env}/lib/python{machines.series}/site-packages/idna/__init__.py"
            number = machines.root("dev1", f"stat -c %i {module}").strip()
            assert machines.root("dev1", f"find {cache} -inum {number}") != ""
        for attempt in (f"touch {cache}/mine", f"rmdir {cache}", f"mv {cache} {cache}.old"):
            assert machines.as_user("dev1", other, attempt).rc != 0


def test_packages_in_the_cache_need_no_network(machines):
    install(machines, "bob", "nas_b", "idna")
    done = machines.as_user(
        "dev1",
        "bob",
        f"uvnas_use nas_b; cd /mnt/nas-b/people/bob; rm -rf off; uv venv -q --python {machines.series} off && "
        "uv pip install --offline --python off idna",
    )
    assert done.rc == 0, done.stderr


@pytest.mark.parametrize("share", ROOT_OF)
def test_a_user_cannot_put_an_interpreter_on_the_share(machines, share):
    done = machines.as_user("dev1", "alice", f"uvnas_use {share}; uv venv --python 3.13 /tmp/none")
    assert done.rc != 0
    assert "3.13" in done.stderr


# Nothing of a share runs as root


HOSTILE = {"name": "hostile", "requirements": ["hostile"], "imports": ["hostile"], "shares": ["nas_a"]}
MEMBERS = ("dev1", "node-a1", "node-a2")


def hostile_wheel():
    """A package that records the user that imports it, in base64."""
    info = "hostile-1.0.dist-info"
    files = {
        "hostile.py": "import os\nopen(f'/tmp/hostile-{os.getuid()}-{os.getgid()}-{os.getgroups()}', 'w').close()\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: hostile\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    files[f"{info}/RECORD"] = "".join(f"{path},,\n" for path in [*files, f"{info}/RECORD"])
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as wheel:
        for path, text in files.items():
            wheel.writestr(path, text)
    return base64.b64encode(content.getvalue()).decode()


@pytest.fixture
def hostile(machines, state):
    """The variables of a site with an environment of that package, on a node that does not know the share's owner."""
    wheel = "/srv/hostile/hostile-1.0-py3-none-any.whl"
    machines.root("dev1", f"mkdir /srv/hostile && echo {hostile_wheel()} | base64 -d >{wheel}")
    machines.root("node-a2", "cp -p /etc/passwd /etc/passwd.all && sed -i /^uvadmin:/d /etc/passwd")
    yield {
        "uvnas_envs": [{**HOSTILE, "python": "{{ machines_python }}"}],
        "uvnas_index": {"find_links": ["/srv/hostile"], "offline": True},
    }
    machines.root("node-a2", "mv /etc/passwd.all /etc/passwd")
    machines.root("dev1", "rm -r /srv/hostile")
    for host in MEMBERS:
        machines.root(host, "rm -f /tmp/hostile-*")
    (state / "locks" / "hostile.txt").unlink(missing_ok=True)


def test_no_host_imports_packages_as_root(machines, site, hostile):
    done = site(**hostile)
    try:
        assert done.rc == 0, done.output
        for host in MEMBERS:
            # uvadmin and group research, by number, because node-a2 does not know the names.
            assert machines.root(host, "ls /tmp | grep ^hostile-") == "hostile-2000-2000-[2000]\n"
    finally:
        gone = site(**{**hostile, "uvnas_envs": [{"name": "hostile", "state": "absent"}]})
    assert gone.rc == 0, gone.output
