#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_env_compare
short_description: Tell whether the environments on a share are as they are declared
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Compares the locks and the environments on a share with what is wanted, and does nothing about it.
  - The action plugin of M(uvnas.cluster.uv_env) runs it before anything else, with what the controller has read and
    checked. It is small, so that a converge with nothing to do is fast; playbooks have no use for it.
  - Of each environment, its lock is read, where its link points to is read, and whether its generation is complete is
    looked up. There is no network access, and uv is not run.
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
    description: The environments that are declared for the share, checked, less what is as by default.
    type: list
    elements: dict
    required: true
  inputs:
    description: What the controller knows of the environments, by name.
    type: dict
    required: true
  purge:
    description: Whether environments that are on the share and not in O(environments) are to go.
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
  description: Whether locks and environments are all as they are wanted.
  returned: success
  type: bool
locks:
  description: Digests of the locks, by environment, as O(uvnas.cluster.uv_env#module:locks) takes them.
  returned: where all locks are up to date
  type: dict
environments:
  description: The environments, as M(uvnas.cluster.uv_env) returns those that it keeps.
  returned: if RV(converged)
  type: list
  elements: dict
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.env.lock.plan import EarlierShare, Input, current
from ..module_utils.env.spec import EnvironmentSpec
from ..module_utils.env.state import Comparison, LockFact
from ..module_utils.options import EARLIER_SHARES, SHARE
from ..module_utils.share.layout import Layout


def work(params: t.Mapping[str, t.Any]) -> dict[str, t.Any]:
    """Compare; the module's result."""
    layout = Layout(params["share"])
    specs = [EnvironmentSpec.from_dict(item) for item in params["environments"]]
    inputs = {name: Input.from_dict(data) for name, data in params["inputs"].items()}
    earlier = EarlierShare.from_params(params["earlier_shares"])
    digests = current(layout, [spec for spec in specs if spec.present], inputs, earlier)
    if digests is None:
        return {"changed": False, "converged": False}
    locks = {name: {"digest": digest} for name, digest in digests.items()}
    facts = {name: LockFact(digest) for name, digest in digests.items()}
    changes, errors = Comparison(layout, specs, facts, params["purge"]).plan()
    if errors or any(change.changes for change in changes):
        # What is wrong, and what there is to do, is told by those who do it.
        return {"changed": False, "converged": False, "locks": locks}
    environments = [change.as_dict() for change in changes]
    return {"changed": False, "converged": True, "locks": locks, "environments": environments}


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            **SHARE,
            **EARLIER_SHARES,
            "share_name": {"type": "str", "required": True},
            "environments": {"type": "list", "elements": "dict", "required": True},
            "inputs": {"type": "dict", "required": True},
            "purge": {"type": "bool", "default": False},
        },
        supports_check_mode=True,
    )
    adapter.run(module, lambda: work(module.params), owner=module.params["owner"], share=module.params["share"])


if __name__ == "__main__":
    main()
