# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Environments that are tried on hosts before they are published: where, what came of it, and what follows. Pure."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing as t

from . import answers
from .answers import Answer, Hostvars
from .inventory import named
from .report import DONE

# What hosts registered of trials.
TRIED = "__uvnas_tried"
_ID = re.compile("[0-9a-f]{12}")

Data = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of the trials of one generation, on all shares: it is published on all of them, or on none."""

    shares: t.Sequence[str]
    environment: str
    id: str
    # Hosts on which it is well, the texts of those on which it is not, and hosts that have not answered.
    well: t.Sequence[str]
    failed: t.Mapping[str, str]
    silent: t.Sequence[str]
    at_least: int

    @property
    def is_well(self) -> bool:
        return not self.failed and len(self.well) >= self.at_least

    def __str__(self) -> str:
        parts = [f"tried on {named(list(self.well))}"] if self.well else []
        parts += [f"FAILED on {named(list(self.failed))}"] if self.failed else []
        parts += [f"not tried on {named(list(self.silent))}"] if self.silent else []
        if not self.is_well and not self.failed:
            parts.append(f"{self.at_least} have to answer")
        return ", ".join(parts) or "no host of the inventory that uses the share can try it"


def declared(
    environments: t.Iterable[Answer], groups: t.Mapping[str, t.Sequence[str]]
) -> tuple[dict[str, Data], list[str]]:
    """Where environments are tried, by name, and what is wrong with what is declared of that."""
    found: dict[str, Data] = {}
    problems: list[str] = []
    for environment in environments:
        given, name = environment.get("try_on"), environment.get("name")
        if not given or environment.get("state") == "absent" or name in found:
            continue
        hosts: dict[str, None] = {}
        unknown = len(problems)
        for each in given.get("hosts") or ():
            members = [each] if each in groups["all"] else groups.get(each)
            if members is None:
                like = difflib.get_close_matches(each, [*groups["all"], *groups], 1, 0.6)
                meant = f"; did you mean {like[0]}?" if like else ""
                problems.append(f"environment {name}: try_on: {each} is no host or group of this inventory{meant}")
            hosts.update(dict.fromkeys(members or ()))
        at_least = given.get("at_least") or 1
        if len(problems) == unknown and at_least > len(hosts):
            problems.append(f"environment {name}: try_on: at_least is {at_least}, and its hosts are {len(hosts)}")
        found[str(name)] = {"hosts": list(hosts), "at_least": at_least}
    return found, problems


def uses(todo: Answer, share: str, environment: str) -> bool:
    """Whether a host uses a share that an environment is declared for."""
    here = {each["name"] for each in todo["uses"]}
    return share in here and any(
        each["name"] == share and environment in each["environments"] for each in todo["shares"]
    )


def awaiting(known: Answer, share: Answer, hostvars: Hostvars) -> dict[str, str]:
    """The generations on a share that are to be tried, by environment: what its builder says awaits that."""
    builder = share["builder"]
    done = hostvars[builder].get(DONE) if builder in hostvars else None
    found = {}
    for answer in answers.of_loop(done, share["name"]):
        for fact in answers.mappings(answer.get("environments")):
            name, generation = answers.word(fact.get("name")), answers.word(fact.get("declared_id"))
            is_one = fact.get("awaits") is True and fact.get("action") != "failed"
            if is_one and name in known["trials"] and generation and _ID.fullmatch(generation):
                found[str(name)] = generation
    return found


def outcomes(known: Answer, hostvars: Hostvars) -> list[Outcome]:
    """What came of all trials. ``known`` is what uv_declaration returned."""
    work = {host: known["work"][number] for host, number in known["hosts"].items()}
    shares = {share["name"]: share for todo in work.values() for share in todo["shares"]}
    waiting: dict[tuple[str, str], list[str]] = {}
    for share in shares.values():
        for each in awaiting(known, share, hostvars).items():
            waiting.setdefault(each, []).append(share["name"])
    found = []
    for (environment, generation), names in waiting.items():
        trial = known["trials"][environment]
        well, failed, silent = [], {}, []
        for host in trial["hosts"]:
            # Of a host that is not in this run, nobody knows which shares it uses.
            if host in work and not any(uses(work[host], name, environment) for name in names):
                continue
            said = [_of_host(hostvars, host, name, environment, generation) for name in names]
            problems = [problem for problem in said if problem]
            if problems:
                failed[host] = problems[0]
            elif "" in said:
                well.append(host)
            else:
                silent.append(host)
        found.append(Outcome(names, environment, generation, well, failed, silent, trial["at_least"]))
    return found


def to_try(known: Answer, hostvars: Hostvars, share: Answer, host: str, environments: t.Iterable[Answer]) -> list[Data]:
    """What a host has to try on a share: the generations of ``environments``, as they are declared."""
    todo = known["work"][known["hosts"][host]]
    builder = next((each["builder"] for each in todo["shares"] if each["name"] == share["name"]), None)
    found = awaiting(known, {"name": share["name"], "builder": builder}, hostvars)
    return [
        {
            "name": item["name"],
            "generation": found[item["name"]],
            **{key: item.get(key) or [] for key in ("imports", "checks")},
        }
        for item in environments
        if item["name"] in found and host in known["trials"][item["name"]]["hosts"]
    ]


def to_publish(known: Answer, hostvars: Hostvars, host: str) -> list[Data]:
    """The shares that a host builds, once for each of their environments that has been tried and is well."""
    builds = {share["name"]: share for share in known["work"][known["hosts"][host]]["builds"]}
    return [
        {**builds[share], "environment": each.environment, "generation": each.id, "reason": str(each)}
        for each in outcomes(known, hostvars)
        for share in each.shares
        if each.is_well and share in builds
    ]


def told(known: Answer, hostvars: Hostvars) -> list[str]:
    """What is not published, a line each, and what hosts say of it."""
    found = []
    for each in outcomes(known, hostvars):
        if not each.is_well:
            where = named(list(each.shares), "shares")
            head = f"environment {each.environment}: its generation {each.id} is not published on {where}"
            found.append(f"{head}: {each}")
            found += [f"{host}: {text}" for host, text in each.failed.items()]
    return found


def _of_host(hostvars: Hostvars, host: str, share: str, environment: str, generation: str) -> str | None:
    """What went wrong on a host, empty if nothing did; None if it has not answered."""
    registered = hostvars[host].get(TRIED) if host in hostvars else None
    for answer in answers.of_loop(registered, share):
        for fact in answers.mappings(answer.get("environments")):
            if (fact.get("name"), fact.get("id")) == (environment, generation):
                problem = fact.get("problem")
                if problem is None:
                    return ""
                return "\n".join(answers.texts(str(problem).splitlines()[:30])) or "it failed"
    return None
