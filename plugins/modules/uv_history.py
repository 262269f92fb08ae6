#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_history
short_description: Tell which generations of environments were in force, and what changed between them
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Returns which generations of each environment are or were in force on a share, from when to when, with the packages
    that changed from one to the next, and what the share's journal tells of them.
  - Compares any two generations of an environment, those that are no longer on the share too, as their locks are kept.
  - It writes nothing. Connected as C(root), it reads as the user that the share belongs to.
extends_documentation_fragment:
  - uvnas.cluster.attributes.info
  - uvnas.cluster.looking
options:
  environment:
    description: The environment. By default all of the share.
    type: str
  from:
    description: A generation of O(environment) to compare with, by the beginning of its id.
    type: str
  to:
    description: The generation to compare with O(from). By default the one in force.
    type: str
seealso:
  - module: uvnas.cluster.uv_hold
  - module: uvnas.cluster.uv_env_info
"""

EXAMPLES = r"""
- name: See what was in force
  uvnas.cluster.uv_history:
    share: /mnt/nas-a/uv
    share_name: nas_a
    environment: train
"""

RETURN = r"""
environments:
  description: The environments of the share.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The environment.
      returned: always
      type: str
    id:
      description: The generation in force. Null if there is none.
      returned: always
      type: str
    since:
      description: Since when, in UTC. Null if that is not on record.
      returned: always
      type: str
    held:
      description: What is held, with C(id), C(since), C(by), C(reason) and C(declared). Null if nothing is.
      returned: always
      type: dict
    generations:
      description: Its generations, the oldest first.
      returned: always
      type: list
      elements: dict
      contains:
        id:
          description: The generation.
          returned: always
          type: str
        state:
          description: V(in force), V(retired), V(built) but never in force, or V(removed) from the share.
          returned: always
          type: str
        created:
          description: When it was built. Null if it is no longer on the share.
          returned: always
          type: str
        published:
          description: When it was published. Null if that is not on record.
          returned: always
          type: str
        retired:
          description: When it was no longer in force.
          returned: always
          type: str
        python:
          description: The version of its interpreter.
          returned: always
          type: str
        packages:
          description: How many packages it has. Null if nobody knows any more.
          returned: always
          type: int
        packages_changed:
          description: What changed since the generation before, one line per package.
          returned: always
          type: list
          elements: str
journal:
  description:
    - The lines of the journal, the oldest first, each with C(time), C(action), C(environment), and what is known of
      C(generation), C(previous), C(why), C(user), C(controller), C(uv) and C(packages_changed).
  returned: success
  type: list
  elements: dict
problems:
  description: What cannot be read.
  returned: success
  type: list
  elements: str
difference:
  description: How one generation differs from the other.
  returned: with O(from)
  type: dict
  contains:
    from:
      description: The one.
      returned: always
      type: str
    to:
      description: The other.
      returned: always
      type: str
    packages_changed:
      description: The changes, one line per package.
      returned: always
      type: list
      elements: str
    python:
      description: The versions of their interpreters.
      returned: always
      type: list
      elements: str
"""

import functools
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.env.declared import check_name
from ..module_utils.env.history import History
from ..module_utils.errors import SpecError
from ..module_utils.host.secrets import scrub
from ..module_utils.host.workers import Result
from ..module_utils.options import LOOKING
from ..module_utils.share.identity import identify
from ..module_utils.share.place import check_mounted
from ..module_utils.share.spec import Share


def work(params: t.Mapping[str, t.Any]) -> Result:
    """Look at the share of ``params``; the module's result."""
    item = {"name": params["share_name"], "root": params["share"], "id": params["share_id"]}
    share = Share.parse({**item, "mount": params["mount"]})
    check_mounted(share)
    identify(share)
    env = params["environment"] or None
    problem = None if env is None else check_name(env)
    if problem is not None:
        raise SpecError(f"environment {scrub(repr(env))}: {problem}")
    if env is None and (params["from"] or params["to"]):
        raise SpecError("from and to compare generations of one environment, which is not named")
    if params["to"] and not params["from"]:
        raise SpecError("to is compared with from, which is not given")
    history = History(share.layout, env)
    result = {"changed": False, **history.facts()}
    if params["from"]:
        result["difference"] = history.difference(params["from"], params["to"] or None)
    return result


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            **LOOKING,
            "environment": {"type": "str"},
            "from": {"type": "str"},
            "to": {"type": "str"},
        },
        supports_check_mode=True,
    )
    adapter.run(module, functools.partial(work, module.params), share=module.params["share"], as_owner=True)


if __name__ == "__main__":
    main()
