# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by `make schema`, from meta/schema.yml.

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that say how far they are while they work; the argument spec is options.PROGRESS."""

    DOCUMENTATION = r"""
options:
  progress:
    description:
      - Whether to print a line whenever an environment or an interpreter begins a stage of its way, and when that ends;
        and every few seconds what is still at work.
      - The action plugin reads that on the host, over a second connection with the settings of the task's own. If that
        cannot be had, there is no progress; the task is the same.
      - There is none with C(no_log) or C(async), and none where the output is for machines, as that of the callback
        C(ansible.posix.json) is.
    type: bool
    default: true
  progress_to:
    description: A file on the host, in a directory that the module makes. The action plugin of this module sets it.
    type: str
"""
