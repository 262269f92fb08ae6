# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether a lock made elsewhere fits what an environment declares: its Python, extras and groups."""

from __future__ import annotations

import typing as t

from ...errors import SpecError
from ...uv.wheel import normalize
from ..spec import Condition
from . import markers

_NO_PYTHON = "python_version < '0'"


def check_known(names: t.Iterable[str], known: t.Collection[str], kind: str, what: str) -> None:
    """Raise SpecError if one of ``names``, of a ``kind``, is not ``known``."""
    unknown = [name for name in names if normalize(name) not in set(map(normalize, known))]
    if unknown:
        there_are = f"it has {', '.join(sorted(known))}" if known else f"it has no {kind}s"
        raise SpecError(f"{what} has no {kind} {' or '.join(unknown)}; {there_are}")


def requires_python(given: str, subject: str, when: str, python: str) -> list[Condition]:
    """What the interpreter must fulfil for a ``requires-python``, where the marker ``when`` holds (empty: always).

    ``subject`` begins the sentence that says whose it is. Raises SpecError if no ``python`` fulfils it.
    """
    must = markers.simplified(markers.of_specifiers(given, subject), markers.declared(python))
    problem = f"{subject} for Python {given} (requires-python)"
    if must == markers.ALWAYS:
        return []
    if must == markers.NEVER and not when:
        raise SpecError(f"{problem}, but the environment's python is {python!r}")
    return [Condition(problem, when, _NO_PYTHON if must == markers.NEVER else str(must))]
