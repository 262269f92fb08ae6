#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_profile
short_description: Set up login shells to use uv on a share
version_added: 0.1.0
description:
  - Writes the files that shells read at start-up on a member, so that C(uv) uses the cache and the interpreters of a
    share. C(uvnas.sh) is for sh, bash, zsh and ksh, C(uvnas.csh) for csh and tcsh, C(uvnas.fish) for fish.
  - They set E(UV_INSTALL_DIR), E(UV_CACHE_DIR), E(UV_PYTHON_INSTALL_DIR), C(UV_PYTHON_DOWNLOADS=manual) and the
    variables that you add, append the share's C(bin) to E(PATH), and define a function C(uvnas_use) that changes the
    home share of a session.
  - They touch nothing on a share and run no command, so a NAS that hangs does not hang a login. They print nothing, and
    leave V(root) alone.
  - A variable that a user has set is left as it is. One that these files have set, on this host or on the one that a
    Slurm job inherited its environment from, follows the home share of the host and of the session.
  - In diff mode it shows a line of what changes; with C(-vv) or more, whole files.
author:
  - uvnas.cluster contributors (@uvnas)
extends_documentation_fragment:
  - uvnas.cluster.attributes
options:
  shares:
    description:
      - The shares that this host uses. The first one is the home share.
      - Required if O(state=present).
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The share's name, as users give it to C(uvnas_use).
        type: str
        required: true
      root:
        description:
          - The share's root directory. It need not exist, and is not looked at.
          - It must not contain a colon, since it becomes part of E(PATH).
        type: str
        required: true
  directory:
    description:
      - Directory for C(uvnas.sh) and C(uvnas.csh), not on a share. It is created if need be.
    type: path
    default: /etc/profile.d
  fish_directory:
    description:
      - Directory for C(uvnas.fish), not on a share. It is created if need be.
      - If empty, there is no file for fish.
    type: path
    default: /etc/fish/conf.d
  user_cache:
    description:
      - Whether each person has a cache of their own on a share, which their uv makes (V(personal)), or people share one
        (V(group)), or each of O(user_cache_users) has one that was made for them (V(private)).
      - With V(personal) and V(private) it is named after E(USER). E(UV_CACHE_DIR) is left unset for those who have
        none, and with V(personal) if E(USER) is empty, has characters other than letters, digits and C(._@+-), or does
        not begin with a letter, a digit or C(_).
    type: str
    choices: [personal, group, private]
    default: personal
  user_cache_users:
    description:
      - Users who have a cache. E(UV_CACHE_DIR) is not exported to others. Everybody can read the list in the files.
      - If empty, everybody has one, or nobody with O(user_cache=private).
    type: list
    elements: str
    default: []
  variables:
    description:
      - Further variables to export, such as E(UV_PYTHON_INSTALL_MIRROR) or E(UV_DEFAULT_INDEX), with their values.
      - Settings of uv and pip (C(UV_*) and C(PIP_*)), proxies and certificates may be given. Those without a value are
        left out.
      - A value that contains credentials is an error, since everybody can read the files.
    type: dict
    default: {}
  withheld:
    description:
      - Names of variables that are missing from O(variables), or incomplete, because their values contain credentials.
        The module warns about them.
    type: list
    elements: str
    default: []
  state:
    description:
      - Whether the files should exist. V(absent) removes them, but not the directories.
    type: str
    choices: [present, absent]
    default: present
notes:
  - csh, tcsh and ksh93 read every directory in E(PATH) at start-up. For them E(PATH) is left alone, and C(uv) and
    C(uvx) are aliases or functions.
  - Connected as V(root), the files belong to V(root); otherwise to the user connected as. Their mode is C(0644).
  - Each file is replaced in one step. A shell that starts meanwhile reads the old one or the new one.
  - Which of these files a shell reads depends on the system and the kind of shell, see the role
    C(uvnas.cluster.profile).
"""

EXAMPLES = r"""
- name: Let login shells use the share nas_a, or nas_b for those who ask for it
  uvnas.cluster.uv_profile:
    shares:
      - name: nas_a
        root: /mnt/nas-a/uv
      - name: nas_b
        root: /mnt/nas-b/uv
    variables:
      UV_DEFAULT_INDEX: https://mirror.example.org/simple
  become: true

- name: Write the files elsewhere, to look at them first
  uvnas.cluster.uv_profile:
    shares:
      - name: nas_a
        root: /mnt/nas-a/uv
    directory: /tmp/look
    fish_directory: /tmp/look

- name: Remove the files
  uvnas.cluster.uv_profile:
    state: absent
  become: true
"""

RETURN = r"""
files:
  description: The files that exist, or would exist, or with O(state=absent) no longer exist.
  returned: success
  type: list
  elements: str
  sample: [/etc/profile.d/uvnas.sh, /etc/profile.d/uvnas.csh, /etc/fish/conf.d/uvnas.fish]
home_share:
  description: The name of the share that login shells use; null if O(state=absent).
  returned: success
  type: str
  sample: nas_a
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.host.secrets import has_credentials
from ..module_utils.options import UV_PROFILE
from ..module_utils.profile.converge import converge

# From -vv on a diff shows whole files: 250 lines for each host.
VERBOSE = 2


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=UV_PROFILE, supports_check_mode=True)
    # Values are hidden in case one contains credentials. The others are what an admin wants to see in a diff.
    values = [str(value) for value in module.params["variables"].values()]
    module.no_log_values.difference_update(value for value in values if not has_credentials(value))
    how = {"check": module.check_mode, "diff": module._diff, "texts": module._verbosity >= VERBOSE}
    adapter.run(module, lambda: converge(module.params, **how))


if __name__ == "__main__":
    main()
