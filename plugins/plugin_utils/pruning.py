# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what may go from shares is in use anywhere, by what members and Slurm have answered. Pure.

Whoever has not answered may use anything. A host that was booted after something had been retired does not; nor does
one that the admin leaves out.
"""

from __future__ import annotations

import dataclasses
import datetime
import difflib
import re
import typing as t
from collections.abc import Mapping

from ..module_utils.env.prune.plan import INTERPRETER
from . import answers
from .answers import Answer, Hostvars
from .report import MAY_GO
from .usage import SEEN as USAGE

# What hosts registered of the jobs of their cluster, and builders of what they have put aside.
JOBS, ASIDE = "__uvnas_prune_jobs", "__uvnas_prune_aside"
# Why something stays that nobody uses: it could be found until now, or may have been.
NOT_ASIDE = "it was not put aside"
# How far clocks of hosts may be apart.
_CLOCKS = datetime.timedelta(seconds=300)
_JOB = re.compile(r"job:([^/\s]+)/([0-9]+)")

Data = dict[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Item:
    """Something that may go, by what its builder says; names as there."""

    kind: str
    name: str
    retired: str | None
    aside: bool
    wanted: str

    @classmethod
    def of(cls, fact: Answer) -> Item | None:
        """What a builder says of one; None if that is nothing that the module would say."""
        kind, name = answers.word(fact.get("kind")), answers.word(fact.get("name"))
        if not kind or not name or name != fact.get("name"):
            return None
        retired = answers.word(fact.get("retired"))
        return cls(
            kind,
            name,
            retired if _moment(retired) is not None else None,
            fact.get("aside") is True,
            answers.text(fact.get("wanted")) or "",
        )

    @property
    def named(self) -> Data:
        """As uv_prune wants it."""
        return {"kind": self.kind, "name": self.name}


@dataclasses.dataclass(frozen=True)
class Found:
    """What the builder of a share said of it."""

    items: t.Sequence[Item]
    # Generations of environments that are in force or held there.
    in_force: t.Mapping[str, t.Collection[str]]


@dataclasses.dataclass(frozen=True)
class Site:
    """The inventory, as far as it matters here."""

    # The members of each share, builders among them; and the environments that are declared for it.
    members: t.Mapping[str, t.Sequence[str]]
    environments: t.Mapping[str, t.Collection[str]]
    builders: t.Mapping[str, str]
    # The hosts of this run.
    hosts: t.Collection[str]
    # Hosts and jobs that the admin leaves out.
    without: t.Collection[str]
    # Shares that no host of this run has, and their environments.
    unseen: t.Mapping[str, t.Collection[str]]
    now: datetime.datetime

    @property
    def everybody(self) -> list[str]:
        """The hosts that are members of a share."""
        return sorted({host for members in self.members.values() for host in members})


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether something goes, or who keeps it."""

    item: Item
    why: t.Sequence[str]


def site(declared: Answer, hosts: t.Iterable[str], now: datetime.datetime) -> Site:
    """The inventory by what uv_declaration returned; ``hosts`` are those of this run."""
    known = declared.get("pruning") or {}
    environments: dict[str, set[str]] = {}
    builders: dict[str, str] = {}
    for todo in declared.get("work", ()):
        for share in todo["shares"]:
            builders[share["name"]] = share["builder"]
            environments.setdefault(share["name"], set()).update(share["environments"])
    without, unseen = frozenset(known.get("without", ())), known.get("unseen", {})
    return Site(known.get("members", {}), environments, builders, frozenset(hosts), without, unseen, now)


def problems(without: t.Iterable[str], hosts: t.Collection[str]) -> list[str]:
    """What is wrong with ``uvnas_prune_without``."""
    found = []
    for each in without:
        if each.startswith("job:"):
            if not _JOB.fullmatch(each):
                found.append(f"uvnas_prune_without: {each} is no job; write job:<cluster>/<number>")
        elif each not in hosts:
            like = difflib.get_close_matches(each, list(hosts), 1, 0.6)
            meant = f"; did you mean {like[0]}?" if like else ""
            found.append(f"uvnas_prune_without: {each} is no host of this inventory{meant}")
    return found


def found(site: Site, hostvars: Hostvars) -> dict[str, Found | None]:
    """What the builder of each share said; None if it did not."""
    told: dict[str, Found | None] = {}
    for share, builder in site.builders.items():
        said = answers.of_loop(hostvars[builder].get(MAY_GO), share) if builder in hostvars else []
        answer = said[-1] if said else {}
        well = not answer.get("failed") and not answer.get("unreachable")
        if not (well and answers.is_list(answer.get("candidates")) and isinstance(answer.get("in_force"), Mapping)):
            told[share] = None
            continue
        items = [item for item in map(Item.of, answers.mappings(answer.get("candidates"))) if item is not None]
        in_force = answers.mapping(answer.get("in_force"))
        told[share] = Found(items, {str(env): frozenset(answers.words(ids)) for env, ids in in_force.items()})
    return told


class Members:
    """What members have answered."""

    def __init__(self, site: Site, hostvars: Hostvars) -> None:
        self._site = site
        # Once: to look at a host takes Ansible milliseconds.
        self._said = {host: self._of(hostvars[host].get(USAGE)) for host in site.everybody if host in hostvars}
        # And each of their processes once: there may be a thousand hosts.
        self._uses = {host: _by_item(host, answer) for host, answer in self._said.items()}
        # Nobody else was asked.
        self._jobs = {host: answers.mapping(hostvars[host].get(JOBS)) for host in self.to_ask().values()}
        self._booted = self._moments()

    @staticmethod
    def _of(registered: t.Any) -> Answer:
        answer = answers.mapping(registered)
        well = not answer.get("failed") and not answer.get("unreachable") and answers.is_list(answer.get("uses"))
        return answer if well else {}

    def silence(self, host: str) -> str:
        """Why what a member uses is not known; empty if it is."""
        if host not in self._site.hosts:
            return f"{host} is not among the hosts of this run (--limit?)"
        answer = self._said.get(host, {})
        if not answer:
            return f"{host} did not answer"
        return "" if answer.get("is_root") is True else f"{host} was not asked as root"

    def clusters(self) -> dict[str, list[str]]:
        """The members of each Slurm cluster that say so; under no name those that do not know theirs."""
        told: dict[str, list[str]] = {}
        for host, answer in self._said.items():
            if answer.get("cluster") is not None:
                told.setdefault(answers.word(answer.get("cluster")) or "", []).append(host)
        return told

    def to_ask(self) -> dict[str, str]:
        """The member of each cluster that is asked for its jobs: a builder rather than a node."""
        builders = set(self._site.builders.values())
        return {
            cluster: min(hosts, key=lambda host: (bool(self.silence(host)), host not in builders, host))
            for cluster, hosts in self.clusters().items()
            if cluster
        }

    def nodes(self, asked: str) -> list[str]:
        """The nodes of a cluster, as far as the member that was asked for its jobs was asked about them, too."""
        nodes = answers.mappings(self._jobs.get(asked, {}).get("nodes"))
        return [name for name in (answers.word(node.get("name")) for node in nodes) if name is not None]

    def silent(self) -> list[str]:
        """Members of which it is not known what they use: Slurm may know when they were booted."""
        return [host for host in self._site.everybody if self.silence(host)]

    def booted(self, host: str) -> datetime.datetime | None:
        """When a member was booted, by itself or by Slurm."""
        known = self._booted.get(host)
        return min(known) if known else None

    def _moments(self) -> dict[str, list[datetime.datetime]]:
        told: list[tuple[t.Any, t.Any]] = [(host, answer.get("booted")) for host, answer in self._said.items()]
        for answer in self._jobs.values():
            told += [(node.get("name"), node.get("booted")) for node in answers.mappings(answer.get("nodes"))]
        found: dict[str, list[datetime.datetime]] = {}
        for host, when in told:
            moment = _moment(answers.word(when))
            if isinstance(host, str) and moment is not None:
                found.setdefault(host, []).append(moment)
        return found

    def uses(self, host: str, item: Item) -> t.Sequence[str]:
        """The processes of a member that use something, a text each."""
        return self._uses.get(host, {}).get((item.kind, item.name), ())

    def unread(self, host: str) -> list[str]:
        return [
            f"{host}: {_process(fact)} may use anything: {answers.text(fact.get('why')) or '?'}"
            for fact in answers.mappings(self._said.get(host, {}).get("unread"))
        ]

    def jobs(self, cluster: str, asked: str) -> list[_Job] | str:
        """The jobs of a cluster, as the member said that was ``asked``; or why they are not known."""
        answer = self._jobs.get(asked, {})
        if not answer or answer.get("failed") or answer.get("unreachable") or not answers.is_list(answer.get("jobs")):
            return f"{cluster}: {asked} cannot list its jobs: {answers.message(answer.get('msg')) or 'no answer'}"
        if answer.get("is_root") is not True:
            return f"{cluster}: {asked} was not asked as root, so it may not see all jobs"
        return [_Job.of(cluster, job) for job in answers.mappings(answer.get("jobs"))]


@dataclasses.dataclass(frozen=True)
class _Job:
    """A job that waits or runs."""

    # As in ``uvnas_prune_without``.
    name: str
    submitted: datetime.datetime | None
    restarted: bool
    text: str

    @classmethod
    def of(cls, cluster: str, said: Answer) -> _Job:
        number = answers.word(said.get("id")) or "?"
        who, state = answers.word(said.get("user")) or "?", (answers.word(said.get("state")) or "?").lower()
        restarted = said.get("restarted") is not False
        how = "restarted" if restarted else "perhaps submitted before it was retired"
        return cls(
            f"job:{cluster}/{re.split('[_+]', number)[0]}",
            _moment(answers.word(said.get("submitted"))),
            restarted,
            f"{cluster}: job {number} of {who} ({state}), {how}",
        )


def verdicts(site: Site, hostvars: Hostvars) -> dict[str, list[Verdict]]:
    """Of all that may go, by shares: whether it goes."""
    told = found(site, hostvars)
    members = Members(site, hostvars)
    asked = members.to_ask()
    jobs = {cluster: members.jobs(cluster, host) for cluster, host in asked.items()}
    clusters = members.clusters()
    # Nodes that are silent do not say of which cluster they are.
    of_clusters = {name: {*hosts, *members.nodes(asked.get(name, ""))} for name, hosts in clusters.items()}
    aside = _aside(site, hostvars)
    judged: dict[str, list[Verdict]] = {}
    for share, here in told.items():
        mine = [cluster for cluster, hosts in of_clusters.items() if hosts & set(site.members.get(share, ()))]
        judged[share] = []
        for item in here.items if here is not None else ():
            why = [
                *([f"needed: {item.wanted}"] if item.wanted else []),
                *_elsewhere(site, told, share, item),
                *_on_members(site, members, share, item),
                *(why for cluster in mine for why in _in_jobs(site, cluster, jobs.get(cluster), clusters, item)),
            ]
            # Since then, everybody has been asked again. What was put aside later, or may have been, is for the next.
            is_aside = aside is None or item.aside or (item.kind, item.name) in aside[share]
            judged[share].append(Verdict(item, why if why or is_aside else [NOT_ASIDE]))
    return judged


def _aside(site: Site, hostvars: Hostvars) -> dict[str, list[tuple[str, str]]] | None:
    """What builders say is aside, by shares; None if none of them has been told to put anything aside so far."""
    if not any(ASIDE in known for known in hostvars.values()):
        return None
    told: dict[str, list[tuple[str, str]]] = {share: [] for share in site.builders}
    for share, builder in site.builders.items():
        for answer in answers.of_loop(hostvars.get(builder, {}).get(ASIDE), share):
            if not answer.get("failed") and not answer.get("unreachable"):
                told[share] = answers.pairs(answer.get("aside")) or []
    return told


def going(judged: t.Sequence[Verdict]) -> list[Data]:
    """What goes from a share, as uv_prune wants it: by names, of which it may have one aside, and another one."""
    kept = [verdict.item.named for verdict in judged if verdict.why]
    return [verdict.item.named for verdict in judged if verdict.item.named not in kept]


def _elsewhere(site: Site, told: t.Mapping[str, Found | None], share: str, item: Item) -> list[str]:
    """The other shares that a generation is in force on, or may be."""
    env, slash, generation = item.name.partition("/")
    if not slash:
        return []
    others = {other: found for other, found in told.items() if other != share}
    why = [
        f"in force or held on {o}" for o, f in others.items() if f is not None and generation in f.in_force.get(env, ())
    ]
    why += [
        f"the builder of {other} did not answer, and it may be in force there"
        for other, found in others.items()
        if found is None and env in site.environments.get(other, ())
    ]
    why += [
        f"no host of this run has {other} (--limit?), and it may be in force there"
        for other, environments in site.unseen.items()
        if env in environments
    ]
    return why


def _on_members(site: Site, members: Members, share: str, item: Item) -> list[str]:
    why: list[str] = []
    for host in site.members.get(share, ()):
        why += members.uses(host, item)
        # People's own environments start on an interpreter at any time.
        could_not = item.kind != INTERPRETER and _later(site, members.booted(host), item.retired)
        if host in site.without or could_not:
            continue
        silence = members.silence(host)
        why += [silence] if silence else members.unread(host)
    return why


def _in_jobs(
    site: Site,
    cluster: str,
    jobs: list[_Job] | str | None,
    clusters: t.Mapping[str, t.Sequence[str]],
    item: Item,
) -> list[str]:
    """The jobs of a cluster that may have the path of something in their variables: those submitted before it went."""
    if not cluster:
        hosts = [host for host in clusters[cluster] if host not in site.without]
        return [f"{hosts[0]} has Slurm, but the name of its cluster is not to be found"] if hosts else []
    if jobs is None or isinstance(jobs, str):
        return [jobs or f"{cluster}: nobody was asked for its jobs"]
    return [
        job.text
        for job in jobs
        if job.name not in site.without and (job.restarted or not _later(site, job.submitted, item.retired))
    ]


def newest(site: Site, hostvars: Hostvars) -> str:
    """The time before which jobs matter: ISO 8601, UTC. Empty if all of them do."""
    retired = [_moment(item.retired) for here in found(site, hostvars).values() if here for item in here.items]
    known = [moment for moment in retired if moment is not None]
    if not known or len(known) != len(retired) or max(known) > site.now:
        return ""
    return (max(known) + _CLOCKS).isoformat()


def _later(site: Site, moment: datetime.datetime | None, retired: str | None) -> bool:
    """Whether something was certainly after the time at which something was retired."""
    since = _moment(retired)
    if moment is None or since is None or moment - site.now > _CLOCKS:  # Of a clock that is wrong.
        return False
    return moment - since > _CLOCKS


def _moment(text: str | None) -> datetime.datetime | None:
    try:
        moment = datetime.datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return moment if moment.tzinfo is not None else None


def _by_item(host: str, answer: Answer) -> dict[tuple[str, str], list[str]]:
    """The processes of a host, a text each, by what they use: its kind and its name."""
    found: dict[tuple[str, str], list[str]] = {}
    for use in answers.mappings(answer.get("uses")):
        what = _used(use)
        if what is not None:
            found.setdefault(what, []).append(f"{host}: {_process(use)}")
    return found


def _used(use: Answer) -> tuple[str, str] | None:
    env, generation = answers.word(use.get("environment")), answers.word(use.get("generation"))
    if env and generation:
        return "generation", f"{env}/{generation}"
    for kind in ("interpreter", "uv"):
        name = answers.word(use.get(kind))
        if name:
            return kind, name
    return None


def _process(fact: Answer) -> str:
    who = ", ".join(filter(None, (answers.text(fact.get("command")), answers.text(fact.get("user")))))
    job = answers.word(fact.get("job"))
    pid = answers.whole(fact.get("pid"))
    return f"pid {'?' if pid is None else pid} ({who or '?'})" + (f", job {job}" if job else "")
