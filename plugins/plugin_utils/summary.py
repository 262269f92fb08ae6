# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines that a run ends with, made of its report (see report.py). Pure."""

from __future__ import annotations

import re
import typing as t

from .report import Data, held_text

_DONE = {
    "build": "built",
    "publish": "published",
    "seal": "sealed",
    "record": "recorded",
    "keep": "unchanged",
    "remove": "removed",
    "failed": "FAILED",
}
_WOULD = {
    **_DONE,
    **{action: f"would be {_DONE[action]}" for action in ("build", "publish", "seal", "record", "remove")},
}
_NONSENSE = "its host's answer makes no sense"
# Why a check cannot say what an environment will contain, and why it cannot say which generation that will be.
_UNKNOWN = {
    "share": "new share; versions are known once it is locked",
    "interpreter": "versions are known once its interpreter is on the share",
    "lock": "versions are known once it is locked",
}
_WAITS = {"share": "new share", "interpreter": "its interpreter is not on the share yet"}
LEGEND = "Not shared: on the disk for this environment alone. The rest is links to files in the cache."
# As wide as a text about packages may become before the rest of them is a number.
_WIDTH = 60
# Reasons that are said of one thing.
_REASONS = 3
_CHANGED = re.compile(r"\S+ \S+ -> \S+")


def lines(report: Data) -> list[str]:
    """An environment each, then what else there is to say."""
    check_mode = bool(report["check_mode"])
    each = [(share["name"], environment) for share in report["shares"] for environment in share["environments"]]
    have = columns([_have(environment) for _share, environment in each], "<>>>")
    rows = []
    for (share, environment), facts in zip(each, have, strict=True):
        head = [f"{share}: {environment['name']}", _what(environment, check_mode=check_mode)]
        texts = [_changes(environment, check_mode=check_mode), facts, *_held(environment)]
        texts = [text for text in texts if text]
        rows.append([*head, texts[0] if texts else ""])
        rows += [["", "", text] for text in texts[1:]]
    found = columns(rows, "<<<")
    if any("not shared" in line for line in found):
        found.append(LEGEND)
    for share in report["shares"]:
        if share["builder_failed"] and not check_mode:
            found.append(f"share {share['name']}: not verified, as its builder {share['builder']} failed")
        elif share["builder_failed"]:
            found.append(f"share {share['name']}: nothing is known of it, as its builder {share['builder']} failed")
        elif not share["known"] and not check_mode:
            found.append(f"share {share['name']}: no host has said what is on it")
        elif not share["known"]:
            found.append(
                f"share {share['name']}: nothing is known of it; "
                f"a check asks only its builder {share['builder']}, in the part envs of site.yml"
            )
        # Its environments were compared while the share had the interpreters from before.
        found += [
            f"share {share['name']}: {text}; a run would also build its environments on it, which a check cannot plan"
            for text in share["upgraded_pythons"]
            if check_mode
        ]
    return [*found, *_uneven(report)] or ["No environments."]


def _uneven(report: Data) -> list[str]:
    """A line for each environment that a rollback holds on some of its shares, and on others not."""
    by_name: dict[str, dict[str, Data | None]] = {}
    for share in report["shares"]:
        for environment in share["environments"]:
            if environment["action"] not in (None, "failed", "remove"):
                by_name.setdefault(environment["name"], {})[share["name"]] = environment["held"]
    found = []
    for name, holds in by_name.items():
        held = [share for share, hold in holds.items() if hold is not None and not hold["declared"]]
        free = [share for share, hold in holds.items() if hold is None]
        if held and free:
            found.append(
                f"environment {name}: a rollback holds it on {', '.join(held)}, but not on {', '.join(free)}; "
                "run it again for all of them, or release it"
            )
    return found


def different(report: Data) -> list[str]:
    """What to say of shares that are not the same on all hosts, a line each."""
    return [
        f"share {share['name']} is not the same on all hosts: "
        + "; ".join(f"its id is {share_id} on {named(hosts)}" for share_id, hosts in share["ids"].items())
        for share in report["shares"]
        if len(share.get("ids", ())) > 1
    ]


def named(hosts: t.Sequence[str]) -> str:
    return ", ".join(hosts[:3]) + (f" and {len(hosts) - 3} more hosts" if len(hosts) > 3 else "")


def _what(environment: Data, *, check_mode: bool) -> str:
    """What was done, in a word; of one that nothing was to be done about, how it is here."""
    action = environment["action"]
    if action is None:
        return "present" if environment["declared"] else "not declared"
    return (_WOULD if check_mode else _DONE).get(action, "?")


def _held(environment: Data) -> list[str]:
    """What stays in force, and what waits for that to end."""
    hold, declared = environment["held"], environment["declared_id"]
    if environment["awaits"]:
        return [f"{declared or 'what is built'} has to be tried before it is published (try_on)"]
    if hold is None:
        return []
    waiting = f"{declared} is what is declared" if declared not in (None, hold["id"]) else ""
    return [held_text(hold), waiting]


def _changes(environment: Data, *, check_mode: bool) -> str:
    """What is other than before, and how long that took."""
    action, before = environment["action"], environment["previous_id"]
    if action is not None and action not in _DONE:
        return _NONSENSE
    if action == "failed":
        return f"its generation {before} stays in force" if before else "it is not on the share"
    text = ""
    if action in ("build", "publish"):
        waits = environment["waits_for"] if check_mode else None
        if waits in _UNKNOWN and not environment["packages_changed"]:
            return _UNKNOWN[waits]
        text = packages(environment["packages_changed"], new=before is None)
        text += f"; {_WAITS[waits]}" if waits in _WAITS else ""
    if environment["seconds"] is not None and action not in (None, "keep"):
        text = f"{text}  {seconds(environment['seconds'])}".lstrip()
    return text


def packages(changed: t.Sequence[str], *, new: bool) -> str:
    """How packages change: ``numpy 2.2.6 -> 2.4.6, +2 -1``."""
    added = sum(text.endswith(" (new)") for text in changed)
    removed = sum(text.endswith(" (removed)") for text in changed)
    if new:
        return f"new, {count(added, 'package')}"
    named = [text for text in changed if _CHANGED.fullmatch(text)]
    shown: list[str] = []
    for text in named:
        if shown and len(", ".join([*shown, text])) > _WIDTH:
            break
        shown.append(text)
    more = f" and {len(named) - len(shown)} more" if len(named) > len(shown) else ""
    numbers = " ".join(f"{sign}{total}" for sign, total in (("+", added), ("-", removed)) if total)
    if not named:
        return f"{numbers} packages" if numbers else "same packages"
    return ", ".join(part for part in (", ".join(shown) + more, numbers) if part)


def _have(environment: Data) -> list[str]:
    """What there is of an environment, in columns; empty where nobody knows."""
    python, number = environment["python"], environment["packages"]
    size, own = environment["bytes"], environment["own_bytes"]
    if python is None or number is None or size is None or own is None:
        return [_NONSENSE, "", "", ""] if environment["seen"] else ["", "", "", ""]
    return [f"Python {python}", count(number, "package"), amount(size), f"({amount(own)} not shared)"]


def count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def few(reasons: t.Sequence[str]) -> str:
    """The first reasons, and how many more there are."""
    more = len(reasons) - _REASONS
    return "; ".join(reasons[:_REASONS]) + (f"; and {more} more" if more > 0 else "")


def amount(size: int) -> str:
    """Bytes, in the units that people use."""
    value, unit = float(size), "B"
    for larger in ("kB", "MB", "GB", "TB", "PB"):
        if value < 999.5:
            break
        value, unit = value / 1000, larger
    return f"{value:.1f} {unit}" if value < 9.95 and unit != "B" else f"{value:.0f} {unit}"


def seconds(value: float) -> str:
    """How long something took."""
    if value < 9.95:
        return f"{value:.1f} s"
    minutes, rest = divmod(round(value), 60)
    return f"{rest} s" if minutes == 0 else f"{minutes} min {rest} s"


def columns(rows: t.Sequence[t.Sequence[str]], align: str) -> list[str]:
    """Rows as lines, each column as wide as its widest cell, its cells to the left (``<``) or to the right."""
    widths = [max((len(row[place]) for row in rows), default=0) for place in range(len(align))]
    found = []
    for row in rows:
        cells = [
            cell.rjust(width) if side == ">" else cell.ljust(width)
            for cell, width, side in zip(row, widths, align, strict=True)
        ]
        found.append("  ".join(cells).rstrip())
    return found
