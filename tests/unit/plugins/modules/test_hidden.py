# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What ansible-core, whichever it is, blots out of a module's result: credentials, wherever they stand."""

from __future__ import annotations

import importlib
import types
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible_collections.uvnas.cluster.plugins.module_utils import adapter
from ansible_collections.uvnas.cluster.tests.support.modules import run_module

URL = "https://alice:geheim@index.example.org/simple"


def _says(text: str) -> types.ModuleType:
    """A module that has an address with credentials, and says ``text``."""

    def main() -> t.NoReturn:
        module = AnsibleModule(argument_spec={"index": {"type": "str", "no_log": True}})
        adapter.hide_secrets(module, [module.params["index"]])
        module.exit_json(said=text)

    module = types.ModuleType("says")
    module.main = main  # type: ignore[attr-defined]
    return module


def _shown(text: str) -> str:
    """What people see of it. Since ansible-core 2.22 the controller masks what modules have registered."""
    try:
        masking = importlib.import_module("ansible.module_utils.secrets")
    except ImportError:
        return text
    return str(masking.mask_secrets(text))


def test_credentials_are_blotted_out_without_their_address() -> None:
    said = _shown(run_module(_says("the server did not know geheim"), {"index": URL})["said"])
    assert said.startswith("the server did not know ")
    assert "geheim" not in said
