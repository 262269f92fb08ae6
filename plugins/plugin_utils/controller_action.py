# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the action plugins have in common: the parts of modules that run on the controller."""

from __future__ import annotations

import typing as t

from ansible.plugins.action import ActionBase

from ..module_utils.errors import UvnasError, from_os_error
from ..module_utils.host.workers import Result
from .progress import Watch

TaskVars = dict[str, t.Any] | None


class ControllerAction(ActionBase):
    """An action plugin. Its options are those of its module; an error in ``work`` becomes a failed result.

    A host's answer is not trusted: its Python can say anything. Nothing in it becomes a path here, and no host gets
    anything that was not meant for it.
    """

    # The module's.
    ARGUMENTS: t.ClassVar[dict[str, t.Any]]
    RULES: t.ClassVar[dict[str, t.Any]] = {}

    def run(self, tmp: str | None = None, task_vars: TaskVars = None) -> Result:
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(self.ARGUMENTS, **self.RULES)
        try:
            return self.work(args, task_vars)
        except UvnasError as error:
            return {**error.as_dict(), "failed": True, "changed": False, "msg": error.explain()}
        except OSError as error:
            return {"failed": True, "changed": False, "msg": f"on the controller: {from_os_error(error).explain()}"}

    def work(self, args: dict[str, t.Any], task_vars: TaskVars) -> Result:
        """Do the action with its validated options, and return its result. Raises UvnasError, OSError."""
        raise NotImplementedError

    def on_host(self, module: str, args: t.Mapping[str, t.Any], task_vars: TaskVars) -> Result:
        """The result of a module of the collection."""
        result: Result = self._execute_module(f"uvnas.cluster.{module}", dict(args), task_vars=task_vars)
        return result

    def on_host_watched(
        self, module: str, args: t.Mapping[str, t.Any], task_vars: TaskVars, options: t.Mapping[str, t.Any]
    ) -> Result:
        """The same of a module that may take long, and says how far it is. ``options`` are those of the action."""
        with Watch(self, options["share_name"], wanted=options["progress"]) as watch:
            told = {key: value for key, value in args.items() if key != "progress_to"}
            result = self.on_host(module, {**told, "progress_to": watch.path} if watch.path else told, task_vars)
            watch.ended(result)
        return result

    @staticmethod
    def asked_for(result: Result, key: str, offered: t.Container[str]) -> list[str]:
        """The names under ``key`` of a host's result, each of them ``offered`` to it. Raises UvnasError."""
        names = result.pop(key, None) or []
        if not isinstance(names, list) or not all(isinstance(name, str) and name in offered for name in names):
            raise malformed(key)
        return names

    def bring(self, path: str, name: str) -> str:
        """Bring a file to where the module can read it, and return its path there. Ansible removes it afterwards."""
        shell = self._connection._shell
        directory = shell.tmpdir or self._make_tmp_path()
        there = shell.join_path(directory, name)
        self._transfer_file(path, there)
        self._fixup_perms2((directory, there))
        return str(there)


def malformed(key: str) -> UvnasError:
    """The error for a host's result whose ``key`` is nothing that the module would ever return."""
    return UvnasError(
        f"the host returned something invalid as {key}",
        hint="That was not the module. Is this host, or the Python that Ansible uses there, what it should be?",
    )
