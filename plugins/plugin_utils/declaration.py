# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies on the controller: the files that environments are declared with, and the locks that are kept there."""

from __future__ import annotations

import dataclasses
import os
import typing as t

from ..module_utils.env.lock.file import LockText, parse
from ..module_utils.env.lock.plan import Input
from ..module_utils.env.lock.pylock import from_pylock
from ..module_utils.env.spec import Condition, EnvironmentSpec, Sources, spec_digest
from ..module_utils.errors import SpecError, UvnasError
from ..module_utils.host import files
from ..module_utils.uv.command import Index
from .projects import project_sources
from .requirements import plain, with_includes
from .texts import read, toml


@dataclasses.dataclass(frozen=True)
class Declaration:
    """The files of an inventory. Relative paths start at ``files_dir``; ``lock_dir`` is None if no locks are kept."""

    files_dir: str
    lock_dir: str | None = None
    # Where packages of the site come from; None where that is not known, so that nothing is said about it.
    index: Index | None = None

    def inputs(
        self, specs: t.Iterable[EnvironmentSpec], index_settings: t.Mapping[str, str], *, check_locks: bool = False
    ) -> dict[str, Input]:
        """All that the controller knows of each environment, by name. Raises SpecError naming all missing files.

        ``check_locks``: see that all the locks that are kept are locks, too. One that is not to be replaced need not be
        read for that here: the builder does so before it takes it.
        """
        inputs, problems = {}, []
        for spec in specs:
            try:
                sources = self.sources(spec)
                kept, digest = self.kept(spec.name), spec_digest(spec, sources, index_settings)
                if kept is not None and (check_locks or kept.spec_digest != digest):
                    _lock = kept.lock
            except UvnasError as error:
                problems.append(f"environment {spec.name}: {error}")
                continue
            inputs[spec.name] = Input(digest, sources).keeping(kept, keeps=self.lock_dir is not None)
        if problems:
            raise SpecError(
                "; ".join(problems), hint=f"Nothing has been changed. Relative paths start at {self.files_dir}."
            )
        return inputs

    def again(self, inputs: t.Mapping[str, Input]) -> dict[str, Input]:
        """``inputs`` with the locks that are kept by now: another run may have kept some meanwhile."""
        return {name: known.keeping(self.kept(name), keeps=self.lock_dir is not None) for name, known in inputs.items()}

    def sources(self, spec: EnvironmentSpec) -> Sources:
        """The texts that ``spec`` names. Raises SpecError for one that cannot be read."""
        builds = [("build-constraints.in", _lines(spec.build_constraints))] if spec.build_constraints else []
        builds += [(os.path.basename(p), plain(self._path(p))) for p in spec.build_constraints_files]
        if spec.project is not None:
            found = project_sources(self._path(spec.project), spec, self.index)
            return dataclasses.replace(found, build_constraints=(*builds, *found.build_constraints))
        if spec.lock is not None:
            lock, conditions = self._ready_lock(spec)
            return Sources(lock=lock, conditions=conditions, build_constraints=tuple(builds))
        requirements = [("requirements.in", _lines(spec.requirements))] if spec.requirements else []
        constraints = [("constraints.in", _lines(spec.constraints))] if spec.constraints else []
        overrides = [("overrides.in", _lines(spec.overrides))] if spec.overrides else []
        for path in spec.requirements_files:
            requirements.append((os.path.basename(path), with_includes(self._path(path), constraints)))
        constraints += [(os.path.basename(path), plain(self._path(path))) for path in spec.constraints_files]
        overrides += [(os.path.basename(path), plain(self._path(path))) for path in spec.overrides_files]
        return Sources(tuple(requirements), tuple(constraints), tuple(overrides), tuple(builds))

    def kept(self, env: str) -> LockText | None:
        """The lock of an environment as it is kept on the controller; None where there is none."""
        if self.lock_dir is None:
            return None
        path = self._lock_path(env)
        return LockText(read(path), path) if os.path.exists(path) else None

    def keeps(self, env: str, text: str) -> bool:
        """Whether to keep the text of a lock on the controller would change anything."""
        kept = self.kept(env)
        return self.lock_dir is not None and (kept is None or kept.text != text)

    def keep(self, env: str, text: str) -> bool:
        """Keep the text of a lock on the controller; whether that changed anything."""
        if self.lock_dir is None or not self.keeps(env, text):
            return False
        os.makedirs(self.lock_dir, exist_ok=True)
        # As git writes the rest of a checkout, which admins may share as a group; but never for everybody.
        files.write(self._lock_path(env), text, mode=0o664 & ~_umask())
        return True

    def _lock_path(self, env: str) -> str:
        return os.path.join(self.lock_dir or "", f"{env}.txt")

    def _path(self, path: str) -> str:
        return os.path.join(self.files_dir, os.path.expanduser(path))

    def _ready_lock(self, spec: EnvironmentSpec) -> tuple[str, tuple[Condition, ...]]:
        """A lock that somebody made, in requirements format, and what the interpreter has to fulfil for it."""
        path = self._path(spec.lock or "")
        text = read(path)
        conditions: tuple[Condition, ...] = ()
        if path.endswith(".toml"):
            data = toml(text, path)
            text, conditions = from_pylock(data, what=path, python=spec.python, extras=spec.extras, groups=spec.groups)
        parse(text, what=path)
        return text, conditions


def _umask() -> int:
    """Of the admin, who may share a checkout with others."""
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _lines(lines: t.Iterable[str] | None) -> str:
    return "".join(f"{line}\n" for line in lines or ())
