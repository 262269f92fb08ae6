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
  - Builds environments on a share from their locks. Each is built beside what is there, tested, and published by
    renaming one symlink. A failed build leaves the environment as it was.
  - A generation is named by what goes into it; the same lock, interpreter and build options give the same name on every
    share. An existing generation is not built again. Older ones stay.
  - If some environments fail, the others are still built. The task then fails and names the failed ones.
  - With O(lock=true), locks are brought up to date first, as M(uvnas.cluster.uv_lock) does. If all locks and
    environments are up to date, M(uvnas.cluster.uv_env_compare) is all that runs on the host.
  - A generation in which packages were installed, removed or replaced by hand is an error of its environment.
  - Generations are sealed, so that not even their owner can write to their directories. One that is not sealed, because
    an earlier release built it or a run was killed, gets sealed, and a warning tells what others could write to.
  - An environment that is removed loses its name at once, and what held it. Its files stay until
    C(uvnas.cluster.prune), so that no job loses them. If it is declared again before that, its generation is published
    again without a build.
  - Parts of a generation that is built anew in its place, and cannot be deleted yet, such as files that a process on
    the builder has open on NFS, are hidden, and a warning names them. Later changes to the share delete them.
  - For a converged environment, the lock, the link, the manifest and the list of packages are read. There is no network
    access, and no process is started.
extends_documentation_fragment:
  - uvnas.cluster.attributes
  - uvnas.cluster.share
  - uvnas.cluster.index
  - uvnas.cluster.uv_variables
  - uvnas.cluster.environments
  - uvnas.cluster.locks
  - uvnas.cluster.earlier_shares
  - uvnas.cluster.progress
  - uvnas.cluster.author
options:
  lock:
    description:
      - Whether to bring locks up to date first. The options of M(uvnas.cluster.uv_lock) apply then.
      - Environments that cannot be locked stay as they are and count as failed.
    type: bool
    default: false
  locks:
    description:
      - What M(uvnas.cluster.uv_lock) returned as RV(uvnas.cluster.uv_lock#module:locks). Environments that it does not
        contain stay as they are.
      - By default, the locks on the share. Not used with O(lock=true).
    type: dict
  tries:
    description:
      - Whether the caller has what is built tried on hosts, and publishes it, for environments with C(try_on).
      - Otherwise a warning names what is not published.
    type: bool
    default: false
  purge:
    description:
      - Whether to remove environments from the share that O(environments) does not declare for it. Their names go at
        once, their files with C(uvnas.cluster.prune).
    type: bool
    default: false
  jobs:
    description: How many environments to build at once. They share the CPUs.
    type: int
    default: 4
  link_mode:
    description: How uv takes files from the cache. By default, uv decides.
    type: str
    choices: [clone, hardlink, copy]
  min_free_bytes:
    description: How many bytes must be free before an environment is built.
    type: int
    default: 0
  min_free_inodes:
    description: How many inodes must be free before an environment is built.
    type: int
    default: 0
  smoke_timeout:
    description:
      - Timeout of each smoke test in seconds. A test that times out fails, and the environment stays as it was.
      - Importing all C(imports) of an environment is one test, each of its C(checks) another.
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

- name: Build and publish environments from the locks on the share
  uvnas.cluster.uv_env:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    environments: "{{ uvnas_envs }}"
"""

RETURN = r"""
environments:
  description: The environments, in the order of their declaration.
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
        - "What was done: V(keep), V(build), V(publish) of an existing generation, V(seal) of the one in force,
          V(record) of what is in force and held, V(remove), or V(failed)."
      returned: always
      type: str
    id:
      description: The generation in force afterwards. Null if check mode cannot know it.
      returned: always
      type: str
    previous_id:
      description: The generation that was in force before. Null if there was none.
      returned: always
      type: str
    packages_changed:
      description: The changes, one line per package. Empty if check mode cannot know them.
      returned: always
      type: list
      elements: str
    held:
      description: The generation that stays in force, since when, by whom, and why.
      returned: when one is held
      type: dict
    declared_id:
      description: The generation that is declared, which is built, but not in force. Null if check mode cannot know it.
      returned: when one is held
      type: str
    awaits:
      description: Whether RV(environments[].declared_id) has to be tried on hosts before it is published.
      returned: when it has to
      type: bool
    waits_for:
      description:
        - What has to be there before RV(environments[].id) is known; V(share), V(interpreter) or V(lock).
      returned: in check mode, if RV(environments[].id) is null
      type: str
    python:
      description: Key, version and digest of the interpreter.
      returned: when it was built or published
      type: dict
    packages:
      description: Versions by package.
      returned: when it was built or published
      type: dict
    size:
      description: Number of files, their bytes, and the bytes and inodes not shared by hard links or reflinks.
      returned: when it was built or published
      type: dict
    log:
      description: The path of what uv and the smoke tests said of its last build, which the share's owner can read.
      returned: when it was built, and there was room for a log
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
  returned: with O(lock=true), if locks were not up to date
  type: dict
upgrade_packages:
  description: For each of O(upgrade_packages), the environments whose lock has it.
  returned: with O(upgrade_packages) and O(lock=true)
  type: dict
  contains:
    environments:
      description: Those in which an upgrade was requested.
      returned: always
      type: list
      elements: str
    fixed:
      description: Those whose project or ready-made lock has it; upgrade it there.
      returned: always
      type: list
      elements: str
    others:
      description: Those that O(upgrade) does not list.
      returned: always
      type: list
      elements: str
    unknown:
      description: Those without a lock, so it is unknown whether they have it.
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
overtaken:
  description:
    - The environments whose lock on the share was no longer the one in O(locks), because somebody else has locked
      another declaration. They were left alone.
    - With O(lock=true), these are locked and built again; after a few attempts that is an error.
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
from ..module_utils.share.journal import Author
from ..module_utils.share.place import earlier_shares
from ..module_utils.share.spec import Share
from ..module_utils.uv.command import Index, Uv


def work(params: t.Mapping[str, t.Any], *, check_mode: bool, progress: Progress = SILENT) -> Result:
    """Converge the environments in ``params``, and return the module's result."""
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
        Author.from_params(params),
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
