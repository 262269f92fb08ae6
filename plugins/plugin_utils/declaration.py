# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on the controller: the files that environments are declared with, and the locks kept there."""

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
from .requirements import Reader, check_ready_lock
from .texts import read, toml


@dataclasses.dataclass(frozen=True)
class Declaration:
    """The files of an inventory. Relative paths start at ``files_dir``; ``lock_dir`` is None if no locks are kept."""

    files_dir: str
    lock_dir: str | None = None
    # Where the site gets packages; None if unknown, and then not checked.
    index: Index | None = None

    def inputs(
        self, specs: t.Iterable[EnvironmentSpec], index_settings: t.Mapping[str, str], *, check_locks: bool = False
    ) -> dict[str, Input]:
        """All that the controller knows about each environment, by name. Raises SpecError naming all missing files.

        ``check_locks``: check that each kept lock is a lock, too. One that stays need not be read for that here: the
        builder does so before it takes it.
        """
        inputs = {}
        problems: list[str] = []
        for spec in specs:
            try:
                sources = self.sources(spec)
                kept, digest = self.kept(spec.name), spec_digest(spec, sources, index_settings)
                if kept is not None and (check_locks or kept.spec_digest != digest):
                    _check_kept(kept)
            except UvnasError as error:
                problems += [f"environment {spec.name}: {line}" for line in error.lines()]
                continue
            inputs[spec.name] = Input(digest, sources).keeping(kept, keeps=self.lock_dir is not None)
        if problems:
            raise SpecError("\n".join(problems))
        return inputs

    def again(self, inputs: t.Mapping[str, Input]) -> dict[str, Input]:
        """``inputs`` with the locks kept by now: another run may have added some."""
        return {name: known.keeping(self.kept(name), keeps=self.lock_dir is not None) for name, known in inputs.items()}

    def sources(self, spec: EnvironmentSpec) -> Sources:
        """The texts that ``spec`` names. Raises SpecError with everything wrong with them, a line each."""
        reader = Reader()
        builds = reader.inline("build_constraints", spec.build_constraints)
        builds += [reader.file(self._path(path), "build_constraints") for path in spec.build_constraints_files]
        if spec.project is not None:
            reader.check()
            found = project_sources(self._path(spec.project), spec, self.index)
            return dataclasses.replace(found, build_constraints=(*builds, *found.build_constraints))
        if spec.lock is not None:
            reader.check()
            lock, conditions = self._ready_lock(spec)
            return Sources(lock=lock, conditions=conditions, build_constraints=tuple(builds))
        requirements = reader.inline("requirements", spec.requirements)
        requirements += [reader.file(self._path(path), "requirements") for path in spec.requirements_files]
        constraints = reader.inline("constraints", spec.constraints) + reader.constraints
        constraints += [reader.file(self._path(path), "constraints") for path in spec.constraints_files]
        overrides = reader.inline("overrides", spec.overrides)
        overrides += [reader.file(self._path(path), "overrides") for path in spec.overrides_files]
        reader.check()
        return Sources(tuple(requirements), tuple(constraints), tuple(overrides), tuple(builds))

    def kept(self, env: str) -> LockText | None:
        """The lock of an environment kept on the controller; None if there is none."""
        if self.lock_dir is None:
            return None
        path = self._lock_path(env)
        hint = "Restore it, for example with git, or remove it: the next run recreates it."
        return LockText(read(path), path, hint) if os.path.lexists(path) else None

    def keeps(self, env: str, text: str) -> bool:
        """Whether keeping the text of a lock on the controller would change anything."""
        kept = self.kept(env)
        return self.lock_dir is not None and (kept is None or kept.text != text)

    def keep(self, env: str, text: str) -> bool:
        """Keep the text of a lock on the controller; whether that changed anything."""
        if self.lock_dir is None or not self.keeps(env, text):
            return False
        os.makedirs(self.lock_directory, exist_ok=True)
        # Like git in a checkout, which admins may share as a group; but never for everybody.
        files.write(self._lock_path(env), text, mode=0o664 & ~_umask())
        return True

    @property
    def lock_directory(self) -> str:
        """Where locks are kept."""
        return os.path.join(self.files_dir, self.lock_dir or "")

    def _lock_path(self, env: str) -> str:
        return os.path.join(self.lock_directory, f"{env}.txt")

    def _path(self, path: str) -> str:
        return os.path.join(self.files_dir, os.path.expanduser(path))

    def _ready_lock(self, spec: EnvironmentSpec) -> tuple[str, tuple[Condition, ...]]:
        """A ready-made lock in requirements format, and what the interpreter must fulfil for it."""
        path = self._path(spec.lock or "")
        text = read(path)
        conditions: tuple[Condition, ...] = ()
        if path.endswith(".toml") and os.path.basename(path) != "pyproject.toml":
            data = toml(text, path)
            text, conditions = from_pylock(data, what=path, python=spec.python, extras=spec.extras, groups=spec.groups)
        else:
            check_ready_lock(text, path)
        parse(text, what=path)
        return text, conditions


def _check_kept(kept: LockText) -> None:
    """Raise UvnasError if what is kept is not a lock. One without packages has at least its first line."""
    if not kept.lock.packages and not kept.header:
        raise SpecError(f"{kept.what} is not a lock: it is empty", hint=kept.hint)


def _umask() -> int:
    """Of the admin, who may share a checkout with others."""
    umask = os.umask(0)
    os.umask(umask)
    return umask
