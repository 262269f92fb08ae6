# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of locking that runs on the controller: the files of the inventory, and the locks that are kept there.

Digests of them go to the builder first; their texts follow for those environments only whose lock is not up to date.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import typing as t

from ..module_utils.env.declared import for_glibc, parse_environments
from ..module_utils.env.lock.file import parse
from ..module_utils.env.lock.plan import Input, Upgrade
from ..module_utils.env.spec import EnvironmentSpec
from ..module_utils.errors import UvnasError, failure_text
from ..module_utils.host import mutex
from ..module_utils.host.workers import Result
from ..module_utils.uv.command import Index
from .cache_directory import default_directory
from .controller_action import ControllerAction, TaskVars, malformed
from .declaration import Declaration
from .upgrades import not_upgraded

Inputs = t.Mapping[str, Input]
# What a module that failed says of that, beside ``msg``.
_OF_SOME = frozenset({"cmd", "errors", "exception", "hint", "rc", "stderr", "stderr_lines", "stdout", "stdout_lines"})


class LockAction(ControllerAction):
    """An action plugin that may bring locks up to date."""

    def here(self, args: dict[str, t.Any]) -> list[EnvironmentSpec]:
        """The environments that are declared for the share. Raises SpecError."""
        specs = for_glibc(parse_environments(args["environments"]), args["glibc"])
        return [spec for spec in specs if spec.on_share(args["share_name"])]

    def inputs(self, args: dict[str, t.Any], here: t.Iterable[EnvironmentSpec]) -> dict[str, Input]:
        """What the controller knows of environments. Raises SpecError."""
        present = [spec for spec in here if spec.present]
        return self._declaration(args).inputs(present, Index.from_params(args["index"]).settings())

    def locked(
        self,
        args: dict[str, t.Any],
        task_vars: TaskVars,
        options: t.Mapping[str, t.Any],
        inputs: Inputs,
        needs: t.Collection[str] = (),
    ) -> Result:
        """Run the module uv_lock with ``options`` and the texts that it ``needs`` (none: ask it first). Its result."""
        if not needs:
            result = self._lock_on_host(options, inputs, (), task_vars, args)
            needs = self.asked_for(result, "needs", inputs)
            if not needs:
                self._keep(args, result, inputs)
                return result
        # Builders of several shares resolve one after the other, so that the second takes what the first has kept.
        with self._only_one(args):
            if args["lock_dir"]:
                now = self._declaration(args).again(inputs)
                needs = {*needs, *(name for name in now if now[name].kept != inputs[name].kept)}
                inputs = now
            result = self._lock_on_host(options, inputs, needs, task_vars, args)
            if self.asked_for(result, "needs", inputs):  # It has changed since it was asked, and may again.
                result = self._lock_on_host(options, inputs, inputs, task_vars, args)
                if self.asked_for(result, "needs", inputs):
                    raise malformed("needs")
            self._keep(args, result, inputs)
        return result

    def _declaration(self, args: dict[str, t.Any]) -> Declaration:
        directory = args["files_dir"] or self._loader.get_basedir()
        return Declaration(directory, args["lock_dir"], Index.from_params(args["index"]))

    @contextlib.contextmanager
    def _only_one(self, args: dict[str, t.Any]) -> t.Iterator[None]:
        """Hold the right to resolve what is kept in a directory of locks, among the processes of this user."""
        if not args["lock_dir"]:
            yield
            return
        directory = default_directory()  # Of this user alone, and not where locks are reviewed.
        os.makedirs(directory, mode=0o700, exist_ok=True)
        name = hashlib.sha256(os.path.realpath(self._declaration(args).lock_directory).encode()).hexdigest()[:16]
        path = os.path.join(directory, f"locks-{name}.mutex")
        with mutex.hold(path, timeout=args["busy_timeout"], purpose="resolving", what=args["lock_dir"]):
            yield

    def _lock_on_host(
        self,
        options: t.Mapping[str, t.Any],
        inputs: Inputs,
        needs: t.Collection[str],
        task_vars: TaskVars,
        args: t.Mapping[str, t.Any],
    ) -> Result:
        told = {**options, "inputs": for_host(inputs, needs)}
        if not needs:  # It resolves nothing.
            return self.on_host("uv_lock", told, task_vars)
        return self.on_host_watched("uv_lock", told, task_vars, args)

    def _keep(self, args: dict[str, t.Any], result: Result, inputs: Inputs) -> None:
        """Keep the locks that are new here; texts are for that, and not for whoever reads the result."""
        facts = result.get("locks", {})
        if not isinstance(facts, dict) or not all(name in inputs and isinstance(facts[name], dict) for name in facts):
            raise malformed("locks")
        texts = {name: fact.pop("text") for name, fact in facts.items() if fact.get("text") is not None}
        for name, text in texts.items():
            if not isinstance(text, str):
                raise malformed("locks")
            parse(text, what=f"what the host says is the lock of {name}")
        declaration = self._declaration(args)
        for name, text in texts.items():
            changed = declaration.keeps(name, text) if self._task.check_mode else declaration.keep(name, text)
            result["changed"] = bool(result.get("changed")) or changed


def for_host(inputs: Inputs, needs: t.Collection[str] = ()) -> dict[str, t.Any]:
    """``inputs`` as plain data for the module, with texts for those environments that need them."""
    return {name: known.as_dict(with_texts=name in needs) for name, known in inputs.items()}


def told(result: Result, specs: t.Sequence[EnvironmentSpec], args: t.Mapping[str, t.Any]) -> Result:
    """The result of an action with ``args`` for the environments ``specs``, as people see it. Raises UvnasError.

    Each environment that failed is there with its reason, once, and ``stopped``: why nothing at all could be done in
    the end. What a module said of some of them is not, nor is the ``exception`` that Ansible makes of that, and shows
    in the place of ``msg``.
    """
    stopped = result.pop("stopped", None)
    fixed = [spec.name for spec in specs if spec.present and spec.name in args["upgrade"] and not Upgrade.can(spec)]
    if fixed and not args["upgrade_packages"]:
        more = f"{', '.join(fixed)}: not upgraded from here; change its uv.lock, or its lock file, and run again"
        result = {**result, "warnings": [*(result.get("warnings") or ()), more]}
    missing = [] if args["upgrade_elsewhere"] else not_upgraded([result.get("upgrade_packages")])
    if not result.get("errors"):
        # What else may have gone wrong is more than that.
        return result if result.get("failed") or not missing else {**result, "failed": True, "msg": "\n".join(missing)}
    try:
        errors = [UvnasError.from_dict(error) for error in result["errors"]]
        failed = sum(fact["action"] == "failed" for fact in result.get("environments") or ())
        lines = [failure_text(errors, len(specs), max(len(errors), failed))]
        if stopped is not None:
            lines = [*(error.explain() for error in errors), str(stopped)]
    except (AttributeError, KeyError, TypeError) as error:
        raise malformed("errors") from error
    kept = {key: value for key, value in result.items() if key not in _OF_SOME}
    return {**kept, "failed": True, "msg": "\n".join([*lines, *missing])}
