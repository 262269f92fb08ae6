#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_rollback
short_description: Decide for all shares at once whether an environment is rolled back
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Puts together what M(uvnas.cluster.uv_hold) said in check mode on each share, and names the generation for all of
    them. Fails if that cannot be put in force on one of them, so that nothing is changed anywhere.
  - Shares that do not answer are left out.
  - Afterwards it says what was done, and fails where a share did not answer.
  - The playbooks C(rollback.yml) and C(release.yml) use it. It has an action plugin only, and connects to no host.
extends_documentation_fragment:
  - uvnas.cluster.attributes.controller
options:
  stage:
    description: Whether to V(decide) what is done, or to V(report) what was done.
    type: str
    choices: [decide, report]
    required: true
  environment:
    description: The environment.
    type: str
  hosts:
    description: The names of the hosts of this run.
    type: list
    elements: str
    required: true
"""

EXAMPLES = r"""
- name: Decide for all shares at once
  uvnas.cluster.uv_rollback:
    stage: decide
    environment: train
    hosts: "{{ ansible_play_hosts_all }}"
  run_once: true
  register: decision
"""

RETURN = r"""
target:
  description: The generation for all shares.
  returned: success, with O(stage=decide)
  type: str
shares:
  description: The names of the shares that have answered.
  returned: success, with O(stage=decide)
  type: list
  elements: str
problems:
  description: Always empty, as it fails otherwise.
  returned: success, with O(stage=decide)
  type: list
  elements: str
msg:
  description: What was done, a line for each share.
  returned: success, with O(stage=report)
  type: list
  elements: str
"""
