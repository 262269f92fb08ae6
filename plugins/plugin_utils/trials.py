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
# Of what a host says went wrong; and how many different texts are shown.
_LINES, _TEXTS = 30, 5

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
    seen = set()
    for environment in environments:
        given, name = environment.get("try_on"), environment.get("name")
        if not given or environment.get("state") == "absent" or (name, repr(given)) in seen:
            continue
        seen.add((name, repr(given)))
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
        trial = {"hosts": list(hosts), "at_least": at_least}
        if found.setdefault(str(name), trial) != trial:
            problems.append(f"environment {name}: hosts declare different try_on of it, and there is one trial for all")
    return found, problems


def uses(todo: Answer, share: str, environment: str) -> bool:
    """Whether a host uses a share that an environment is declared for."""
    here = {each["name"] for each in todo["uses"]}
    return share in here and any(
        each["name"] == share and environment in each["environments"] for each in todo["shares"]
    )


def generations(known: Answer, hostvars: Hostvars) -> dict[tuple[str, str], dict[str, bool]]:
    """The shares on which each generation is that is to be tried, and whether it awaits that there: by their names.

    Generations are pairs of their environment and their id. Where one is in force already, it can be tried as well: the
    hosts that shall do so need not use the share that came later.
    """
    found: dict[tuple[str, str], dict[str, bool]] = {}
    builders = {share["name"]: share["builder"] for todo in known["work"] for share in todo["shares"]}
    for share, builder in builders.items():
        done = hostvars[builder].get(DONE) if builder in hostvars else None
        for answer in answers.of_loop(done, share):
            for fact in answers.mappings(answer.get("environments")):
                awaits = fact.get("awaits") is True
                name, generation = (answers.word(fact.get(key)) for key in ("name", "declared_id" if awaits else "id"))
                is_one = name in known["trials"] and generation and _ID.fullmatch(generation)
                if is_one and fact.get("action") != "failed":
                    found.setdefault((str(name), str(generation)), {})[share] = awaits
    return {generation: shares for generation, shares in found.items() if any(shares.values())}


def outcomes(known: Answer, hostvars: Hostvars) -> list[Outcome]:
    """What came of all trials. ``known`` is what uv_declaration returned."""
    work = {host: known["work"][number] for host, number in known["hosts"].items()}
    found = []
    waiting = generations(known, hostvars)
    trying = {host for environment, _generation in waiting for host in known["trials"][environment]["hosts"]}
    # Once: to look at a host takes Ansible milliseconds.
    registered = {host: hostvars[host].get(TRIED) for host in trying if host in work and host in hostvars}
    for (environment, generation), shares in waiting.items():
        trial = known["trials"][environment]
        well, failed, silent = [], {}, []
        for host in trial["hosts"]:
            # Of a host that is not in this run, nobody knows which shares it uses.
            if host in work and not any(uses(work[host], name, environment) for name in shares):
                continue
            said = [_said(registered.get(host), name, environment, generation) for name in shares]
            problems = [problem for problem in said if problem]
            if problems:
                failed[host] = problems[0]
            elif "" in said:
                well.append(host)
            else:
                silent.append(host)
        names = [name for name, awaits in shares.items() if awaits]
        found.append(Outcome(names, environment, generation, well, failed, silent, trial["at_least"]))
    return found


def to_try(known: Answer, hostvars: Hostvars, share: Answer, host: str, environments: t.Iterable[Answer]) -> list[Data]:
    """What a host has to try on a share: the generations of ``environments``, as they are declared."""
    found = {
        environment: generation
        for (environment, generation), shares in generations(known, hostvars).items()
        if share["name"] in shares
    }
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
    if not builds:  # As with most of the hosts that try: what they said is looked through once.
        return []
    good, _bad = _divided(outcomes(known, hostvars))
    return [
        {**builds[share], "environment": each.environment, "generation": each.id, "reason": str(each)}
        for each in good
        for share in each.shares
        if share in builds
    ]


def told(known: Answer, hostvars: Hostvars) -> tuple[list[str], list[str]]:
    """What was tried and is well, a line each; and what is not published, with what hosts say of it."""
    good, bad = _divided(outcomes(known, hostvars))
    lines = [f"environment {each.environment}: its generation {each.id} was {each}" for each in good]
    wrong = []
    for each in bad:
        where = named(list(each.shares), "shares")
        why = f"{each}, but another generation of it is not well" if each.is_well else str(each)
        wrong.append(f"environment {each.environment}: its generation {each.id} is not published on {where}: {why}")
        # A whole cluster may say the same.
        by_text: dict[str, list[str]] = {}
        for host, text in each.failed.items():
            by_text.setdefault(text, []).append(host)
        wrong += [f"{named(hosts)}: {text}" for text, hosts in list(by_text.items())[:_TEXTS]]
        rest = [host for hosts in list(by_text.values())[_TEXTS:] for host in hosts]
        if rest:
            wrong.append(f"{named(rest)}: failed, too")
    return lines, wrong


def _divided(found: t.Sequence[Outcome]) -> tuple[list[Outcome], list[Outcome]]:
    """Those that are published, and the others: an environment is published on all shares, or on none.

    It has several generations where shares have different interpreters.
    """
    bad = {each.environment for each in found if not each.is_well}
    return (
        [each for each in found if each.environment not in bad],
        [each for each in found if each.environment in bad],
    )


def too_few(tries: t.Mapping[str, Data], work: t.Mapping[str, Answer], hosts: t.Collection[str]) -> list[str]:
    """What is wrong with trials for which too few hosts use a share with the environment. ``hosts``: of this run."""
    problems = []
    here = frozenset(hosts)
    for environment, trial in tries.items():
        declaring = {
            share["name"] for todo in work.values() for share in todo["shares"] if environment in share["environments"]
        }
        # Of others nobody knows.
        able = [
            host
            for host in trial["hosts"]
            if host not in here or (host in work and any(uses(work[host], name, environment) for name in declaring))
        ]
        if declaring and len(able) < trial["at_least"]:
            which = f" ({named(able)})" if able else ""
            problems.append(
                f"environment {environment}: try_on: at_least is {trial['at_least']}, and of its hosts {len(able)}"
                f"{which} {'uses' if len(able) == 1 else 'use'} a share that it is declared for"
            )
    return problems


def _said(registered: t.Any, share: str, environment: str, generation: str) -> str | None:
    """What went wrong on a host, by what it has ``registered``; empty if nothing did, None if it has not answered."""
    for answer in answers.of_loop(registered, share):
        for fact in answers.mappings(answer.get("environments")):
            if (fact.get("name"), fact.get("id")) == (environment, generation):
                problem = fact.get("problem")
                if problem is None:
                    return ""
                first, *lines = str(problem).splitlines() or [""]
                # The end of a traceback says what happened.
                return "\n".join(answers.texts([first, *lines[-_LINES:]])) or "it failed"
        # Its share is not mounted there, or what it tried has ended the module: nobody knows.
        if answer.get("failed") is True and answer.get("unreachable") is not True:
            return answers.message(answer.get("msg")) or "it failed"
    return None
