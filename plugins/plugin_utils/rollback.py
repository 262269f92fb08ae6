# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""One rollback on several shares: which generation it is for all of them, and whether all of them can. Pure."""

from __future__ import annotations

import dataclasses
import difflib
import re
import typing as t

from . import answers
from .answers import Answer, Hostvars
from .summary import packages

# What hosts registered: what could be done, and what was.
SEEN, DONE = "__uvnas_rollback_seen", "__uvnas_rollback_done"


@dataclasses.dataclass(frozen=True)
class Decision:
    """What is to be done, or why nothing is."""

    # The generation for all shares; empty where there are problems.
    target: str
    # The shares that have answered.
    shares: t.Sequence[str]
    problems: t.Sequence[str]


def declaring(todo: t.Mapping[str, t.Any], environment: str) -> list[t.Mapping[str, t.Any]]:
    """The shares that a host builds and that an environment is declared for."""
    with_it = {share["name"] for share in todo["shares"] if environment in share["environments"]}
    return [share for share in todo["builds"] if share["name"] in with_it]


def decide(found: t.Mapping[str, Answer], known: t.Iterable[str], environment: str) -> Decision:
    """What ``found``, the answers of shares by their names, amounts to. ``known``: all declared environments."""
    if not found:
        like = difflib.get_close_matches(environment, list(known), 1, 0.6)
        meant = f": did you mean {like[0]}?" if like else f" (declared: {', '.join(sorted(known)) or 'none'})"
        asked = f"uvnas_env is {environment!r}, which is declared for no share of these hosts" if environment else ""
        return Decision("", (), [f"{asked or 'name an environment with -e uvnas_env='}{meant}"])
    there = {share: answer for share, answer in found.items() if not is_silent(answer)}
    problems = [
        f"share {share}: {answers.message(answer.get('msg')) or 'failed'}"
        for share, answer in there.items()
        if answer.get("failed")
    ]
    if not there:
        problems = ["no share answers: " + ", ".join(found)]
    if problems:
        return Decision("", (), problems)
    # Where an earlier rollback has not come to all of them, this one brings them together.
    held = {answers.word(answers.mapping(answer.get("was_held")).get("id")) for answer in there.values()}
    target = {answers.word(answer.get("id")) for answer in there.values()}
    if len(target) != 1 and len(held) == 2 and None in held:
        target = held - {None}
    if len(target) == 1 and not all(map(_is_id, target)):
        return Decision("", (), ["a share's answer makes no sense"])
    if len(target) != 1:
        each = "; ".join(f"{answers.word(answer.get('id'))} on {share}" for share, answer in there.items())
        return Decision(
            "", (), [f"the generation before is not the same on all shares: {each}. Name one: -e uvnas_generation="]
        )
    return Decision(str(target.pop()), list(there), [])


def _is_id(text: str | None) -> bool:
    """Whether this is one generation: what one host says goes to others, and a part of an id may be any."""
    return text is not None and re.fullmatch("[0-9a-f]{12}", text) is not None


def is_silent(answer: Answer) -> bool:
    """Whether nobody has answered, rather than said no."""
    return bool(answer.get("unreachable") or answer.get("not_answering"))


def by_share(hostvars: Hostvars, kind: str, builds: t.Mapping[str, t.Sequence[str]]) -> dict[str, Answer]:
    """What hosts registered about the shares that they build; a host that nobody could reach has said nothing."""
    found: dict[str, Answer] = {}
    for host, shares in builds.items():
        registered = answers.mapping(hostvars[host].get(kind))
        for share in shares:
            said = answers.of_loop(registered, share)
            found[share] = said[-1] if said else {"unreachable": True}
    return found


def lines(found: t.Mapping[str, Answer], environment: str) -> tuple[list[str], list[str]]:
    """What was done, a line for each share; and what was not."""
    done, left = [], []
    for share, answer in found.items():
        held = answers.mapping(answer.get("held"))
        head = f"{share}: {environment}"
        if is_silent(answer):
            why = answers.message(answer.get("msg")) or "its builder does not answer"
            left.append(f"{head}  NOT DONE: {why}. Run this again when it does.")
        elif answer.get("failed"):
            left.append(f"{head}  NOT DONE: {answers.message(answer.get('msg')) or 'failed'}")
        elif not held:
            was = answers.word(answers.mapping(answer.get("was_held")).get("id"))
            done.append(f"{head}  released {was}; site.yml publishes what is declared" if was else f"{head}  not held")
        else:
            before, after = answers.word(answer.get("previous_id")), answers.word(answer.get("id"))
            changed = packages(answers.texts(answer.get("packages_changed")), new=False)
            moved = f"{before} -> {after}  {changed}" if before != after else f"{after} stays in force"
            reason = answers.text(held.get("reason"))
            done.append(f"{head}  {moved}; held" + (f": {reason}" if reason else ""))
    return done, left
