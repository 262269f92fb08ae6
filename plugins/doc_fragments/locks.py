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
    description: Environments to upgrade to the newest versions, by name. V(all) means all of them.
    type: list
    elements: str
    default: []
  upgrade_packages:
    description:
      - Packages to upgrade, with as little other change as possible, in the environments of O(upgrade), or by default
        in all that have them.
      - A package that none of their locks on the share has is an error, see O(upgrade_elsewhere).
    type: list
    elements: str
    default: []
  upgrade_elsewhere:
    description: Whether locks on other shares may have the O(upgrade_packages) that no lock here has, so that this is
      not an error. A caller that asks all shares can tell from their results.
    type: bool
    default: false
  files_dir:
    description: Where relative paths of files on the controller start. By default the directory of the playbook.
    type: path
  lock_dir:
    description:
      - A directory on the controller where locks are kept too. They take precedence over those on the share.
      - Without it, only the share keeps them.
    type: path
"""
