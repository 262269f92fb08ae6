# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by `make schema`, from meta/schema.yml.

from __future__ import annotations


class ModuleDocFragment:
    """The option of modules that make several shares of one host alike; the argument spec is options.EARLIER_SHARES."""

    DOCUMENTATION = r"""
options:
  earlier_shares:
    description:
      - Shares on this host that were brought up to date before this one. Whatever is declared for both will be the same
        here. A request for a Python means the same interpreter as there, and an environment gets the same lock.
      - Packages, and archives of site-supplied interpreters, are copied from there rather than fetched again.
      - A share that belongs to neither the same owner nor V(root), or that others may write to, is ignored.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The share's name.
        type: str
        required: true
      root:
        description: Its root directory.
        type: path
        required: true
"""
