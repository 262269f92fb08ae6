#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_declaration
short_description: See that what is declared makes sense, and what each host has to do
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Looks at the variables of the collection's roles on the controller, before any host is asked to do something; keys,
    types and values; shares and their builders; environments, the files that they name, and locks that are kept.
  - A variable that begins with C(uvnas_) and that no role declares is an error, from whatever source it comes.
  - Each thing that is wrong is said once, in a line of its own. Nothing is changed then.
  - The roles of the collection use it. It has an action plugin only, and no host is connected to.
options:
  hosts:
    description:
      - The hosts to look at, by the names that they have in the inventory. By default the host of the task, with all
        variables that the task has.
      - Of other hosts than that of the task count the variables of the inventory, and those that are given to the play
        as a whole.
      - Those of the inventory are looked at without C(hostvars), and without what the play is given. One that needs
        these is an error.
    type: list
    elements: str
  writes:
    description:
      - Whether this run changes shares. If so, there is a warning for each share whose builder is not in O(hosts).
    type: bool
    default: true
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

EXAMPLES = r"""
- name: See what all hosts have to do
  uvnas.cluster.uv_declaration:
    hosts: "{{ ansible_play_hosts_all }}"
  register: declared
  run_once: true
"""

RETURN = r"""
work:
  description: What there is to do for hosts, each different one once.
  returned: success
  type: list
  elements: dict
  contains:
    builds:
      description: The shares that a host builds, with the interpreters that are asked for on them.
      type: list
      elements: dict
    uses:
      description: The shares that a host uses; the first is its home share.
      type: list
      elements: dict
    glibc:
      description: The oldest glibc of shares, for those that declare one.
      type: dict
    upgrade:
      description: The environments to upgrade.
      type: list
      elements: str
    upgrade_packages:
      description: The packages to upgrade.
      type: list
      elements: str
    exports:
      description: What shells of a host are told, as options of M(uvnas.cluster.uv_profile).
      type: dict
    shares:
      description: The shares that a host builds or uses, each with the names of the environments declared for it.
      type: list
      elements: dict
    asks:
      description: The shares that this host looks at for all hosts, where one for each share is enough.
      type: list
      elements: dict
hosts:
  description: For each host, which of O(ignore:work) is its own, from 0.
  returned: success
  type: dict
report_file:
  description: The path of the file that a report is written to. Null where none is.
  returned: success
  type: str
groups:
  description: Hosts, and the groups that they are in by what they have to do.
  returned: success, if O(hosts) is given
  type: list
  elements: dict
"""
