#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_declaration
short_description: Check what is declared, and work out what each host has to do
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Checks the variables of the collection's roles on the controller, before any host is asked to do anything;
    keys, types and values; shares and their builders; environments, the files that they name, and the locks kept.
  - A variable that begins with C(uvnas_) but that no role declares is an error, wherever it comes from.
  - Each problem is reported once, in a line of its own. Nothing is changed then.
  - The collection's roles use it. It is an action plugin only, and connects to no host.
extends_documentation_fragment:
  - uvnas.cluster.attributes.controller
options:
  hosts:
    description:
      - The hosts to check, by inventory name. By default the host of the task, with all variables of the task.
      - For other hosts than that of the task, the inventory's variables count, and those of the play as a whole.
      - The inventory's variables are checked without C(hostvars), and without those of the play. A variable that
        needs these is an error.
    type: list
    elements: str
  writes:
    description:
      - Whether this run changes shares. If so, it warns about each share whose builder is not in O(hosts).
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Work out what all hosts have to do
  uvnas.cluster.uv_declaration:
    hosts: "{{ ansible_play_hosts_all }}"
  register: declared
  run_once: true
"""

RETURN = r"""
work:
  description: What hosts have to do, each distinct item once.
  returned: success
  type: list
  elements: dict
  contains:
    builds:
      description: The shares that a host builds, with the interpreters wanted on them.
      type: list
      elements: dict
    uses:
      description: The shares that a host uses; the first is its home share.
      type: list
      elements: dict
    ahead:
      description:
        - What the modules after M(uvnas.cluster.uv_share) will be told, by the shares that a host builds, as its option
          O(uvnas.cluster.uv_share#module:ahead). Empty outside of C(site.yml), and where something is to be upgraded.
      type: dict
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
      description: What a host's shells are told, as options of M(uvnas.cluster.uv_profile).
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
  description: For each host, the index of its item in O(ignore:work), from 0.
  returned: success
  type: dict
report_file:
  description: The path of the file that a report is written to. Null where none is.
  returned: success
  type: str
groups:
  description: Hosts, and the groups for what they have to do.
  returned: success, if O(hosts) is given
  type: list
  elements: dict
"""
