#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_verify
short_description: Read every file on a share, and tell what is damaged
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Reads every file of generations, interpreters, versions of uv, bytecode, and of the unpacked wheels in uv's cache,
    and compares content, mode, owner, ACLs and links with what is on record. It also finds what is missing, and what
    does not belong there.
  - Run it on the builder, as the share's owner. It waits for nobody, and nobody waits for it.
  - It changes nothing but what it remembers of itself, if O(bytes_per_second) is set. What is damaged is no failure of
    the module, see RV(trees).
  - Replace what is damaged with M(uvnas.cluster.uv_repair).
extends_documentation_fragment:
  - uvnas.cluster.attributes
  - uvnas.cluster.share
  - uvnas.cluster.progress
options:
  share_name:
    description: The share's name.
    type: str
    required: true
  bytes_per_second:
    description:
      - How fast to read. Each run then reads a part of what there is, for O(seconds), and begins with what has not been
        read for longest, which the share remembers.
      - With V(0) it reads everything, as fast as it can.
    type: int
    default: 0
  seconds:
    description: How long one run may read, if O(bytes_per_second) is set.
    type: float
    default: 3600.0
  jobs:
    description: How many processes read at once. With V(0), as many as the host has processors.
    type: int
    default: 0
attributes:
  action:
    description: Has a part that runs on the controller.
    support: full
  check_mode:
    details: It reads the same, and remembers nothing.
  diff_mode:
    support: N/A
seealso:
  - module: uvnas.cluster.uv_repair
"""

EXAMPLES = r"""
- name: Read every file on a share
  uvnas.cluster.uv_verify:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
  register: found

- name: Fail if anything is damaged
  ansible.builtin.assert:
    that: found.trees | map(attribute='count') | sum == 0
"""

RETURN = r"""
trees:
  description: What was read.
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: One of V(generation), V(interpreter), V(uv), V(cache), V(bytecode), and V(record).
      returned: always
      type: str
    name:
      description:
        - A generation such as V(train/3f9a0c2b71de), uv's key of an interpreter, a version of uv, V(cache),
          V(bytecode), or the path of a record below the share, such as V(locks/train.state.json).
      returned: always
      type: str
    state:
      description: Of a generation, V(in force) or V(retired). Otherwise empty.
      returned: always
      type: str
    files:
      description: How many files were read.
      returned: always
      type: int
    bytes:
      description: What they have together.
      returned: always
      type: int
    count:
      description: How many damages there are.
      returned: always
      type: int
    damages:
      description: The first hundred of them.
      returned: always
      type: list
      elements: dict
      contains:
        path:
          description: Relative to what was read. Empty if it is that itself.
          returned: always
          type: str
        what:
          description: One of V(content), V(missing), V(undeclared), V(mode), V(owner), V(acl), V(link), V(kind),
            V(unreadable), and V(invalid).
          returned: always
          type: str
        says:
          description: The same for people.
          returned: always
          type: str
    notes:
      description: What is no damage, and limits what can be said.
      returned: always
      type: list
      elements: str
  sample:
    - kind: generation
      name: train/3f9a0c2b71de
      state: in force
      files: 21207
      bytes: 1340000000
      count: 1
      damages:
        - path: lib/python3.12/site-packages/numpy/core.py
          what: content
          says: differs from its RECORD
      notes: []
read:
  description: The C(files), C(bytes) and C(seconds) of this run.
  returned: success
  type: dict
  sample: {files: 41210, bytes: 3200000000, seconds: 14.2}
remaining:
  description: The names of what waits for the next run, with O(bytes_per_second).
  returned: success
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.env.repair.converge import Budget, verify
from ..module_utils.errors import SpecError
from ..module_utils.host.progress import SILENT, Progress, to
from ..module_utils.host.workers import Result
from ..module_utils.options import UV_VERIFY
from ..module_utils.share.spec import Share


def work(params: t.Mapping[str, t.Any], *, check_mode: bool, progress: Progress = SILENT) -> Result:
    """Read the share of ``params``, and return the module's result."""
    share, budget = Share.from_params(params), Budget(params["bytes_per_second"], params["seconds"])
    if budget.bytes_per_second < 0 or not 0 < budget.seconds < float("inf"):
        raise SpecError("bytes_per_second must be a number of 0 or more, and seconds one of more than 0")
    return verify(share, jobs=params["jobs"], budget=budget, remember=not check_mode, progress=progress)


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=UV_VERIFY, supports_check_mode=True)
    with to(module.params["progress_to"]) as progress:
        adapter.run(
            module,
            lambda: work(module.params, check_mode=module.check_mode, progress=progress),
            as_owner=True,
            share=module.params["share"],
            progress=progress,
        )


if __name__ == "__main__":
    main()
