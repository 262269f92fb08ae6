# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The role uv and the module uv_binary, by ansible-playbook, with real releases from the configured package index."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import hashlib
import http.server
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import typing as t
import zipfile
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent
MACHINE = platform.machine()
OTHER_MACHINE = {"x86_64": "aarch64", "aarch64": "x86_64"}[MACHINE]
IS_ROOT = os.geteuid() == 0
# The first result of a task, as the default callback prints it at -v.
RESULT = re.compile(r"^(?P<status>ok|changed|failed|fatal): \[(?P<host>\S+?)\].* => (?P<data>\{.*\})$", re.MULTILINE)


@dataclasses.dataclass
class Run:
    """How an ansible-playbook ended."""

    rc: int
    output: str

    @property
    def results(self) -> list[dict[str, t.Any]]:
        """What uv_binary returned, for one place after the other."""
        found = [json.loads(match["data"]) for match in RESULT.finditer(self.output)]
        return [data for data in found if "validate_args_context" not in data and "work" not in data]

    @property
    def result(self) -> dict[str, t.Any]:
        assert len(self.results) == 1, self.output
        return self.results[0]


@dataclasses.dataclass
class Site:
    """A directory for one test, and plays in it."""

    path: Path
    downloads: Path
    hosts: tuple[str, ...] = ("builder",)
    environment: dict[str, str] = dataclasses.field(default_factory=dict)
    # What ansible-playbook is run by, such as strace.
    wrapper: tuple[str, ...] = ()

    @property
    def share(self) -> Path:
        return self.path / "share"

    @property
    def bin(self) -> Path:
        return self.path / "local" / "bin"

    def start(self, play: dict[str, t.Any], *options: str) -> subprocess.Popen[str]:
        """Start a play with the given tasks or roles; the variables are those of an inventory."""
        inventory = self.path / "inventory.yml"
        common = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        inventory.write_text(yaml.safe_dump({"all": {"hosts": dict.fromkeys(self.hosts), "vars": common}}))
        playbook = self.path / f"{hashlib.sha256(repr(play).encode()).hexdigest()[:8]}.yml"
        playbook.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, **play}]))
        environment = {
            **os.environ,
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_COLLECTIONS_PATH": str(ROOT / ".collections"),
            "ANSIBLE_REMOTE_TMP": str(self.path / "tmp"),
            "ANSIBLE_NOCOLOR": "1",
            "ANSIBLE_CALLBACK_RESULT_FORMAT": "json",
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
            **self.environment,
        }
        cmd = [*self.wrapper, BIN / "ansible-playbook", "-v", "-i", inventory, playbook, *options]
        return subprocess.Popen(
            cmd, cwd=self.path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def run(self, play: dict[str, t.Any], *options: str) -> Run:
        return finish(self.start(play, *options))

    def role(self, *options: str, **variables: t.Any) -> Run:
        wanted = {"uvnas_uv_download_dir": str(self.downloads), **variables}
        return self.run({"roles": ["uvnas.cluster.uv"], "vars": wanted}, *options)

    def play(self, version: str, **args: t.Any) -> dict[str, t.Any]:
        args = {"bin_dir": str(self.bin), "version": version, "download_dir": str(self.downloads), **args}
        return {"tasks": [{"uvnas.cluster.uv_binary": args}]}

    def install(self, version: str, *options: str, **args: t.Any) -> Run:
        return self.run(self.play(version, **args), *options)

    def version(self, program: str = "uv") -> str:
        said = subprocess.check_output([self.bin / program, "--version"], text=True)
        return said.split()[1]

    def nothing_is_installed(self) -> bool:
        versions = self.path / "local" / "lib" / "uv"
        return not self.bin.exists() and {path.name for path in versions.glob("*")} <= {".uvnas.mutex"}


def finish(process: subprocess.Popen[str]) -> Run:
    output, _nothing = process.communicate()
    return Run(process.returncode, output)


@pytest.fixture(scope="module")
def downloads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Downloads for all tests, so that each version is downloaded once."""
    return tmp_path_factory.mktemp("downloads")


@pytest.fixture
def site(tmp_path: Path, downloads: Path) -> Site:
    share = tmp_path / "share"
    share.mkdir()
    (share / "share.json").write_text('{"layout": 1, "name": "nas_a", "id": "2a3b"}')
    return Site(tmp_path, downloads)


@pytest.fixture(scope="module")
def wheel(downloads: Path, tmp_path_factory: pytest.TempPathFactory) -> t.Callable[[str], Path]:
    """Real wheels of uv for this machine, by version."""

    @functools.cache
    def wheel(version: str) -> Path:
        result = Site(tmp_path_factory.mktemp("wheel"), downloads).install(version).result
        return downloads / f"{result['archive']['sha256']}-{result['archive']['name']}"

    return wheel


class Server:
    """Serves a directory on this machine, and knows what was asked for."""

    def __init__(self, directory: Path) -> None:
        self.requests: list[str] = []
        outer = self

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.requests.append(self.path)
                super().do_GET()

            def log_message(self, *_args: t.Any) -> None:
                pass

        handler = functools.partial(Handler, directory=str(directory))
        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"127.0.0.1:{self._server.server_port}"

    @contextlib.contextmanager
    def running(self) -> t.Iterator[Server]:
        thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


@pytest.fixture
def server(tmp_path: Path) -> t.Iterator[Server]:
    directory = tmp_path / "served"
    directory.mkdir()
    with Server(directory).running() as running:
        yield running


def release_from(wheel: Path, directory: Path, version: str) -> Path:
    """The release's archive and its checksum file, made of the programs in a wheel."""
    name = f"uv-{MACHINE}-unknown-linux-gnu"
    archive = directory / version / f"{name}.tar.gz"
    archive.parent.mkdir(parents=True)
    with zipfile.ZipFile(wheel) as source, tarfile.open(archive, "w:gz", compresslevel=1) as tar:
        for program in ("uv", "uvx"):
            content = source.read(f"uv-{version}.data/scripts/{program}")
            info = tarfile.TarInfo(f"{name}/{program}")
            info.size, info.mode = len(content), 0o755
            tar.addfile(info, io.BytesIO(content))
    Path(f"{archive}.sha256").write_text(f"{digest(archive)} *{archive.name}\n")
    return archive


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def what_is_in(directory: Path) -> dict[str, tuple[int, int]]:
    """Every name below a directory, and what changes when it is written to."""
    return {str(path): (path.lstat().st_ino, path.lstat().st_ctime_ns) for path in directory.rglob("*")}


@pytest.mark.compat
def test_the_role_from_nothing_then_nothing(site: Site, server: Server) -> None:
    site.hosts = ("builder", "somebody-else")
    variables = {
        "uvnas_shares": [
            {"name": "nas_a", "root": str(site.share), "builder": "builder"},
            {"name": "nas_b", "root": str(site.path / "not-mine"), "builder": "somebody-else"},
        ],
        "uvnas_uv_local_dirs": [str(site.bin)],
    }
    predicted = site.role("--limit", "builder", "--check", **variables)
    assert [result["changed"] for result in predicted.results] == [True, True]
    assert sorted(path.name for path in site.share.iterdir()) == ["share.json"]
    assert not site.bin.exists()

    done = site.role("--limit", "builder", "--diff", **variables)
    assert done.rc == 0, done.output
    assert [result["actions"] for result in done.results] == [result["actions"] for result in predicted.results]
    assert f"{site.share}/bin: uv (none) -> 0.13.9" in done.output
    assert done.results[1]["archive"]["downloaded"] is False  # It was, for the share.
    for directory in (site.share / "bin", site.bin):
        for program in ("uv", "uvx"):
            assert os.readlink(directory / program) == f"../lib/uv/0.13.9/{program}"
            said = subprocess.check_output([directory / program, "--version"], text=True)
            assert said.split()[:2] == [program, "0.13.9"]
    assert not any((site.path / "tmp").iterdir())

    # Again, with nothing downloaded yet as far as the controller knows, and only a server that would notice.
    before = what_is_in(site.share) | what_is_in(site.path / "local")
    site.environment = {"PIP_INDEX_URL": f"http://{server.address}/simple", "PIP_CONFIG_FILE": os.devnull}
    again = site.role("--limit", "builder", "-vvv", **variables, uvnas_uv_download_dir=str(site.path / "unused"))
    assert "changed=0" in again.output
    assert what_is_in(site.share) | what_is_in(site.path / "local") == before
    assert server.requests == []
    assert not (site.path / "unused").exists()
    # Once for the share, once for the local directory.
    assert len(re.findall(r"EXEC .*python\S* \S+/AnsiballZ_uv_binary\.py", again.output)) == 2


@pytest.mark.compat
def test_up_and_down_while_uv_is_running(site: Site) -> None:
    assert site.install("0.8.2").result["previous_version"] is None
    # Reads requirements until its standard input ends.
    cmd = [site.bin / "uv", "pip", "compile", "--quiet", "--offline", "--no-config", "--python", sys.executable, "-"]
    running = subprocess.Popen(cmd, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    up = site.install("0.8.22", "--diff")
    assert (up.result["changed"], up.result["previous_version"], site.version()) == (True, "0.8.2", "0.8.22")
    assert f"{site.bin}: uv 0.8.2 -> 0.8.22\n" in up.output

    predicted = site.install("0.8.2", "--check", "--diff")
    assert site.version() == "0.8.22"
    down = site.install("0.8.2", "--diff")
    for run in (predicted, down):
        assert f"{site.bin}: uv 0.8.22 -> 0.8.2\n" in run.output
    assert down.result == predicted.result
    assert (down.result["actions"], site.version("uv"), site.version("uvx")) == (
        ["link uv to 0.8.2", "link uvx to 0.8.2"],
        "0.8.2",
        "0.8.2",
    )
    assert sorted(path.name for path in (site.path / "local" / "lib" / "uv").glob("[0-9]*")) == ["0.8.2", "0.8.22"]
    out, _nothing = running.communicate("")
    assert running.returncode == 0, out


def test_one_download_for_many_hosts(site: Site) -> None:
    site.hosts = ("one", "two", "three", "four")
    play = site.play(
        "0.8.2", bin_dir=f"{site.path}/{{{{ inventory_hostname }}}}/bin", download_dir=str(site.path / "new")
    )
    run = site.run(play, "--forks=4")
    assert run.rc == 0, run.output
    assert sorted(result["archive"]["downloaded"] for result in run.results) == [False, False, False, True]
    for host in site.hosts:
        assert subprocess.check_output([site.path / host / "bin" / "uv", "--version"]).startswith(b"uv 0.8.2")


def test_two_at_once_on_the_same_directory(site: Site, wheel: t.Callable[[str], Path]) -> None:
    wheel("0.8.2")
    started = [site.start(site.play("0.8.2")) for _number in range(2)]
    runs = [finish(process) for process in started]
    assert [run.rc for run in runs] == [0, 0], runs
    assert sorted([*{run.result["previous_version"] for run in runs}, None], key=str)[-1] is None
    assert site.version() == "0.8.2"
    assert site.install("0.8.2").result["changed"] is False
    assert sorted(os.listdir(site.path / "local" / "lib" / "uv")) == [".uvnas.mutex", "0.8.2"]


@pytest.mark.parametrize("operation", ["fchmod", "symlink"])
def test_a_module_killed_in_the_middle(site: Site, wheel: t.Callable[[str], Path], operation: str) -> None:
    """While it writes the program, and between the new version and its links. The next run heals."""
    wheel("0.8.2")
    wheel("0.8.22")
    site.install("0.8.2")
    site.wrapper = ("strace", "-f", "-o", str(site.path / "trace"))
    site.wrapper += ("-e", f"trace=/^{operation}(at)?$", "-e", f"inject=/^{operation}(at)?$:signal=KILL:when=1")
    killed = site.install("0.8.22")
    assert killed.rc == 2, killed.output
    assert "SIGKILL" in (site.path / "trace").read_text()
    assert site.version() == "0.8.2"

    site.wrapper = ()
    healed = site.install("0.8.22").result
    assert (healed["changed"], healed["previous_version"], site.version()) == (True, "0.8.2", "0.8.22")
    assert ("archive" in healed) is (operation == "fchmod")
    assert sorted(os.listdir(site.path / "local" / "lib" / "uv")) == [".uvnas.mutex", "0.8.2", "0.8.22"]
    assert sorted(os.listdir(site.bin)) == ["uv", "uvx"]


def test_a_mirror_of_releases(site: Site, server: Server, wheel: t.Callable[[str], Path]) -> None:
    archive = release_from(wheel("0.8.2"), site.path / "served" / "mirror", "0.8.2")
    new = {
        "uvnas_uv_version": "0.8.2",
        "uvnas_uv_source": "release",
        "uvnas_uv_release_url": f"http://alice:s3cr3t@{server.address}/mirror/?token=t0k3n",
        "uvnas_uv_local_dirs": [str(site.bin)],
        "uvnas_uv_download_dir": str(site.path / "new"),
    }
    done = site.role("-vvvv", "--diff", **new)
    assert (done.rc, site.version()) == (0, "0.8.2"), done.output
    assert [path.partition("?")[0] for path in server.requests] == [
        f"/mirror/0.8.2/{archive.name}.sha256",
        f"/mirror/0.8.2/{archive.name}",
    ]
    shutil.rmtree(site.path / "local")
    assert site.role(**new).result["archive"] == {"name": archive.name, "sha256": digest(archive), "downloaded": False}
    assert len(server.requests) == 2

    # One bit, in the file that is kept and in the one that is served.
    shutil.rmtree(site.path / "local")
    for path in (archive, next((site.path / "new").glob("*.tar.gz"))):
        with path.open("r+b") as file:
            file.seek(1000)
            flipped = bytes([file.read(1)[0] ^ 1])
            file.seek(1000)
            file.write(flipped)
    failed = site.role("-vvvv", "--diff", **new)
    assert failed.rc == 2
    assert f"the checksum of http://****@{server.address}/mirror/0.8.2/{archive.name}?**** is wrong" in failed.output
    missing = site.role("-vvvv", **{**new, "uvnas_uv_version": "9.9.9"})
    assert (
        f"cannot download http://****@{server.address}/mirror/9.9.9/{archive.name}.sha256?****: HTTP Error 404"
        in missing.output
    )
    assert site.nothing_is_installed()
    for run in (done, failed, missing):
        assert "s3cr3t" not in run.output
        assert "t0k3n" not in run.output


def test_an_archive_of_ones_own(site: Site, server: Server, wheel: t.Callable[[str], Path]) -> None:
    """A wheel beside the inventory, then the archive of a release at an address."""
    (site.path / "files").mkdir()
    shutil.copy(wheel("0.8.2"), site.path / "files" / "uv.whl")
    common = {"uvnas_uv_source": "archive", "uvnas_uv_local_dirs": [str(site.bin)]}
    given = {"path": "files/uv.whl", "sha256": digest(wheel("0.8.2")).upper()}
    done = site.role(**common, uvnas_uv_version="0.8.2", uvnas_uv_archive=given)
    assert (done.rc, site.version()) == (0, "0.8.2"), done.output
    assert done.result["archive"]["downloaded"] is False

    archive = release_from(wheel("0.8.22"), site.path / "served", "0.8.22")
    given = {"url": f"http://{server.address}/0.8.22/{archive.name}?token=t0k3n", "sha256": digest(archive)}
    done = site.role("-vvv", **common, uvnas_uv_version="0.8.22", uvnas_uv_archive=given)
    assert (done.rc, site.version()) == (0, "0.8.22"), done.output
    assert "t0k3n" not in done.output
    assert len(server.requests) == 1

    # Another version than the one asked for: its beginning is the same.
    os.unlink(site.path / "local" / "lib" / "uv" / "0.8.2" / "uv")
    failed = site.role(**common, uvnas_uv_version="0.8.2", uvnas_uv_archive=given)
    assert "the archive has uv 0.8.22, not 0.8.2" in failed.output
    assert site.version() == "0.8.22"


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"source": "archive"}, "source is archive, but no archive is given"),
        ({"source": "archive", "archive": "https://example.org/uv.whl"}, "an archive from a URL needs its checksum"),
        ({"source": "archive", "archive": "no-such.whl"}, "no-such.whl"),
        ({"source": "archive", "archive": "wheel", "sha256": "0" * 64}, "the checksum of uv-0.8.2-.* is wrong"),
        ({"source": "archive", "archive": "text"}, "cannot read the archive of uv"),
        ({"sha256": "0" * 64}, "the checksum of uv-0.8.2-.* is wrong"),
        ({"sha256": "0123"}, "'0123' is not a sha256 checksum"),
        ({"source": "web"}, "value of source must be one of: index, release, archive, got: web"),
        ({"version": "0.8"}, "'0.8' is not an exact version of uv"),
        ({"version": "9.9.9"}, "pip on the controller cannot download uv 9.9.9"),
        ({"bindir": "/usr/local/bin"}, "Unsupported parameters for .*: bindir"),
    ],
)
def test_what_cannot_be_meant_or_had(
    site: Site, wheel: t.Callable[[str], Path], args: dict[str, str], message: str
) -> None:
    if args.get("archive") == "wheel":
        args = {**args, "archive": shutil.copy(wheel("0.8.2"), str(site.path / "uv-0.8.2-any.whl"))}
    if args.get("archive") == "text":
        (site.path / "text").write_text("<html>Log in</html>")
        args = {**args, "archive": str(site.path / "text")}
    failed = site.install(**{"version": "0.8.2", **args})
    assert failed.rc == 2
    assert re.search(message, failed.output), failed.output
    assert "Traceback" not in failed.output
    assert site.nothing_is_installed()


def test_a_wheel_for_another_machine(site: Site, wheel: t.Callable[[str], Path]) -> None:
    site.install("0.8.2")
    cmd = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        f"--dest={site.path}",
    ]
    subprocess.run([*cmd, f"--platform=manylinux_2_17_{OTHER_MACHINE}", "uv==0.8.22"], check=True)
    (other,) = site.path.glob("uv-0.8.22-*.whl")
    failed = site.install("0.8.22", source="archive", archive=str(other))
    assert "uv 0.8.22 from this archive does not run on this machine: Exec format error" in failed.output
    assert "It was built for another kind of machine." in failed.output
    assert site.version() == "0.8.2"
    assert sorted(os.listdir(site.path / "local" / "lib" / "uv")) == [".uvnas.mutex", "0.8.2"]


def test_a_uv_that_somebody_else_put_there(site: Site) -> None:
    site.bin.mkdir(parents=True)
    (site.bin / "uv").write_text("mine")
    for options in (["--check"], []):
        failed = site.install("0.8.2", *options, download_dir=str(site.path / "unused"))
        assert f"{site.bin}/uv is not a symlink" in failed.output
    assert (site.bin / "uv").read_text() == "mine"
    assert [path.name for path in (site.path / "local").rglob("*")] == ["bin", "uv"]
    assert not (site.path / "unused").exists()


def test_a_directory_that_cannot_be_written_to(site: Site) -> None:
    """Known before anything is downloaded, and in check mode too."""
    directory = site.path / "local"
    directory.mkdir()
    message = f"Read-only file system: {directory}"
    if IS_ROOT:
        mount = 'mount -t tmpfs -o ro none "$0" && exec "$@"'
        site.wrapper = ("unshare", "--mount", "sh", "-c", mount, str(directory))
    else:
        directory.chmod(0o555)
        message = f"Permission denied: {directory}"
    for options in (["--check"], []):
        failed = site.install("0.8.2", *options, download_dir=str(site.path / "unused"))
        assert message in failed.output
    assert not (site.path / "unused").exists()


def usable_by_others(python: str) -> bool:
    done = subprocess.run(["sudo", "-u", "nobody", python, "-c", ""], cwd="/", check=False, capture_output=True)
    return done.returncode == 0


def test_as_the_owner_who_is_not_root(site: Site, wheel: t.Callable[[str], Path]) -> None:
    """As root: a share that belongs to somebody else, and a directory as a user who is become. Else: as who we are."""
    wheel("0.8.2")
    owner, become = site.path.owner(), {}
    (site.path / "local").mkdir()
    if IS_ROOT:
        owner = "nobody"
        python = next(path for path in (sys.executable, "/usr/bin/python3") if usable_by_others(path))
        become = {"become": True, "become_user": owner, "vars": {"ansible_python_interpreter": python}}
        for path in (site.share, site.share / "share.json", site.path / "local"):
            shutil.chown(path, owner)
        for path in (site.path, *[*site.path.parents][:2]):  # pytest keeps them to this user.
            path.chmod(0o711)
        (site.path / "tmp").mkdir()
        (site.path / "tmp").chmod(0o1777)  # Both users keep their temporary files there.
    tasks = {
        "share": {
            "share": str(site.share),
            "share_name": "nas_a",
            "owner": owner,
            "version": "0.8.2",
            "download_dir": str(site.downloads),
        },
        "local": {"bin_dir": str(site.bin), "version": "0.8.2", "download_dir": str(site.downloads)},
    }
    play = {
        "tasks": [
            {"uvnas.cluster.uv_binary": tasks["share"]},
            {"uvnas.cluster.uv_binary": tasks["local"], **become},
        ]
    }
    done = site.run(play)
    assert done.rc == 0, done.output
    assert [result["changed"] for result in done.results] == [True, True]
    for directory in (site.share, site.path / "local"):
        assert {path.owner() for path in directory.rglob("*")} == {owner}
    assert [result["changed"] for result in site.run(play).results] == [False, False]
