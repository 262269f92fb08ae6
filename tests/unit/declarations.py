# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An inventory on the disk, and what the action uv_declaration says of it, without a playbook."""

from __future__ import annotations

import json
import typing as t
from pathlib import Path
from unittest.mock import MagicMock

from ansible.inventory.manager import InventoryManager
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template
from ansible.vars.hostvars import HostVars
from ansible.vars.manager import VariableManager
from ansible_collections.uvnas.cluster.plugins.action import uv_declaration

Host = dict[str, t.Any]


class Site:
    """An inventory, and what the action says of it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.inventory = path / "inventory"
        self.warnings: list[str] = []

    def write(self, variables: Host, hosts: t.Mapping[str, Host]) -> None:
        (self.inventory / "group_vars" / "all").mkdir(parents=True, exist_ok=True)
        (self.inventory / "hosts.json").write_text(json.dumps({"all": {"hosts": hosts}}), encoding="utf-8")
        (self.inventory / "group_vars" / "all" / "site.json").write_text(json.dumps(variables), encoding="utf-8")

    def run(
        self,
        hosts: t.Sequence[str] | None,
        *,
        here: str = "dev1",
        source: str = "hosts.json",
        of_play: t.Mapping[str, t.Any] | None = None,
        **args: t.Any,
    ) -> tuple[dict[str, t.Any], list[str]]:
        """What it returns, and the errors that it prints. ``of_play``: what the play is given as a whole."""
        loader = DataLoader()
        manager = InventoryManager(loader, sources=[str(self.inventory / source) if "," not in source else source])
        variables = VariableManager(loader, manager)
        HostVars(manager, variables, loader)
        task_vars = variables.get_vars(host=manager.get_host(here))
        task_vars["ansible_inventory_sources"] = [str(self.inventory / source)]  # The command line's.
        task_vars |= {
            name: trust_as_template(value) if isinstance(value, str) else value
            for name, value in (of_play or {}).items()
        }
        given = {**({} if hosts is None else {"hosts": list(hosts)}), **args}
        task = MagicMock(args=given, async_val=0, check_mode=False, diff=False)
        templar = Templar(loader=loader, variables=task_vars)
        plugin = uv_declaration.ActionModule(task, MagicMock(), MagicMock(), loader, templar, MagicMock())
        plugin._display = MagicMock()
        result = plugin.run(None, task_vars)
        return result, [call.args[0] for call in plugin._display.error.call_args_list]
