# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of uv_lock that runs on the controller: the files of the inventory, and the locks that are kept there.

Digests of them go to the builder first; their texts follow for those environments only whose lock is not up to date.
"""

from __future__ import annotations

import dataclasses
import typing as t

from ansible.plugins.action import ActionBase

from ..module_utils.adapter import SHARE_ARGUMENTS
from ..module_utils.errors import UvnasError
from ..module_utils.locking import ARGUMENTS, Input
from ..module_utils.platform_needs import for_glibc
from ..module_utils.spec import parse_environments
from ..module_utils.uv import INDEX_ARGUMENTS, Index
from ..plugin_utils.declaration import Declaration


class ActionModule(ActionBase):
    """Run the module with what the controller knows; where it wants texts, run it again with these."""

    def run(self, tmp: str | None = None, task_vars: dict[str, t.Any] | None = None) -> dict[str, t.Any]:
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec({**SHARE_ARGUMENTS, **INDEX_ARGUMENTS, **ARGUMENTS})
        try:
            return self._lock(args, task_vars)
        except UvnasError as error:
            return {**error.as_dict(), "failed": True, "changed": False, "msg": error.explain()}

    def _lock(self, args: dict[str, t.Any], task_vars: dict[str, t.Any] | None) -> dict[str, t.Any]:
        specs = for_glibc(parse_environments(args["environments"]), args["glibc"])
        here = [spec for spec in specs if spec.present and spec.on_share(args["share_name"])]
        declaration = Declaration(args["files_dir"] or self._loader.get_basedir(), args["lock_dir"])
        inputs = declaration.inputs(here, Index.from_params(args["index"]).settings())
        result = self._on_host(inputs, (), task_vars)
        needs = result.pop("needs", [])
        if needs:
            result = self._on_host(inputs, needs, task_vars)
        self._keep(declaration, result)
        return result

    def _on_host(
        self, inputs: t.Mapping[str, Input], needs: t.Collection[str], task_vars: dict[str, t.Any] | None
    ) -> dict[str, t.Any]:
        given = {name: _for_host(known, name in needs) for name, known in inputs.items()}
        args = {**self._task.args, "inputs": given}
        result: dict[str, t.Any] = self._execute_module("uvnas.cluster.uv_lock", args, task_vars=task_vars)
        return result

    def _keep(self, declaration: Declaration, result: dict[str, t.Any]) -> None:
        """Keep the locks that are new here; texts are for that, and not for whoever reads the result."""
        for name, fact in result.get("locks", {}).items():
            text = fact.pop("text", None)
            if text is not None and not self._task.check_mode:
                result["changed"] |= declaration.keep(name, text)


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
