# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by `make schema`, from meta/schema.yml.

from __future__ import annotations


class ModuleDocFragment:
    """Options of every module that works on a share; the argument spec is options.SHARE."""

    DOCUMENTATION = r"""
options:
  share:
    description: Root directory of the share, as an absolute path.
    type: path
    required: true
  share_id:
    description: The id that the share must have, from its C(share.json). By default any id will do.
    type: str
  mount:
    description:
      - The mount point of the filesystem that the share is on. It is an error if nothing is mounted there.
      - Only the owner and V(root) may have write permission for the directories from there to the share's root, or from
        C(/) without it.
    type: path
  owner:
    description:
      - The user that owns the share. Connected as V(root), the module does all its work as this user; connected as any
        other user, it fails.
      - Without it the module works as the user it is connected as. Connected as V(root), it works on an existing share
        as the user and the group that O(share) belongs to, by number, with a warning. If that is V(root), uv and the
        code of packages run as V(root).
    type: str
  busy_timeout:
    description:
      - How long to wait, in seconds, for another process that is working on the same share.
      - A module that finds nothing to do does not wait.
    type: float
    default: 600.0
  answer_timeout:
    description:
      - How long the share's filesystem may take to answer, in seconds, before the module gives up and fails.
      - This limits a single small request, not the work. Neither a slow NAS nor waiting for another process
        (O(busy_timeout)) makes it fail.
    type: float
    default: 30.0
"""
