# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What history.yml says: one structure of what hosts returned, for its lines and for JSON. Pure."""

from __future__ import annotations

import typing as t

from ..module_utils.share.standing import shown
from . import answers
from .answers import Answer
from .report import Data, Hosts, Share, held, held_text
from .summary import columns, count, packages

FORMAT = 1
# What hosts registered.
TOLD = "__uvnas_history"
# Lines of a journal that are shown. JSON has all of them.
_SHOWN = 30


def report(declared: t.Sequence[Share], hosts: Hosts, *, time: str) -> Data:
    """What each share's first host says that could look: the builder, if it could."""
    return {
        "format": FORMAT,
        "kind": "history",
        "time": time,
        "hosts": hosts.names,
        "shares": [_share(share, hosts) for share in declared],
    }


def _share(share: Share, hosts: Hosts) -> Data:
    asked = sorted(hosts.names, key=lambda host: host != share.builder)
    said = [(host, answer) for host in asked for answer in hosts.answers(host, TOLD, share.name)]
    good = [(host, answer) for host, answer in said if not answer.get("failed") and "environments" in answer]
    head = {"name": share.name, "root": share.root}
    if not good:
        why = [answers.message(answer.get("msg")) or "it does not answer" for _host, answer in said]
        return {**head, "asked": None, "problems": why or ["none of its hosts is in this run"]}
    host, answer = good[0]
    difference = answers.mapping(answer.get("difference"))
    return {
        **head,
        "asked": host,
        "environments": [_environment(fact) for fact in answers.mappings(answer.get("environments"))],
        "journal": [_entry(fact) for fact in answers.mappings(answer.get("journal"))],
        "difference": _difference(difference) if difference else None,
        "problems": answers.texts(answer.get("problems")),
    }


def _environment(fact: Answer) -> Data:
    return {
        "name": answers.word(fact.get("name")),
        "id": answers.word(fact.get("id")),
        "since": answers.word(fact.get("since")),
        "held": held(fact.get("held")),
        "generations": [
            {
                **{key: answers.word(each.get(key)) for key in ("id", "created", "published", "retired", "python")},
                "state": answers.text(each.get("state")),
                "packages": answers.whole(each.get("packages")),
                "packages_changed": answers.texts(each.get("packages_changed")),
            }
            for each in answers.mappings(fact.get("generations"))
        ],
    }


def _entry(fact: Answer) -> Data:
    words = ("time", "action", "environment", "generation", "previous", "uv")
    return {
        **{key: answers.word(fact.get(key)) for key in words if fact.get(key)},
        **{key: answers.text(fact.get(key)) for key in ("why", "user", "controller") if fact.get(key)},
        "packages_changed": answers.texts(fact.get("packages_changed")),
    }


def _difference(fact: Answer) -> Data:
    return {
        "from": answers.word(fact.get("from")),
        "to": answers.word(fact.get("to")),
        "python": answers.words(fact.get("python")),
        "packages_changed": answers.texts(fact.get("packages_changed")),
    }


def lines(found: Data) -> list[str]:
    """The same for people."""
    told: list[str] = []
    for share in found["shares"]:
        if share["asked"] is None:
            continue
        told.append(f"share {share['name']}: {share['root']}, seen by {share['asked']}")
        for environment in share["environments"]:
            told += _lines_of(environment)
        if share["difference"]:
            told += _lines_of_difference(share["difference"])
        told += _lines_of_journal(share["journal"])
    return told or ["No shares."]


def wrong(found: Data) -> list[str]:
    """What to say of shares of which something, or everything, cannot be read; a line each."""
    return [f"share {share['name']}: {text}" for share in found["shares"] for text in share["problems"]]


def _lines_of(environment: Data) -> list[str]:
    hold = environment["held"]
    head = f"  {environment['name'] or '?'}" + (f"  {held_text(hold)}" if hold else "")
    if not environment["generations"]:
        return [f"{head}  not on this share"]
    rows = []
    for number, each in enumerate(reversed(environment["generations"])):
        oldest = number == len(environment["generations"]) - 1
        since, until = (shown(each[key]) if each[key] else "" for key in ("published", "retired"))
        rows.append(
            [
                each["id"] or "?",
                each["state"] or "?",
                since,
                f"to {until}" if until else "",
                f"Python {each['python']}" if each["python"] else "",
                "" if each["packages"] is None else count(each["packages"], "package"),
                "" if oldest else packages(each["packages_changed"], new=False),
            ]
        )
    return [head, *(f"    {line}" for line in columns(rows, "<<<<<><"))]


def _lines_of_difference(difference: Data) -> list[str]:
    before, after = (f"{each}" for each in (difference["from"], difference["to"]))
    pythons = difference["python"]
    head = f"  {before} -> {after}"
    head += f"  Python {' -> '.join(pythons)}" if len(set(pythons)) > 1 else ""
    return [head, *(f"    {line}" for line in difference["packages_changed"] or ["same packages"])]


def _lines_of_journal(journal: t.Sequence[Data]) -> list[str]:
    if not journal:
        return []
    rows = []
    for entry in journal[-_SHOWN:]:
        ids = " -> ".join(entry[key] for key in ("previous", "generation") if entry.get(key))
        by = " on ".join(entry[key] for key in ("user", "controller") if entry.get(key))
        why = entry.get("why") or ""
        texts = [text for text in (f"by {by}" if by else "", why) if text]
        what = [entry.get(key) or "?" for key in ("action", "environment")]
        rows.append([shown(entry.get("time") or ""), *what, ids, ": ".join(texts)])
    more = len(journal) - len(rows)
    head = "  journal" + (f" (the last {len(rows)} of {len(journal)} lines)" if more else "")
    return [head, *(f"    {line}" for line in columns(rows, "<<<<<"))]
