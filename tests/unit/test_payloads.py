# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a converged host loads: a module's files are packed by the controller and compiled by the host, each time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
# What a module loads beside what AnsibleModule has loaded before: our own files, and what is Python's.
PROGRAM = """
import importlib, json, sys
sys.path.insert(0, sys.argv[1])
import ansible.module_utils.basic
before = set(sys.modules)
importlib.import_module("ansible_collections.uvnas.cluster.plugins.modules." + sys.argv[2])
loaded = [name for name in sys.modules if name not in before]
ours = "ansible_collections.uvnas.cluster."
files = {name: sys.modules[name].__file__ for name in loaded if name.startswith(ours)}
print(json.dumps([files, [name for name in loaded if not name.startswith("ansible_collections")]]))
"""
# Files and kB of ours, of what is started in each run: somewhat more than today. A new file may need more; half of what
# builds environments does not belong there.
LIMITS = {"uv_share": (104, 640), "uv_profile": (40, 185), "uv_env_info": (64, 340)}
# What takes ten milliseconds and more, and what of ours is for those who change something.
HEAVY = {
    "asyncio", "concurrent.futures", "email", "http.client", "multiprocessing", "pydoc", "sqlite3", "ssl", "tempfile",
    "tomllib", "unittest", "urllib.request", "xml.etree.ElementTree",
}  # fmt: skip
DOING = {
    "env.converge", "env.generation.build", "env.generation.install", "env.lock.converge",
    "env.lock.resolve", "uv.cache",
}  # fmt: skip


@pytest.mark.parametrize("module", LIMITS)
def test_what_a_converged_host_loads(module: str) -> None:
    command = [sys.executable, "-c", PROGRAM, ROOT / ".collections", module]
    files, others = json.loads(subprocess.check_output(command, text=True))
    prefix = "ansible_collections.uvnas.cluster.plugins.module_utils."
    assert DOING.isdisjoint(name.removeprefix(prefix) for name in files)
    assert HEAVY.isdisjoint(others)
    paths = [Path(path) for path in files.values() if path is not None]
    most_files, most_kb = LIMITS[module]
    assert len(paths) <= most_files
    assert sum(path.stat().st_size for path in paths) <= most_kb * 1000
