# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Projects → lock text: what a project's uv.lock has for the extras and groups asked for.

uv gets the project's settings, and nobody else's. It needs no index for that, fetches nothing and builds nothing: it
sees the texts of a project, in a directory of their own.

Facts about uv 0.13 used here:

* It takes settings from the nearest uv.toml, or pyproject.toml with ``[tool.uv]``, upwards from the project; then those
  of the user (``XDG_CONFIG_HOME``) and of the system: the first in ``XDG_CONFIG_DIRS``, or else ``/etc/uv/uv.toml``.
* It also looks upwards for the project's workspace, and stops at a pyproject.toml without one.
* ``--locked`` compares uv.lock with each pyproject.toml. If they differ it resolves anew, which fails here for want of
  an index. It gives the reason for that only with ``--verbose``.
* It must know each index that uv.lock names, if it knows any but the public one.
"""

from __future__ import annotations

import os
import re
import typing as t

from ...errors import CommandError, UvnasError
from ...host import files
from ...host.process import Completed
from ...host.secrets import scrub
from ...uv.command import Uv
from ..spec import EnvironmentSpec, Sources
from . import file as locks

_REASON = re.compile(r"existing lockfile due to (.+)|Static (`\S+ for `.+ is out-of-date)|(needs to be updated), but")
_LOCAL = re.compile(r"(?:-e\s+)?(?P<path>(?:\.{1,2}(?:/\S*)?|/\S*|file:\S+))\Z")
_ARCHIVE = re.compile(r"\.(whl|zip|tar|tgz|tar\.\w+)\Z")
_REGISTRY = re.compile(r'^source = \{ registry = "([^"\s]+)" \}', re.MULTILINE)
_SHOWN = 5


def export(
    uv: Uv,
    spec: EnvironmentSpec,
    sources: Sources,
    interpreter: str,
    fulfils: t.Callable[[str], bool],
    scratch: str,
) -> tuple[str, list[str]]:
    """The text of the lock, without markers, and warnings; ``fulfils`` tells whether a marker holds.

    Raises UvnasError, a CommandError with uv's explanation where it has one.
    """
    above = os.path.join(scratch, "projects")
    # uv stops here on its way up: whoever may write to a directory above could have put files of their own there.
    texts = [("uv.toml", ""), ("pyproject.toml", '[project]\nname = "nothing"\nversion = "0"\n')]
    texts += [(os.path.join("configuration", "uv", "uv.toml"), "")]
    for name, text in [*texts, *((os.path.join("it", name), text) for name, text in sources.project)]:
        path = os.path.join(above, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        files.write(path, text)
    done = _run(uv, spec, sources, interpreter, above)
    text, own, left_out = _installable(spec, done.stdout, fulfils)
    warnings = []
    if sources.dynamic:
        warnings.append(
            "uv.lock was taken as it is: only with these built or at hand could uv tell whether it is up to date: "
            f"{_some(sources.dynamic)}"
        )
    own = tuple("its root" if path == "." else path for path in own if sources.package or path != ".")
    if len(own) > (sources.package != "" and "its root" not in own):
        warnings.append(f"this is the project's own code too, and is not installed: {_some(own)}")
    if not text:
        if left_out:
            raise UvnasError(
                f"environment {spec.name}: none of the {left_out} packages that its project asks for is meant for its "
                "Python on this platform"
            )
        asked = "" if spec.extras or spec.groups else ", as it names no extras or groups"
        warnings.append(f"its project asks for no packages{asked}: it is empty")
    return text, [f"environment {spec.name}: {warning}" for warning in warnings]


def _run(uv: Uv, spec: EnvironmentSpec, sources: Sources, interpreter: str, above: str) -> Completed:
    """``uv export`` of a uv.lock that is up to date, as far as uv can tell. Raises UvnasError."""
    args = ["--no-header", "--no-default-groups", "--python", interpreter]
    args += ["--package", sources.package] if sources.package else []
    args += [part for extra in spec.extras for part in ("--extra", extra)]
    args += [part for group in spec.groups for part in ("--group", group)]
    configuration = os.path.join(above, "configuration")
    variables = {
        "UV_INDEX": " ".join(_indexes(sources)),
        "UV_NO_BUILD": "1",
        "UV_NO_CACHE": "1",
        "UV_NO_PROGRESS": "1",
        "UV_OFFLINE": "1",
        "UV_PYTHON_DOWNLOADS": "never",
        "XDG_CONFIG_DIRS": configuration,
        "XDG_CONFIG_HOME": configuration,
    }

    def run(*more: str) -> Completed:
        cwd = os.path.join(above, "it", sources.directory)
        return uv.run_alone("export", *more, *args, variables=variables, cwd=cwd)

    state = "--frozen" if sources.dynamic else "--locked"
    done = run("--quiet", state)
    if done.rc == 0:
        return done
    message = f"environment {spec.name}: its project's uv.lock cannot be used"
    if not sources.dynamic:
        said = run("--verbose", state).stderr
        reason = _REASON.search(said)
        if reason is not None:
            why = next(filter(None, reason.groups())).rstrip(":")
            raise UvnasError(
                f"environment {spec.name}: its project's uv.lock is not up to date with pyproject.toml: {scrub(why)}",
                hint="Run `uv lock` in the project and commit the result.",
            )
    hint = ""
    if "Required uv version" in done.stderr:
        hint = "That is required-version in the project's [tool.uv]. Set uvnas_uv_version to a version that it allows."
    raise CommandError(
        message, cmd=["uv", "export", state, *args], rc=done.rc, stdout=done.stdout, stderr=done.stderr, hint=hint
    )


def _indexes(sources: Sources) -> list[str]:
    """The indexes that uv.lock names. Whoever locked it may have used a mirror that the project does not know of."""
    text = dict(sources.project).get(os.path.join(sources.directory, "uv.lock"), "")
    found = sorted(set(_REGISTRY.findall(text)))
    return [each if "://" in each or each[0] in "/." else f"./{each}" for each in found]


def _installable(
    spec: EnvironmentSpec, text: str, fulfils: t.Callable[[str], bool]
) -> tuple[str, tuple[str, ...], int]:
    """What an export installs, the project's own code in it, and how much of the rest is not for this interpreter.

    Raises UvnasError naming what cannot be installed.
    """
    kept, own, problems, left_out = [], [], [], 0
    for entry in locks.entries(text):
        requirement, separator, _hashes = f" {locks.logical(entry)}".partition(" --hash")
        what, semicolon, marker = requirement.strip().partition(" ; ")
        local = _LOCAL.match(what)
        if local and not _ARCHIVE.search(local["path"]):
            own.append(local["path"])
        elif semicolon and not fulfils(marker):
            left_out += 1
        elif local or "git+" in what or not separator:
            problems.append(_problem(what, local["path"] if local else ""))
        else:
            kept.append(entry.replace(f" ; {marker}", "", 1) if semicolon else entry)
    if problems:
        raise UvnasError(
            f"environment {spec.name}: its project asks for {'; '.join(problems)}",
            hint="Publish it to an index, or leave out what asks for it.",
        )
    return "".join(f"{entry}\n" for entry in kept), tuple(sorted({*own})), left_out


def _problem(what: str, local: str) -> str:
    """Why something cannot be installed."""
    if local:
        return f"the file {local}, which the builder does not have"
    if "git+" in what:
        name, _at, url = scrub(what).partition(" @ ")
        return f"{name} from version control ({url}), which has no hash"
    return f"{scrub(what)}, which was locked without a hash"


def _some(names: t.Sequence[str]) -> str:
    more = len(names) - _SHOWN
    return ", ".join(names[:_SHOWN]) + (f" and {more} more" if more > 0 else "")
