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
      - Shares on this host that were brought up to date before this one. What is declared for one of them too is to be
        the same here. A request for a Python means the interpreter that it means there, and an environment gets the
        lock that it has there.
      - Packages, and archives of interpreters that the site supplies, are taken from there rather than brought again.
      - A share that belongs to neither the same owner nor V(root), or that others may write to, is not looked at.
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
