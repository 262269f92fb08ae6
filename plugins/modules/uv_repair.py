#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_repair
short_description: Replace what is damaged on a share
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Reads what M(uvnas.cluster.uv_verify) reads, and replaces what is damaged there, file by file, by what is on record.
  - A good file is taken from what a generation keeps a copy of, from another generation, from another share of this
    host, from uv's cache, or from the index, whichever is the first to have it. Bytecode is compiled anew.
  - Each file is replaced in one step, wherever on the share it is linked to. Processes that have the old one open keep
    it.
  - What cannot be had stays as it is, and RV(trees) says why. That is no failure of the module.
  - Programs of uv are replaced by M(uvnas.cluster.uv_binary), with its option O(uvnas.cluster.uv_binary#module:verify).
extends_documentation_fragment:
  - uvnas.cluster.attributes
  - uvnas.cluster.share
  - uvnas.cluster.index
  - uvnas.cluster.uv_variables
  - uvnas.cluster.progress
  - uvnas.cluster.author
options:
  share_name:
    description: The share's name.
    type: str
    required: true
  earlier_shares:
    description:
      - All other shares that this host builds. Good files are copied from there.
      - A share that belongs to neither the same owner nor V(root), or that others may write to, is ignored.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The share's name.
        type: str
        required: true
      root:
        description: Its root directory.
        type: path
        required: true
  mirror:
    description:
      - Where archives of interpreters come from, as for O(uvnas.cluster.uv_python#module:mirror).
    type: str
  downloads_json_url:
    description:
      - The list of interpreters, as for O(uvnas.cluster.uv_python#module:downloads_json_url).
    type: str
  offline:
    description: Whether to download no interpreters.
    type: bool
    default: false
  remove_undeclared:
    description: Whether to remove files that do not belong where they are. Otherwise they are only named.
    type: bool
    default: false
  jobs:
    description: How many processes read at once. With V(0), as many as the host has processors.
    type: int
    default: 0
attributes:
  action:
    description: Has a part that runs on the controller.
    support: full
  diff_mode:
    support: none
seealso:
  - module: uvnas.cluster.uv_verify
  - module: uvnas.cluster.uv_binary
"""

EXAMPLES = r"""
- name: Replace what is damaged on a share
  uvnas.cluster.uv_repair:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    earlier_shares:
      - {name: nas_b, root: /mnt/nas-b/uv}
  register: repaired

- name: Fail if anything stays damaged
  ansible.builtin.assert:
    that: repaired.trees | map(attribute='damages') | flatten | rejectattr('done') | length == 0
"""

RETURN = r"""
trees:
  description:
    - What was read, as M(uvnas.cluster.uv_verify) returns it. Each of the C(damages) also has C(done) and C(why).
  returned: success
  type: list
  elements: dict
  contains:
    kind:
      description: One of V(generation), V(interpreter), V(uv), V(cache), V(bytecode), and V(record).
      returned: always
      type: str
    name:
      description: Which one, such as V(train/3f9a0c2b71de).
      returned: always
      type: str
    count:
      description: How many damages there were.
      returned: always
      type: int
    damages:
      description: The first hundred of them, of which those that were not repaired come first.
      returned: always
      type: list
      elements: dict
      contains:
        path:
          description: Relative to what was read. Empty if it is that itself.
          returned: always
          type: str
        what:
          description: What is wrong with it, in a word.
          returned: always
          type: str
        says:
          description: The same for people.
          returned: always
          type: str
        done:
          description: How it was repaired, or would be in check mode, such as V(repaired from another generation).
            Empty if it was not.
          returned: always
          type: str
        why:
          description: Why it was not repaired.
          returned: always
          type: str
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
          done: repaired from another generation
          why: ""
      notes: []
read:
  description: The C(files), C(bytes) and C(seconds) of this run.
  returned: success
  type: dict
  sample: {files: 41210, bytes: 3200000000, seconds: 14.2}
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.env.repair.converge import Repair
from ..module_utils.host.process import SystemRunner
from ..module_utils.host.progress import SILENT, Progress, to
from ..module_utils.host.workers import Result
from ..module_utils.options import UV_REPAIR
from ..module_utils.python.sources import Downloads
from ..module_utils.share.journal import Author
from ..module_utils.share.place import earlier_shares
from ..module_utils.share.spec import Share
from ..module_utils.uv.command import Index, Uv


def work(params: t.Mapping[str, t.Any], *, check_mode: bool, progress: Progress = SILENT) -> Result:
    """Repair the share of ``params``, and return the module's result."""
    share = Share.from_params(params)
    uv = Uv(share.layout, SystemRunner(), Index.from_params(params["index"]), params["uv_variables"])
    pythons = Uv(share.layout, SystemRunner(), extra_variables=params["uv_variables"])
    repair = Repair(
        share,
        uv,
        Downloads.by(
            pythons, mirror=params["mirror"], json_url=params["downloads_json_url"], offline=params["offline"]
        ),
        tuple(other.layout for other in earlier_shares(params["earlier_shares"], share)),
        Author.from_params(params),
        params["remove_undeclared"],
        params["jobs"],
        check_mode,
        progress,
    )
    return repair.converge(purpose="repairing", busy_timeout=params["busy_timeout"])


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=UV_REPAIR, supports_check_mode=True)
    params = module.params
    adapter.hide_variables(module, params["uv_variables"])
    urls = [*Index.from_params(params["index"]).urls(), *filter(None, (params["mirror"], params["downloads_json_url"]))]
    adapter.hide_secrets(module, urls)
    with to(params["progress_to"]) as progress:
        adapter.run(
            module,
            lambda: work(params, check_mode=module.check_mode, progress=progress),
            as_owner=True,
            share=params["share"],
            progress=progress,
        )


if __name__ == "__main__":
    main()
