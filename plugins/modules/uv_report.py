#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_report
short_description: Summarize what a run did, and what is on the shares
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Puts together what the roles of the collection have registered on each host, shows it as a few lines, and writes the
    same as JSON if C(uvnas_report_file) is set.
  - In check mode it says what a run would do. The JSON file is written in check mode, too.
  - Fails if a share is not the same one on all hosts, or something on it is damaged.
  - The role C(uvnas.cluster.verify) and the playbooks use it. It has an action plugin only, and connects to no host.
extends_documentation_fragment:
  - uvnas.cluster.attributes.controller
options:
  hosts:
    description: The names of the hosts of this run.
    type: list
    elements: str
    required: true
  well:
    description: The names of those that have not failed.
    type: list
    elements: str
    required: true
  kind:
    description:
      - What to report; what a V(run) did and verified, V(info) about shares, their V(history), the V(usage)
        of what is on them, what a V(prune) removed, what a V(deep) verification found damaged, or what a V(repair) did.
    type: str
    choices: [run, info, history, usage, prune, deep, repair]
    default: run
"""

EXAMPLES = r"""
- name: Summarize this run
  uvnas.cluster.uv_report:
    hosts: "{{ ansible_play_hosts_all }}"
    well: "{{ ansible_play_hosts }}"
  run_once: true
"""

RETURN = r"""
msg:
  description: The lines.
  returned: success
  type: list
  elements: str
"""
