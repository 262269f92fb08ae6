# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the interpreters of a share in line with the inventory: look, plan, check what will be installed, do it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import typing as t

from ..bytecode.store import sweep
from ..errors import CommandError, LostMutexError, UvnasError, naming
from ..host import files, mutex, platform
from ..host.process import SystemRunner
from ..host.progress import SILENT, Progress, Teller
from ..host.workers import Result
from ..share import store
from ..share.convergence import ShareConvergence
from ..share.manifest import users_of
from ..share.place import earlier_shares
from ..share.spec import Share
from ..uv import unsynced
from ..uv.command import Uv
from .install import Installer, unlink_minor_links
from .plan import OTHER_CONTENT, Install, Plan, plan
from .record import DOWNLOAD, Interpreter, Record, load_record
from .sources import Downloads, SiteArchives
from .spec import Wanted, wanted_from_params
from .version import Version, not_available

_DOWNLOAD_HINT = (
    "Let the builder reach it (proxies: uvnas_uv_variables), or use a mirror (uvnas_python_mirror), "
    "or an interpreter of your own (uvnas_site_pythons)."
)


@dataclasses.dataclass(frozen=True)
class Interpreters(ShareConvergence[Plan, Record]):
    """The interpreters of one share."""

    share: Share
    wanted: Wanted
    installer: Installer
    downloads: Downloads
    archives: SiteArchives
    # Other shares on this host, already brought up to date.
    earlier: tuple[Share, ...] = ()
    check_mode: bool = False
    warnings: list[str] = dataclasses.field(default_factory=list)
    progress: Progress = SILENT

    def plan(self) -> Plan:
        look = functools.lru_cache(maxsize=None)(self.installer.look)
        return plan(
            self.wanted,
            load_record(self.layout),
            self.archives.platform.name,
            offered=functools.lru_cache(maxsize=None)(self._offered),
            is_there=lambda key: look(key) is not None,
            is_sealed=lambda key: look(key) is True,
            users_of=functools.partial(users_of, self.layout),
            earlier=self._earlier(),
        )

    def changes(self, plan: Plan) -> bool:
        return plan.changed

    def obstacle(self, plan: Plan) -> t.Optional[Result]:
        """If archives of site-supplied interpreters are needed and not here, ``archives_wanted`` in the result names
        them."""
        lacking = [install.site.name for install in plan.installs if install.site and self.archives.lacks(install)]
        if lacking:
            return {**self.report(plan, None), "archives_wanted": lacking}
        for install in plan.installs:
            if install.from_site:
                self.archives.check(install)
        return None

    def _earlier(self) -> Record:
        """What the earlier shares have; the first one that has it counts.

        In check mode, requests to upgrade have not been upgraded there, so what they will mean is unknown.
        """
        found = Record()
        for share in reversed(self.earlier):
            # That NAS may have a problem, which must not become this one's.
            with contextlib.suppress(OSError, UvnasError):
                record = load_record(share.layout)
                found = Record({**found.requests, **record.requests}, {**found.interpreters, **record.interpreters})
        unknown = self.wanted.upgrade if self.check_mode else frozenset()
        requests = {request: key for request, key in found.requests.items() if request not in unknown}
        return Record(requests, found.interpreters)

    def _offered(self) -> t.Optional[list[str]]:
        """The keys of what uv can download. None in check mode while there is no uv on the share."""
        if self.check_mode and not os.path.exists(self.layout.uv):
            return None
        return list(self.downloads.offered())

    def do(self, plan: Plan) -> Record:
        """The record is written after each step, so that what is done stays done."""
        record = plan.record
        self.warnings.extend(self._open(plan))
        # uv makes them, and a killed run leaves those to unfinished interpreters.
        finished = record.interpreters.keys() - {install.key for install in plan.installs}
        unlink_minor_links(self.layout, lambda key: key not in finished)
        compiles = plan.compiles or (plan.installs and self.installer.compile_bytecode)
        with unsynced.writing(self.layout) if compiles else contextlib.nullcontext():
            record = self._make(plan)
        for key in plan.seals:
            with self._naming("seal", key):
                self.installer.seal(key)
        for key in plan.removals:
            with self._naming("remove", key), self._telling("removing", key, "removed"):
                record = self._remove(key, record)
        if plan.removals or any(install.why == OTHER_CONTENT for install in plan.installs):
            # Whatever is wrong there, what has been done is reported; the next removal tries again.
            with contextlib.suppress(LostMutexError, OSError):
                mutex.check(self.mutex)
                sweep(self.layout)
        requests = {**record.requests, **{request: key for request, (_before, key) in plan.moved.items()}}
        # Those of new interpreters have been written together with them.
        return record if requests == record.requests else self._write(Record(requests, record.interpreters))

    def _make(self, plan: Plan) -> Record:
        """Install interpreters, and compile the standard libraries of others."""
        record = plan.record
        for install in plan.installs:
            key = install.key
            with self._naming("install", key), self._telling("installing", key, "installed") as told:
                found = self._install(install, record, told)
            moved = [request for request, (_before, meant) in plan.moved.items() if meant == key]
            record = self._write(record.adding(found, moved))
        for key in plan.compiles:
            with self._naming("compile", key), self._telling("compiling", key, "compiled") as told:
                compiled = self.installer.compile(record.interpreters[key], self.downloads.uv, told)
            record = self._write(record.adding(compiled))
        return record

    def _naming(self, action: str, key: str) -> t.ContextManager[None]:
        return naming(f"{key}: cannot {action} it", self.installer.directory(key))

    @contextlib.contextmanager
    def _telling(self, stage: str, key: str, end: str) -> t.Iterator[Teller]:
        told = self.progress.of(key)
        told(stage)
        with told.failing():
            yield told
        told.ends(end)

    def _open(self, plan: Plan) -> list[str]:
        """A warning for each interpreter about to be sealed that others than the owner can write to."""
        return [warning for key in (*plan.compiles, *plan.seals) for warning in self.installer.warn(key)]

    def _write(self, record: Record) -> Record:
        mutex.check(self.mutex)
        files.write_json(self.layout.pythons_record, record.as_dict())
        return record

    def _install(self, install: Install, record: Record, told: Teller) -> Interpreter:
        """Install an interpreter. If the record already names it, it is marked as unreliable meanwhile."""
        again = install.key in record.interpreters
        if again:
            self._write(record.beginning(install.key))
        try:
            found = (
                self._install_from_site(install, record, told) if install.from_site else self._download(install, told)
            )
        except BaseException:
            if again:  # The previous content is back in place.
                self._write(record)
            raise
        return dataclasses.replace(found, unfinished=False)

    def _install_from_site(self, install: Install, record: Record, told: Teller) -> Interpreter:
        stored = self.archives.store(install)
        others = [found for key, found in record.interpreters.items() if key != install.key]
        self.archives.publish([*others, stored])
        try:
            installed = self.installer.install(
                install.key,
                self.archives.uv,
                lambda: stored.digest,
                message=f"cannot install {install.key}",
                hint="",
                told=told,
            )
        except BaseException:
            self.archives.publish(record.interpreters.values())
            if install.recorded is None or install.recorded.archive != stored.archive:
                self.archives.discard(stored)
            raise
        self.warnings.extend(installed.warnings)
        if install.recorded is not None and install.recorded.archive != stored.archive:
            self.archives.discard(install.recorded)
        return dataclasses.replace(stored, compiled=self.installer.compile_bytecode, files=installed.files)

    def _download(self, install: Install, told: Teller) -> Interpreter:
        offered = self.downloads.offered()
        if install.key not in offered:
            raise not_available(install.version, [Version.of_key(key) for key in offered], where="this uv")
        download = offered[install.key]
        self.downloads.forget_damaged(download)  # For example after a power cut during the download.
        kept_before = self.downloads.kept(download)
        # Asked for before its bytecode is linked, and again.
        digest = functools.lru_cache(maxsize=None)(
            functools.partial(self.downloads.digest, download, kept_before, install.recorded)
        )
        message = f"cannot install {install.key} from {self.downloads.origin(download)}"
        try:
            installed = self.installer.install(
                install.key, self.downloads.uv, digest, message=message, hint=_DOWNLOAD_HINT, told=told
            )
        except CommandError:
            self.downloads.forget_damaged(download)
            raise
        self.warnings.extend(installed.warnings)
        found = Interpreter(
            install.key,
            str(install.version),
            digest(),
            DOWNLOAD,
            self.installer.compile_bytecode,
            files=installed.files,
        )
        store.sweep(self.layout)  # Of archives that uv keeps, too, which have told what this is.
        return found

    def _remove(self, key: str, record: Record) -> Record:
        """Remove an interpreter: from the record first, which never names what is not there."""
        gone = record.interpreters.get(key)
        record = self._write(record.without(key))
        self.installer.remove(key)
        if gone is not None and gone.archive:
            self.archives.publish(record.interpreters.values())
            self.archives.discard(gone)
        return record

    def report(self, plan: Plan, done: t.Optional[Record]) -> Result:
        lines, record = plan.actions(), done if done is not None else plan.record
        # The content of a new interpreter is unknown until it has been installed.
        unknown = {install.key for install in plan.installs} if done is None else set()
        pythons = {}
        for request, key in plan.requests.items():
            found = None if key in unknown else record.interpreters.get(key)
            pythons[request] = {
                "key": key,
                "version": str(Version.of_key(key)),
                "executable": self.installer.executable(key),
                "digest": found.digest if found else None,
            }
        return {
            "changed": plan.changed,
            "actions": lines,
            "pythons": pythons,
            "diff": {"prepared": "".join(f"{line}\n" for line in lines)} if lines else {},
            "warnings": self._open(plan) if done is None else self.warnings,
        }


def from_params(
    params: t.Mapping[str, t.Any],
    brought: t.Mapping[str, t.IO[bytes]],
    *,
    check_mode: bool,
    progress: Progress = SILENT,
) -> Interpreters:
    """The interpreters that the options of uv_python describe. ``brought``: archives on this host, by name."""
    share = Share.from_params(params)
    wanted, runner = wanted_from_params(params), SystemRunner()
    earlier = earlier_shares(params["earlier_shares"], share)
    uv = Uv(share.layout, runner, extra_variables=params["uv_variables"])
    return Interpreters(
        share,
        wanted,
        Installer(share.layout, runner, wanted.compile_bytecode, tuple(other.layout for other in earlier)),
        Downloads.by(uv, mirror=params["mirror"], json_url=params["downloads_json_url"], offline=wanted.offline),
        # Bytecode takes about as much space as its sources.
        SiteArchives.by(uv, platform.here(), brought, room=2 if wanted.compile_bytecode else 1, earlier=earlier),
        earlier,
        check_mode,
        progress=progress,
    )
