# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What each host has to do, according to its declaration; or what is wrong with that, a line each.

Most of it is the same for many hosts, and is checked once.
"""

from __future__ import annotations

import contextlib
import dataclasses
import errno
import os
import typing as t

from ..module_utils.env.declared import check_shares_exist, for_glibc, parse_environments
from ..module_utils.env.lock.plan import Input
from ..module_utils.env.prune.plan import Keep
from ..module_utils.env.spec import EnvironmentSpec
from ..module_utils.errors import SpecError, UvnasError
from ..module_utils.host.checksum import check_sha256
from ..module_utils.profile import files
from ..module_utils.profile.spec import Profile
from ..module_utils.python.spec import check_wanted, parse_site_pythons
from ..module_utils.share.spec import parse_shares
from ..module_utils.uv.command import Index
from ..module_utils.uv.config import check_variables
from ..module_utils.uv.release import check_version
from . import ahead
from .declaration import Declaration
from .exports import exports
from .hosts import Hosts, UndefinedValueError
from .variables import Options, WrongValueError, checked

Values = t.Mapping[str, t.Any]
Work = dict[str, t.Any]
# The keys of a share for modules that write to it, and for those that read.
_OF_BUILDERS = ("name", "root", "id", "mount", "owner", "group", "mode")
_OF_MEMBERS = ("name", "root", "id", "mount", "glibc", "builder")


@dataclasses.dataclass(frozen=True)
class Declared:
    """What is declared for one host: typed values, defaults included; and what is wrong, one text per problem."""

    values: Values
    problems: tuple[str, ...] = ()


class Declarations:
    """What is declared for hosts."""

    def __init__(self, hosts: Hosts, options: Options) -> None:
        self._hosts = hosts
        self._options = options
        self._checked: dict[tuple[str, str], tuple[t.Any, list[str]]] = {}
        self._done: dict[tuple[str, str], t.Any] = {}

    def of(self, host: str) -> Declared:
        """What is declared for a host. A value without a problem may still make no sense together with others."""
        values = {name: option.get("default") for name, option in self._options.items()}
        problems: list[str] = []
        for name in sorted(self._hosts.names(host) & self._options.keys()):
            try:
                given = self._hosts.value(host, name)
            except UndefinedValueError as error:
                problems.append(str(error))
                continue
            value, wrong = self._value(name, given)
            problems += wrong
            if value is not None:
                values[name] = value
        if values["uvnas_host_shares"] is None:
            values["uvnas_host_shares"] = [share.get("name") for share in values["uvnas_shares"] or ()]
        if not values["uvnas_files_dir"]:
            # If the inventory is not a file, Ansible says None, as a string.
            directory = str(self._hosts.context(host).get("inventory_dir"))
            values["uvnas_files_dir"] = directory if os.path.isabs(directory) else ""
        for name in ("uvnas_files_dir", "uvnas_lock_dir", "uvnas_report_file"):  # On the controller.
            values[name] = os.path.expanduser(os.path.expandvars(str(values[name] or "")))
        return Declared(values, tuple(problems))

    def _value(self, name: str, given: t.Any) -> tuple[t.Any, list[str]]:
        key = (name, repr(given))
        if key not in self._checked:
            try:
                self._checked[key] = checked(name, given, self._options[name]), []
            except WrongValueError as error:
                self._checked[key] = None, error.problems
        return self._checked[key]

    def work(self, host: str, declared: Declared, run_tags: t.Collection[str] = ()) -> tuple[Work, list[str]]:
        """What a host has to do; or what is wrong with what is declared for it.

        With ``run_tags``, those of a run of site.yml, also what is asked ahead (see ``ahead``).
        """
        values = declared.values
        problems: list[str] = []

        def once(part: t.Callable[..., t.Any], *names: str, **more: t.Any) -> t.Any:
            """The result of ``part`` for these values; None if something is wrong, which is noted."""
            given = {name: values[name] for name in names}
            key = (part.__name__, repr((given, more)))
            if key not in self._done:
                try:
                    self._done[key] = part(given, **more), []
                except UvnasError as error:
                    self._done[key] = None, error.lines()
            found, wrong = self._done[key]
            problems.extend(wrong)
            return found

        once(_uv, "uvnas_uv_version", "uvnas_uv_source", "uvnas_uv_archive", "uvnas_index", "uvnas_uv_variables")
        once(_shares, "uvnas_shares")
        once(_of_hosts, *_TIMES, *_READING, "uvnas_keep", "uvnas_prune_settle", "uvnas_uv_local_dirs")
        if problems:
            return {}, problems
        built = [share for share in values["uvnas_shares"] if share["builder"] == host]
        if built or values["uvnas_uv_local_dirs"]:
            once(_uv_archive, "uvnas_uv_source", "uvnas_uv_archive")
        # If relative paths have no start, that is the error.
        readable = all(os.path.isabs(path) for _label, path in paths(values))
        profile = once(_profile, *_PROFILE)
        specs = once(_environments, "uvnas_envs", "uvnas_shares", "uvnas_upgrade")
        of_python: dict[str, t.Any] = {}
        if specs is not None:  # They ask for Pythons, too.
            of_python = once(_pythons, *_PYTHONS, names=[share["name"] for share in built])
        if readable and built and of_python is not None:
            once(_python_archives, "uvnas_site_pythons", "uvnas_files_dir")
        inputs: t.Mapping[str, Input] = {}
        if readable and specs is not None and built:
            inputs = once(_files, "uvnas_envs", "uvnas_shares", "uvnas_files_dir", "uvnas_lock_dir", "uvnas_index")
        if problems:
            return {}, problems
        shares = {share["name"]: share for share in values["uvnas_shares"]}
        builds = [
            {
                **_keys(share, _OF_BUILDERS),
                "earlier": [_keys(each, ("name", "root")) for each in built[:position]],
                "others": [_keys(each, ("name", "root")) for each in built if each is not share],
                **of_python[share["name"]],
            }
            for position, share in enumerate(built)
        ]
        asked = {}
        if builds and ahead.are_worth_asking(values, run_tags):
            with contextlib.suppress(OSError, UvnasError):  # Nothing is, then.
                asked = ahead.questions(values, builds, specs, inputs, profile)
        return {
            "builds": builds,
            "ahead": asked,
            "uses": [_keys(shares[name], _OF_MEMBERS) for name in values["uvnas_host_shares"]],
            "glibc": {share["name"]: share["glibc"] for share in values["uvnas_shares"] if share.get("glibc")},
            "upgrade": values["uvnas_upgrade"],
            "upgrade_packages": values["uvnas_upgrade_packages"],
            "exports": profile,
            "shares": [
                {**_keys(share, ("name", "root", "builder")), "environments": _names(specs, share["name"])}
                for share in shares.values()
                if share in built or share["name"] in values["uvnas_host_shares"]
            ],
        }, []


def _names(specs: t.Sequence[EnvironmentSpec], share: str) -> list[str]:
    """The environments that are declared for a share, those that are to go among them."""
    return [spec.name for spec in specs if spec.on_share(share)]


def _keys(share: t.Mapping[str, t.Any], keys: t.Iterable[str]) -> dict[str, t.Any]:
    return {key: share[key] for key in keys if share.get(key) is not None}


def paths(values: Values) -> list[tuple[str, str]]:
    """The declared paths on the controller, each with what names it."""
    found = [(name, values[name]) for name in ("uvnas_lock_dir", "uvnas_report_file")]
    found += [("uvnas_uv_archive", (values["uvnas_uv_archive"] or {}).get("path"))]
    for site in values["uvnas_site_pythons"] or ():
        archive = site.get("archive") or ""
        found.append((f"interpreter {site.get('name')}", archive if "://" not in archive else ""))
    for env in values["uvnas_envs"] or ():
        given = [env.get("project"), env.get("lock")]
        for key in ("requirements_files", "constraints_files", "overrides_files", "build_constraints_files"):
            given += env.get(key) or []
        found += [(f"environment {env.get('name')}", path) for path in given]
    start = values["uvnas_files_dir"]
    # Another type is an error of its own.
    texts = [(label, path) for label, path in found if path and isinstance(path, str)]
    return [(label, os.path.join(start, os.path.expanduser(path))) for label, path in texts]


def _shares(given: Values) -> None:
    parse_shares(given["uvnas_shares"])


def _environments(given: Values) -> list[EnvironmentSpec]:
    specs = parse_environments(given["uvnas_envs"])
    check_shares_exist(specs, {share["name"] for share in given["uvnas_shares"]})
    names = [spec.name for spec in specs]
    unknown = sorted(set(given["uvnas_upgrade"]) - set(names) - {"all"})
    if unknown:
        raise SpecError(
            f"cannot upgrade {', '.join(unknown)}: no such environment is declared",
            hint=f"Declared: {', '.join(names) or 'none'}. Or give all.",
        )
    return for_glibc(specs, {share["name"]: share["glibc"] for share in given["uvnas_shares"] if share.get("glibc")})


def _files(given: Values) -> dict[str, Input]:
    specs = _environments({**given, "uvnas_upgrade": []})
    index = Index.from_params(given["uvnas_index"])
    declaration = Declaration(given["uvnas_files_dir"], given["uvnas_lock_dir"] or None, index)
    return declaration.inputs([spec for spec in specs if spec.present], index.settings(), check_locks=True)


_PYTHONS = (
    "uvnas_envs", "uvnas_pythons", "uvnas_site_pythons", "uvnas_upgrade_pythons", "uvnas_python_remove",
)  # fmt: skip


def _pythons(given: Values, *, names: t.Sequence[str]) -> dict[str, dict[str, t.Any]]:
    """The Pythons wanted on each of the shares with these names, and those to upgrade there."""
    specs = [spec for spec in parse_environments(given["uvnas_envs"]) if spec.present]
    sites = parse_site_pythons(given["uvnas_site_pythons"])
    everywhere = {spec.python for spec in specs}
    asked, upgrade = given["uvnas_pythons"], given["uvnas_upgrade_pythons"]
    found = {}
    for name in names:
        requests = list(dict.fromkeys([*asked, *(spec.python for spec in specs if spec.on_share(name))]))
        # The same run may upgrade what environments on other shares ask for.
        here = [request for request in upgrade if request in requests or request not in everywhere]
        check_wanted(requests, sites, upgrade=here, remove=given["uvnas_python_remove"])
        found[name] = {"pythons": requests, "upgrade_pythons": here}
    return found


def _uv(given: Values) -> None:
    check_version(given["uvnas_uv_version"])
    archive = given["uvnas_uv_archive"]
    if archive.get("sha256"):
        check_sha256(archive["sha256"])
    Index.from_params(given["uvnas_index"]).check()
    check_variables(given["uvnas_uv_variables"])


_TIMES = ("uvnas_answer_timeout", "uvnas_smoke_timeout", "uvnas_busy_timeout")
_READING = ("uvnas_verify_bytes_per_second", "uvnas_verify_seconds")


def _of_hosts(given: Values) -> None:
    problems = []
    for name in _TIMES:
        seconds = given[name]
        # One may not want to wait for a share's mutex at all.
        if not (0 < seconds < float("inf") or (name == "uvnas_busy_timeout" and seconds == 0)):
            least = "of 0 or more" if name == "uvnas_busy_timeout" else "of more than 0"
            problems.append(f"{name} is {seconds:g}; it must be a number {least}, in seconds")
    try:
        Keep.from_params(given["uvnas_keep"])
    except SpecError as error:
        problems.append(str(error))
    if given["uvnas_prune_settle"] < 0:
        problems.append(
            f"uvnas_prune_settle is {given['uvnas_prune_settle']}; it must be a number of 0 or more, in seconds"
        )
    rate, limit = (given[name] for name in _READING)
    if rate < 0:
        problems.append(f"uvnas_verify_bytes_per_second is {rate}; it must be a number of 0 or more")
    if limit <= 0:
        problems.append(f"uvnas_verify_seconds is {limit}; it must be a number of more than 0, in seconds")
    problems += [
        f"uvnas_uv_local_dirs: {path} is not an absolute path. Begin it with / or ~."
        for path in given["uvnas_uv_local_dirs"]
        if not path.startswith(("/", "~"))
    ]
    if problems:
        raise SpecError("\n".join(problems))


def _uv_archive(given: Values) -> None:
    # Whether the file exists does not matter here: it is read only where this version of uv is missing.
    archive = given["uvnas_uv_archive"]
    if given["uvnas_uv_source"] != "archive" or archive.get("path"):
        return
    if not archive.get("url"):
        raise SpecError("uvnas_uv_source is archive, but no archive is given", hint="Set uvnas_uv_archive.")
    if not archive.get("sha256"):
        raise SpecError("uvnas_uv_archive: an archive from a URL needs its sha256")


def _python_archives(given: Values) -> None:
    problems = []
    for site in parse_site_pythons(given["uvnas_site_pythons"]):
        if site.archive and "://" not in site.archive:
            problems += _unreadable(f"interpreter {site.name}", given, site.archive)
    if problems:
        raise SpecError("\n".join(problems))


def _unreadable(what: str, given: Values, path: str) -> list[str]:
    """What is wrong with a file on the controller that is only copied to hosts."""
    path = os.path.join(given["uvnas_files_dir"], os.path.expanduser(path))
    why = ""
    try:
        os.stat(path)
    except OSError as error:
        why = error.strerror or str(error)
    except ValueError:
        why = "no file can have such a name"
    else:
        if not os.path.isfile(path):
            why = "it is not a file"
        elif not os.access(path, os.R_OK):
            why = os.strerror(errno.EACCES)
    return [f"{what}: cannot read {path}: {why}"] if why else []


_PROFILE = (
    "uvnas_host_shares", "uvnas_shares", "uvnas_index", "uvnas_python_mirror", "uvnas_profile_variables",
    "uvnas_profile_dir", "uvnas_profile_fish_dir", "uvnas_user_cache", "uvnas_user_cache_users",
)  # fmt: skip


def _profile(given: Values) -> dict[str, t.Any]:
    """What a host exports to its users."""
    # ~ is somebody's home on the host: as absolute as any.
    directories = [os.path.expanduser(given[name] or "") for name in ("uvnas_profile_dir", "uvnas_profile_fish_dir")]
    where = files.paths(*directories)
    exported = exports(
        given["uvnas_host_shares"],
        shares=given["uvnas_shares"],
        index=given["uvnas_index"],
        python_mirror=given["uvnas_python_mirror"],
        variables=given["uvnas_profile_variables"],
    )
    if exported["shares"]:
        profile = Profile.from_params(
            exported["shares"], given["uvnas_user_cache"], exported["variables"], given["uvnas_user_cache_users"]
        )
        files.contents(profile, where)
    return exported
