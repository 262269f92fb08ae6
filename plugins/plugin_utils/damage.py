# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What verify.yml with uvnas_deep and repair.yml say: what is damaged on each share, and what was done. Pure."""

from __future__ import annotations

import typing as t

from . import answers
from .answers import Answer
from .report import Data, Hosts, Share, last_answer, problem
from .summary import amount, columns, count, few, seconds

FORMAT = 1
# What hosts registered: what is damaged; how it was repaired, and before that the uv of a share.
READ, DONE, UV = "__uvnas_deep_done", "__uvnas_repair_done", "__uvnas_repair_uv"
_KINDS = ("generation", "interpreter", "uv", "cache", "bytecode", "record")
_STATES = ("in force", "retired")
_UNDECLARED = "undeclared"
_NONSENSE = "what its builder answers makes no sense"
# Damages of a tree that a module names, that are shown, and damaged trees that are shown. JSON has all that is named.
_NAMED, _SHOWN, _TREES = 100, 10, 20
_REPAIR, _REMOVE = "ansible-playbook uvnas.cluster.repair", "-e uvnas_repair_remove=true"


def report(kind: str, shares: t.Iterable[Share], hosts: Hosts, *, check_mode: bool, time: str) -> Data:
    """What is damaged on each share (``deep``), or what was done about it, or would be (``repair``)."""
    told = [_share(kind, share, hosts, check_mode=check_mode) for share in shares]
    return {"format": FORMAT, "kind": kind, "time": time, "check_mode": check_mode, "shares": told}


def _share(kind: str, share: Share, hosts: Hosts, *, check_mode: bool) -> Data:
    answer = last_answer(hosts, share.builder, DONE if kind == "repair" else READ, share.name)
    uv = last_answer(hosts, share.builder, UV, share.name) if kind == "repair" else {}
    found = [_tree(fact) for fact in answers.mappings(answer.get("trees"))]
    trees = [tree for tree in found if tree is not None]
    if check_mode and uv.get("changed") is True:
        for tree in trees:
            if tree["kind"] == "uv" and tree["name"] == answers.word(uv.get("version")):
                tree["damages"] = [{**each, "done": "repaired by installing it anew"} for each in tree["damages"]]
    why = problem(share.builder, hosts, answer)
    if not why and (not answers.is_list(answer.get("trees")) or len(trees) < len(answer["trees"])):
        why = _NONSENSE
    read = answers.mapping(answer.get("read"))
    return {
        "name": share.name,
        "root": share.root,
        "builder": share.builder,
        "builder_in_run": share.builder in hosts.registered,
        "problem": why,
        "read": {key: answers.number(read.get(key)) for key in ("files", "bytes", "seconds")},
        "trees": trees,
        "remaining": answers.words(answer.get("remaining")),
        **({"uv": _uv(share, hosts, uv)} if kind == "repair" else {}),
    }


def _tree(fact: Answer) -> Data | None:
    """A tree, as far as that makes sense; None if nobody could tell from it whether it is whole."""
    number, kind = answers.whole(fact.get("count")), fact.get("kind")
    if number is None or kind not in _KINDS or not answers.is_list(fact.get("damages")):
        return None
    named = [_damage(each) for each in answers.mappings(fact["damages"])[:_NAMED]]
    return {
        "kind": kind,
        "name": answers.word(fact.get("name")) or "?",
        "state": fact["state"] if fact.get("state") in _STATES else "",
        **{key: answers.whole(fact.get(key)) for key in ("files", "bytes")},
        "count": max(number, len(named)),
        "damages": named,
        "notes": answers.texts(fact.get("notes")),
    }


def _damage(fact: Answer) -> Data:
    texts = {key: answers.text(fact.get(key)) or "" for key in ("path", "says", "done", "why")}
    return {**texts, "what": answers.word(fact.get("what")) or "?"}


def _uv(share: Share, hosts: Hosts, answer: Answer) -> Data:
    """What was done about uv. Where that was not asked for, there is nothing to say."""
    why = problem(share.builder, hosts, answer) if answer else ""
    return {"problem": why, "actions": [] if why else answers.texts(answer.get("actions"))}


def lines(found: Data) -> list[str]:
    """The same for people."""
    told = [line for share in found["shares"] for line in _of_share(found, share)]
    return [*told, *_what_to_do(found)] or ["No shares."]


def _of_share(found: Data, share: Data) -> list[str]:
    head = f"share {share['name']}"
    if not share["builder_in_run"]:
        return [head, f"  nothing is read: {share['problem']}"]
    size = [share["read"][key] for key in ("files", "bytes", "seconds")]
    if share["problem"] or None in size:
        told = [head]
    else:
        told = [f"{head}: {size[0]:,.0f} {'file' if size[0] == 1 else 'files'}, {amount(size[1])}"]
        told[0] += f" read in {seconds(size[2])}"
    told += [f"  {action}" for action in share.get("uv", {}).get("actions", [])[:_SHOWN]]
    damaged = [tree for tree in share["trees"] if tree["count"]]
    for tree in damaged[:_TREES]:
        told += _of_tree(found, tree)
    if len(damaged) > _TREES:
        told.append(f"  and {len(damaged) - _TREES} more are damaged")
    whole = len(share["trees"]) - len(damaged)
    if damaged and whole:
        told.append(f"  {count(whole, 'other')} {'is' if whole == 1 else 'are'} whole")
    elif not damaged and not share["problem"]:
        about_uv = any(share.get("uv", {}).values())
        told.append(f"  nothing {'else ' if about_uv else ''}is damaged")
    told += _notes(share)
    waiting = share["remaining"]
    if waiting:
        told.append(f"  {len(waiting)} {'waits' if len(waiting) == 1 else 'wait'} for the next run: {few(waiting)}")
    return told


def _notes(share: Data) -> list[str]:
    """What limits what is said of trees: the same of several in one line."""
    by_note: dict[str, list[str]] = {}
    for tree in share["trees"]:
        for note in tree["notes"]:
            by_note.setdefault(note, []).append(_what(tree))
    told = [f"  {few(names)}: {note}" for note, names in by_note.items()]
    return told[:_TREES]


def _what(tree: Data) -> str:
    name = str(tree["name"])
    named = {"generation": name.replace("/", " "), "uv": f"uv {name}", "cache": "uv's cache"}
    return named.get(tree["kind"], name)


def _of_tree(found: Data, tree: Data) -> list[str]:
    head = _what(tree) + (f" ({tree['state']})" if tree["state"] else "")
    repairs = found["kind"] == "repair"
    # What stays damaged comes first.
    each = sorted(tree["damages"], key=lambda damage: bool(damage["done"])) if repairs else tree["damages"]
    rows = [[damage["path"] or ".", damage["says"] or damage["what"], _then(found, damage)] for damage in each]
    told = [f"  {head}  {_how_many(found, tree)}", *(f"    {line}" for line in columns(rows[:_SHOWN], "<<<"))]
    more = tree["count"] - min(len(rows), _SHOWN)
    return [*told, f"    and {more} more"] if more else told


def _how_many(found: Data, tree: Data) -> str:
    if found["kind"] != "repair":
        return f"{tree['count']} damaged"
    would = "would be " if found["check_mode"] else ""
    return f"{tree['count'] - _still(tree)} of {tree['count']} {would}repaired"


def _then(found: Data, damage: Data) -> str:
    """What was done about a damage."""
    if found["kind"] != "repair":
        return ""
    if damage["done"]:
        return f"would be {damage['done']}" if found["check_mode"] else str(damage["done"])
    return f"{'would stay' if found['check_mode'] else 'stays'}: {_why(damage)}"


def _why(damage: Data) -> str:
    """Why something stays as it is."""
    if damage["what"] == _UNDECLARED:
        return str(damage["why"] or f"remove it with {_REMOVE}")
    return str(damage["why"] or "?")


def _still(tree: Data) -> int:
    """How many damages of a tree were not repaired. Modules name these first, of those that are too many to name."""
    still = sum(not damage["done"] for damage in tree["damages"])
    return int(tree["count"]) if still == len(tree["damages"]) else still


def _what_to_do(found: Data) -> list[str]:
    """What helps against what is damaged. How to get rid of a damaged record, its damage says itself."""
    trees = [tree for share in found["shares"] for tree in share["trees"]]
    repairs = found["kind"] == "repair"
    left = [(tree, damage) for tree in trees for damage in tree["damages"] if not (repairs and damage["done"])]
    told = []
    if not repairs and any(tree["kind"] != "record" and damage["what"] != _UNDECLARED for tree, damage in left):
        told.append(f"To mend this: {_REPAIR}")
    if any(damage["what"] == _UNDECLARED for _tree, damage in left):
        told.append(f"To remove what does not belong there: {_REPAIR} {_REMOVE}")
    return told


def wrong(found: Data) -> list[str]:
    """What is damaged, or still is, and what nobody knows. A builder that ``--limit`` leaves out is no such thing."""
    told = []
    repairs = found["kind"] == "repair"
    for share in found["shares"]:
        head = f"share {share['name']}: "  # With which some problems begin.
        missed = {"": share["problem"], "uv: ": share.get("uv", {}).get("problem", "")}
        if missed["uv: "] == missed[""]:  # It does not answer.
            del missed["uv: "]
        for of_what, why in missed.items():
            if why and share["builder_in_run"]:
                verb = "NOT DONE" if repairs else "NOT READ"
                told.append(f"{head}{verb}: {of_what}{why.removeprefix(head)}")
        numbers = [_still(tree) if repairs else tree["count"] for tree in share["trees"]]
        if any(numbers):
            trees = sum(number > 0 for number in numbers)
            still = "WOULD STAY " if found["check_mode"] else "STILL "
            text = f"{count(sum(numbers), 'file')} in {count(trees, 'tree')}"
            told.append(f"{head}{still if repairs else ''}DAMAGED: {text}{_first(share) if repairs else ''}")
    return told


def _first(share: Data) -> str:
    """The first things that stay damaged, and why."""
    left = [
        f"{_what(tree)} {damage['path'] or damage['says']} ({_why(damage)})"
        for tree in share["trees"]
        for damage in tree["damages"]
        if not damage["done"]
    ]
    return f": {few(left)}" if left else ""
