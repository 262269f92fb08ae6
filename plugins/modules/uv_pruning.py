#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_pruning
short_description: Decide what a prune removes, by what all members use
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Puts together what M(uvnas.cluster.uv_prune) said may go from each share, what M(uvnas.cluster.uv_in_use) said on
    every member, and what M(uvnas.cluster.uv_jobs) said of each Slurm cluster.
  - Something goes if no member of its share and no job may use it, and if it is in force on no share. A member that has
    not answered, or not as C(root), may use anything that was retired after it was booted, and any
    interpreter.
  - The playbook C(prune.yml) uses it. It has an action plugin only, and connects to no host.
extends_documentation_fragment:
  - uvnas.cluster.attributes.controller
options:
  stage:
    description:
      - V(candidates) tells whether there is anything to ask about, V(clusters) which member of each Slurm cluster to
        ask for its jobs, and V(decide) decides.
    type: str
    choices: [candidates, clusters, decide]
    required: true
  hosts:
    description: The names of the hosts of this run.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Decide what goes
  uvnas.cluster.uv_pruning:
    stage: decide
    hosts: "{{ ansible_play_hosts_all }}"
  run_once: true
  register: decision
"""

RETURN = r"""
any:
  description: Whether anything may go.
  returned: success, with O(stage=candidates)
  type: bool
members:
  description: The hosts that are members of any share. Nobody else is asked.
  returned: success, with O(stage=candidates)
  type: list
  elements: str
ask:
  description: The member to ask, by the name of each cluster.
  returned: success, with O(stage=clusters)
  type: dict
nodes:
  description: Members that have not said what they use. Slurm may know when they were booted.
  returned: success, with O(stage=clusters)
  type: list
  elements: str
before:
  description: The time before which jobs matter. Empty if all of them do.
  returned: success, with O(stage=clusters)
  type: str
going:
  description: What goes from each share, as O(uvnas.cluster.uv_prune#module:items).
  returned: success, with O(stage=decide)
  type: dict
verdicts:
  description: All that may go, by share, each with C(why) it stays; an empty list if it goes.
  returned: success, with O(stage=decide)
  type: dict
"""
