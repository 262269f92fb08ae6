# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is read from files and programs, locks, records, lists, addresses: damaged, it is an error that names it."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import json
import re
import socket
import typing as t
from unittest import mock

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.env.generation import build, needs
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock import file as locks
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.hashes import declared
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.plan import Kept
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.pylock import from_pylock
from ansible_collections.uvnas.cluster.plugins.module_utils.env.lock.resolve import for_platform
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import Sources
from ansible_collections.uvnas.cluster.plugins.module_utils.errors import UvnasError
from ansible_collections.uvnas.cluster.plugins.module_utils.host import checksum, mounts, secrets
from ansible_collections.uvnas.cluster.plugins.module_utils.host.platform import Platform
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed
from ansible_collections.uvnas.cluster.plugins.module_utils.host.secrets import has_credentials
from ansible_collections.uvnas.cluster.plugins.module_utils.python import install, pack
from ansible_collections.uvnas.cluster.plugins.module_utils.python.sources import Download, Downloads, parse_downloads
from ansible_collections.uvnas.cluster.plugins.module_utils.python.spec import parse_site_pythons
from ansible_collections.uvnas.cluster.plugins.module_utils.share import manifest
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.uv import cache, release, wheel
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Uv
from ansible_collections.uvnas.cluster.plugins.plugin_utils import download
from ansible_collections.uvnas.cluster.plugins.plugin_utils.requirements import Reader, logical_lines
from ansible_collections.uvnas.cluster.tests.support import shares
from ansible_collections.uvnas.cluster.tests.support.generated import damaged, damaged_bytes, damaged_text, outcome
from hypothesis import example, given
from hypothesis import strategies as st

importlib.import_module("ansible.module_utils.urls")  # It looks at the socket module when it is loaded.

attempt = functools.partial(outcome, UvnasError)
HEADER = json.dumps({"environment": "train", "format": 1, "python": "3.12", "spec": "5" * 64, "glibc": "2.31"})
LOCK = f"""\
# uvnas.cluster lock: {HEADER}
alpha==2.1 \\
    --hash=sha256:{"1" * 64} \\
    --hash=sha256:{"2" * 64}
    # via -r requirements.in
beta[extra1,extra2]==1!2.0.post1+local ; python_version >= "3.8" \\
    --hash=sha512:{"3" * 128}
gamma @ https://files.example.org/gamma-1.0-py3-none-any.whl \\
    --hash=sha256:{"4" * 64}
"""


def test_the_lock_is_one() -> None:
    assert len(locks.parse(LOCK, what="it").packages) == 3


@given(damaged_text(LOCK))
def test_locks(text: str) -> None:
    """What is taken for a lock holds nothing but pinned and hashed packages, however often it is written and read."""
    kept = locks.LockText(text, "the lock of train")
    assert isinstance(kept.digest, str)
    assert kept.spec_digest is None or isinstance(kept.spec_digest, str)
    assert isinstance(kept.all_versions, dict)
    assert isinstance(Kept.of(kept).as_dict(with_text=True), dict)
    assert isinstance(for_platform(text, python="3.12", glibc=None), str)
    lock = attempt(lambda: kept.lock, "the lock of train")
    if lock is None:
        return
    assert all(package.hashes for package in lock.packages)
    again = locks.render(lock.packages, environment="train", spec_digest="5" * 64, python="3.12")
    assert locks.parse(again, what="it").digest == lock.digest


REQUIREMENTS = (
    "six==1.16.0 ; python_version > '3' --hash=sha256:" + "1" * 64,
    "six[a] @ https://files.example.org/six-1.0.tar.gz#sha256=" + "1" * 64,
    "https://files.example.org/six.whl",
    "numpy>=2,<3",
    "-e git+ssh://git@example.org/x.git",
    "--extra-index-url=https://user:geheim@example.org/",
    "x @ file:///home/conda/feedstock_root/x/work",
)


@given(st.sampled_from(REQUIREMENTS).flatmap(damaged_text))
@example("a" * 50_000 + "\\")
@example("[" * 50_000)
@example("-" * 50_000)
@example("a @ " * 20_000)
@example("--hash=" * 20_000)
def test_lines_of_requirements(line: str) -> None:
    """What is taken is one line that is no option, and goes to uv as it is; what is not is told on one line."""
    reader = Reader()
    ((_name, text),) = reader.inline("requirements", [line])
    assert len(reader.problems) <= 1
    if reader.problems:
        assert len(reader.problems[0].splitlines()) == 1
        assert len(reader.problems[0]) < 1000
        return
    assert text == f"{line}\n"
    assert len(line.splitlines()) == 1
    assert line.strip()[0].isalnum()
    assert not has_credentials(line)
    declared(Sources(requirements=(("requirements.in", text),)))


@given(damaged_text("".join(f"{line}\n" for line in REQUIREMENTS[:4])))
def test_requirements_files_are_read_in_lines(text: str) -> None:
    lines = list(logical_lines(text))
    assert [number for number, _line in lines] == sorted({number for number, _line in lines})
    assert all(line and line == line.strip() for _number, line in lines)


PYLOCK: dict[str, t.Any] = {
    "lock-version": "1.0",
    "created-by": "uv",
    "requires-python": ">=3.9",
    "environments": ["sys_platform == 'linux'", "python_full_version >= '3.12.4'"],
    "dependency-groups": ["dev", "test"],
    "default-groups": ["test"],
    "extras": ["gpu"],
    "packages": [
        {
            "name": "alpha",
            "version": "2.1",
            "marker": "python_version >= '3.8' and ('dev' in dependency_groups or 'gpu' not in extras)",
            "requires-python": ">=3.12.2",
            "wheels": [{"url": "https://x/alpha.whl", "hashes": {"sha256": "1" * 64}}],
            "sdist": {"url": "https://x/alpha.tar.gz", "hashes": {"sha256": "2" * 64}},
        },
        {"name": "beta", "archive": {"url": "https://x/beta.whl", "hashes": {"sha256": "3" * 64}}},
        {"name": "gamma", "directory": {"path": "."}},
    ],
}


@given(damaged({**PYLOCK, "packages": PYLOCK["packages"][:2]}) | damaged(PYLOCK))
def test_pylock(data: t.Any) -> None:
    table = data if isinstance(data, dict) else {}

    def read() -> locks.Lock:
        text, _conditions = from_pylock(table, what="pylock.toml", python="3.12", groups=["dev"])
        return locks.parse(text, what="pylock.toml")

    attempt(read, "pylock.toml")


MANIFEST = shares.manifest(
    "train",
    "0123456789ab",
    platform={
        "arch": "x86_64",
        "libc": "gnu",
        "glibc": "2.31",
        "interpreter": "2.17",
        "packages": {"iniconfig": {"glibc": "2.31", "tag": "manylinux_2_31_x86_64"}},
    },
)


@given(damaged(MANIFEST))
def test_manifests(data: t.Any) -> None:
    """What counts as a manifest can be used as one."""
    name = "train/.uvnas.json"
    found = attempt(lambda: manifest.parse(data if isinstance(data, dict) else {}, name), name)
    if found is None:
        return
    text = json.dumps(found.as_dict())
    assert manifest.parse(json.loads(text), "it") == found
    host = Platform("x86_64", "gnu", "2.28")
    if needs.objection("train", found.platform, found.python.key, found.packages, host, "node1"):
        assert needs.advice(found.platform, host, "nas_a", None)
    assert isinstance(needs.other_libc(found.platform, Platform("x86_64", "musl", "1.2")), str)


MOUNTINFO = """\
22 28 0:21 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
28 1 254:1 / / rw,relatime shared:1 - ext4 /dev/vda1 rw,errors=remount-ro
95 28 0:45 / /mnt/nas\\040a rw,relatime shared:42 master:7 - nfs4 nas:/a rw,vers=4.2
96 28 0:46 /x /mnt/b rw,relatime - fuse.sshfs nas:/b rw
"""


@given(damaged_text(MOUNTINFO))
@example("36 35 98:0 /mnt1 /mnt2 rw - \n")
@example("x 35 98:0 /mnt1 /mnt2 rw - ext4 /dev/x rw\n")
def test_mounts(text: str) -> None:
    for found in mounts.parse_mountinfo(text):
        assert found.point
        assert found.type


def test_odd_characters_in_a_mount_point_do_not_end_its_line() -> None:
    """The kernel writes all characters of a path as they are, but for white space of ASCII and backslashes."""
    (found,) = mounts.parse_mountinfo("95 28 0:45 / /mnt/a\x0cb\x85c\xa0d\u2028e rw shared:42 - nfs4 nas:/a rw\n")
    assert (found.mount_id, found.point, found.type) == (95, "/mnt/a\x0cb\x85c\xa0d\u2028e", "nfs4")


class _Recorded:
    """A runner that gives one answer."""

    def __init__(self, stdout: str = "") -> None:
        self.answer = Completed(0, stdout, "")

    def run(self, cmd: t.Sequence[str], **_how: t.Any) -> Completed:
        return self.answer


DOWNLOADING = Downloads(Uv(Layout("/nowhere/share"), _Recorded()))
DOWNLOADS = [
    {
        "key": "cpython-3.12.4-linux-x86_64-gnu",
        "version": "3.12.4",
        "version_parts": {"major": 3, "minor": 12, "patch": 4},
        "path": None,
        "url": "https://downloads.example.org/20240713/cpython-3.12.4%2B20240713-x86_64-unknown-linux-gnu.tar.gz",
        "os": "linux",
    },
    {"key": "pypy-3.10.14-linux-x86_64-gnu", "url": "https://downloads.example.org/pypy.tar.bz2"},
]


@given(damaged(DOWNLOADS).map(json.dumps) | damaged_text(json.dumps(DOWNLOADS)))
def test_what_uv_offers(text: str) -> None:
    for one in (attempt(lambda: parse_downloads(text), "uv's list of interpreters") or {}).values():
        attempt(lambda one=one: one.file_name.encode(), "address")  # type: ignore[misc]
        attempt(lambda one=one: DOWNLOADING.origin(one).encode(), "address")  # type: ignore[misc]


ITSELF = {
    "version": "3.12.4",
    "freethreaded": False,
    "prefix": "/nowhere/share/python/cpython-3.12.4-linux-x86_64-gnu",
    "missing": ["ssl"],
    "mapped": ["/usr/lib/libc.so.6", "/opt/libfoo.so"],
    "headers": False,
}
INSTALLED = {
    "implementation": "cpython",
    "version": "3.12.4",
    "freethreaded": False,
    "prefix": "/usr",
    "exec_prefix": "/usr",
    "executable": "/usr/bin/python3.12",
    "stdlib": "/usr/lib/python3.12",
    "include": "/usr/include/python3.12",
    "lib_name": "lib",
    "library": None,
    "library_dir": "/usr/lib",
    "multiarch": "x86_64-linux-gnu",
    "sysconfigdata": "_sysconfigdata__linux_x86_64-linux-gnu.py",
}


@given(damaged(ITSELF).map(json.dumps) | damaged_text(json.dumps(ITSELF)))
def test_what_a_new_interpreter_says_of_itself(text: str) -> None:
    key = "cpython-3.12.4-linux-x86_64-gnu"
    installer = install.Installer(Layout("/nowhere/share"), _Recorded(text), False)
    attempt(lambda: "".join(installer._check_itself(key)), key)


@given(damaged(INSTALLED).map(json.dumps) | damaged_text(json.dumps(INSTALLED)))
def test_what_an_installed_interpreter_says_of_itself(text: str) -> None:
    (site,) = parse_site_pythons([{"name": "debian", "version": "3.12.4", "prefix": "/usr"}])
    with mock.patch("os.path.exists", return_value=True):
        attempt(lambda: pack.ask(site, "/usr", Platform("x86_64", "gnu"), _Recorded(text)), "debian")


DATA = """\
# system configuration generated and used by the sysconfig module
build_time_vars = {'ABIFLAGS': '',
 'LIBPL': '/usr/lib/python3.12/config-3.12-x86_64-linux-gnu',
 'LDFLAGS': '-L/opt/python/lib -Wl,-rpath=/opt/python/lib',
 'Py_DEBUG': 0}
"""


@given(damaged_text(DATA))
@example("build_time_vars = " + "(" * 150 + ")" * 150)
@example("")
def test_build_time_variables(text: str) -> None:
    installed = pack.Installed(**{**INSTALLED, "prefix": "/opt/python"})  # type: ignore[arg-type]
    attempt(
        lambda: pack._sysconfigdata(text, installed, "3.12").encode(errors="surrogateescape"), installed.sysconfigdata
    )


URLS = (
    "https://user:secret@index.example.org:8443/simple/a?b=c#d",
    "https://token@[::1]:80/x",
    "git+ssh://git@host/x",
    "file:///srv/mirror",
)


@given(st.sampled_from(URLS).flatmap(damaged_text))
@example("http://[")
@example("http://host:99999/")
@example("http:///")
@example("https//user:secret@index.example.org:8443/simple/a?b=c#d")
def test_addresses(tmp_path_factory: pytest.TempPathFactory, url: str) -> None:
    assert isinstance(secrets.scrub(url), str)
    assert isinstance(secrets.shown(url), str)
    assert all(secrets.in_url(url)) or not secrets.has_credentials(url)
    directory = str(tmp_path_factory.getbasetemp())
    machine, one = Platform("x86_64", "gnu"), Download("cpython-3.12.4-linux-x86_64-gnu", url)
    with mock.patch.object(socket, "getaddrinfo", side_effect=socket.gaierror("no network")):
        for work in (
            lambda: download.ReleaseSource(url, "0.13.9", machine).fetch(directory),
            lambda: download.UrlSource(url, "0" * 64).fetch(directory),
            lambda: dataclasses.replace(DOWNLOADING, mirror=url).origin(one),
            lambda: one.file_name,
        ):
            try:
                work()
            except UvnasError as error:
                # With a slash in it, it is none, as far as anybody can tell; nor is what comes after a space.
                login = url.partition("://")[2].lstrip("/").partition("secret@")[0]
                assert "secret@" not in error.explain() or re.search(r"[/\s]", login)  # noqa: PT017


CHECKSUMS = f"{'1' * 64}  uv-x86_64.tar.gz\n{'2' * 64} *uv-aarch64.tar.gz\n"


@given(damaged_text(CHECKSUMS))
@example(f"{'1' * 64}{' ' * 50000}x\0")
def test_checksum_files(text: str) -> None:
    found = attempt(lambda: checksum.parse_checksum(text, "uv-aarch64.tar.gz"), "uv-aarch64.tar.gz")
    assert found is None or len(found) == 64


RECORD = b"""\
alpha/__init__.py,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0
alpha/core.so,sha256=47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU,0
../../../bin/alpha,,
"alpha,b",,
alpha-2.1.dist-info/RECORD,,
"""
WHEEL = b"Wheel-Version: 1.0\nRoot-Is-Purelib: false\nTag: cp312-cp312-manylinux_2_31_x86_64.manylinux2014_x86_64\n"


@given(damaged_bytes(RECORD) | damaged_text(RECORD.decode()).map(lambda text: text.encode(errors="replace")))
@example(b"/dev/zero,,\n")
@example(b"alpha,,\n")
@example(b"alpha/core.so/x,,\n")
@example(b"a\0b,,\n")
@example(b"x" * 5000 + b",,\n")
def test_records_of_packages(tmp_path_factory: pytest.TempPathFactory, record: bytes) -> None:
    directory = tmp_path_factory.getbasetemp() / "site-packages"
    info = directory / "alpha-2.1.dist-info"
    if not info.exists():
        info.mkdir(parents=True)
        (directory / "alpha").mkdir()
        (directory / "alpha" / "core.so").write_bytes(b"\x7fELF\x02\x01")
    (info / "RECORD").write_bytes(record)
    found = needs.scan(str(directory), "/nowhere/bin/python3.12", "cpython-3.12.4-linux-x86_64-gnu")
    assert found.glibc == "2.17"


@given(damaged_bytes(WHEEL) | damaged_text(WHEEL.decode()).map(lambda text: text.encode(errors="replace")))
@example(b"Tag: py3-none-manylinux_2_" + b"9" * 5000 + b"_x86_64\n")
def test_tags_of_wheels(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    directory = tmp_path_factory.getbasetemp() / "tags"
    info = directory / "alpha-2.1.dist-info"
    info.mkdir(parents=True, exist_ok=True)
    (info / "WHEEL").write_bytes(content)
    found = needs.scan(str(directory), "/nowhere/bin/python3.12", "cpython-3.12.4-linux-x86_64-gnu")
    assert json.loads(json.dumps(found.as_dict()))["arch"] == "x86_64"
    needs.objection("train", found, "key", {}, Platform("x86_64", "gnu", "2.28"), "node1")


@given(
    st.lists(st.sampled_from(("alpha-2.1.dist-info", "foo.dist-info", ".dist-info", "-.dist-info", "a-1-2.dist-info")))
)
def test_names_of_metadata_directories(tmp_path_factory: pytest.TempPathFactory, names: list[str]) -> None:
    directory = tmp_path_factory.mktemp("names-1.0")
    for name in names:
        (directory / name).mkdir(exist_ok=True)
    for name, version in wheel.installed_packages(str(directory)).items():
        assert "/" not in name + version


@given(damaged_bytes(RECORD))
def test_records_in_a_cache(tmp_path_factory: pytest.TempPathFactory, record: bytes) -> None:
    """What another share's cache has is taken as far as its RECORD vouches for it, or left alone."""
    directory = tmp_path_factory.mktemp("caches")
    info = directory / "one" / "archive-v0" / "abc" / "alpha-2.1.dist-info"
    info.mkdir(parents=True)
    (info / "RECORD").write_bytes(record)
    link = directory / "one" / "wheels-v5" / "pypi" / "alpha" / "2.1-py3-none-any"
    link.parent.mkdir(parents=True)
    link.symlink_to("../../../archive-v0/abc")
    (directory / "two").mkdir()
    assert cache.borrow(str(directory / "one"), str(directory / "two"), {"alpha": "2.1"}, "3.12") in (True, False)


PYVENV = "home = {home}\nimplementation = CPython\nversion_info = 3.12.4\ninclude-system-site-packages = false\n"


@given(damaged_text(PYVENV).map(lambda text: text.encode(errors="surrogatepass")) | damaged_bytes(PYVENV.encode()))
def test_pyvenv_cfg(tmp_path_factory: pytest.TempPathFactory, content: bytes) -> None:
    root = tmp_path_factory.getbasetemp()
    layout, env = Layout(str(root)), root / "train"
    home = root / "python" / shares.KEY / "bin"
    if not env.exists():
        (env / "bin").mkdir(parents=True)
        home.mkdir(parents=True)
        (env / "bin" / "python").symlink_to(home / "python3.12")
    (env / "pyvenv.cfg").write_bytes(content.replace(b"{home}", bytes(home)))
    what = mock.MagicMock()
    what.spec.name, what.interpreter.minor, what.ingredients.interpreter_key = "train", "3.12", shares.KEY
    attempt(lambda: build._check_interpreter(layout, what, str(env)), "train")


@given(damaged_text("uv 0.13.9 (x86_64-unknown-linux-gnu)\n"))
def test_the_version_of_uv(text: str) -> None:
    assert isinstance(release.reported_version(text), str)
