# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Shares that are damaged at random, verified as their owner and repaired by uv_repair, and what must hold then."""

from __future__ import annotations

import dataclasses
import json
import random
import stat
import subprocess
import sys
import typing as t
from pathlib import Path

from ansible_collections.uvnas.cluster.tests.support import labs
from ansible_collections.uvnas.cluster.tests.support.damages import Damage, State, do_damage
from ansible_collections.uvnas.cluster.tests.support.pythons import owner
from ansible_collections.uvnas.cluster.tests.support.sites import ROOT

# Where trees are, for those whose names do not say it.
_BELOW = {"generation": "generations", "interpreter": "python", "uv": "lib/uv"}
# uv, which uv_binary repairs, and the archives that interpreters are repaired from.
_ALONE = ("lib", "python-archives")
# Verifies a share as the owner of its root, and prints all that is damaged, however much it is.
VERIFY = """
import importlib, json, os, sys
root, collections = sys.argv[1:]
sys.path.insert(0, collections)
converge, layout, spec = (
    importlib.import_module(f"ansible_collections.uvnas.cluster.plugins.module_utils.{name}")
    for name in ("env.repair.converge", "share.layout", "share.spec")
)
status = os.stat(root)
if os.geteuid() == 0:
    os.setgroups([]); os.setgid(status.st_gid); os.setuid(status.st_uid)
converge._SHOWN = 1 << 30
with open(root + "/share.json") as file:
    share = spec.Share(json.load(file)["name"], layout.Layout(root))
print(json.dumps(converge.verify(share)["trees"]))
"""

Trees = list[dict[str, t.Any]]


def verify(share: Path) -> Trees:
    command = [sys.executable, "-c", VERIFY, share, ROOT / ".collections"]
    found: Trees = json.loads(subprocess.check_output(command, text=True))
    return found


def start(share: Path, **more: t.Any) -> subprocess.Popen[str]:
    """Start a repair without downloads of interpreters, which removes what nobody has declared."""
    args = {"owner": owner(), "remove_undeclared": True, "offline": True, **more}
    started: subprocess.Popen[str] = labs.start(share, module="uv_repair", **args)
    return started


def repair(share: Path, **more: t.Any) -> dict[str, t.Any]:
    result = labs.finish(start(share, **more))
    assert not result.get("failed"), result
    return result


def places(trees: Trees) -> dict[str, str]:
    """What is damaged, by path below the root: what is said of it. Several things may be."""
    found: dict[str, str] = {}
    for tree in trees:
        above = _BELOW.get(tree["kind"])
        top = f"{above}/{tree['name']}" if above else tree["name"]
        for damage in tree["damages"]:
            path = f"{top}/{damage['path']}".rstrip("/")
            found[path] = ", ".join(filter(None, (found.get(path), damage["says"])))
    return found


@dataclasses.dataclass(frozen=True)
class Damaged:
    """A share that has been damaged: what it was like before and afterwards, and what was done to it."""

    share: Path
    before: State
    after: State
    done: list[Damage]
    # What a verification says.
    found: dict[str, str]

    @classmethod
    def by(cls, share: Path, chance: random.Random, count: int) -> Damaged:
        """Damage a share, but not what only another share has."""
        before = State.of(share)
        done = do_damage(share, chance, count, but=_ALONE)
        subprocess.run(["sync", "--file-system", share], check=True)
        return cls(share, before, State.of(share), done, places(verify(share)))

    def missed(self) -> list[Damage]:
        """What the verification should have found. Any name of a file will do."""
        names = self.before.together()
        return [damage for damage in self.done if not self._names(damage, names) & {*self.found}]

    def _names(self, damage: Damage, names: t.Mapping[str, frozenset[str]]) -> frozenset[str]:
        name = str(damage.path.relative_to(self.share))
        return names.get(name, frozenset()) | {name}

    def worse(self) -> list[str]:
        """What is neither right nor as damaged as it was. Trees may be open: a repair has been cut off."""
        now = State.of(self.share)
        found = []
        for name in sorted({*now.facts, *self.before.facts, *self.after.facts}):
            facts, was, damaged = (_known(name, each.facts.get(name)) for each in (now, self.before, self.after))
            known = (_opened(was), _opened(damaged), _closed(damaged))
            if not name.endswith(".pyc") and _opened(facts) not in known:
                found.append(f"{name}: {facts}, neither {was} nor {damaged}")
        # The same source does not always give the same bytes. Damage to it was not found as long as it was not known
        # what its package has.
        names = self.before.together()
        touched = {*self.found}.union(*(self._names(damage, names) for damage in self.done))
        found += [
            f"{name}: {said}"
            for name, said in places(verify(self.share)).items()
            if name.endswith(".pyc") and name not in touched
        ]
        return found

    def left(self, lost: t.Container[str] = ()) -> list[str]:
        """What differs from what it was like before the damage; what a verification says; and what repairs leave.

        ``lost``: directories of the share that may have lost something.
        """
        leftovers = [str(path) for path in self.share.rglob(".*.uvnas-*.tmp")]
        said = [f"{name}: {said}" for name, said in places(verify(self.share)).items()]
        before, now = (_without(state, lost) for state in (self.before, State.of(self.share)))
        found = before.differences(now)
        if "bytecode" in lost:  # What links the bytecode of environments to each other.
            found = [line for line in found if ".pyc: one with " not in line]
        return [*found, *said, *leftovers]


def in_doubt(share: Path) -> tuple[str, ...]:
    """What the next run drops as far as it is new, if the power was cut while bytecode was written: see unsynced.py."""
    return ("bytecode", "cache") if (share / "cache" / ".uvnas-unsynced.json").exists() else ()


def _without(state: State, directories: t.Container[str]) -> State:
    facts = {name: _known(name, each) for name, each in state.facts.items()}
    return State(
        {name: each for name, each in facts.items() if each and name.partition("/")[0] not in directories},
        {name: each for name, each in state.files.items() if name.partition("/")[0] not in directories},
    )


def _known(name: str, facts: tuple[t.Any, ...] | None) -> tuple[t.Any, ...] | None:
    """Facts without who may run a file of uv's cache: only environments know, and they may be damaged themselves."""
    if facts is None or not name.startswith("cache/") or not stat.S_ISREG(facts[0]):
        return facts
    kind, mode, *rest = facts
    return kind, oct(int(mode, 8) & ~0o111), *rest


def _closed(facts: tuple[t.Any, ...] | None) -> tuple[t.Any, ...] | None:
    """Facts without what no file may have, which is the first step where nobody knows the right mode yet."""
    if facts is None or not stat.S_ISREG(facts[0]):
        return facts
    kind, mode, *rest = facts
    return kind, oct(int(mode, 8) & 0o755 | 0o644), *rest


def _opened(facts: tuple[t.Any, ...] | None) -> tuple[t.Any, ...] | None:
    """Facts without the bit that opens a directory, or the witness of a tree, to its owner."""
    if facts is None or stat.S_ISLNK(facts[0]):
        return facts
    kind, mode, *rest = facts
    return kind, oct(int(mode, 8) | stat.S_IWUSR), *rest
