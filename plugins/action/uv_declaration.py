# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Checks what is declared for hosts, and works out what each of them has to do. Nothing runs on hosts."""

from __future__ import annotations

import os
import typing as t

from ..module_utils.host.workers import Result
from ..module_utils.options import UV_DECLARATION
from ..plugin_utils import inventory, pruning, report_file, trials, variables
from ..plugin_utils.controller_action import ControllerAction, TaskVars
from ..plugin_utils.hosts import Hosts, ManyHosts, OneHost
from ..plugin_utils.work import Declarations, Declared, Work, paths


class ActionModule(ControllerAction):
    """Report each problem once, in a line of its own; or return what there is to do."""

    ARGUMENTS: t.ClassVar[dict[str, t.Any]] = UV_DECLARATION

    def work(self, args: dict[str, t.Any], task_vars: TaskVars) -> Result:
        known = task_vars or {}
        hosts: Hosts = OneHost(self._templar, known)
        if args["hosts"] is not None:
            hosts = ManyHosts(self._templar, known, args["hosts"])
        options = variables.options()
        declarations = Declarations(hosts, options)
        declared = {host: declarations.of(host) for host in hosts.hosts}
        problems = _Problems(hosts.hosts)
        for host in hosts.hosts:
            problems.add(host, variables.unknown(hosts.names(host), options))
            problems.add(host, declared[host].problems)
        everybody = list(known["groups"]["all"])
        problems.of_all += _builders(declared, everybody, known["inventory_hostname"])
        sources = known.get("ansible_inventory_sources") or ()
        problems.of_all += _files(declared, known["inventory_hostname"], sources)
        items = [item for about in declared.values() for item in about.values["uvnas_envs"] or ()]
        tries, wrong = trials.declared(items, known["groups"])
        problems.of_all += wrong
        path, wrong = _report_file(declared)
        problems.of_all += wrong
        # Of site.yml, whose roles run together.
        run_tags = known.get("ansible_run_tags") or () if args["hosts"] is not None and args["writes"] else ()
        work: dict[str, Work] = {}
        for host in hosts.hosts:
            # So that one mistake does not look like another.
            if not declared[host].problems:
                work[host], wrong = declarations.work(host, declared[host], run_tags)
                problems.add(host, wrong)
        prunes = args["prunes"] or any(about.values["uvnas_prune"] for about in declared.values())
        without = sorted({each for about in declared.values() for each in about.values["uvnas_prune_without"] or ()})
        problems.of_all += pruning.problems(without, everybody)
        # Hosts that are not in this run use shares all the same.
        everyone = declared
        if prunes:
            others = Declarations(ManyHosts(self._templar, known, everybody), options)
            everyone = {host: declared.get(host) or others.of(host) for host in everybody}
        if not problems:
            problems.of_all += trials.too_few(tries, work, hosts.hosts)
        if problems:
            return self._failed(problems.lines())
        asking = _asking(work)
        result = {**_result(asking), "report_file": path, "trials": tries}
        if prunes:
            result["pruning"] = {
                "members": _members(everyone, everybody, declared),
                "unseen": _unseen(everyone, declared),
                "without": without,
            }
        if args["hosts"] is not None:
            result.update(
                groups=_groups(asking, declared, tries), warnings=_left_out(declared) if args["writes"] else []
            )
        return result

    def _failed(self, lines: t.Sequence[str]) -> Result:
        for line in lines:
            self._display.error(line)
        count = "One problem" if len(lines) == 1 else f"{len(lines)} problems"
        return {
            "changed": False,
            "failed": True,
            "msg": f"{count} in what is declared, see [ERROR]. Nothing has been changed.",
        }


class _Problems:
    """What is wrong, and for which hosts."""

    def __init__(self, hosts: t.Sequence[str]) -> None:
        self._hosts = hosts
        self._found: dict[str, list[str]] = {}
        self.of_all: list[str] = []

    def add(self, host: str, problems: t.Iterable[str]) -> None:
        for problem in problems:
            self._found.setdefault(problem, []).append(host)

    def __bool__(self) -> bool:
        return bool(self._found or self.of_all)

    def lines(self) -> list[str]:
        """A line for each; a problem of all hosts names none of them."""
        found = [
            problem if len(hosts) == len(self._hosts) else f"{inventory.named(hosts)}: {problem}"
            for problem, hosts in self._found.items()
        ]
        return list(dict.fromkeys([*self.of_all, *found]))


def _shares(declared: t.Mapping[str, Declared]) -> dict[str, dict[str, list[str]]]:
    """The declared builders of each share, and the hosts that declare them."""
    found: dict[str, dict[str, list[str]]] = {}
    for host, about in declared.items():
        for share in about.values["uvnas_shares"] or ():
            name, builder = share.get("name"), share.get("builder")
            if name and builder:
                found.setdefault(name, {}).setdefault(builder, []).append(host)
    return found


def _builders(declared: t.Mapping[str, Declared], everybody: t.Sequence[str], here: str) -> list[str]:
    """What is wrong with the builders of shares: unknown, two for one share, or one that lacks the share."""
    problems = []
    for share, builders in _shares(declared).items():
        strangers = [builder for builder in builders if builder not in {*everybody, here}]
        problems += [inventory.unknown_builder(share, builder, everybody) for builder in strangers]
        if len(builders) > 1:
            said = "; ".join(f"{builder} for {inventory.named(hosts)}" for builder, hosts in builders.items())
            problems.append(f"share {share}: it has one builder, but hosts declare different ones: {said}")
            continue
        for builder, hosts in builders.items():
            if builder in declared and builder not in hosts and not declared[builder].problems:
                have = f"{inventory.named(hosts)} {'has' if len(hosts) == 1 else 'have'}"
                problems.append(
                    f"share {share}: its builder {builder} does not have it in its own uvnas_shares, but {have}"
                )
    return problems


def _members(
    everyone: t.Mapping[str, Declared], everybody: t.Sequence[str], declared: t.Mapping[str, Declared]
) -> dict[str, list[str]]:
    """The hosts of the inventory that use each declared share, its builder among them.

    A host whose declaration makes no sense may use any of them.
    """
    used = {}
    for host, about in everyone.items():
        named = about.values["uvnas_host_shares"] or ()
        known = {share.get("name") for share in about.values["uvnas_shares"] or ()}
        used[host] = _shares(declared) if about.problems or not known.issuperset(named) else named
    return {
        share: [host for host in everybody if host in builders or share in used[host]]
        for share, builders in _shares(declared).items()
    }


def _unseen(everyone: t.Mapping[str, Declared], declared: t.Mapping[str, Declared]) -> dict[str, list[str]]:
    """The shares that no host of this run declares, and the environments that others declare for them."""
    found: dict[str, list[str]] = {share: [] for share in _shares(everyone) if share not in _shares(declared)}
    for about in everyone.values():
        for environment in about.values["uvnas_envs"] or ():
            for share in found if environment.get("shares") is None else environment["shares"]:
                if share in found and environment.get("name") not in found[share]:
                    found[share].append(environment.get("name"))
    return found


def _left_out(declared: t.Mapping[str, Declared]) -> list[str]:
    """Warnings about shares whose builder is not among the hosts of this run."""
    return [
        f"share {share}: its builder {builder} is not among the hosts of this run (--limit?), so nothing is built there"
        for share, builders in _shares(declared).items()
        for builder in builders
        if builder not in declared
    ]


def _files(declared: t.Mapping[str, Declared], here: str, sources: t.Sequence[str]) -> list[str]:
    """What is wrong with where files on the controller are."""
    # If lines of such a file have become hosts, their declarations make no sense.
    told = {here: declared[here]} if inventory.taken_for_inventory(paths(declared[here].values), sources) else declared
    found = list(dict.fromkeys(path for about in told.values() for path in paths(about.values)))
    relative = [f"{label} ({path})" for label, path in found if not path.startswith("/")]
    if relative:
        return [
            "without an inventory directory, relative paths have no start: set uvnas_files_dir, or make them absolute: "
            + inventory.named(relative, "paths")
        ]
    return inventory.taken_for_inventory(found, sources)


def _report_file(declared: t.Mapping[str, Declared]) -> tuple[str | None, list[str]]:
    """The file on the controller that a report goes to, None for none; and what is wrong with it."""
    found: dict[str, list[str]] = {}
    for host, about in declared.items():
        name = about.values["uvnas_report_file"]
        found.setdefault(os.path.join(about.values["uvnas_files_dir"], name) if name else "", []).append(host)
    if len(found) > 1:
        said = "; ".join(f"{path or 'none'} for {inventory.named(hosts)}" for path, hosts in found.items())
        return None, [f"uvnas_report_file: a run writes one report, and hosts are told different files: {said}"]
    path = next(iter(found), "")
    # A relative path that starts nowhere is an error of its own.
    problem = report_file.problem(path) if os.path.isabs(path) else None
    return path or None, [problem] if problem else []


def _asking(work: t.Mapping[str, Work]) -> dict[str, Work]:
    """What each host has to do, and the shares that it is asked about where one host for each is enough.

    That is the builder, where it is among them.
    """
    asked: dict[str, tuple[str, Work]] = {}
    for host, todo in work.items():
        builders = {share["name"]: share["builder"] for share in todo["shares"]}
        for share in [*todo["builds"], *todo["uses"]]:
            name = share["name"]
            if name not in asked or builders[name] == host != asked[name][0]:
                asked[name] = host, {key: share[key] for key in ("name", "root", "id", "mount") if key in share}
    return {
        host: {**todo, "asks": [share for first, share in asked.values() if first == host]}
        for host, todo in work.items()
    }


def _result(work: t.Mapping[str, Work]) -> Result:
    """What each host has to do. What many have in common is there once."""
    different: dict[str, tuple[int, Work]] = {}
    hosts = {}
    for host, todo in work.items():
        hosts[host], _same = different.setdefault(repr(todo), (len(different), todo))
    return {"changed": False, "work": [todo for _number, todo in different.values()], "hosts": hosts}


def _groups(
    work: t.Mapping[str, Work], declared: t.Mapping[str, Declared], tries: t.Mapping[str, trials.Data]
) -> list[dict[str, t.Any]]:
    """The groups of hosts by what they have to do, for the plays of the playbooks: each has a host in it."""
    builders = list(dict.fromkeys(builder for builders in _shares(declared).values() for builder in builders))
    found: dict[str, list[str]] = {host: ["uvnas_building"] for host in builders}
    # Ansible ends a run once all hosts of a play have failed. So one host joins the builders although their roles have
    # nothing for it to do: builders that are down, or whose NAS hangs, do not stop everybody else.
    others = [host for host in declared if host not in builders]
    with_uv = [host for host in others if declared[host].values["uvnas_uv_local_dirs"]]
    for host in dict.fromkeys([*others[:1], *with_uv]):
        found[host] = ["uvnas_building"]
    # Another play of info.yml begins with one of them, too.
    for host in [host for host, todo in work.items() if todo["asks"]] or list(work)[:1]:
        found.setdefault(host, []).append("uvnas_asked")
    # Those that try environments, and those that publish them then.
    trying = {environment: frozenset(trial["hosts"]) for environment, trial in tries.items()}
    for host, todo in work.items():
        for environment, those in trying.items():
            shares = [share for share in todo["shares"] if environment in share["environments"]]
            builds = any(share["builder"] == host for share in shares)
            tried = host in those and any(trials.uses(todo, share["name"], environment) for share in shares)
            if builds or tried:
                found.setdefault(host, []).append("uvnas_trying")
                break
    if any(declared[host].values["uvnas_prune"] for host in declared):
        for host in declared:
            found.setdefault(host, []).append("uvnas_pruning")
    if any(declared[host].values["uvnas_deep"] for host in declared):
        for groups in found.values():
            if "uvnas_building" in groups:
                groups.append("uvnas_reading")
    # And the one that goes on where all builders have failed.
    if any("uvnas_trying" in groups for groups in found.values()):
        for host in others[:1]:
            found[host] = list(dict.fromkeys([*found[host], "uvnas_trying"]))
    return [{"name": host, "groups": groups} for host, groups in found.items()]
