# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """What every module of the collection promises."""

    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Returns details on what has changed (or would change, in C(check_mode)), when in diff mode.
    support: full
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second run reports no change.
    support: full
  platform:
    description: Systems the module works on.
    platforms: linux
    support: full
  action_group:
    description: Use C(group/uvnas.cluster.all) in C(module_defaults) to set defaults for all modules of the collection.
    support: full
    membership:
      - uvnas.cluster.all
"""

    INFO = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
    details:
      - This module does not modify anything.
  diff_mode:
    description: Returns details on what has changed (or would change, in C(check_mode)), when in diff mode.
    support: N/A
    details:
      - This module does not modify anything.
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second run reports no change.
    support: full
  platform:
    description: Systems the module works on.
    platforms: linux
    support: full
  action_group:
    description: Use C(group/uvnas.cluster.all) in C(module_defaults) to set defaults for all modules of the collection.
    support: full
    membership:
      - uvnas.cluster.all
"""

    # Of those that have an action plugin only, and are in no group.
    CONTROLLER = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying the target.
    support: full
  diff_mode:
    description: Returns details on what has changed (or would change, in C(check_mode)), when in diff mode.
    support: N/A
  idempotent:
    description: When run twice in a row outside check mode, with the same arguments, the second run reports no change.
    support: full
  platform:
    description: Systems the module works on.
    platforms: linux
    support: full
"""
