# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether what somebody else has locked fits what an environment declares: its Python, extras and groups."""

from __future__ import annotations

import typing as t

from ...errors import SpecError
from ...uv.wheel import normalize
from ..spec import Condition
from . import markers

_NO_PYTHON = "python_version < '0'"


def check_known(names: t.Iterable[str], known: t.Collection[str], kind: str, what: str) -> None:
    """Raise SpecError where one of ``names``, of a ``kind``, is none of those that are ``known``."""
    unknown = [name for name in names if normalize(name) not in set(map(normalize, known))]
    if unknown:
        there_are = f"those there are: {', '.join(sorted(known))}" if known else f"it has no {kind}s"
        raise SpecError(f"{what} has no {kind} {' and no '.join(unknown)}; {there_are}")


def requires_python(given: str, subject: str, when: str, python: str) -> list[Condition]:
    """What the interpreter has to fulfil for a ``requires-python``, where the marker ``when`` holds (empty: always).

    ``subject`` is the beginning of a sentence that says whose it is. Raises SpecError where no ``python`` fulfils it.
    """
    must = markers.simplified(markers.of_specifiers(given, subject), markers.declared(python))
    problem = f"{subject} for Python {given} (requires-python)"
    if must == markers.ALWAYS:
        return []
    if must == markers.NEVER and not when:
        raise SpecError(f"{problem}, and the environment's python is {python!r}")
    return [Condition(problem, when, _NO_PYTHON if must == markers.NEVER else str(must))]
