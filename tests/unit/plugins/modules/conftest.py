# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules run on hosts, but in these tests within a process that may have loaded the controller's side of Ansible."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from ansible.module_utils.common import warnings
from ansible_collections.uvnas.cluster.tests.support.pythons import VERSION, pack_ours


@pytest.fixture(autouse=True)
def as_on_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have Ansible put warnings into the result of a module; on a controller, it would show them itself."""
    internal = sys.modules.get("ansible.module_utils._internal")
    if internal is not None:  # Since ansible-core 2.19.
        monkeypatch.setattr(internal, "is_controller", False, raising=False)
    # Since ansible-core 2.22 a result tells the controller what to mask, which takes that out before anybody sees it.
    masking = sys.modules.get("ansible.module_utils._internal._secrets")
    if masking is not None:
        monkeypatch.setattr(masking.NewSecretTracker, "flush", lambda _tracker: frozenset())
    # Ansible keeps the warnings of a process, which a module on a host has for itself.
    warnings._global_warnings.clear()


@pytest.fixture(scope="module")
def python(public: Path) -> Path:
    """A Python that everybody may run."""
    pack_ours(public / "python.tar.gz")
    return public / "python" / "bin" / f"python{VERSION.rpartition('.')[0]}"
