# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by `make schema`, from meta/schema.yml.

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that bring locks up to date; the argument spec is options.LOCKS."""

    DOCUMENTATION = r"""
options:
  upgrade:
    description: Environments whose locks are to take the newest versions, by name. V(all) means all of them.
    type: list
    elements: str
    default: []
  upgrade_packages:
    description:
      - Packages that are to be upgraded, with the least change elsewhere; in the environments of O(upgrade), or,
        without that, in all that have them.
      - One that none of their locks on the share has is an error, see O(upgrade_elsewhere).
    type: list
    elements: str
    default: []
  upgrade_elsewhere:
    description: Whether locks on other shares may have what of O(upgrade_packages) none here has, so that it is no
      error. Whoever asks all shares can tell by what they return.
    type: bool
    default: false
  files_dir:
    description: Where relative paths of files on the controller start. By default the directory of the playbook.
    type: path
  lock_dir:
    description:
      - A directory on the controller, where the locks are kept too. They win over those on the share.
      - Without it, only the share keeps them.
    type: path
"""
