#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_prune
short_description: Remove generations, interpreters and versions of uv that nothing needs from a share
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - The steps of the playbook C(uvnas.cluster.prune) on a share. First V(look) what may go, as far as the share itself
    is concerned; then put V(aside) what nobody uses; then V(remove) what still nobody uses, and put the rest back.
  - It does not know who uses what. Ask that with M(uvnas.cluster.uv_in_use) on every member, before each of the two
    steps that change something.
  - What is aside is hidden beside its old place, under a name such as C(.3f9a0c2b71de.uvnas-aside). A process that uses
    it nevertheless keeps what it has open and loaded, but finds nothing more by its path until it is put back.
  - Nothing is removed that was not put aside before. What has been published or held meanwhile stays.
  - A prune that was killed leaves things aside. The next one removes them, or puts them back.
  - With V(remove), it also removes bytecode that nothing has a link to, archives of interpreters that are gone, and
    what C(uv cache prune) removes from uv's cache.
extends_documentation_fragment:
  - uvnas.cluster.attributes
  - uvnas.cluster.share
  - uvnas.cluster.environments
  - uvnas.cluster.site_pythons
  - uvnas.cluster.index
  - uvnas.cluster.uv_variables
  - uvnas.cluster.progress
  - uvnas.cluster.author
  - uvnas.cluster.keep
options:
  stage:
    description: The step.
    type: str
    choices: [look, aside, remove]
    required: true
  pythons:
    description: The requests for interpreters on this share, those of environments among them.
    type: list
    elements: str
    default: []
  items:
    description: What to put aside, or what to remove of it. All else that is aside is put back.
    type: list
    elements: dict
    default: []
    suboptions:
      kind:
        description: What it is.
        type: str
        choices: [generation, interpreter, uv]
        required: true
      name:
        description: A generation such as V(train/3f9a0c2b71de), uv's key of an interpreter, or a version of uv.
        type: str
        required: true
  measure:
    description: With O(stage=look), whether to measure what would come free. This looks at every file of it.
    type: bool
    default: false
  jobs:
    description: How many processes remove at once.
    type: int
    default: 4
attributes:
  idempotent:
    support: partial
    details: uv's cache is pruned each time.
seealso:
  - module: uvnas.cluster.uv_in_use
  - module: uvnas.cluster.uv_jobs
"""

EXAMPLES = r"""
- name: See what may go
  uvnas.cluster.uv_prune:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    environments: "{{ uvnas_envs }}"
    stage: look
"""

RETURN = r"""
candidates:
  description:
    - What may go, each with C(kind), C(name), and C(retired), which is the time since when nothing on the share needs
      it, null if that is not known; whether it is C(aside), and if so, why it is C(wanted) back.
  returned: with O(stage=look)
  type: list
  elements: dict
kept:
  description: What stays, each with C(kind), C(name), and C(why).
  returned: with O(stage=look)
  type: list
  elements: dict
in_force:
  description: The generations of each environment that are in force, or held; all of them where that cannot be read.
  returned: with O(stage=look)
  type: dict
filesystem:
  description: C(free_bytes) and C(free_inodes) of the share's filesystem. Null where it does not count inodes.
  returned: with O(stage=look)
  type: dict
freed:
  description:
    - C(bytes) and C(inodes) that came free, as the filesystem counts them, whoever else is writing to it.
    - With O(stage=look) and O(measure), those that would come free.
  returned: with O(stage=look) and O(stage=remove)
  type: dict
aside:
  description: Those of O(items) that are aside now, each a pair of its kind and its name.
  returned: with O(stage=aside)
  type: list
  elements: list
removed:
  description: What has been removed, as RV(candidates).
  returned: with O(stage=remove)
  type: list
  elements: dict
back:
  description: What has been put back, each a pair of its kind and its name.
  returned: with O(stage=remove)
  type: list
  elements: list
swept:
  description: How many archives and entries of uv's cache have been removed.
  returned: with O(stage=remove)
  type: int
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.env.declared import parse_environments
from ..module_utils.env.prune import converge
from ..module_utils.env.prune.plan import Keep
from ..module_utils.env.prune.state import Declared
from ..module_utils.host.process import SystemRunner
from ..module_utils.host.progress import SILENT, Progress, to
from ..module_utils.host.workers import Result
from ..module_utils.options import UV_PRUNE
from ..module_utils.python.spec import parse_site_pythons
from ..module_utils.share.journal import Author
from ..module_utils.share.spec import Share
from ..module_utils.uv.command import Index, Uv


def work(params: t.Mapping[str, t.Any], *, check_mode: bool, progress: Progress = SILENT) -> Result:
    """Do one step for the share of ``params``, and return the module's result."""
    share = Share.from_params(params)
    specs = [spec for spec in parse_environments(params["environments"]) if spec.on_share(share.name)]
    sites = parse_site_pythons(params["site_pythons"])
    declared = Declared(share.layout, specs, params["pythons"], sites, Keep.from_params(params["keep"]))
    items = {(item["kind"], item["name"]) for item in params["items"]}
    wait = {"busy_timeout": params["busy_timeout"], "purpose": "pruning"}
    if params["stage"] == "look":
        return converge.look(share, declared, measure=params["measure"])
    if params["stage"] == "aside":
        return converge.PuttingAside(share, declared, items, check_mode).converge(**wait)
    uv = Uv(share.layout, SystemRunner(), Index.from_params(params["index"]), params["uv_variables"])
    author = Author.from_params(params)
    removal = converge.Removal(share, uv, declared, items, author, params["jobs"], check_mode, progress)
    return removal.converge(**wait)


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=UV_PRUNE, supports_check_mode=True)
    adapter.hide_variables(module, module.params["uv_variables"])
    adapter.hide_secrets(module, Index.from_params(module.params["index"]).urls())
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
