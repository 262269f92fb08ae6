# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by `make schema`, from meta/schema.yml.

from __future__ import annotations


class ModuleDocFragment:
    """Option of a module that removes what is retired; the argument spec is options.KEEP."""

    DOCUMENTATION = r"""
options:
  keep:
    description: What stays in any case, as C(uvnas_keep). Of an environment that has been removed, nothing does.
    type: dict
    default: {}
    suboptions:
      generations:
        description: How many of the retired generations of each environment stay; those that were retired last.
        type: int
        default: 2
      days:
        description:
          - For how many days whatever is retired stays; a part of one is possible.
          - It is for what nobody can see, such as an idle shell in which an environment is active.
        type: float
        default: 30
"""
