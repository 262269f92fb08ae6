# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Boot a kernel with NFS, and run pytest in it: boot.py [PYTEST ARGUMENT…]

Few machines that run tests have an NFS server and client in their kernel. Even then we leave that alone: tests stop the
server and cut off clients, and what hangs, or a failed test leaves behind, would affect the machine. User Mode Linux, a
Debian package, is a Linux kernel that runs as an ordinary process, without KVM. It sees a Debian made from packages in
a directory of this machine, and this checkout; it has no network. Needs root, because files in that directory have
various owners. Everything is prepared once, and kept in UVNAS_NFS_DIR (default: build/nfs).

Results go to build/results/nfs.xml, counts and measurements to nfs-counts.json beside it.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import platform
import shutil
import signal
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
STATE = Path(os.environ.get("UVNAS_NFS_DIR") or ROOT / "build" / "nfs").resolve()
RELEASE = "bookworm"
# Megabytes.
MEMORY = int(os.environ.get("UVNAS_NFS_MEMORY") or 3072)
# Seconds. All tests take a fraction of it.
LIMIT = float(os.environ.get("UVNAS_NFS_LIMIT") or 10800)
DEBIAN = (
    "binutils",
    "iproute2",
    "kmod",
    "nfs-common",
    "nfs-kernel-server",
    "procps",
    "python3",
    "python3-dev",
    "rpcbind",
    "strace",
    "util-linux",
)
# Packages of the tests' environments. Their wheels, and those of their dependencies, are downloaded beforehand.
PACKAGES = (
    "attrs",
    "charset-normalizer",
    "idna",
    "idna==3.10",
    "markupsafe",
    "matplotlib",
    "numpy",
    "pandas",
    "requests",
    "rich",
    "scikit-learn",
    "six==1.16.0",
    "six==1.17.0",
    "uv==0.13.9",
)


def main() -> int:
    if os.geteuid() != 0:
        print("Run this as root: the machine's files have various owners.", file=sys.stderr)
        return 1
    if platform.machine() != "x86_64" or not shutil.which("apt-get"):
        print("The NFS tests need Debian or Ubuntu on x86-64, for User Mode Linux.", file=sys.stderr)
        return 1
    STATE.mkdir(parents=True, exist_ok=True)
    kernel, root = have_kernel(), have_root()
    have_python_packages(root)
    have_wheels()
    return boot(kernel, root, sys.argv[1:])


def have_kernel() -> Path:
    """The kernel, unpacked from its package, with its modules beside it."""
    unpacked = STATE / "user-mode-linux"
    if not unpacked.is_dir():
        new = fresh(STATE / "user-mode-linux.new")
        run("apt-get", "update", "-qq")
        run("apt-get", "download", "-qq", "user-mode-linux", cwd=new)
        (package,) = new.glob("*.deb")
        run("dpkg", "--extract", package, new)
        new.rename(unpacked)
    return unpacked / "usr" / "bin" / "linux.uml"


def have_xstate() -> Path:
    """The library that lets the kernel run on the newest processors: see xstate.c."""
    source, library = HERE / "xstate.c", STATE / f"xstate-{digest((HERE / 'xstate.c').read_text())}.so"
    if not library.exists():
        run("cc", "-shared", "-fPIC", "-O2", "-Wall", "-Werror", "-o", library, source)
    return library


def have_root() -> Path:
    """The Debian that is the kernel's root directory."""
    root = STATE / f"root-{digest(RELEASE, *DEBIAN)}"
    if not root.is_dir():
        new = fresh(STATE / "root.new")
        archive = STATE / "root.tar"
        run(sys.executable, ROOT / "molecule" / "machines" / "debian.py", RELEASE, archive, *DEBIAN)
        run("tar", "--extract", "--file", archive, "--directory", new)
        archive.unlink()
        shutil.copytree(STATE / "user-mode-linux/usr/lib/uml/modules", new / "lib/modules", dirs_exist_ok=True)
        for name in ("checkout", "state", "export", "nas"):
            (new / name).mkdir()
        program = new / "usr" / "bin" / "ansible-playbook"
        program.write_text('#!/bin/sh\nexec python3 /opt/python/bin/ansible-playbook "$@"\n')
        program.chmod(0o755)
        new.rename(root)
    return root


def have_python_packages(root: Path) -> None:
    """ansible-core and pytest for the machine's Python, below /opt/python."""
    requirements = ROOT / "requirements" / "compat.txt"
    target = root / "opt" / "python"
    stamp = target / digest(requirements.read_text())
    if not stamp.exists():
        fresh(target)
        run(
            "uv", "pip", "install", "--quiet", "--require-hashes", "--only-binary", ":all:", "--python-version", "3.11",
            "--target", target, "--requirements", requirements,
        )  # fmt: skip
        # Otherwise every Ansible process would compile it.
        run("chroot", root, "python3", "-m", "compileall", "-q", "/opt/python")
        stamp.touch()


def have_wheels() -> None:
    """Wheels for the machine, which has no network."""
    wheels = STATE / f"wheels-{digest(*PACKAGES)}"
    if not wheels.is_dir():
        new = fresh(STATE / "wheels.new")
        # One by one: they are for different environments, which may need different versions.
        for package in PACKAGES:
            run(
                "uvx", "--quiet", "pip", "download", "--quiet", "--only-binary=:all:", "--python-version=3.11",
                f"--dest={new}", package,
            )  # fmt: skip
        new.rename(wheels)
    (STATE / "wheels").unlink(missing_ok=True)
    (STATE / "wheels").symlink_to(wheels.name)


def boot(kernel: Path, root: Path, arguments: list[str]) -> int:
    """Run pytest in the machine, and return its exit code."""
    if not any(Path(argument.partition("::")[0]).exists() for argument in arguments):
        arguments = [*arguments, "tests/nfs"]
    shutil.copy(HERE / "init.sh", root / "init.sh")
    (STATE / "arguments").write_text("".join(f"{argument}\0" for argument in arguments))
    (ROOT / "build" / "results").mkdir(parents=True, exist_ok=True)
    status = STATE / "status"
    status.unlink(missing_ok=True)
    command = [
        kernel, f"mem={MEMORY}M", "root=/dev/root", "rootfstype=hostfs", f"rootflags={root}", "rw", "init=/init.sh",
        f"checkout={ROOT}", f"state={STATE}", "con=null", "con0=fd:0,fd:1", "quiet",
    ]  # fmt: skip
    variables = {**os.environ, "TMPDIR": memory_directory(), "LD_PRELOAD": str(have_xstate())}
    machine = subprocess.Popen(command, stdin=subprocess.DEVNULL, env=variables, start_new_session=True)
    try:
        machine.wait(LIMIT)
    except subprocess.TimeoutExpired:
        print(f"The machine timed out after {LIMIT:g} s (UVNAS_NFS_LIMIT).", file=sys.stderr)
    finally:
        # Its processes are host processes, too.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(machine.pid, signal.SIGKILL)
    if not status.exists():
        print(
            "User Mode Linux did not finish the tests on this machine "
            f"(Linux {platform.release()}); see its output above. It needs ptrace() for root (a container may forbid "
            f"it: CAP_SYS_PTRACE, seccomp), and {MEMORY} MB of memory (UVNAS_NFS_MEMORY). The other tests do not need "
            "it: make lint test-unit test-sanity test-integration test-compat test-molecule.",
            file=sys.stderr,
        )
        return 1
    return int(status.read_text())


def memory_directory() -> str:
    """The directory for the file that is the machine's memory: in memory, if that has room."""
    room = os.statvfs("/dev/shm") if os.path.isdir("/dev/shm") else None
    if room and room.f_bavail * room.f_frsize > MEMORY << 20 and not room.f_flag & os.ST_NOEXEC:
        return "/dev/shm"
    return str(STATE)


def fresh(path: Path) -> Path:
    """An empty directory."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    return path


def digest(*words: str) -> str:
    return hashlib.sha256("\0".join(words).encode()).hexdigest()[:12]


def run(*command: str | Path, cwd: Path | None = None) -> None:
    path = f"{os.environ['PATH']}:/usr/sbin:/sbin"
    subprocess.run(command, check=True, cwd=cwd, env={**os.environ, "PATH": path, "DEBIAN_FRONTEND": "noninteractive"})


if __name__ == "__main__":
    sys.exit(main())
