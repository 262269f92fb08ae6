# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What prune.yml says: what was removed from each share, what stays and why, as lines and for JSON. Pure."""

from __future__ import annotations

import typing as t

from ..module_utils.share.standing import shown
from . import answers
from .answers import Answer
from .pruning import ASIDE, NOT_ASIDE
from .report import MAY_GO, Data, Hosts, Share, decided, last_answer, problem
from .summary import amount, columns, count, few

FORMAT = 1
# What hosts registered.
DONE = "__uvnas_prune_done"
# What is said of something that was to go, and did not.
_MISSED, _FAILED = "needed again meanwhile, or another prune is at work", "this prune has failed"
# Things that stay, as are shown; JSON has all of them.
_SHOWN = 20


def report(shares: t.Iterable[Share], hosts: Hosts, *, check_mode: bool, time: str) -> Data:
    """What was done on each share, or would be."""
    return {
        "format": FORMAT,
        "kind": "prune",
        "time": time,
        "check_mode": check_mode,
        "shares": [_share(share, hosts, check_mode=check_mode) for share in shares],
    }


def _share(share: Share, hosts: Hosts, *, check_mode: bool) -> Data:
    seen, aside, done = (last_answer(hosts, share.builder, kind, share.name) for kind in (MAY_GO, ASIDE, DONE))
    decision = decided(hosts)
    judged = answers.mappings(answers.mapping(decision.get("verdicts")).get(share.name))
    going = [fact for fact in judged if not fact["why"]]
    steps = [seen, *([aside] if aside else []), *([] if check_mode else [done])]
    why = next(filter(None, (problem(share.builder, hosts, step) for step in steps)), "")
    is_over = check_mode or not problem(share.builder, hosts, done)
    gone = {(_name(fact), answers.word(fact.get("kind"))) for fact in answers.mappings(done.get("removed"))}
    removed = going if check_mode else [fact for fact in going if (fact["name"], fact["kind"]) in gone]
    stays = [fact for fact in judged if fact not in removed]
    freed = answers.mapping((seen if check_mode else done).get("freed"))
    return {
        "name": share.name,
        "builder": share.builder,
        "builder_in_run": share.builder in hosts.registered,
        "problem": why,
        "removed": [_of(fact) for fact in removed],
        "in_use": [{**_of(fact), "why": _why(fact, why)} for fact in stays],
        # What nobody has seen back since.
        "aside": [_of(fact) for fact in stays if not is_over and _may_be_aside(fact, aside)],
        "kept": [
            {"kind": answers.word(fact.get("kind")), "name": _name(fact), "why": answers.text(fact.get("why"))}
            for fact in answers.mappings(seen.get("kept"))
        ],
        "freed": {key: _number(freed.get(key)) for key in ("bytes", "inodes")},
    }


def _may_be_aside(fact: Answer, aside: Answer) -> bool:
    """Whether something was aside before, or may be since. ``aside`` is what its builder said of that, if anything."""
    if fact["aside"] or not aside:
        return bool(fact["aside"])
    listed = answers.pairs(aside.get("aside"))
    return listed is None or (fact["kind"], fact["name"]) in listed


def _why(fact: Answer, problem: str) -> list[str]:
    """Why something stays."""
    why = [each for each in fact["why"] if each != NOT_ASIDE]
    return why or [_FAILED if problem else NOT_ASIDE if fact["why"] else _MISSED]


def _of(fact: Answer) -> Data:
    """Something of a decision, which is the controller's own."""
    return {key: fact[key] for key in ("kind", "name", "retired")}


def _name(fact: Answer) -> str:
    return answers.word(fact.get("name")) or "?"


def _number(value: t.Any) -> int | None:
    """What came free may be less than nothing: others write, too."""
    whole = answers.whole(-value if isinstance(value, int) and value < 0 else value)
    return whole if whole is None or value >= 0 else -whole


def lines(found: Data) -> list[str]:
    """The same for people."""
    told: list[str] = []
    for share in found["shares"]:
        told.append(f"share {share['name']}")
        rows = [[_what(fact), _verb(found), _since(fact)] for fact in share["removed"]]
        rows += [
            [_what(fact), "may be aside" if _of(fact) in share["aside"] else "stays", few(fact["why"])]
            for fact in share["in_use"]
        ]
        rows += [[_what(fact), "stays", fact["why"] or "?"] for fact in share["kept"][:_SHOWN]]
        told += [f"  {line}" for line in columns(rows, "<<<")]
        if len(share["kept"]) > _SHOWN:
            told.append(f"  and {len(share['kept']) - _SHOWN} more stay, retired not long ago")
        told += [f"  {line}" for line in _freed(found, share)]
    if any(share["in_use"] for share in found["shares"]):
        told.append("If a host or a job keeps something that it does not use: uvnas_prune_without leaves it out.")
    return told or ["No shares."]


def _verb(found: Data) -> str:
    return "would go" if found["check_mode"] else "removed"


def _what(fact: Answer) -> str:
    name = str(fact["name"])
    return name.replace("/", " ") if fact["kind"] == "generation" else f"uv {name}" if fact["kind"] == "uv" else name


def _since(fact: Answer) -> str:
    return f"retired since {shown(fact['retired'])}" if fact["retired"] else ""


def _freed(found: Data, share: Data) -> list[str]:
    if not share["builder_in_run"]:
        return [f"nothing is removed: {share['problem']}"]
    if not share["removed"]:
        return [] if share["problem"] else ["nothing to remove"]
    size, inodes = share["freed"]["bytes"], share["freed"]["inodes"]
    if size is None:
        return []
    if size < 0:
        return ["others wrote more to this filesystem meanwhile than came free"]
    parts = [amount(size), *([count(inodes, "inode")] if inodes is not None else [])]
    return [f"{', '.join(parts)} {'would come' if found['check_mode'] else 'came'} free"]


def wrong(found: Data) -> list[str]:
    """What was not done. A share whose builder is left out by ``--limit`` is nothing that went wrong."""
    told = []
    for share in found["shares"]:
        if share["problem"] and share["builder_in_run"]:
            hidden = ". Run this again: until then, nobody finds what is aside" if share["aside"] else ""
            head = f"share {share['name']}: "  # With which some problems begin.
            told.append(f"{head}NOT DONE: {share['problem'].removeprefix(head).rstrip('.')}{hidden}")
    return told
