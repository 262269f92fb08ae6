# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a run did, or would do, and what there is on the shares: one structure for the summary and for JSON. Pure."""

from __future__ import annotations

import dataclasses
import re
import typing as t

from ..module_utils.share.standing import Hold
from . import answers
from .answers import Answer

FORMAT = 1
# What hosts registered, by the kind of look.
# And what was published once it had been tried.
PUBLISHED = "__uvnas_published"
DONE, VERIFIED, PYTHONS = "__uvnas_envs_done", "__uvnas_verify_seen", "__uvnas_pythons_done"
# Of hosts that are asked what is on a share, and of others where those could not say.
LOOKED, LOOKED_AGAIN = "__uvnas_info", "__uvnas_info_again"
# Of builders: what may go from their shares; of all: whether it does.
MAY_GO, DECIDED = "__uvnas_prune_seen", "__uvnas_prune_decision"

Data = dict[str, t.Any]
# What a request for an interpreter means from now on, as uv_python says it.
_UPGRADED = re.compile(r"[0-9.]+t? is [0-9.]+t? -> [0-9.]+t?")
# By the name of what a host registered.
Registered = t.Mapping[str, t.Any]


@dataclasses.dataclass(frozen=True)
class Hosts:
    """The hosts of a run: what each has registered, and those that have not failed so far."""

    registered: t.Mapping[str, Registered]
    well: t.Collection[str]

    @property
    def names(self) -> list[str]:
        return list(self.registered)

    @property
    def failed(self) -> list[str]:
        return [host for host in self.registered if host not in self.well]

    def answers(self, host: str, kind: str, share: str) -> list[Answer]:
        return answers.of_loop(self.registered.get(host, {}).get(kind), share)


@dataclasses.dataclass(frozen=True)
class Share:
    """A share, as it is declared for the hosts of a run."""

    name: str
    root: str
    builder: str
    # The names of the environments that are declared for it, those to be removed among them.
    environments: frozenset[str] = frozenset()


def shares(work: t.Iterable[t.Mapping[str, t.Any]]) -> list[Share]:
    """The shares in what hosts have to do, by name."""
    found: dict[str, Share] = {}
    for todo in work:
        for item in todo["shares"]:
            name = item["name"]
            before = found.get(name)
            declared = frozenset(item["environments"]) | (before.environments if before else frozenset())
            found[name] = Share(name, item["root"], item["builder"], declared)
    return [found[name] for name in sorted(found)]


def last_answer(hosts: Hosts, host: str, kind: str, share: str) -> Answer:
    """The last thing that a host said of a share; nothing if it said nothing."""
    said = hosts.answers(host, kind, share)
    return said[-1] if said else {}


def problem(builder: str, hosts: Hosts, answer: Answer) -> str:
    """Why a builder did not do what it was told, if that is all it said of a share."""
    if builder not in hosts.registered:
        return f"its builder {builder} is not among the hosts of this run (--limit?)"
    if not answer or answer.get("unreachable"):
        return f"its builder {builder} {'does not answer' if builder in hosts.well or answer else 'has failed before'}"
    return (answers.message(answer.get("msg")) or "failed") if answer.get("failed") else ""


def not_verified(share: str, builder: str, hosts: Hosts) -> bool:
    """Whether nobody can say what is to be on a share, as its builder has failed before that was known."""
    if builder not in hosts.registered or builder in hosts.well:
        return False
    # One that fails while members verify has done what it had to do.
    if VERIFIED in hosts.registered[builder]:
        return False
    return not any(answers.mappings(answer.get("environments")) for answer in hosts.answers(builder, DONE, share))


def of_run(declared: t.Sequence[Share], hosts: Hosts, *, check_mode: bool, time: str) -> Data:
    """What a run did to environments, or would do in check mode, and what its members saw of them."""
    return _report("run", [_of_run(share, hosts) for share in declared], hosts, check_mode=check_mode, time=time)


def of_look(declared: t.Sequence[Share], hosts: Hosts, *, check_mode: bool, time: str) -> Data:
    """What there is on shares, and what it takes."""
    could_not = {host for host in hosts.names for share in declared if _could_not_look(hosts, host, share.name)}
    hosts = Hosts(hosts.registered, [host for host in hosts.well if host not in could_not])
    return _report("info", [_of_look(share, hosts) for share in declared], hosts, check_mode=check_mode, time=time)


def _could_not_look(hosts: Hosts, host: str, share: str) -> bool:
    asked = any(hosts.answers(host, kind, share) for kind in (LOOKED, LOOKED_AGAIN))
    return asked and not looked(hosts.registered[host], share)


def looked(registered: Registered, share: str) -> list[Answer]:
    """What a host could say of a share that it was asked about; nothing where it could not."""
    said = [answer for kind in (LOOKED, LOOKED_AGAIN) for answer in answers.of_loop(registered.get(kind), share)]
    return [answer for answer in said if not answer.get("failed") and answers.is_list(answer.get("environments"))]


def _report(kind: str, found: list[Data], hosts: Hosts, *, check_mode: bool, time: str) -> Data:
    return {
        "format": FORMAT,
        "kind": kind,
        "time": time,
        "check_mode": check_mode,
        "hosts": hosts.names,
        "failed_hosts": hosts.failed,
        "shares": found,
    }


def _of_run(share: Share, hosts: Hosts) -> Data:
    # Those on which an environment does not run have seen the others all the same, and count after those that are well.
    asked = sorted(hosts.names, key=lambda host: (host not in hosts.well, host != share.builder))
    seen = [(host, answer) for host in asked for answer in hosts.answers(host, VERIFIED, share.name)]
    seen = [(host, answer) for host, answer in seen if "environments" in answer]
    done: dict[str, Answer] = {}
    said = [answer for answer in hosts.answers(share.builder, DONE, share.name) if "environments" in answer]
    for answer in said:
        done.update(_by_name(answer["environments"]))
    for answer in hosts.answers(share.builder, PUBLISHED, share.name):
        name = answers.word(answer.get("environment"))
        if name in done and not answer.get("failed"):
            done[name] = _published(done[name], answer)
    found = _by_name(seen[0][1].get("environments")) if seen else {}
    ids: dict[str, list[str]] = {}
    for host, answer in seen:
        share_id = answers.word(answer.get("share_id"))
        if share_id:
            ids.setdefault(share_id, []).append(host)
    return {
        **_head(share, hosts),
        "ids": ids,
        "verified_by": [host for host, _answer in seen if host in hosts.well],
        "builder_failed": not_verified(share.name, share.builder, hosts),
        # If not, that there are no environments here does not mean that the share has none.
        "known": bool(seen or said),
        "upgraded_pythons": [
            text
            for answer in hosts.answers(share.builder, PYTHONS, share.name)
            for text in answers.texts(answer.get("actions"))
            if _UPGRADED.fullmatch(text)
        ],
        "environments": [
            _environment(share, name, done.get(name, {}), found.get(name)) for name in sorted({*done, *found})
        ],
    }


def _published(done: Answer, answer: Answer) -> Answer:
    """What was done about an environment that was built, tried, and then published."""
    kept = {key: answer.get(key) for key in ("id", "previous_id", "packages_changed")}
    action = "publish" if done.get("action") == "keep" else done.get("action")
    return {**done, **kept, "action": action, "awaits": False, "declared_id": None}


def _head(share: Share, hosts: Hosts) -> Data:
    return {
        "name": share.name,
        "root": share.root,
        "builder": share.builder,
        "builder_in_run": share.builder in hosts.registered,
    }


def _by_name(facts: t.Any) -> dict[str, Answer]:
    """Facts about environments, by name, as far as they are such."""
    found = {answers.word(fact.get("name")): fact for fact in answers.mappings(facts)}
    return {name: fact for name, fact in found.items() if name is not None}


def _environment(share: Share, name: str, done: Answer, seen: Answer | None) -> Data:
    """What was done about an environment, and what is there: as it was ``seen``, or else as its builder made it."""
    there = seen if seen is not None else done
    size = answers.mapping(there.get("size"))
    packages = there.get("packages")
    count = answers.whole(there.get("package_count"))
    return {
        "name": name,
        "declared": name in share.environments,
        "seen": seen is not None,
        "action": answers.word(done.get("action")),
        "id": answers.word(seen.get("id") if seen is not None else done.get("id")),
        "previous_id": answers.word(done.get("previous_id")),
        "waits_for": answers.word(done.get("waits_for")),
        "held": held(done.get("held")),
        "declared_id": answers.word(done.get("declared_id")),
        "awaits": done.get("awaits") is True,
        "packages_changed": answers.texts(done.get("packages_changed")),
        "seconds": answers.number(done.get("seconds")),
        "python": answers.word(answers.mapping(there.get("python")).get("version")),
        "packages": len(packages) if count is None and isinstance(packages, dict) else count,
        "bytes": answers.whole(size.get("bytes")),
        "own_bytes": answers.whole(size.get("own_bytes")),
    }


def held(value: t.Any) -> Data | None:
    """What a host says is held, as far as that makes sense."""
    found = answers.mapping(value)
    words = {key: answers.word(found.get(key)) for key in ("id", "since")}
    if None in words.values():
        return None
    texts = {key: answers.text(found.get(key)) or "" for key in ("by", "reason")}
    return {**words, **texts, "declared": found.get("declared") is True}


def held_text(hold: Data) -> str:
    return str(Hold(**hold))


def _of_look(share: Share, hosts: Hosts) -> Data:
    """What the first host says that could look: the builder, if it could."""
    asked = sorted(hosts.names, key=lambda host: host != share.builder)
    good = [(host, answer) for host in asked for answer in looked(hosts.registered[host], share.name)]
    if not good:
        tried = [host for host in asked for kind in (LOOKED, LOOKED_AGAIN) if hosts.answers(host, kind, share.name)]
        return {**_head(share, hosts), "asked": None, "tried": tried}
    host, answer = good[0]
    environments = {**_by_name(answer.get("unpublished")), **_by_name(answer["environments"])}
    filesystem = answers.mapping(answer.get("filesystem"))
    kept = why_kept(hosts, share)
    return {
        **_head(share, hosts),
        "asked": host,
        "id": answers.word(answer.get("share_id")),
        "filesystem": {key: answers.whole(filesystem.get(key)) for key in ("free_bytes", "free_inodes")},
        "cache_bytes": answers.whole(answer.get("cache_bytes")),
        "bytecode_bytes": answers.whole(answer.get("bytecode_bytes")),
        "interpreters": [
            {
                "key": answers.word(fact.get("key")),
                "version": answers.word(fact.get("version")),
                "requests": answers.words(fact.get("requests")),
                "bytes": answers.whole(fact.get("bytes")),
            }
            for fact in answers.mappings(answer.get("interpreters"))
        ],
        "environments": [_looked_at(share, name, fact, kept) for name, fact in sorted(environments.items())],
        "problems": answers.texts(answer.get("problems")),
    }


def _looked_at(share: Share, name: str, fact: Answer, kept: t.Mapping[str, t.Sequence[str]]) -> Data:
    """``kept``: see why_kept()."""
    return {
        "name": name,
        "declared": name in share.environments,
        # By state: absent, or a purge. Its generations are still there.
        "removed": fact.get("removed") is True,
        "id": answers.word(fact.get("id")),
        "since": answers.word(fact.get("since")),
        "held": held(fact.get("held")),
        "python": answers.word(answers.mapping(fact.get("python")).get("version")),
        "packages": answers.whole(fact.get("package_count")),
        "generations": [
            {
                "id": answers.word(generation.get("id")),
                "state": answers.word(generation.get("state")),
                "age_seconds": answers.whole(generation.get("age_seconds")),
                "retired_since": answers.word(generation.get("retired_since")),
                "bytes": answers.whole(generation.get("bytes")),
                "own_bytes": answers.whole(generation.get("own_bytes")),
                "as_built": generation.get("as_built") if isinstance(generation.get("as_built"), bool) else None,
                "kept_by": _kept_by(name, generation, kept),
            }
            for generation in answers.mappings(fact.get("generation_sizes"))
        ],
    }


def why_kept(hosts: Hosts, share: Share) -> dict[str, list[str]]:
    """Of what is not in force on a share, why it must not be removed; nothing of what nobody could say that of."""
    found = {}
    for fact in answers.mappings(answers.mapping(decided(hosts).get("verdicts")).get(share.name)):
        found[f"{fact['kind']} {fact['name']}"] = list(fact["why"])
    for answer in hosts.answers(share.builder, MAY_GO, share.name):
        for fact in answers.mappings(answer.get("kept")):
            what = f"{answers.word(fact.get('kind'))} {answers.word(fact.get('name'))}"
            found[what] = [answers.text(fact.get("why")) or "?"]
    return found


def decided(hosts: Hosts) -> Answer:
    """What uv_pruning decided, which all hosts have; nothing if it did not."""
    return answers.mapping(next((known[DECIDED] for known in hosts.registered.values() if DECIDED in known), None))


def _kept_by(env: str, generation: Answer, kept: t.Mapping[str, t.Sequence[str]]) -> list[str] | None:
    """Why a generation must not be removed; an empty list if it may be, and None if nobody knows."""
    if generation.get("state") == "in_force":
        return ["it is in force"]
    found = kept.get(f"generation {env}/{answers.word(generation.get('id'))}")
    return None if found is None else list(found)
