# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What lies on the controller: the files that environments are declared with, and the locks that are kept there."""

from __future__ import annotations

import dataclasses
import errno
import glob
import os
import re
import typing as t

from ..module_utils.env.lock.file import LockText, parse
from ..module_utils.env.lock.plan import Input
from ..module_utils.env.lock.pylock import from_pylock
from ..module_utils.env.spec import EnvironmentSpec, Sources, significant_lines, spec_digest
from ..module_utils.errors import SpecError, UvnasError
from ..module_utils.host import files
from ..module_utils.host.secrets import has_credentials

# What may stand in a requirements file besides requirements, with what it means here.
_INCLUDE = re.compile(r"(-r|--requirement)[ =]?\s*(?P<file>\S+)\Z")
_CONSTRAIN = re.compile(r"(-c|--constraint)[ =]?\s*(?P<file>\S+)\Z")


@dataclasses.dataclass(frozen=True)
class Declaration:
    """The files of an inventory. Relative paths start at ``files_dir``; ``lock_dir`` is None if no locks are kept."""

    files_dir: str
    lock_dir: str | None = None

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
        builds += [(os.path.basename(p), self._plain(self._path(p))) for p in spec.build_constraints_files]
        if spec.project is not None:
            project = self._project(spec.project)
            builds += _build_constraints(project[0][1], os.path.join(self._path(spec.project), project[0][0]))
            return Sources(project=project, build_constraints=tuple(builds))
        if spec.lock is not None:
            return Sources(lock=self._ready_lock(spec.lock), build_constraints=tuple(builds))
        requirements = [("requirements.in", _lines(spec.requirements))] if spec.requirements else []
        constraints = [("constraints.in", _lines(spec.constraints))] if spec.constraints else []
        overrides = [("overrides.in", _lines(spec.overrides))] if spec.overrides else []
        for path in spec.requirements_files:
            requirements.append((os.path.basename(path), self._requirements(self._path(path), constraints, ())))
        constraints += [(os.path.basename(path), self._plain(self._path(path))) for path in spec.constraints_files]
        overrides += [(os.path.basename(path), self._plain(self._path(path))) for path in spec.overrides_files]
        return Sources(tuple(requirements), tuple(constraints), tuple(overrides), tuple(builds))

    def kept(self, env: str) -> LockText | None:
        """The lock of an environment as it is kept on the controller; None where there is none."""
        if self.lock_dir is None:
            return None
        path = self._lock_path(env)
        return LockText(_read(path), path) if os.path.exists(path) else None

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

    def _requirements(self, path: str, constraints: list[tuple[str, str]], including: tuple[str, ...]) -> str:
        """A requirements file with what it includes in place; what it constrains by is added to ``constraints``."""
        path = os.path.normpath(path)  # So that a circle through "../" is seen as one.
        if path in including:
            raise SpecError(f"{path} includes itself")
        lines = []
        for line in significant_lines(_read(path)):
            include, constrain = _INCLUDE.match(line), _CONSTRAIN.match(line)
            if include:
                nested = os.path.join(os.path.dirname(path), include.group("file"))
                lines.append(self._requirements(nested, constraints, (*including, path)))
            elif constrain:
                nested = os.path.join(os.path.dirname(path), constrain.group("file"))
                constraints.append((os.path.basename(nested), self._plain(nested)))
            else:
                lines.append(_requirement(line, path))
        return "\n".join(lines) + "\n"

    def _plain(self, path: str) -> str:
        """A file of requirements and their hashes, and nothing else."""
        text = re.sub(r"[ \t]*\\\n[ \t]*", " ", _read(path))  # One line each.
        return "\n".join(_requirement(line, path) for line in significant_lines(text)) + "\n"

    def _project(self, path: str) -> tuple[tuple[str, str], ...]:
        """pyproject.toml and uv.lock of a project, and pyproject.toml of the members of its workspace."""
        root = self._path(path)
        if not os.path.isdir(root):
            raise SpecError(f"{root} is no directory with a project")
        texts = [(name, _read(os.path.join(root, name))) for name in ("pyproject.toml", "uv.lock")]
        path = os.path.join(root, "pyproject.toml")
        workspace = _workspace(_toml(texts[0][1], path), path)
        for member in _members(root, workspace.get("members", []), workspace.get("exclude", [])):
            texts.append((os.path.join(member, "pyproject.toml"), _read(os.path.join(root, member, "pyproject.toml"))))
        return tuple(texts)

    def _ready_lock(self, path: str) -> str:
        """A lock that somebody made, in requirements format."""
        path = self._path(path)
        text = _read(path)
        if path.endswith(".toml"):
            text = from_pylock(_toml(text, path), what=path)
        parse(text, what=path)
        return text


def _build_constraints(text: str, path: str) -> list[tuple[str, str]]:
    """What the pyproject.toml of a project says of it with uv's ``build-constraint-dependencies``. Raises SpecError."""
    tool = _toml(text, path).get("tool")
    settings = tool.get("uv") if isinstance(tool, dict) else None
    given = settings.get("build-constraint-dependencies", []) if isinstance(settings, dict) else []
    lines = []
    for item in _list(given):
        parts = [item.get("requirement"), *_list(item.get("hashes", []))] if isinstance(item, dict) else [item]
        words = [part for part in parts if isinstance(part, str) and len(part.splitlines()) == 1]
        if len(words) != len(parts):
            raise SpecError(f"{path}: build-constraint-dependencies has something in it that is no requirement")
        lines.append(_requirement(" ".join([words[0], *(f"--hash={each}" for each in words[1:])]), path))
    return [("pyproject.toml.in", _lines(lines))] if lines else []


def _list(value: t.Any) -> list[t.Any]:
    return value if isinstance(value, list) else [value]


def _workspace(project: dict[str, t.Any], path: str) -> dict[str, t.Any]:
    """What a pyproject.toml says of a workspace of uv: ``members`` and ``exclude``. Raises SpecError."""
    table = project
    for key in ("tool", "uv", "workspace"):
        table = table.get(key, {})
        if not isinstance(table, dict):
            raise SpecError(f"{path}: {key} is no table")
    for key in ("members", "exclude"):
        if not isinstance(table.get(key, []), list) or not all(isinstance(item, str) for item in table.get(key, [])):
            raise SpecError(f"{path}: {key} of its workspace is no list of texts")
        for pattern in table.get(key, []):
            if os.path.isabs(pattern) or ".." in pattern.split("/"):
                raise SpecError(f"{path}: {key} of its workspace has {pattern!r}, which leads out of the project")
    return table


def _members(root: str, patterns: t.Iterable[str], excluded: t.Iterable[str]) -> list[str]:
    """The directories of a workspace's members, relative to ``root``."""

    def found(some: t.Iterable[str]) -> set[str]:
        return {os.path.normpath(match) for pattern in some for match in glob.glob(pattern, root_dir=root)}

    members = found(patterns) - found(excluded) - {"."}
    return sorted(member for member in members if os.path.exists(os.path.join(root, member, "pyproject.toml")))


def _umask() -> int:
    """Of the admin, who may share a checkout with others."""
    umask = os.umask(0)
    os.umask(umask)
    return umask


def _requirement(line: str, path: str) -> str:
    if line.startswith("-"):
        raise SpecError(f"{path}: {line.split(maxsplit=1)[0]} cannot be used here; indexes go to uvnas_index")
    if has_credentials(line):
        raise SpecError(f"{path}: a requirement has credentials in its URL; use a netrc file or an index with a name")
    return line


def _lines(lines: t.Iterable[str] | None) -> str:
    return "".join(f"{line}\n" for line in lines or ())


def _toml(text: str, path: str) -> dict[str, t.Any]:
    import tomllib  # takes its time, and most sites never need it

    try:
        return tomllib.loads(text)
    except ValueError as error:  # Also of a number or a date that is none in Python.
        raise SpecError(f"{path} is not valid TOML: {error}") from error
    except RecursionError:
        raise SpecError(f"{path} is not valid TOML: it is nested too deeply") from None


def _read(path: str) -> str:
    try:
        content = files.read_bytes(path)  # It waits for no pipe that somebody put there.
        if content is None:
            raise SpecError(f"cannot read {path}: {os.strerror(errno.ENOENT)}")
        return re.sub("\r\n?", "\n", content.decode())
    except OSError as error:
        raise SpecError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"cannot read {path}: it is not UTF-8 text") from error
    except ValueError as error:
        raise SpecError(f"cannot read {path!r}: no file has such a name") from error
