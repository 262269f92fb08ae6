#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_hold
short_description: Put an earlier generation of an environment back in force, and hold it there
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Publishes a generation of an environment that was built before, and holds it. M(uvnas.cluster.uv_env) then leaves it
    in force, and builds what is declared beside it, until it is released.
  - Renames one symlink, which takes no uv and no network. Running processes keep the generation that they started with.
  - A generation that is no longer on the share is built again from its lock, which the share keeps, with its
    interpreter and its options, but without smoke tests. If any of that is gone, the module fails, and nothing changes.
  - A release changes nothing but that. The next run of M(uvnas.cluster.uv_env) publishes what is declared.
  - The playbooks C(uvnas.cluster.rollback) and C(uvnas.cluster.release) use it on all shares.
extends_documentation_fragment:
  - uvnas.cluster.attributes
  - uvnas.cluster.share
  - uvnas.cluster.index
  - uvnas.cluster.uv_variables
  - uvnas.cluster.earlier_shares
  - uvnas.cluster.progress
  - uvnas.cluster.author
options:
  share_name:
    description: The share's name.
    type: str
    required: true
  environment:
    description: The environment.
    type: str
    required: true
  generation:
    description:
      - The generation to put in force, by its id or the beginning of it.
      - By default the one that was in force before. Where a rollback did that already, it is the one before that.
    type: str
  reason:
    description: Why it is held, for everybody who wonders.
    type: str
  state:
    description:
      - Whether to hold or to release.
      - V(published) publishes the generation O(generation), and holds nothing. For one that has been tried on hosts. It
        must be what is declared, by the environment's lock, and nothing may be held.
    type: str
    choices: [held, released, published]
    default: held
seealso:
  - module: uvnas.cluster.uv_history
  - module: uvnas.cluster.uv_env
"""

EXAMPLES = r"""
- name: Put the generation before back in force
  uvnas.cluster.uv_hold:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    environment: train
    reason: training diverges with torch 2.9

- name: Let go
  uvnas.cluster.uv_hold:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    environment: train
    state: released
"""

RETURN = r"""
environment:
  description: The environment.
  returned: success
  type: str
id:
  description: The generation that is in force afterwards.
  returned: success
  type: str
  sample: 91be02cc7a1f
previous_id:
  description: The one that was in force before.
  returned: success
  type: str
  sample: 3f9a0c2b71de
complete:
  description: Whether it was on the share. If not, it is built again.
  returned: success
  type: bool
held:
  description: What is held afterwards, with C(id), C(since), C(by), C(reason) and C(declared). Null if nothing is.
  returned: success
  type: dict
was_held:
  description: What was held before, likewise.
  returned: success
  type: dict
packages_changed:
  description: The changes, one line per package.
  returned: success
  type: list
  elements: str
  sample: ["numpy 2.1.0 -> 2.0.1"]
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.env.hold import Holding
from ..module_utils.host.process import SystemRunner
from ..module_utils.host.progress import SILENT, Progress, to
from ..module_utils.host.workers import Result
from ..module_utils.options import UV_HOLD
from ..module_utils.share.journal import Author
from ..module_utils.share.place import earlier_shares
from ..module_utils.share.spec import Share
from ..module_utils.uv.command import Index, Uv


def work(params: t.Mapping[str, t.Any], *, check_mode: bool, progress: Progress = SILENT) -> Result:
    """Hold or release the environment in ``params``, and return the module's result."""
    share = Share.from_params(params)
    holding = Holding(
        share,
        Uv(share.layout, SystemRunner(), Index.from_params(params["index"]), params["uv_variables"]),
        params["environment"],
        params["state"],
        params["generation"],
        params["reason"] or "",
        Author.from_params(params),
        earlier_shares(params["earlier_shares"], share),
        check_mode,
        progress,
    )
    return holding.converge(purpose="holding an environment", busy_timeout=params["busy_timeout"])


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=UV_HOLD, supports_check_mode=True)
    adapter.hide_variables(module, module.params["uv_variables"])
    urls = Index.from_params(module.params["index"]).urls()
    adapter.hide_secrets(module, [*urls, *filter(None, (module.params["reason"], module.params["generation"]))])
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
