# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""NASes that hang, for tests that run as root: FUSE filesystems whose daemon does not answer.

The kernel aborts a FUSE filesystem when its daemon ends. So whatever a test leaves waiting continues once the daemon is
killed, which happens when the tests end, however they end.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import os
import signal
import struct
import subprocess
import sys
import time
import typing as t
from pathlib import Path

# Seconds. A timeout for what takes a moment.
LIMIT = 60.0


def wait_until(condition: t.Callable[[], object], what: str) -> None:
    """Wait until ``condition`` holds."""
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, f"{what}: timed out after {LIMIT:g} s"
        time.sleep(0.01)


@dataclasses.dataclass(frozen=True)
class Nas:
    """A filesystem mounted at ``mount``, and its daemon."""

    mount: Path
    daemon: subprocess.Popen[bytes]

    def hang(self) -> None:
        """Stop answering. Processes that wait can be killed, as on NFS."""
        self.daemon.send_signal(signal.SIGSTOP)
        threads = Path(f"/proc/{self.daemon.pid}/task")
        wait_until(lambda: {state(path) for path in threads.iterdir()} == {"T"}, "to stop the daemon")

    def answer(self) -> None:
        """Answer again, including what was asked meanwhile."""
        self.daemon.send_signal(signal.SIGCONT)

    def end(self) -> None:
        """Release all waiting processes, and unmount. Idempotent."""
        self.daemon.kill()
        self.daemon.wait()
        subprocess.run(["umount", "--lazy", self.mount], check=False, stderr=subprocess.DEVNULL)


def state(process: Path) -> str:
    """The state of a process or thread in /proc; empty if it is gone."""
    with contextlib.suppress(OSError):
        return (process / "stat").read_text().rpartition(")")[2].split()[0]
    return ""


@contextlib.contextmanager
def stoppable(source: Path, mount: Path) -> t.Iterator[Nas]:
    """``source``, mounted at ``mount``, which answers until hang() is called."""
    with _running(["bindfs", "-f", str(source), str(mount)], mount) as nas:
        yield nas


@contextlib.contextmanager
def mute(mount: Path) -> t.Iterator[Nas]:
    """A filesystem at ``mount`` that takes all requests and answers none. Waiting processes cannot even be killed."""
    with _running([sys.executable, __file__, str(mount)], mount) as nas:
        yield nas


@contextlib.contextmanager
def _running(command: list[str], mount: Path) -> t.Iterator[Nas]:
    nas = Nas(mount, subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *command], stdin=subprocess.DEVNULL))
    try:
        # From the kernel, without touching the filesystem.
        wait_until(lambda: f" {mount} " in Path("/proc/self/mounts").read_text(), f"to mount {mount}")
        yield nas
    finally:
        nas.end()


def serve(mount: str) -> None:
    """Mount a FUSE filesystem, answer the kernel's INIT, and nothing more (linux/fuse.h)."""
    device = os.open("/dev/fuse", os.O_RDWR)
    options = f"fd={device},rootmode=40000,user_id=0,group_id=0,allow_other"
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mount(b"mute", os.fsencode(mount), b"fuse", ctypes.c_ulong(0), options.encode()) != 0:
        raise OSError(ctypes.get_errno(), "mount")
    _length, _opcode, unique = struct.unpack_from("<IIQ", os.read(device, 1 << 17))
    agreed = struct.pack("<IIIIHHIIHHI28x", 7, 31, 0, 0, 0, 0, 4096, 1, 1, 0, 0)
    os.write(device, struct.pack("<IiQ", 16 + len(agreed), 0, unique) + agreed)
    while os.read(device, 1 << 17):
        pass


if __name__ == "__main__":
    serve(sys.argv[1])
