#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_env_info
short_description: Tell what environments are on a share, and whether they run
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Returns facts about the environments that are published on a share, as seen from the host it runs on.
  - With O(verify), it also sees that the host has the right share mounted, and that every environment that is declared
    for the share has the packages that it was built with, and starts and imports what it should here.
  - With O(verify), it is a problem too if others than the owner can write to what people run from the share.
  - It writes nothing to the share, and can be run on every member.
  - A host remembers which environments have run with O(verify), in O(state_dir). Without O(verify_again), it only looks
    whether their links and manifests have the same status (inode, size, mode, owner, times) as when it read them, as
    long as nothing changes that decides whether they run. That is the share, the
    generation, its C(imports), who starts it, and of the host its name, its kernel, its C library, and which libraries
    it has (C(/etc/ld.so.cache)). What is not remembered, or not for certain, is tried. In check mode nothing is
    remembered.
  - Nothing of a share runs as C(root). Connected as C(root), the module does all its work as the user and the group
    that the share's root directory belongs to, by number, so that the host need not know them. Where that is C(root),
    environments are started as C(nobody); or, with a warning, not at all where C(nobody) may not look into the share.
  - Connected as anybody else, it works as that user.
extends_documentation_fragment:
  - uvnas.cluster.attributes.info
  - uvnas.cluster.looking
options:
  glibc:
    description: The oldest glibc that the share is declared for. With O(verify), there is a warning on an older host.
    type: str
  environments:
    description: The environments, as declared in C(uvnas_envs). Used with O(verify).
    type: list
    elements: dict
    default: []
  verify:
    description: Whether to try the environments that are declared for the share.
    type: bool
    default: false
  verify_again:
    description:
      - With O(verify), whether to try environments again that have run on this host before, just as they are.
      - Without it, what others can write to inside of these is not looked for either; and nor is it elsewhere on the
        share, but for the way to them, if nothing is tried.
      - Without it, without O(details) and without O(sizes), environments that are not in O(environments) are not looked
        at if their links have not changed. They are returned as they were the last time.
    type: bool
    default: true
  state_dir:
    description:
      - The directory on the host, not on a share, in which it remembers that. It is made if it is not there, with mode
        C(0700), and ignored if it is a symlink, or anybody but this user owns it or can write to it.
      - By default C(/var/lib/uvnas) as C(root). As anybody else C(uvnas/<host name>) in C(XDG_STATE_HOME), or in
        C(~/.local/state).
    type: path
  sizes:
    description:
      - Whether to measure what generations, interpreters and uv's cache take on the disk. This looks at every file of
        them.
    type: bool
    default: false
  details:
    description:
      - Whether to return the packages, the source and the generations of each environment.
      - Without them a result is small, which counts where hundreds of hosts return one.
    type: bool
    default: true
seealso:
  - module: uvnas.cluster.uv_env
"""

EXAMPLES = r"""
- name: See what is on a share
  uvnas.cluster.uv_env_info:
    share: /mnt/nas-a/uv
    share_name: nas_a
    sizes: true
"""

RETURN = r"""
share_name:
  description: The share's name.
  returned: success
  type: str
share_id:
  description: The share's id.
  returned: success
  type: str
environments:
  description: The published environments.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The environment.
      returned: always
      type: str
    path:
      description: What people activate.
      returned: always
      type: str
    id:
      description: The generation in force.
      returned: always
      type: str
    generations:
      description: All of its generations.
      returned: with O(details=true)
      type: list
      elements: str
    created:
      description: When the generation was built (ISO 8601).
      returned: always
      type: str
    age_seconds:
      description: How long ago that was, in seconds.
      returned: always
      type: int
    python:
      description: Key, version and digest of the interpreter.
      returned: always
      type: dict
    uv:
      description: The version of uv that built it.
      returned: always
      type: str
    packages:
      description: Version by package.
      returned: with O(details=true)
      type: dict
    package_count:
      description: How many packages it has.
      returned: always
      type: int
    source:
      description: What it was built from, in the words of the inventory.
      returned: with O(details=true)
      type: dict
    platform:
      description:
        - What it needs of hosts. The machine, the libc, and the oldest version of glibc that will do; for all of it,
          for the interpreter alone, and for those packages that need more than 2.17.
        - Empty if it was built by a release that did not look.
      returned: always
      type: dict
    size:
      description: Files, their bytes, and the bytes and inodes not shared by hard links or reflinks, as of the build.
      returned: always
      type: dict
    true_size:
      description: Bytes now; of all files, and as allocated without and with hard links to elsewhere.
      returned: with O(sizes=true)
      type: dict
    generation_sizes:
      description:
        - All generations with their C(id), C(state) (V(in_force), V(retired), V(built) but never in force, or
          V(incomplete)), C(age_seconds), C(retired_since), and C(bytes), C(own_bytes) and C(shared_bytes) as in
          RV(environments[].true_size).
        - Whether each has as many files and bytes C(as_built). If not, somebody changed it; M(uvnas.cluster.uv_verify)
          tells what.
        - What cannot be known or measured is null.
      returned: with O(sizes=true)
      type: list
      elements: dict
unpublished:
  description:
    - Environments with generations of which none is in force; each has C(name), C(generation_sizes), and C(removed),
      which says whether the environment has been removed, so that only its files are left.
  returned: with O(sizes=true)
  type: list
  elements: dict
filesystem:
  description: C(free_bytes) and C(free_inodes) of the share's filesystem. Null where it does not count inodes.
  returned: with O(sizes=true)
  type: dict
cache_bytes:
  description: The bytes of all files in uv's cache on the share. Null where they cannot be measured.
  returned: with O(sizes=true)
  type: int
bytecode_bytes:
  description:
    - The bytes of all bytecode that was compiled on the share. Generations and interpreters have links to it, so what
      they take includes theirs. Null where they cannot be measured.
  returned: with O(sizes=true)
  type: int
interpreters:
  description:
    - The interpreters on the share, each with C(key), C(version), the C(requests) that mean it, such as V(3.12), and
      C(bytes).
  returned: with O(sizes=true)
  type: list
  elements: dict
tried:
  description: The environments that were tried. The others had run before, just as they are.
  returned: with O(verify=true)
  type: list
  elements: str
problems:
  description: What is wrong on this host, a text per environment, or one for all of them.
  returned: success
  type: list
  elements: str
"""

import functools
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.env import verified
from ..module_utils.env.declared import parse_environments
from ..module_utils.env.look import MARKS, look
from ..module_utils.host import memory
from ..module_utils.host.workers import Result
from ..module_utils.options import LOOKING
from ..module_utils.share.spec import Share


def work(params: t.Mapping[str, t.Any], memories: t.Optional[t.Mapping[str, verified.Memory]] = None) -> Result:
    """Look at the share of ``params``; the module's result."""
    item = {"name": params["share_name"], "root": params["share"], "id": params["share_id"]}
    share = Share.parse({**item, "mount": params["mount"], "glibc": params["glibc"]})
    declared = [spec for spec in parse_environments(params["environments"]) if spec.on_share(share.name)]
    specs = [spec for spec in declared if spec.present]
    wanted = {name: params[name] for name in ("verify", "sizes", "details")}
    return look(share, specs, memories or {}, again=params["verify_again"], **wanted)


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            **LOOKING,
            "glibc": {"type": "str"},
            "environments": {"type": "list", "elements": "dict", "default": []},
            "verify": {"type": "bool", "default": False},
            "verify_again": {"type": "bool", "default": True},
            "state_dir": {"type": "path"},
            "sizes": {"type": "bool", "default": False},
            "details": {"type": "bool", "default": True},
        },
        supports_check_mode=True,
    )
    params = module.params
    # Not in the work, which is done as the owner of the share.
    directory = params["state_dir"] or memory.default_directory()
    memories = verified.recall(directory, params["share"]) if directory and not params["verify_again"] else {}
    names = [item.get("name") for item in params["environments"]]

    def done(result: Result) -> None:
        marks = result.pop(MARKS, None)
        if marks and directory and not module.check_mode:
            verified.remember(directory, params["share"], result["share_id"], names, **marks)

    adapter.run(module, functools.partial(work, params, memories), share=params["share"], as_owner=True, done=done)


if __name__ == "__main__":
    main()
