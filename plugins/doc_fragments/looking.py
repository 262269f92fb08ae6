# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by `make schema`, from meta/schema.yml.

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that only look at a share; the argument spec is options.LOOKING."""

    DOCUMENTATION = r"""
options:
  share:
    description: Root directory of the share.
    type: path
    required: true
  share_name:
    description: The share's name.
    type: str
    required: true
  share_id:
    description: The id that the share must have. By default any.
    type: str
  mount:
    description: The mount point that the share is on. It must be mounted.
    type: path
  answer_timeout:
    description:
      - How long the share's filesystem may take to answer, in seconds, before the module gives up and fails.
      - That is the time for one small question, and not for the work.
    type: float
    default: 30.0
"""
