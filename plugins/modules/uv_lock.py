#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_lock
short_description: Lock environments on a share
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Resolves what each environment declares, once, to a lock in which every package is pinned and hashed.
  - A lock is resolved again only if what the environment declares has changed, or for an upgrade. Even then, versions
    that still satisfy the declaration stay. Where packages are fetched from does not count.
  - Files that environments name are read on the controller.
  - An environment that cannot be locked does not stop the others. The task then fails and names it.
extends_documentation_fragment:
  - uvnas.cluster.attributes
  - uvnas.cluster.share
  - uvnas.cluster.index
  - uvnas.cluster.uv_variables
  - uvnas.cluster.environments
  - uvnas.cluster.locks
  - uvnas.cluster.earlier_shares
  - uvnas.cluster.progress
options:
  inputs:
    description: What the controller knows about the environments. The action plugin of this module sets it.
    type: dict
    default: {}
  jobs:
    description: How many environments to resolve at once.
    type: int
    default: 4
seealso:
  - module: uvnas.cluster.uv_env
  - module: uvnas.cluster.uv_python
"""

EXAMPLES = r"""
- name: Lock an environment
  uvnas.cluster.uv_lock:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    environments:
      - name: train
        python: "3.12"
        requirements: ["numpy>=2", pandas]

- name: Upgrade numpy wherever it is used
  uvnas.cluster.uv_lock:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    environments: "{{ uvnas_envs }}"
    upgrade_packages: [numpy]
"""

RETURN = r"""
locks:
  description: The locks, by environment.
  returned: success; on failure, for the environments that did not fail
  type: dict
  contains:
    action:
      description: What was done; V(keep), V(copy) from the controller, or V(resolve).
      returned: always
      type: str
    changed:
      description: Whether the lock on the share changed.
      returned: always
      type: bool
    digest:
      description: SHA-256 of what is locked. Null if check mode cannot know it, as there is no uv on the share yet.
      returned: always
      type: str
    packages_changed:
      description: The changes, a line per package.
      returned: always
      type: list
      elements: str
    versions:
      description: Version by package.
      returned: when the lock changed
      type: dict
    held:
      description: What holds each package that an upgrade did not change, a line per package. Also a warning.
      returned: when there are any
      type: list
      elements: str
  sample:
    train:
      action: resolve
      changed: true
      digest: 5f0c29e1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d5e6f708192a3b4c5d
      packages_changed: ["numpy 2.0.1 -> 2.1.0"]
      versions: {numpy: 2.1.0}
upgrade_packages:
  description: For each of O(upgrade_packages), the environments whose lock has it.
  returned: with O(upgrade_packages)
  type: dict
  contains:
    environments:
      description: Those in which it was to be upgraded.
      returned: always
      type: list
      elements: str
    fixed:
      description: Those whose project or ready-made lock has it, so that it cannot be upgraded from here.
      returned: always
      type: list
      elements: str
    others:
      description: Those that O(upgrade) does not name.
      returned: always
      type: list
      elements: str
    unknown:
      description: Those without a lock so far, which may or may not have it.
      returned: always
      type: list
      elements: str
    like:
      description: Packages with a similar name, if RV(upgrade_packages.environments) is empty.
      returned: always
      type: list
      elements: str
  sample:
    numpyy: {environments: [], fixed: [], others: [], unknown: [], like: [numpy]}
"""

import tempfile
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.env.declared import for_glibc, parse_environments
from ..module_utils.env.lock.converge import Locking
from ..module_utils.env.lock.plan import Upgrade, inputs_from_params
from ..module_utils.host.process import SystemRunner
from ..module_utils.host.progress import SILENT, Progress, to
from ..module_utils.host.workers import Result
from ..module_utils.options import UV_LOCK
from ..module_utils.share.place import earlier_shares
from ..module_utils.share.spec import Share
from ..module_utils.uv.command import Index, Uv


def work(params: t.Mapping[str, t.Any], *, check_mode: bool, progress: Progress = SILENT) -> Result:
    """Lock the environments of ``params``; the module's result."""
    share = Share.from_params(params)
    declared = for_glibc(parse_environments(params["environments"]), params["glibc"])
    here = [spec for spec in declared if spec.present and spec.on_share(share.name)]
    with tempfile.TemporaryDirectory(prefix="uvnas-") as scratch:
        locking = Locking(
            share,
            Uv(
                share.layout,
                SystemRunner(),
                Index.from_params(params["index"]),
                params["uv_variables"],
                cache_dir=scratch if check_mode else None,
            ),
            here,
            inputs_from_params(params["inputs"], here),
            Upgrade(frozenset(params["upgrade"]), frozenset(params["upgrade_packages"])),
            params["jobs"],
            earlier_shares(params["earlier_shares"], share),
            check_mode,
            progress,
        )
        return locking.converge(purpose="locking environments", busy_timeout=params["busy_timeout"])


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=UV_LOCK, supports_check_mode=True)
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
