#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_share
short_description: Lay out a share, and find out what its filesystem can do
version_added: 0.1.0
description:
  - Makes a directory on a NAS a share, the place for uv, its cache, interpreters and environments. Or checks that it is
    one, and fixes what is missing or has the wrong owner, group or mode.
  - Run it on the share's builder, the one host that writes to it.
  - Tries as the share's owner what the filesystem can do, such as hard links and reflinks, and says how uv will get
    files from its cache into environments.
  - Writes nothing in the wrong place. It fails before the first write if the filesystem is not mounted, is mounted
    C(noexec), has too little space or is the wrong one, or if the owner may not write.
  - If the filesystem is mounted or exported read-only, it fails before the first write if there is anything to do. If
    not, nothing is changed, and a warning says so. The filesystem is not probed then.
  - It also fails if anybody but the owner and C(root) may write to the share's root, or to a directory above it, from
    O(mount) on or, without that, from C(/) on. They could have made a share there, with programs in it that the owner
    would run. The owner's own group does not count if nobody else is in it, nor does a sticky directory such as
    C(/tmp). An existing directory becomes a share only if it is empty.
  - Needs no C(root) if Ansible connects as the owner, who may write to the directory above the share's root, and is in
    the share's group.
  - Connected as C(root), everything is tried as the owner first, because on NFS C(root) may be nobody. Only what the
    owner is denied, such as making the root directory, or directories for other people, is then tried as C(root).
author:
  - uvnas.cluster contributors (@uvnas)
extends_documentation_fragment:
  - uvnas.cluster.attributes
  - uvnas.cluster.share
options:
  share_name:
    description:
      - Name of the share, as 1 to 64 letters, digits, V(_) and V(-). It is written to the share's C(share.json).
      - It is an error if C(share.json) has another name.
    type: str
    required: true
  share_id:
    description:
      - The id that the share must have, from its C(share.json). A new share gets it.
      - Without it a new share gets a random one (a UUID, version 4), and an existing share may have any.
    type: str
  mount:
    description:
      - The mount point of the filesystem that the share is on. O(share) must be the same directory or below it.
      - It is an error if nothing is mounted there. An automounter is triggered first.
      - Missing directories between O(mount) and O(share) are made, like O(share) itself.
      - Without it the share may be any directory whose parent exists, and nobody notices a missing mount. Leave it
        out for plain directories only.
    type: path
  group:
    description:
      - The group of the share's directories, which matters for O(user_cache=group) and for modes such as V(0750).
      - The default is the owner's primary group.
    type: str
  mode:
    description:
      - Mode of the share's directories, as a quoted octal number. Only the owner may write, so modes that let the group
        or others write are an error.
      - The contents of the directories are not touched.
    type: str
    default: "0755"
  user_cache:
    description:
      - Who uses C(user-cache), the place for people's uv caches, and how.
      - With V(personal) everybody can make a directory with their own name there, as in C(/tmp), which their uv does on
        first use. Anything else is renamed to C(.NAME.*.aside), with a warning; that is, an entry whose name is not
        that of its owner, that is not a directory, or that others can write to. Names that begin with a dot are left
        alone, and so are entries of which this host knows neither the owner nor the name.
      - With V(group) the O(group) can write there. It is setgid, and has a default ACL so that people can write to what
        others of the group made, whatever their umask. It is an error if that does not work. People must trust each
        other, because anybody who can write to a cache can change what others install from it.
      - With V(private) there is a directory for each of O(user_cache_users), which nobody else can read. Anything in
        its place that somebody else made or could write to is moved aside, with a warning.
      - Environments are built from another cache, which only the owner writes to.
    type: str
    choices: [personal, group, private]
    default: personal
  user_cache_users:
    description:
      - Users to make a private cache directory for, if O(user_cache=private).
      - Only C(root) can do that for other users.
      - Directories of users that are no longer listed are left alone.
    type: list
    elements: str
    default: []
  min_free_bytes:
    description:
      - Fail if the filesystem has fewer bytes left for the owner.
      - Use V(0) in a run that frees space by removing environments.
    type: int
    default: 104857600
  min_free_inodes:
    description:
      - Fail if the filesystem has fewer inodes left. Filesystems that do not count them always pass.
    type: int
    default: 1000
  declared_shares:
    description:
      - All shares of the inventory, as dictionaries with C(name), C(root), and perhaps C(mount), C(mode) and C(id).
      - It is an error if two of them have the same name, root or id, or one lies inside another.
    type: list
    elements: dict
    default: []
  ahead:
    description:
      - What the next modules of C(site.yml) will be asked to do on this host, as their options by their names.
      - If the share is as it should be, the module sees whether there is anything for them to do. To start each of them
        would take many times as long.
    type: dict
  state_dir:
    description: Where this host remembers what has run on it, as for M(uvnas.cluster.uv_env_info).
    type: path
notes:
  - Probing the filesystem takes a few dozen file operations in a hidden directory of the share, which is removed
    afterwards. That does not count as a change.
  - Check mode writes nothing at all, so what has to be tried remains unknown.
  - A killed module leaves nothing to repair by hand. The next run completes the share.
seealso:
  - module: uvnas.cluster.uv_binary
"""

EXAMPLES = r"""
- name: Lay out a share on a NAS
  uvnas.cluster.uv_share:
    share: /mnt/nas-a/uv
    share_name: nas_a
    mount: /mnt/nas-a
    owner: uvadmin
    group: research

- name: Lay out a share for a group only, with a cache for each of two people
  uvnas.cluster.uv_share:
    share: /mnt/nas-b/uv
    share_name: nas_b
    mount: /mnt/nas-b
    owner: uvadmin
    group: research
    mode: "0750"
    user_cache: private
    user_cache_users: [ada, grace]
  become: true

- name: Make sure that this very share, not a copy, is mounted and has space for a big build
  uvnas.cluster.uv_share:
    share: /mnt/nas-a/uv
    share_name: nas_a
    share_id: 6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a
    mount: /mnt/nas-a
    owner: uvadmin
    group: research
    min_free_bytes: 53687091200
"""

RETURN = r"""
ahead:
  description:
    - What each of the modules in O(ahead) would return, by its name. Nothing at all if there is something to do for any
      of them.
  returned: with O(ahead), if nothing changed
  type: dict
share_name:
  description: Name of the share.
  returned: success
  type: str
  sample: nas_a
share_id:
  description: Id of the share; null in check mode, where a new share would get a random one.
  returned: success
  type: str
  sample: 6f0e8f5c-5d8d-4c3b-9d0a-3c1f4f1d2b7a
root:
  description: Root directory of the share.
  returned: success
  type: str
  sample: /mnt/nas-a/uv
filesystem:
  description: Type of the filesystem that the share is on, as the kernel calls it.
  returned: success
  type: str
  sample: nfs4
link_mode:
  description:
    - How uv gets a file from its cache into an environment here, at best.
    - V(clone) is by reflink, V(hardlink) by hard link, V(copy) by copying it.
    - Null if it is unknown, as in check mode, or on a filesystem that is read-only or full.
  returned: success
  type: str
  sample: hardlink
probe:
  description:
    - What the owner can do on the filesystem.
    - What has to be tried is null in check mode, and if the filesystem was read-only or too full to try.
  returned: success
  type: dict
  contains:
    hard_link:
      description: Whether a file can have a second name in another directory.
      type: bool
    reflink:
      description: Whether a file can share its data with another one until one of them is written to.
      type: bool
    symlink:
      description: Whether there are symlinks. Required.
      type: bool
    rename:
      description: Whether a rename can replace a file. Required.
      type: bool
    exec:
      description: Whether programs run from it. Required.
      type: bool
    posix_lock:
      description: Whether POSIX record locks work. Required.
      type: bool
    default_acl:
      description: Whether a POSIX default ACL can let a group write to new files in a directory.
      type: bool
    free_bytes:
      description: Bytes left for the owner.
      type: int
    free_inodes:
      description: Inodes left; null if the filesystem does not count them.
      type: int
  sample:
    hard_link: true
    reflink: false
    symlink: true
    rename: true
    exec: true
    posix_lock: true
    default_acl: true
    free_bytes: 5000000000000
    free_inodes: 120000000
platform:
  description: What binaries must be built for to run on this host.
  returned: success
  type: dict
  contains:
    arch:
      description: Architecture of the machine, such as V(x86_64) or V(aarch64).
      type: str
    libc:
      description: The C library, V(gnu) or V(musl).
      type: str
    libc_version:
      description: Version of the C library.
      type: str
  sample:
    arch: x86_64
    libc: gnu
    libc_version: "2.36"
created:
  description: Directories, and perhaps C(share.json), that were or would be made.
  returned: success
  type: list
  elements: str
  sample: [/mnt/nas-a/uv, /mnt/nas-a/uv/bin, /mnt/nas-a/uv/share.json]
corrected:
  description: Directories, and perhaps C(share.json), whose owner, group, mode or ACL was or would be corrected.
  returned: success
  type: list
  elements: str
  sample: [/mnt/nas-a/uv/cache]
moved_aside:
  description: Entries of C(user-cache) that were or would be renamed, if O(user_cache=personal); the first 1000.
  returned: success
  type: list
  elements: str
  sample: [/mnt/nas-a/uv/user-cache/ada]
"""

import functools
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ..module_utils import adapter
from ..module_utils.ahead import Ahead
from ..module_utils.errors import SpecError
from ..module_utils.host.process import SystemRunner
from ..module_utils.host.users import user_to_become
from ..module_utils.host.workers import Result
from ..module_utils.options import SHARE, UV_PROFILE, UV_PYTHON
from ..module_utils.share.converge import Settings, converge, wanted_from_params
from ..module_utils.share.owner import keeper_of, undeclared_owner, unprivileged
from ..module_utils.share.spec import parse_shares

ARGUMENTS: dict[str, t.Any] = {
    **SHARE,
    "share_name": {"type": "str", "required": True},
    "group": {"type": "str"},
    "mode": {"type": "str", "default": "0755"},
    "user_cache": {"type": "str", "choices": ["personal", "group", "private"], "default": "personal"},
    "user_cache_users": {"type": "list", "elements": "str", "default": []},
    "min_free_bytes": {"type": "int", "default": 100 << 20},
    "min_free_inodes": {"type": "int", "default": 1000},
    "declared_shares": {"type": "list", "elements": "dict", "default": []},
    "ahead": {"type": "dict"},
    "state_dir": {"type": "path"},
}
# Options of modules that are asked about, as far as they are not the controller's own data.
_CHECKED: dict[str, dict[str, t.Any]] = {"uv_python": UV_PYTHON, "uv_profile": UV_PROFILE}


def questions(params: t.Mapping[str, t.Any]) -> dict[str, dict[str, t.Any]]:
    """What is asked ahead, with the options as the modules would have them. Raises SpecError."""
    found = {}
    for name, given in (params["ahead"] or {}).items():
        if not isinstance(given, dict):
            raise SpecError(f"ahead: {name} is not a dictionary")
        found[name] = {**{key: params[key] for key in ("share_name", *SHARE)}, **given}
        if name in _CHECKED:
            own = {key: value for key, value in found[name].items() if key in _CHECKED[name] and value is not None}
            done = ArgumentSpecValidator(_CHECKED[name]).validate(own)
            if done.error_messages:
                raise SpecError(f"ahead: {name}: {'; '.join(done.error_messages)}")
            found[name] = done.validated_parameters
    return found


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=ARGUMENTS, supports_check_mode=True)
    params = module.params

    def work() -> Result:
        parse_shares(params["declared_shares"])
        is_root = os.geteuid() == 0
        undeclared = is_root and params["owner"] is None
        # An existing share is maintained by its owner.
        owner = keeper_of(params["share"]) if undeclared else user_to_become(params["owner"])
        settings = Settings(SystemRunner(), params["busy_timeout"], module.check_mode, root=is_root)
        result = converge(wanted_from_params(params, owner), settings, user=owner and unprivileged(owner))
        if undeclared:
            result["warnings"].append(undeclared_owner(params["share_name"], params["share"], owner))
        return result

    def done(result: Result) -> None:
        if params["ahead"] and not result["changed"]:
            ahead = Ahead(asked, module.check_mode, params["state_dir"])
            result["ahead"] = ahead.answers(functools.partial(adapter.call_as_owner, module))

    try:
        asked = questions(params)
    except SpecError as error:
        adapter.fail(module, error)
    # Not as_owner: converge() decides what is done as the owner.
    adapter.run(module, work, share=params["share"], done=done)


if __name__ == "__main__":
    main()
