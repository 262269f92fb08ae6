# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Create and destroy the machines: cluster.py create|destroy

Both may run at any time, and repair what a killed run left. The last line is ``changed`` or ``unchanged``.
"""

from __future__ import annotations

import os
import subprocess
import sys

import container_engine
import filesystems
import hosts
import images


def create() -> bool:
    """Make all hosts run. Returns whether anything had to be done."""
    state = container_engine.state_directory()
    state.mkdir(parents=True, exist_ok=True)
    engine = container_engine.Engine(state)
    built = images.build_all(engine)
    done = [filesystem.mount(state) for filesystem in filesystems.FILESYSTEMS]
    hosts.write_keys(state)
    done += hosts.start(engine, built)
    version = images.take_python(engine, built[hosts.INTERPRETER_OF])
    container_engine.write_facts(state, {"version": version, "archive": str(state / images.PYTHON)})
    hosts.wait(engine)
    return any(done)


def destroy() -> bool:
    """Remove everything but images and the lock directory. Returns whether there was anything."""
    state = container_engine.state_directory()
    done = [hosts.remove(container_engine.Engine(state))]
    done += [filesystem.remove(state) for filesystem in filesystems.FILESYSTEMS]
    return any(done)


def main(action: str) -> int:
    if os.geteuid() != 0:
        print("Run this as root: it mounts filesystems and starts hosts.", file=sys.stderr)
        return 1
    try:
        changed = {"create": create, "destroy": destroy}[action]()
    except subprocess.CalledProcessError as error:
        print(f"{' '.join(map(str, error.cmd))}: exit code {error.returncode}\n{error.output}", file=sys.stderr)
        return 1
    except container_engine.MachinesError as error:
        print(error, file=sys.stderr)
        return 1
    print("changed" if changed else "unchanged")
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
