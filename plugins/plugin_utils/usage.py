# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What usage.yml says: who uses what, on which hosts, as lines and for JSON. Pure."""

from __future__ import annotations

import typing as t

from ..module_utils.share.standing import shown
from . import answers
from .answers import Answer
from .inventory import named
from .report import Data, Hosts
from .summary import columns, count

FORMAT = 1
# What hosts registered.
SEEN = "__uvnas_usage"
# Processes of one generation that are shown. JSON has all of them.
_SHOWN = 20


def report(hosts: Hosts, *, time: str) -> Data:
    """What all hosts have said."""
    return {
        "format": FORMAT,
        "kind": "usage",
        "time": time,
        "hosts": [_host(host, hosts.registered[host].get(SEEN)) for host in hosts.names],
    }


def _host(host: str, registered: t.Any) -> Data:
    answer = answers.mapping(registered)
    has_answered = not answer.get("failed") and not answer.get("unreachable") and answers.is_list(answer.get("uses"))
    return {
        "name": host,
        "answered": has_answered,
        "is_root": answer.get("is_root") is True,
        "uses": [_use(fact) for fact in answers.mappings(answer.get("uses"))] if has_answered else [],
        "unread": [_unread(fact) for fact in answers.mappings(answer.get("unread"))] if has_answered else [],
    }


def _use(fact: Answer) -> Data:
    words = ("environment", "generation", "interpreter", "uv", "since", "job")
    return {
        "pid": answers.whole(fact.get("pid")),
        **{key: answers.text(fact.get(key)) or "" for key in ("user", "command")},
        **{key: answers.word(fact.get(key)) or "" for key in words},
    }


def _unread(fact: Answer) -> Data:
    texts = {key: answers.text(fact.get(key)) or "" for key in ("user", "command", "why")}
    return {"pid": answers.whole(fact.get("pid")), **texts}


def lines(found: Data) -> list[str]:
    """The same for people: each generation and interpreter with those who use it."""
    users: dict[str, list[list[str]]] = {}
    for host in found["hosts"]:
        for use in host["uses"]:
            what = f"{use['environment']} {use['generation']}" if use["environment"] else use["interpreter"]
            what = what or f"uv {use['uv']}"
            job = f"job {use['job']}" if use["job"] else ""
            since = f"since {shown(use['since'])}" if use["since"] else ""
            pid = "?" if use["pid"] is None else str(use["pid"])
            users.setdefault(what, []).append([host["name"], f"pid {pid}", use["command"], use["user"], job, since])
    told = []
    for what in sorted(users):
        rows = users[what]
        told += [what, *(f"  {line}" for line in columns(rows[:_SHOWN], "<<<<<<"))]
        if len(rows) > _SHOWN:
            told.append(f"  and {len(rows) - _SHOWN} more processes")
    asked = [host["name"] for host in found["hosts"] if host["answered"]]
    told = told or ["Nobody uses a generation, an interpreter or uv."]
    told += [
        f"{host['name']}: pid {each['pid']} ({each['command'] or '?'}) may use anything: {each['why']}"
        for host in found["hosts"]
        for each in host["unread"]
    ]
    others = [host["name"] for host in found["hosts"] if host["answered"] and not host["is_root"]]
    told += [f"not as root, so only some processes were seen: {named(others)}"] if others else []
    return [*told, f"{count(len(asked), 'host')} answered."]


def wrong(found: Data) -> list[str]:
    """Why nobody can say what is in use."""
    silent = [host["name"] for host in found["hosts"] if not host["answered"]]
    return [f"not answered: {named(silent)}"] if silent else []
