# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs modules in the test's process, from their arguments to their result."""

from __future__ import annotations

import contextlib
import io
import json
import sys
import types
import typing as t
from unittest import mock

import pytest
from ansible.module_utils.common import warnings
from ansible.module_utils.testing import patch_module_args


def run_module(module: types.ModuleType, args: t.Mapping[str, t.Any], *, check: bool = False) -> dict[str, t.Any]:
    """The result of a module. Exceptions other than its exit are raised here."""
    output = io.StringIO()
    internal = sys.modules.get("ansible.module_utils._internal")
    with contextlib.ExitStack() as stack:
        if internal is not None:  # On a controller, Ansible would show warnings itself.
            stack.enter_context(mock.patch.object(internal, "is_controller", False, create=True))
        warnings._global_warnings.clear()
        stack.enter_context(patch_module_args({**args, "_ansible_check_mode": check}))
        stack.enter_context(contextlib.redirect_stdout(output))
        with pytest.raises(SystemExit) as ended:
            module.main()
    result: dict[str, t.Any] = json.loads(output.getvalue())
    assert bool(result.get("failed")) == bool(ended.value.code)
    return result
