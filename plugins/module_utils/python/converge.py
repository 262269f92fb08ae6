# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Bring the interpreters of a share in line with the inventory: look, plan, check what is to be installed, do it."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import typing as t

from ..errors import CommandError, UvnasError
from ..host import files
from ..host.process import SystemRunner
from ..share.layout import Layout
from ..uv.command import Uv
from ..uv.release import Target
from .install import Installer
from .plan import Install, Plan, plan
from .record import DOWNLOAD, SITE, Interpreter, Record, load_record
from .sources import Downloads, SiteArchives
from .spec import Wanted, wanted_from_params
from .version import Version, not_available

_DOWNLOAD_HINT = (
    "Let the builder reach it (proxies: uvnas_uv_variables), or give a mirror (uvnas_python_mirror), "
    "or an interpreter of your own (uvnas_site_pythons)."
)


@dataclasses.dataclass(frozen=True)
class Interpreters:
    """The interpreters of one share."""

    layout: Layout
    wanted: Wanted
    installer: Installer
    downloads: Downloads
    archives: SiteArchives
    # Other shares on this host, which were brought up to date before.
    earlier: tuple[Layout, ...] = ()
    warnings: list[str] = dataclasses.field(default_factory=list)

    def converge(self, *, busy_timeout: float, check_mode: bool) -> dict[str, t.Any]:
        """Do what there is to do, or say what it would be: the module's result.

        Where archives of site-supplied interpreters are needed and not here, nothing is done, and the result has
        ``archives_wanted``: their names.
        """
        planned = self._plan(check_mode=check_mode)
        lacking = [install.site.name for install in planned.installs if install.site and self.archives.lacks(install)]
        if lacking:
            return {**self._result(planned, planned.record), "archives_wanted": lacking}
        if planned.changed and not check_mode:
            self._check_share()
        for install in planned.installs:
            if install.from_site:
                self.archives.check(install)
        if check_mode or not planned.changed:
            return self._result(planned, planned.record)
        with files.share_lock(self.layout.mutex, timeout=busy_timeout, purpose="install interpreters"):
            planned = self._plan(check_mode=False)
            record = self._apply(planned)
        return self._result(planned, record)

    def _plan(self, *, check_mode: bool) -> Plan:
        offered = functools.lru_cache(maxsize=None)(functools.partial(self._offered, check_mode=check_mode))
        return plan(
            self.wanted,
            load_record(self.layout),
            str(self.archives.target),
            offered=offered,
            is_there=lambda key: os.path.isfile(self.installer.executable(key)),
            users_of=functools.partial(generations_on, self.layout),
            earlier=self._earlier(check_mode=check_mode),
        )

    def _earlier(self, *, check_mode: bool) -> Record:
        """What the earlier shares have; of several, the first one counts.

        A check does not know what requests mean there that are to be upgraded: they have not been.
        """
        found = Record()
        for layout in reversed(self.earlier):
            # That NAS may have a problem. This one need not have it too.
            with contextlib.suppress(OSError, UvnasError):
                record = load_record(layout)
                found = Record({**found.requests, **record.requests}, {**found.interpreters, **record.interpreters})
        unknown = self.wanted.upgrade if check_mode else frozenset()
        requests = {request: key for request, key in found.requests.items() if request not in unknown}
        return Record(requests, found.interpreters)

    def _offered(self, *, check_mode: bool) -> t.Optional[list[str]]:
        """The keys of what uv can download. None where a check comes before there is a uv on the share."""
        if check_mode and not os.path.exists(self.layout.uv):
            return None
        return list(self.downloads.offered())

    def _check_share(self) -> None:
        if files.read_json(self.layout.identity) is None:
            raise UvnasError(
                f"{self.layout.root} is not a share",
                hint="Is its filesystem mounted on this host? The role share (module uv_share) lays it out.",
            )

    def _apply(self, planned: Plan) -> Record:
        """Carry out a plan. The record is written after each step, so that what is done stays done."""
        self.installer.clean_up()
        record = planned.record
        for install in planned.installs:
            found = self._install_from_site(install, record) if install.from_site else self._download(install)
            moved = [request for request, (_before, key) in planned.moved.items() if key == install.key]
            record = self._write(record.adding(found, moved))
        for key in planned.compiles:
            is_site = record.interpreters[key].source == SITE
            self.installer.compile(key, self.archives.uv if is_site else self.downloads.uv)
            record = self._write(record.adding(dataclasses.replace(record.interpreters[key], compiled=True)))
        for key in planned.removals:
            record = self._remove(key, record)
        requests = {**record.requests, **{request: key for request, (_before, key) in planned.moved.items()}}
        # Those of new interpreters have been written together with them.
        return record if requests == record.requests else self._write(Record(requests, record.interpreters))

    def _write(self, record: Record) -> Record:
        files.write_json(self.layout.pythons_record, record.as_dict())
        return record

    def _install_from_site(self, install: Install, record: Record) -> Interpreter:
        stored = self.archives.store(install)
        others = [found for key, found in record.interpreters.items() if key != install.key]
        self.archives.publish([*others, stored])
        try:
            warnings = self.installer.install(
                install.key, self.archives.uv, message=f"cannot install {install.key}", hint=""
            )
        except BaseException:
            self.archives.publish(record.interpreters.values())
            if install.recorded is None or install.recorded.archive != stored.archive:
                self.archives.discard(stored)
            raise
        self.warnings.extend(warnings)
        if install.recorded is not None and install.recorded.archive != stored.archive:
            self.archives.discard(install.recorded)
        return dataclasses.replace(stored, compiled=self.installer.compile_bytecode)

    def _download(self, install: Install) -> Interpreter:
        offered = self.downloads.offered()
        if install.key not in offered:
            raise not_available(install.version, [Version.of_key(key) for key in offered], where="this uv")
        download = offered[install.key]
        kept_before = self.downloads.kept(download)
        message = f"cannot install {install.key} from {self.downloads.origin(download)}"
        try:
            warnings = self.installer.install(install.key, self.downloads.uv, message=message, hint=_DOWNLOAD_HINT)
        except CommandError:
            self.downloads.forget_damaged(download)
            raise
        self.warnings.extend(warnings)
        digest = self.downloads.digest(download, kept_before, install.recorded)
        self.installer.clean_up()
        return Interpreter(install.key, str(install.version), digest, DOWNLOAD, self.installer.compile_bytecode)

    def _remove(self, key: str, record: Record) -> Record:
        """Remove an interpreter: from the record first, which never names what is not there."""
        gone = record.interpreters.get(key)
        record = self._write(record.without(key))
        self.installer.remove(key)
        if gone is not None and gone.archive:
            self.archives.publish(record.interpreters.values())
            self.archives.discard(gone)
        return record

    def _result(self, planned: Plan, record: Record) -> dict[str, t.Any]:
        """The module's result, after ``planned`` was carried out, or would be."""
        lines = planned.actions()
        # What the content of a new interpreter will be is not known before it is there.
        unknown = {install.key for install in planned.installs} if record is planned.record else set()
        pythons = {}
        for request, key in planned.requests.items():
            found = None if key in unknown else record.interpreters.get(key)
            pythons[request] = {
                "key": key,
                "version": str(Version.of_key(key)),
                "executable": self.installer.executable(key),
                "digest": found.digest if found else None,
            }
        return {
            "changed": planned.changed,
            "actions": lines,
            "pythons": pythons,
            "diff": {"prepared": "".join(f"{line}\n" for line in lines)} if lines else {},
            "warnings": self.warnings,
        }


def from_params(params: t.Mapping[str, t.Any], brought: t.Mapping[str, t.IO[bytes]]) -> Interpreters:
    """The interpreters that the options of uv_python describe. ``brought``: archives that are on this host, by name."""
    wanted = wanted_from_params(params)
    layout, runner = Layout(params["share"]), SystemRunner()
    # Whoever owns another share must not decide what is on this one.
    earlier = tuple(Layout(share["root"]) for share in params["earlier_shares"] if files.is_mine(share["root"]))
    uv = Uv(layout, runner, extra_variables={name: str(value) for name, value in params["uv_variables"].items()})
    return Interpreters(
        layout,
        wanted,
        Installer(layout, runner, wanted.compile_bytecode),
        Downloads.by(uv, mirror=params["mirror"], json_url=params["downloads_json_url"], offline=wanted.offline),
        # Bytecode takes about as much room as what it is compiled from.
        SiteArchives.by(uv, Target.here(), brought, room=2 if wanted.compile_bytecode else 1, earlier=earlier),
        earlier,
    )


def generations_on(layout: Layout, key: str) -> list[str]:
    """The generations whose manifest names the interpreter ``key``: ``train (1a2b…)``."""
    found = []
    for environment in _names_in(layout.generations):
        for generation in _names_in(layout.generations_of(environment)):
            manifest = files.read_json(layout.manifest(environment, generation))
            if manifest and manifest.get("python", {}).get("key") == key:
                found.append(f"{environment} ({generation})")
    return found


def _names_in(directory: str) -> list[str]:
    try:
        return sorted(name for name in os.listdir(directory) if not name.startswith("."))
    except (FileNotFoundError, NotADirectoryError):
        return []
