# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The lines of info.yml: each share once, made of the report (see report.py). Pure."""

from __future__ import annotations

import contextlib
import typing as t

from ..module_utils.errors import UvnasError
from ..module_utils.python.version import Version
from ..module_utils.share.standing import shown
from .report import Data, held_text
from .summary import LEGEND, amount, columns, count, few, named

_STATES = {"in_force": "in force", "retired": "retired", "built": "never in force", "incomplete": "incomplete"}
_UNKNOWN = "not known"


def lines(report: Data) -> list[str]:
    """What there is on each share, and what it takes."""
    found: list[str] = []
    for share in report["shares"]:
        found += _share(share)
    if any("not shared" in line for line in found):
        found.append(LEGEND)
    return found or ([] if report["shares"] else ["No shares."])


def missing(report: Data) -> list[str]:
    """What to say of shares that nobody could look at, a line each."""
    return [
        f"share {share['name']}: none of the hosts that were asked can say what is on it ({named(share['tried'])})"
        for share in report["shares"]
        if "asked" in share and share["asked"] is None
    ]


def _share(share: Data) -> list[str]:
    head = f"share {share['name']}: {share['root']}"
    if share["asked"] is None:
        return []
    rows = [
        ["id", share["id"] or _UNKNOWN],
        ["free", _free(share["filesystem"])],
        ["cache", _amount(share["cache_bytes"])],
        ["bytecode", _amount(share["bytecode_bytes"])],
        ["interpreters", ", ".join(map(_interpreter, share["interpreters"])) or "none"],
    ]
    generations = [fact for environment in share["environments"] for fact in environment["generations"]]
    told = iter(columns([_generation(fact) for fact in generations], "<<>>><"))
    newest = _newest(share["interpreters"])
    for environment in share["environments"]:
        rows.append([environment["name"], _environment(environment, newest)])
        rows += [["", next(told)] for _generation_of_it in environment["generations"]]
    rows += [["problem", text] for text in share["problems"]]
    return [f"{head}, seen by {share['asked']}", *(f"  {line}" for line in columns(rows, "<<"))]


def _free(filesystem: Data) -> str:
    inodes = filesystem["free_inodes"]
    return _amount(filesystem["free_bytes"]) + (f", {inodes} inodes" if inodes is not None else "")


def _interpreter(fact: Data) -> str:
    return f"{fact['version'] or '?'} ({_amount(fact['bytes'])})"


def _newest(interpreters: t.Iterable[Data]) -> dict[str, Version]:
    """The newest version of each series on the share."""
    found: dict[str, Version] = {}
    for fact in interpreters:
        version = _version(fact["version"])
        if version is not None and (version.minor not in found or version > found[version.minor]):
            found[version.minor] = version
    return found


def _version(text: str | None) -> Version | None:
    with contextlib.suppress(UvnasError):
        version = Version.parse(text or "")
        return version if version.exact else None
    return None


def _python(text: str | None, newest: t.Mapping[str, Version]) -> str:
    """The version of an environment's interpreter; marked if the share has a newer one of its series."""
    version = _version(text)
    behind = version is not None and version.minor in newest and version < newest[version.minor]
    return f"Python {text or '?'}" + (f" (the share has {newest[version.minor]})" if version and behind else "")


def _environment(fact: Data, newest: t.Mapping[str, Version]) -> str:
    parts = [] if fact["declared"] else ["not declared"]
    if fact["removed"]:
        parts.append("removed; its files go with the next prune")
    elif fact["id"] is None:
        parts.append("no generation is in force")
    else:
        parts += [
            _python(fact["python"], newest),
            "?" if fact["packages"] is None else count(fact["packages"], "package"),
            *([f"since {shown(fact['since'])}"] if fact["since"] else []),
            *([held_text(fact["held"])] if fact["held"] else []),
        ]
    return ", ".join(parts)


# Said of a generation that has other files than when it was built, or of another size.
CHANGED = "NOT as it was built: uvnas.cluster.verify -e uvnas_deep=true names what is damaged"


def _generation(fact: Data) -> list[str]:
    age, own = fact["age_seconds"], fact["own_bytes"]
    return [
        fact["id"] or "?",
        _STATES.get(fact["state"], "?") + (f" since {shown(fact['retired_since'])}" if fact["retired_since"] else ""),
        "" if age is None else f"built {ago(age)} ago",
        _amount(fact["bytes"]),
        "" if own is None else f"({amount(own)} not shared)",
        ", ".join(filter(None, [CHANGED if fact["as_built"] is False else "", _safe(fact)])),
    ]


def _safe(fact: Data) -> str:
    """Whether anything is against removing a generation; empty where that goes without saying, or nobody knows."""
    if fact["kept_by"] is None or fact["state"] == "in_force":
        return ""
    return f"safe to remove: no, {few(fact['kept_by'])}" if fact["kept_by"] else "safe to remove: yes"


def _amount(size: int | None) -> str:
    return _UNKNOWN if size is None else amount(size)


def ago(seconds: int) -> str:
    """How long that is, in the unit that people use."""
    for unit, noun in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= unit:
            return count(seconds // unit, noun)
    return count(seconds, "second")
