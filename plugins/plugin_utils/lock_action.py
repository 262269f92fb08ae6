# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of locking that runs on the controller: the files of the inventory, and the locks that are kept there.

Digests of them go to the builder first; their texts follow for those environments only whose lock is not up to date.
"""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import os
import typing as t

from ansible.plugins.action import ActionBase

from ..module_utils.env.lock.plan import Input
from ..module_utils.env.spec import EnvironmentSpec, parse_environments
from ..module_utils.errors import UvnasError
from ..module_utils.host import files as fs
from ..module_utils.host.platform import for_glibc
from ..module_utils.host.process import explain_os_error
from ..module_utils.uv.command import Index
from .cache_directory import default_directory
from .declaration import Declaration

Result = dict[str, t.Any]


class LockAction(ActionBase):
    """An action plugin that may bring locks up to date. Its options are those of a module that does."""

    # Of the module.
    ARGUMENTS: t.ClassVar[dict[str, t.Any]]

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> Result:
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(self.ARGUMENTS)
        try:
            return self.work(args, task_vars)
        except UvnasError as error:
            return {**error.as_dict(), "failed": True, "changed": False, "msg": error.explain()}
        except OSError as error:
            return {"failed": True, "changed": False, "msg": f"on the controller: {explain_os_error(error).explain()}"}

    def work(self, args: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> Result:
        """What the action does; its result."""
        raise NotImplementedError

    def here(self, args: dict[str, t.Any]) -> list[EnvironmentSpec]:
        """The environments that are declared for the share. Raises SpecError."""
        specs = for_glibc(parse_environments(args["environments"]), args["glibc"])
        return [spec for spec in specs if spec.on_share(args["share_name"])]

    def inputs(self, args: dict[str, t.Any], here: t.Iterable[EnvironmentSpec]) -> dict[str, Input]:
        """What the controller knows of environments. Raises SpecError."""
        present = [spec for spec in here if spec.present]
        return self._declaration(args).inputs(present, Index.from_params(args["index"]).settings())

    def locked(
        self, args: dict[str, t.Any], task_vars: dict[str, t.Any] | None, options: t.Mapping[str, t.Any]
    ) -> Result:
        """Run the module uv_lock with ``options``; where it wants texts, run it again with these. Its result."""
        inputs = self.inputs(args, self.here(args))
        result = self._lock_on_host(options, inputs, (), task_vars)
        if result.get("needs"):
            # Builders of several shares resolve one after the other, so that the second takes what the first has kept.
            with self._only_one(args):
                inputs = self.inputs(args, self.here(args))
                needs = self._lock_on_host(options, inputs, (), task_vars)
                result = needs
                if needs.get("needs"):
                    result = self._lock_on_host(options, inputs, needs["needs"], task_vars)
                self._keep(args, result)
        else:
            self._keep(args, result)
        return result

    def _declaration(self, args: dict[str, t.Any]) -> Declaration:
        return Declaration(args["files_dir"] or self._loader.get_basedir(), args["lock_dir"])

    @contextlib.contextmanager
    def _only_one(self, args: dict[str, t.Any]) -> t.Iterator[None]:
        """Hold the right to resolve what is kept in a directory of locks, among the processes of this user."""
        if not args["lock_dir"]:
            yield
            return
        directory = default_directory()  # Of this user alone, and not where locks are reviewed.
        os.makedirs(directory, mode=0o700, exist_ok=True)
        name = hashlib.sha256(os.path.realpath(args["lock_dir"]).encode()).hexdigest()[:16]
        path = os.path.join(directory, f"locks-{name}.lock")
        with fs.share_lock(path, timeout=args["busy_timeout"], purpose="resolving", what=args["lock_dir"]):
            yield

    def _lock_on_host(
        self,
        options: t.Mapping[str, t.Any],
        inputs: t.Mapping[str, Input],
        needs: t.Collection[str],
        task_vars: dict[str, t.Any] | None,
    ) -> Result:
        args = {**options, "inputs": for_host(inputs, needs)}
        result: Result = self._execute_module("uvnas.cluster.uv_lock", args, task_vars=task_vars)
        return result

    def _keep(self, args: dict[str, t.Any], result: Result) -> None:
        """Keep the locks that are new here; texts are for that, and not for whoever reads the result."""
        for name, fact in result.get("locks", {}).items():
            text = fact.pop("text", None)
            if text is not None:
                declaration = self._declaration(args)
                result["changed"] |= (
                    declaration.keeps(name, text) if self._task.check_mode else declaration.keep(name, text)
                )


def for_host(inputs: t.Mapping[str, Input], needs: t.Collection[str] = ()) -> dict[str, t.Any]:
    """``inputs`` as plain data for the module, with texts for those environments that need them."""
    return {name: _for_host(known, name in needs) for name, known in inputs.items()}


def _for_host(known: Input, with_texts: bool) -> dict[str, t.Any]:
    kept = known.kept
    if kept is not None and not with_texts:
        kept = dataclasses.replace(kept, text=None)
    return {
        "spec_digest": known.spec_digest,
        "sources": known.sources.as_dict() if with_texts and known.sources else None,
        "kept": dataclasses.asdict(kept) if kept else None,
        "want_text": known.want_text,
    }
