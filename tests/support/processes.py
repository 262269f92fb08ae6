# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes that tests wait for, talk to and kill."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
import typing as t
from pathlib import Path


@contextlib.contextmanager
def other_process(code: str, *args: object) -> t.Iterator[subprocess.Popen[str]]:
    """A Python process that runs ``code`` and has printed ``ready``."""
    process = subprocess.Popen(
        [sys.executable, "-c", f"import os, sys\n{code}", *map(str, args)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def wait_for(path: Path) -> None:
    """Wait until ``path`` exists, for a minute at most."""
    for _attempt in range(6000):
        if path.exists():
            return
        time.sleep(0.01)
    raise TimeoutError(f"{path.name}: timed out after 60 s")
