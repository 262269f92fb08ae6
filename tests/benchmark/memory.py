# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The memory of ansible-playbook including its forks."""

from __future__ import annotations

import contextlib
import os
import threading
import typing as t
from pathlib import Path

# Seconds. A fork of ansible-playbook lives for as long as a module runs, a few tenths of a second.
INTERVAL = 0.1


class Sampler:
    """Samples a process and its forks; ``peak`` is the most bytes that they had at one time.

    Sums proportional set sizes, because forks share most of their memory with their parent. Other commands that the
    process runs do not count: on a real site modules run on other hosts.
    """

    def __init__(self) -> None:
        self.peak = 0

    @contextlib.contextmanager
    def watch(self, pid: int) -> t.Iterator[None]:
        """Sample the process ``pid`` in the block."""
        ended = threading.Event()
        thread = threading.Thread(target=self._look, args=(pid, ended))
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def _look(self, pid: int, ended: threading.Event) -> None:
        while not ended.wait(INTERVAL):
            self.peak = max(self.peak, sum(_proportional(one) for one in [pid, *_forks(pid)]))


def _forks(pid: int) -> list[int]:
    """The children of ``pid`` that run the same program with the same arguments."""
    with contextlib.suppress(OSError):
        own = Path(f"/proc/{pid}/cmdline").read_bytes()
        children = [
            int(child)
            for task in os.listdir(f"/proc/{pid}/task")
            for child in Path(f"/proc/{pid}/task/{task}/children").read_text().split()
        ]
        return [child for child in children if _same(child, own)]
    return []


def _same(pid: int, cmdline: bytes) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes() == cmdline
    return False


def _proportional(pid: int) -> int:
    """The proportional set size of a process in bytes; 0 if it has ended."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
            if line.startswith("Pss:"):
                return int(line.split()[1]) * 1024
    return 0
