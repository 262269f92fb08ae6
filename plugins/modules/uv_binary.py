#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_binary
short_description: Install an exact version of uv
version_added: 0.1.0
description:
  - Installs C(uv) and C(uvx) of an exact version in a directory such as a share's C(bin) (the directory that uv calls
    E(UV_INSTALL_DIR)), or C(/usr/local/bin) of one host.
  - Versions are kept side by side in C(lib/uv/<version>), and C(bin) has symlinks to one of them. They are switched in
    one step, even while uv is running, and back to an older version that is still there without a download.
  - The archive is downloaded on the controller, once for all hosts, its checksum is verified, and it is pushed to the
    host, which needs no network.
  - Before it gets its name, the new uv is run once, and must report exactly the version asked for.
  - A version that others than its owner can write to is installed anew, with a warning.
  - If the version is already in place, all it takes is one look at the host.
author:
  - uvnas.cluster contributors (@uvnas)
extends_documentation_fragment:
  - uvnas.cluster.attributes
attributes:
  action:
    description: Has a part that runs on the controller.
    support: full
options:
  version:
    description:
      - The exact version of uv, with all three numbers.
    type: str
    required: true
  share:
    description:
      - Root directory of the share to install uv on, as an absolute path. It goes to C(bin) and C(lib/uv) there.
      - The share must have been laid out, see M(uvnas.cluster.uv_share).
      - Exactly one of O(share) and O(bin_dir) is required.
    type: path
  share_name:
    description: The share's name. Required with O(share).
    type: str
  share_id:
    description: The id that O(share) must have, from its C(share.json). By default any id will do.
    type: str
  mount:
    description:
      - The mount point of the filesystem that O(share) is on. It is an error if nothing is mounted there.
      - Only the owner and V(root) may have write permission for the directories from there to the share's root, or from
        C(/) without it.
    type: path
  bin_dir:
    description:
      - Directory for the symlinks C(uv) and C(uvx), on a host rather than on a share. It is created if need be.
      - It is an error if a C(uv) is already there that this module did not install. It is not touched.
      - It is also an error if anybody but V(root) and the user that the module works as may write to it, to O(lib_dir),
        or to a directory above them.
    type: path
  lib_dir:
    description:
      - Directory for the versions that O(bin_dir) links to. It is created if need be.
      - The default is C(lib/uv) beside O(bin_dir), so C(/usr/local/lib/uv) for C(/usr/local/bin).
    type: path
  verify:
    description:
      - Whether to read the programs of the version that is in place, and compare them with what was installed. If they
        are damaged, they are installed again. So they are if what was installed is not on record, as with earlier
        versions of uvnas.cluster.
    type: bool
    default: false
  owner:
    description:
      - The user to work as. Connected as V(root), the module becomes this user; connected as any other user, it fails.
      - Without it the module works as the user it is connected as.
    type: str
  busy_timeout:
    description:
      - How long to wait, in seconds, for another process that is working on the same share or directory, or downloading
        the same archive.
      - A module that finds nothing to do does not wait.
    type: float
    default: 600.0
  answer_timeout:
    description:
      - How long the filesystem of O(share) may take to answer, in seconds, before the module gives up and fails.
      - This limits a single small request, not the work. Neither a slow NAS nor waiting for another process
        (O(busy_timeout)) makes it fail.
    type: float
    default: 30.0
  source:
    description:
      - Where the archive comes from, if the version is not in place yet.
      - V(index) is the package index that C(pip) is configured for on the controller, with its C(pip.conf), mirrors and
        proxies. uv's wheel has the binary.
      - V(release) is one of the files of uv's releases, with its checksum file beside it, from O(release_url).
      - V(archive) is a wheel or a release archive of your own, see O(archive).
    type: str
    choices: [index, release, archive]
    default: index
  archive:
    description:
      - Path on the controller, or URL, of a wheel (C(.whl)) or a release archive (C(.tar.gz)) of uv for the host.
      - Required if O(source=archive).
    type: str
  sha256:
    description:
      - The checksum that the archive must have, whatever its source. Required if O(archive) is a URL.
    type: str
  files_dir:
    description: Where a relative path of O(archive) starts. By default Ansible looks for it beside the playbook.
    type: str
  release_url:
    description:
      - Base URL of uv's releases, or of a mirror of them. A C(file://) URL is a directory on the controller.
      - Below it are files such as C(<version>/uv-x86_64-unknown-linux-gnu.tar.gz). Each has a checksum file beside it,
        whose name ends in C(.sha256).
    type: str
    default: https://github.com/astral-sh/uv/releases/download
  download_dir:
    description:
      - Directory on the controller that keeps downloaded archives.
      - The default is C(uvnas) in E(XDG_CACHE_HOME), or in C(~/.cache).
      - It is an error if others than V(root) and the user who runs the playbook may write to it, or above it.
    type: str
notes:
  - Archives for C(x86_64) and C(aarch64) with glibc or musl are found by name. For other machines supply an O(archive).
  - Check mode downloads nothing, so it cannot predict whether the archive is available and runs.
  - Credentials in O(archive) and O(release_url) are used on the controller only. They are not sent to the host.
seealso:
  - module: uvnas.cluster.uv_share
"""

EXAMPLES = r"""
- name: Install uv on a share
  uvnas.cluster.uv_binary:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    version: "0.13.9"

- name: Reinstall it if it is damaged
  uvnas.cluster.uv_binary:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    version: "0.13.9"
    verify: true

- name: Install uv from a mirror of its releases for everybody on this host
  uvnas.cluster.uv_binary:
    bin_dir: /usr/local/bin
    version: "0.13.9"
    source: release
    release_url: https://mirror.example.org/uv
  become: true

- name: Install uv from an archive beside the playbook
  uvnas.cluster.uv_binary:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    version: "0.13.9"
    source: archive
    archive: files/uv-x86_64-unknown-linux-gnu.tar.gz
    sha256: "{{ uv_sha256 }}"
"""

RETURN = r"""
version:
  description: The version asked for.
  returned: success
  type: str
  sample: 0.13.9
previous_version:
  description: The version that C(bin/uv) was a link to before; null if there was none.
  returned: success
  type: str
  sample: 0.8.22
executable:
  description: The C(uv) to run.
  returned: success
  type: str
  sample: /mnt/nas-a/uv/bin/uv
actions:
  description: What was done, or would be.
  returned: success
  type: list
  elements: str
  sample: ["install uv 0.13.9", "link uv to 0.13.9", "link uvx to 0.13.9"]
archive:
  description: The archive that uv was installed from.
  returned: when one was needed, and not in check mode
  type: dict
  contains:
    name:
      description: The file name.
      type: str
      returned: always
      sample: uv-x86_64-unknown-linux-gnu.tar.gz
    sha256:
      description: The checksum.
      type: str
      returned: always
      sample: 2b4a0a4e8dd4a5c6f1a8f5b2d1b6ff4a0a7c9d0c5f4ad8e7b8d9a3c2e1f00112
    downloaded:
      description: Whether it was downloaded just now, rather than found on the controller.
      type: bool
      returned: always
      sample: true
"""

import contextlib
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.errors import SpecError
from ..module_utils.host.process import SystemRunner
from ..module_utils.host.workers import Result
from ..module_utils.options import UV_BINARY, UV_BINARY_RULES
from ..module_utils.share.spec import Share
from ..module_utils.uv.install import Archive, Installation, Place
from ..module_utils.uv.release import check_version


def work(params: dict[str, t.Any], archive: t.Optional[Archive], *, check_mode: bool) -> Result:
    """Have uv where ``params`` say; the module's result."""
    version = params["version"]
    check_version(version)
    if params["share"] is None and params["bin_dir"] is None:
        raise SpecError("neither share nor bin_dir is given")
    if params["share"] is None:
        place = Place.local(params["bin_dir"], params["lib_dir"])
    else:
        place = Place.on_share(Share.from_params(params))
    installation = Installation(place, version, archive, SystemRunner(), check_mode, params["verify"])
    return installation.converge(purpose=f"install uv {version}", busy_timeout=params["busy_timeout"])


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=UV_BINARY, supports_check_mode=True, **UV_BINARY_RULES)
    with contextlib.ExitStack() as stack:
        archive = None
        # Here it is what the action plugin brought to this host, together with its checksum.
        if module.params["archive"]:
            # Opened now: whom the module becomes may not look into the directory that it was brought to.
            stream = stack.enter_context(open(module.params["archive"], "rb"))
            archive = Archive(stream, module.params["sha256"])
        adapter.run(
            module,
            lambda: work(module.params, archive, check_mode=module.check_mode),
            as_owner=True,
            share=module.params["share"],
        )


if __name__ == "__main__":
    main()
