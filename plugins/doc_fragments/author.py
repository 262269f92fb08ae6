# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by `make schema`, from meta/schema.yml.

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that write to the journal of a share; the argument spec is options.AUTHOR."""

    DOCUMENTATION = r"""
options:
  journal_user:
    description: Who runs this, for the journal of the share. The action plugin of this module sets it.
    type: str
  journal_controller:
    description: The name of the controller, likewise.
    type: str
"""
