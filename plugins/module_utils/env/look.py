# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What uv_env_info says of a share: its facts, and what a verification finds. Writes nothing to it."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ..errors import UvnasError, as_uvnas_error
from ..host.process import SystemRunner
from ..host.users import nobody
from ..host.workers import Result
from ..share.place import check_mounted
from ..share.spec import Share
from . import verified
from .inspect import Inspection
from .spec import EnvironmentSpec
from .verify import Verification

# Of a result: what to remember.
MARKS = "__marks"


def look(
    share: Share,
    specs: t.Sequence[EnvironmentSpec],
    memories: t.Mapping[str, verified.Memory],
    *,
    verify: bool,
    again: bool,
    sizes: bool,
    details: bool,
) -> Result:
    """The result for a share, on which ``specs`` should be published.

    ``memories`` are what this host remembers of it, by share ids. ``again``: try what has run here, too. Raises
    UvnasError, OSError.
    """
    # With what is measured or listed of each, all of them are looked at.
    wanted = None if details or sizes else [spec.name for spec in specs]
    check_mounted(share)
    inspection = Inspection(share, [memory.read for memory in memories.values()], wanted)
    identity = inspection.sight.identity
    facts, problems = [], []
    for name in inspection.environments:
        try:
            facts.append(inspection.facts(name, sizes=sizes, details=details))
        except (UvnasError, OSError) as error:
            # Without its name, nobody would know whom an error of the filesystem concerns.
            said = as_uvnas_error(error).explain()
            problems.append(said if isinstance(error, UvnasError) else f"environment {name}: {said}")
    result: Result = {
        "changed": False,
        "warnings": [],
        "share_name": share.name,
        "share_id": identity.id,
        "environments": facts,
        "problems": problems,
    }
    if verify:
        known = memories.get(identity.id, verified.Memory())
        _verify(inspection, specs, known.environments, result, again=again)
    if sizes:
        result.update(inspection.room(), unpublished=inspection.unpublished(), interpreters=[])
        try:
            result["interpreters"] = inspection.interpreters()
        except (UvnasError, OSError) as error:
            problems.append(as_uvnas_error(error).explain())
    if verify and problems:
        result.update(failed=True, msg="\n".join(problems))
    return result


def _verify(
    inspection: Inspection,
    specs: t.Sequence[EnvironmentSpec],
    known: verified.Environments,
    result: Result,
    *,
    again: bool,
) -> None:
    """Add to the result what a verification finds."""
    # As root only where the share is root's. Nothing of it runs as that.
    user = nobody() if os.geteuid() == 0 else None
    verification = Verification(inspection, result["share_id"], SystemRunner(), user)
    outcome = verification.of(specs, {} if again else known)
    problems = result["problems"]
    problems += [problem for problem in outcome.problems if problem not in problems]
    untried = {fact["name"] for fact in result["environments"]} - set(outcome.tried)
    problems += verification.open_places(None if again else untried)
    result["warnings"] = verification.warnings()
    result["tried"] = outcome.tried
    read = {name: dataclasses.asdict(each) for name, each in inspection.sight.to_remember().items()}
    result[MARKS] = {"kept": outcome.kept, "ran": outcome.ran, "read": read}
