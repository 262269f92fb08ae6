# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A share that has something of everything that a prune removes, and of everything that it keeps."""

from __future__ import annotations

import dataclasses
import json
import os
import typing as t
from pathlib import Path

from ansible_collections.uvnas.cluster.plugins.module_utils.env.prune import converge
from ansible_collections.uvnas.cluster.plugins.module_utils.env.prune.plan import Keep
from ansible_collections.uvnas.cluster.plugins.module_utils.env.prune.state import Declared
from ansible_collections.uvnas.cluster.plugins.module_utils.env.spec import EnvironmentSpec
from ansible_collections.uvnas.cluster.plugins.module_utils.host import mutex
from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed
from ansible_collections.uvnas.cluster.plugins.module_utils.share.journal import Author
from ansible_collections.uvnas.cluster.plugins.module_utils.share.layout import Layout
from ansible_collections.uvnas.cluster.plugins.module_utils.share.spec import Share
from ansible_collections.uvnas.cluster.plugins.module_utils.uv.command import Uv
from ansible_collections.uvnas.cluster.tests.support import shares
from ansible_collections.uvnas.cluster.tests.support.shares import KEY

ALICE = Author("alice", "ctl1")
ENV = EnvironmentSpec("train", python="3.12", requirements=("iniconfig",))
OLD_KEY = "cpython-3.11.9-linux-x86_64-gnu"
# Of train: in force, held, the last one that was retired, and two from before.
IN_FORCE, HELD, LAST, OLD, OLDEST = ("a" * 12, "b" * 12, "c" * 12, "d" * 12, "e" * 12)
# Of an environment that has been removed.
GONE = "f" * 12
ARCHIVE = "cpython-3.11.9-linux-x86_64-gnu-123456789.tar.gz"
KEPT_ARCHIVE = f"{'1' * 9}-cpython-3.12.4-20240101-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
LEFT_ARCHIVE = f"{'9' * 9}-cpython-3.10.1-20240101-x86_64-unknown-linux-gnu-install_only_stripped.tar.gz"
MAY_GO = {
    ("generation", f"train/{OLD}"),
    ("generation", f"train/{OLDEST}"),
    ("generation", f"gone/{GONE}"),
    ("interpreter", OLD_KEY),
    ("uv", "0.13.8"),
}
LONG_AGO = "2020-01-31T12:00:00+00:00"

Named = tuple[str, str]


class PruningUv:
    """Prunes its cache. ``held`` says whether the mutex of the share was held then."""

    def __init__(self, layout: Layout, rc: int = 0) -> None:
        self.layout = layout
        self.rc = rc
        self.held: list[bool] = []

    def run(self, cmd: t.Sequence[str], **_more: t.Any) -> Completed:
        assert list(cmd[3:]) == ["cache", "prune"]
        self.held.append(self.layout.mutex in mutex._held)
        if self.rc == 0:
            Path(self.layout.cache, "archive-v0", "unused").unlink(missing_ok=True)
        return Completed(self.rc, "", "error: it is broken\n" * bool(self.rc))


@dataclasses.dataclass(frozen=True)
class OldShare:
    """Such a share, and the steps of its prune."""

    layout: Layout
    specs: t.Sequence[EnvironmentSpec] = (ENV,)
    pythons: t.Sequence[str] = ("3.12",)
    keep: Keep = dataclasses.field(default_factory=lambda: Keep(generations=1))

    @property
    def share(self) -> Share:
        return Share("nas_a", self.layout)

    @property
    def declared(self) -> Declared:
        return Declared(self.layout, self.specs, self.pythons, (), self.keep)

    def path(self, *parts: str) -> Path:
        return Path(self.layout.root, *parts)

    def generation(self, generation_id: str, env: str = "train") -> Path:
        return self.path("generations", env, generation_id)

    def aside(self, generation_id: str, env: str = "train") -> Path:
        return self.generation(f".{generation_id}.uvnas-aside", env)

    def look(self, *, measure: bool = False) -> dict[str, t.Any]:
        return converge.look(self.share, self.declared, measure=measure)

    def may_go(self) -> set[Named]:
        return {(item["kind"], item["name"]) for item in self.look()["candidates"] if not item["wanted"]}

    def put_aside(
        self, items: t.Collection[Named] | None = None, *, busy_timeout: float = 5.0, **more: t.Any
    ) -> dict[str, t.Any]:
        step = converge.PuttingAside(self.share, self.declared, self.may_go() if items is None else items, **more)
        return step.converge(purpose="test", busy_timeout=busy_timeout)

    def remove(
        self,
        items: t.Collection[Named] | None = None,
        *,
        uv: PruningUv | None = None,
        busy_timeout: float = 5.0,
        **more: t.Any,
    ) -> dict[str, t.Any]:
        items = self.may_go() if items is None else items
        runner = Uv(self.layout, uv or PruningUv(self.layout))
        step = converge.Removal(self.share, runner, self.declared, items, ALICE, **more)
        return step.converge(purpose="test", busy_timeout=busy_timeout)

    def prune(self) -> None:
        """As the playbook, where nobody uses anything."""
        self.put_aside()
        self.remove()

    def there(self) -> dict[str, str]:
        """What is on the share: content by path; but for what tells, and who works on it."""
        found = {}
        for path in sorted(Path(self.layout.root).rglob("*")):
            if str(path) not in (self.layout.mutex, self.layout.journal):
                text = os.readlink(path) if path.is_symlink() else path.read_text() if path.is_file() else ""
                found[str(path.relative_to(self.layout.root))] = text
        return found

    def seen(self) -> dict[str, tuple[t.Any, ...]]:
        """The same, and whatever a change would change."""
        status = {path: self.path(path).lstat() for path in self.there()}
        return {path: (each.st_ino, each.st_mode, each.st_mtime_ns) for path, each in status.items()}

    def hold(self, generation_id: str | None) -> None:
        path = self.path("locks", "train.state.json")
        hold = {"id": generation_id, "since": LONG_AGO, "by": "", "reason": "", "declared": False}
        known = json.loads(path.read_text())
        shares.write_json(path, {**known, "hold": hold if generation_id else None})


def past(retired: str | None) -> dict[str, t.Any]:
    return {**shares.standing("train", IN_FORCE)["generations"][IN_FORCE], "published": LONG_AGO, "retired": retired}


def make(root: Path) -> OldShare:
    shares.make_share(root)
    shares.add_interpreter(root)
    record = json.loads((root / "locks" / "pythons.json").read_text())
    of_old = {"version": "3.11.9", "digest": "3" * 64, "source": "site", "compiled": False, "unneeded": LONG_AGO}
    of_old |= {"name": "ours", "archive": ARCHIVE, "archive_sha256": "3" * 64}
    record["interpreters"][OLD_KEY] = of_old
    record["requests"]["3.11"] = OLD_KEY
    shares.write_json(root / "locks" / "pythons.json", record)
    for key in (KEY, OLD_KEY):
        (root / "python" / key / "bin").mkdir(parents=True)
        (root / "python" / key / "bin" / "python").touch()
        for directory in (root / "python" / key / "bin", root / "python" / key):
            directory.chmod(0o555)
    (root / "python" / "cpython-3.11-linux-x86_64-gnu").symlink_to(OLD_KEY)
    for name in (ARCHIVE, KEPT_ARCHIVE, LEFT_ARCHIVE, "notes.txt"):
        (root / "python-archives" / name).touch()
    shares.write_json(root / "python-archives" / "site.json", {OLD_KEY: {}})
    for version in ("0.13.8", "0.13.9"):
        (root / "lib" / "uv" / version).mkdir()
        (root / "lib" / "uv" / version / "uv").touch()
    (root / "bin" / "uv").symlink_to("../lib/uv/0.13.9/uv")
    os.utime(root / "bin" / "uv", (0, 0), follow_symlinks=False)
    for number, generation_id in enumerate((IN_FORCE, HELD, LAST, OLD, OLDEST)):
        top = shares.add_generation(root, "train", generation_id)
        compiled = root / "bytecode" / "312" / "00"
        compiled.mkdir(parents=True, exist_ok=True)
        (compiled / f"{number}.pyc").touch()
        os.link(compiled / f"{number}.pyc", top / "one.pyc")
        top.chmod(0o555)
    known = {
        IN_FORCE: past(None),
        HELD: past("2020-05-01T12:00:00+00:00"),
        LAST: past("2020-04-01T12:00:00+00:00"),
        OLD: past("2020-03-01T12:00:00+00:00"),
        OLDEST: past("2020-02-01T12:00:00+00:00"),
    }
    shares.add_lock(root, "train", f"iniconfig==2.1 \\\n    --hash=sha256:{'4' * 64}\n")
    shares.publish(root, "train", IN_FORCE, generations=known)
    shares.add_generation(root, "gone", GONE).chmod(0o555)
    shares.write_json(
        root / "locks" / "gone.state.json",
        {**shares.standing("gone", GONE), "in_force": None, "since": None, "generations": {GONE: past(LONG_AGO)}},
    )
    (root / "logs" / "gone").mkdir(parents=True)
    (root / "logs" / "gone" / "build.log").touch()
    (root / "cache" / "archive-v0").mkdir()
    for name in ("unused", "used"):
        (root / "cache" / "archive-v0" / name).touch()
    found = OldShare(Layout(str(root)))
    found.hold(HELD)
    return found
