#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_env
short_description: Build and publish environments on a share
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Makes a list of environments be on a share, as their locks say. Each is built beside what is there, tested, and
    published by renaming one symlink. What fails leaves the environment as it was.
  - A generation is named by what goes into it; the same lock, interpreter and build options have the same name on every
    share. One that is there already is not built again. Older ones stay.
  - Environments that fail do not keep the others from being built. The task then fails and names them.
  - With O(lock=true) locks are brought up to date first, as M(uvnas.cluster.uv_lock) does. Where they all are, and all
    environments too, M(uvnas.cluster.uv_env_compare) finds that out, and is all that is run on the host.
  - A generation in which packages were installed, removed or replaced by hand is an error of its environment.
  - Generations are sealed; not even their owner can write to their directories. One that is not, because an earlier
    release built it or a run was killed, is sealed, and a warning says what others could write to.
  - What of a removed environment cannot go yet is hidden, and a warning names it, such as files that a process on the
    builder has open on NFS. Later changes to the share remove it.
  - Of a converged environment the lock, the link, the manifest and the list of packages are read. There is no network
    access, and no process.
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
  lock:
    description:
      - Whether to bring locks up to date first. The options of M(uvnas.cluster.uv_lock) apply then.
      - Environments that cannot be locked are left as they are, and named as having failed.
    type: bool
    default: false
  locks:
    description:
      - What M(uvnas.cluster.uv_lock) returned as RV(uvnas.cluster.uv_lock#module:locks). Environments that are not in
        it are left as they are.
      - Without it, the locks on the share are read. Not used with O(lock=true).
    type: dict
  purge:
    description: Whether to remove environments that are on the share and that O(environments) does not declare for it.
    type: bool
    default: false
  jobs:
    description: How many environments to build at once. They share the processors.
    type: int
    default: 4
  link_mode:
    description: How uv takes files from the cache. By default, uv finds out.
    type: str
    choices: [clone, hardlink, copy]
  min_free_bytes:
    description: How much must be free before an environment is built, in bytes.
    type: int
    default: 0
  min_free_inodes:
    description: How many inodes must be free before an environment is built.
    type: int
    default: 0
  smoke_timeout:
    description:
      - How long each smoke test of an environment may take, in seconds. After that it fails, and the environment stays
        as it was.
      - The import of all its C(imports) is one, each of its C(checks) another.
    type: float
    default: 300.0
seealso:
  - module: uvnas.cluster.uv_lock
  - module: uvnas.cluster.uv_env_compare
  - module: uvnas.cluster.uv_env_info
"""

EXAMPLES = r"""
- name: Lock, build and publish environments
  uvnas.cluster.uv_env:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    environments: "{{ uvnas_envs }}"
    lock: true

- name: Build and publish what the locks on the share say
  uvnas.cluster.uv_env:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    environments: "{{ uvnas_envs }}"
"""

RETURN = r"""
environments:
  description: The environments, in the order in which they are declared.
  returned: success, or when some failed
  type: list
  elements: dict
  contains:
    name:
      description: The environment.
      returned: always
      type: str
    action:
      description:
        - What was done; V(keep), V(build), V(publish) of a generation that was there, V(seal) of one in force,
          V(remove), or V(failed).
      returned: always
      type: str
    id:
      description: The generation that is wanted. Null where check mode cannot know it.
      returned: always
      type: str
    previous_id:
      description: The generation that was in force before. Null where there was none.
      returned: always
      type: str
    packages_changed:
      description: The changes, a line per package.
      returned: always
      type: list
      elements: str
    python:
      description: Key, version and digest of the interpreter.
      returned: when it was built or published
      type: dict
    packages:
      description: Version by package.
      returned: when it was built or published
      type: dict
    size:
      description: Files, their bytes, and the bytes and inodes that are not shared by hard links or reflinks.
      returned: when it was built or published
      type: dict
    log:
      description: The path of what uv and the smoke tests said of its last build, which the share's owner can read.
      returned: when it was built
      type: str
    seconds:
      description: How long it took.
      returned: when something was done
      type: float
  sample:
    - name: train
      action: build
      id: 3f9a0c2b71de
      previous_id: 91be02cc7a1f
      packages_changed: ["numpy 2.0.1 -> 2.1.0"]
      seconds: 3.2
locks:
  description: What M(uvnas.cluster.uv_lock) returned as RV(uvnas.cluster.uv_lock#module:locks).
  returned: with O(lock=true), where locks were not up to date
  type: dict
upgrade_packages:
  description: Of each of O(upgrade_packages), the environments whose lock has it.
  returned: with O(upgrade_packages) and O(lock=true)
  type: dict
  contains:
    environments:
      description: Those in which it was to be upgraded.
      returned: always
      type: list
      elements: str
    fixed:
      description: Those whose project or ready-made lock has it, so that it is not upgraded from here.
      returned: always
      type: list
      elements: str
    others:
      description: Those that O(upgrade) does not name.
      returned: always
      type: list
      elements: str
    unknown:
      description: Those that have no lock yet, so that nobody knows whether they have it.
      returned: always
      type: list
      elements: str
    like:
      description: Packages with a similar name, where there is none in RV(upgrade_packages.environments).
      returned: always
      type: list
      elements: str
  sample:
    numpyy: {environments: [], fixed: [], others: [], unknown: [], like: [numpy]}
overtaken:
  description:
    - The environments whose lock on the share was no longer the one in O(locks), because somebody else has locked
      another declaration. Nothing was done about them.
    - With O(lock=true), these are locked and built again, a few times before that is an error.
  returned: when there are any
  type: list
  elements: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.env.converge import Environments
from ..module_utils.env.declared import for_glibc, parse_environments
from ..module_utils.env.state import LockFact
from ..module_utils.host.process import SystemRunner
from ..module_utils.host.progress import SILENT, Progress, to
from ..module_utils.host.workers import Result
from ..module_utils.options import UV_ENV
from ..module_utils.share.place import earlier_shares
from ..module_utils.share.spec import Share
from ..module_utils.uv.command import Index, Uv


def work(params: t.Mapping[str, t.Any], *, check_mode: bool, progress: Progress = SILENT) -> Result:
    """Converge the environments of ``params``; the module's result."""
    share = Share.from_params(params)
    declared = for_glibc(parse_environments(params["environments"]), params["glibc"])
    known = params["locks"]
    environments = Environments(
        share,
        Uv(share.layout, SystemRunner(), Index.from_params(params["index"]), params["uv_variables"]),
        [spec for spec in declared if spec.on_share(share.name)],
        None if known is None else LockFact.from_params(known),
        params["purge"],
        params["jobs"],
        params["link_mode"],
        params["min_free_bytes"],
        params["min_free_inodes"],
        earlier_shares(params["earlier_shares"], share),
        check_mode,
        params["smoke_timeout"],
        progress,
    )
    return environments.converge(purpose="building environments", busy_timeout=params["busy_timeout"])


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=UV_ENV, supports_check_mode=True)
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
