#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_env_try
short_description: Try generations of environments on a host before they are published
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Starts generations by their final path on the host that it runs on, imports what is declared, and runs the checks.
    It says which of them are well, and does not fail if one is not.
  - It writes nothing to the share. Nothing of a share runs as C(root). Connected as C(root), everything is run as the
    user that the share belongs to, by number.
  - C(site.yml) uses it for environments with C(try_on), and publishes what is well with M(uvnas.cluster.uv_hold).
extends_documentation_fragment:
  - uvnas.cluster.attributes.info
  - uvnas.cluster.looking
options:
  environments:
    description: What to try.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The environment.
        type: str
        required: true
      generation:
        description: The id of its generation.
        type: str
        required: true
      imports:
        description: Modules that must be importable.
        type: list
        elements: str
        default: []
      checks:
        description: Commands, run by C(/bin/sh) in the environment, that must succeed.
        type: list
        elements: str
        default: []
  check_timeout:
    description: Timeout of each check in seconds.
    type: float
    default: 300
seealso:
  - module: uvnas.cluster.uv_hold
  - module: uvnas.cluster.uv_env
"""

EXAMPLES = r"""
- name: Try a generation on a GPU node
  uvnas.cluster.uv_env_try:
    share: /mnt/nas-a/uv
    share_name: nas_a
    environments:
      - name: torch
        generation: 3f9a0c2b71de
        imports: [torch]
        checks: ["python -c 'import torch; assert torch.cuda.is_available()'"]
"""

RETURN = r"""
environments:
  description: What was tried.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The environment.
      returned: always
      type: str
    id:
      description: The generation.
      returned: always
      type: str
    problem:
      description: What went wrong. Null if nothing did.
      returned: always
      type: str
"""

import functools
import os
import re
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.env.declared import check_name
from ..module_utils.env.inspect import Inspection
from ..module_utils.env.spec import EnvironmentSpec
from ..module_utils.env.trial import Trial, try_all
from ..module_utils.env.verify import Verification
from ..module_utils.errors import SpecError
from ..module_utils.host.process import SystemRunner
from ..module_utils.host.users import nobody
from ..module_utils.host.workers import Result
from ..module_utils.options import LOOKING
from ..module_utils.share.place import check_mounted
from ..module_utils.share.spec import Share

_ID = re.compile("[0-9a-f]{4,64}")


def work(params: t.Mapping[str, t.Any]) -> Result:
    """Try what ``params`` name; the module's result."""
    item = {"name": params["share_name"], "root": params["share"], "id": params["share_id"]}
    share = Share.parse({**item, "mount": params["mount"]})
    trials = []
    for each in params["environments"]:
        wrong = check_name(each["name"]) or (None if _ID.fullmatch(each["generation"]) else "that is no generation")
        if wrong:
            raise SpecError(f"environment {each['name']!r}, generation {each['generation']!r}: {wrong}")
        spec = EnvironmentSpec(each["name"], imports=tuple(each["imports"]), checks=tuple(each["checks"]))
        trials.append(Trial(spec, each["generation"]))
    check_mounted(share)
    inspection = Inspection(share)
    user = nobody() if os.geteuid() == 0 else None
    verification = Verification(inspection, inspection.sight.identity.id, SystemRunner(), user)
    return {"changed": False, "environments": try_all(verification, trials, params["check_timeout"])}


def main() -> t.NoReturn:
    texts = {"type": "list", "elements": "str", "default": []}
    module = AnsibleModule(
        argument_spec={
            **LOOKING,
            "environments": {
                "type": "list",
                "elements": "dict",
                "required": True,
                "options": {
                    "name": {"type": "str", "required": True},
                    "generation": {"type": "str", "required": True},
                    "imports": texts,
                    "checks": texts,
                },
            },
            "check_timeout": {"type": "float", "default": 300.0},
        },
        supports_check_mode=True,
    )
    adapter.run(module, functools.partial(work, module.params), share=module.params["share"], as_owner=True)


if __name__ == "__main__":
    main()
