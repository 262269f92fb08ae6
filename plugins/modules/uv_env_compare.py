#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_env_compare
short_description: Check whether the environments on a share match their declaration
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Compares the locks and the environments on a share with what is declared, and changes nothing.
  - The action plugin of M(uvnas.cluster.uv_env) runs it before anything else, with what the controller has read and
    checked. It is small, so that a converge with nothing to do is fast. Playbooks have no use for it.
  - For each environment, it reads the lock, the link, and the generation's manifest and list of packages. There is no
    network access, and uv does not run.
extends_documentation_fragment:
  - uvnas.cluster.attributes.info
  - uvnas.cluster.share
  - uvnas.cluster.earlier_shares
options:
  share_name:
    description: The share's name.
    type: str
    required: true
  environments:
    description: The environments declared for the share, checked, without values that equal the defaults.
    type: list
    elements: dict
    required: true
  inputs:
    description: What the controller knows about the environments, by name.
    type: dict
    required: true
  upgrade:
    description: Environments to lock to the newest versions, as for M(uvnas.cluster.uv_lock).
    type: list
    elements: str
    default: []
  upgrade_packages:
    description: Packages to upgrade, as for M(uvnas.cluster.uv_lock).
    type: list
    elements: str
    default: []
  purge:
    description:
      - Whether environments that are on the share and not in O(environments) are to be removed. One of which only files
        are left, for C(uvnas.cluster.prune), has been.
    type: bool
    default: false
seealso:
  - module: uvnas.cluster.uv_env
  - module: uvnas.cluster.uv_env_info
"""

EXAMPLES = r"""
- name: Lock, build and publish environments, unless there is nothing to do
  uvnas.cluster.uv_env:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    environments: "{{ uvnas_envs }}"
    lock: true
"""

RETURN = r"""
converged:
  description: Whether all locks and environments are up to date.
  returned: success
  type: bool
locks:
  description: Digests of the locks, by environment, as O(uvnas.cluster.uv_env#module:locks) takes them.
  returned: if all locks are up to date
  type: dict
needs:
  description: The environments whose files the builder needs to bring their locks up to date.
  returned: if a lock is not up to date
  type: list
  elements: str
upgrade_packages:
  description: As M(uvnas.cluster.uv_lock) returns it.
  returned: with O(upgrade_packages), if all locks are up to date
  type: dict
environments:
  description: The environments, as M(uvnas.cluster.uv_env) returns the ones that it keeps.
  returned: if RV(converged)
  type: list
  elements: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.env.compare import compare
from ..module_utils.options import EARLIER_SHARES, SHARE


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            **SHARE,
            **EARLIER_SHARES,
            "share_name": {"type": "str", "required": True},
            "environments": {"type": "list", "elements": "dict", "required": True},
            "inputs": {"type": "dict", "required": True},
            "upgrade": {"type": "list", "elements": "str", "default": []},
            "upgrade_packages": {"type": "list", "elements": "str", "default": []},
            "purge": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    adapter.run(
        module,
        lambda: compare(module.params, check_mode=module.check_mode),
        as_owner=True,
        share=module.params["share"],
    )


if __name__ == "__main__":
    main()
