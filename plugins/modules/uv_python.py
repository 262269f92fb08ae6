#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_python
short_description: Install interpreters on a share
version_added: 0.1.0
description:
  - Installs exact versions of CPython in C(python) of a share (the directory that uv calls E(UV_PYTHON_INSTALL_DIR)),
    with the share's uv.
  - A request such as V(3.12) is resolved to an exact version once, and remembered in C(locks/pythons.json) on the
    share. It stays at that version until O(upgrade) names it. The old one then remains on the share, for what was built
    with it.
  - Interpreters are downloaded by uv on the builder, or supplied by the site, see O(site_pythons). A Python of the
    operating system never satisfies a request.
  - A new interpreter must run in its new place before it counts. What it lacks, or needs from the host, is a warning.
  - Interpreters are sealed; not even their owner can write to their directories. One that is not, because an earlier
    release installed it or a run was killed, gets sealed, and a warning says what others could write to.
  - If everything is already in place, nothing is run, and the network is not used.
author:
  - uvnas.cluster contributors (@uvnas)
extends_documentation_fragment:
  - uvnas.cluster.attributes
  - uvnas.cluster.share
  - uvnas.cluster.earlier_shares
  - uvnas.cluster.progress
  - uvnas.cluster.site_pythons
  - uvnas.cluster.uv_variables
attributes:
  action:
    description: Has a part that runs on the controller.
    support: full
options:
  share_name:
    description: The share's name.
    type: str
    required: true
  pythons:
    description:
      - The interpreters to install, by version. V(3.12) is the newest 3.12 available at the time, V(3.12.4) exactly
        that one. A V(t) at the end, as in V(3.13t), asks for the free-threaded build.
      - Final releases of CPython only.
    type: list
    elements: str
    default: []
  mirror:
    description:
      - URL in place of C(https://github.com/astral-sh/python-build-standalone/releases/download), as for uv's
        E(UV_PYTHON_INSTALL_MIRROR). May be a C(file://) URL of a directory on the builder.
    type: str
  downloads_json_url:
    description:
      - URL or path on the builder of a list of downloads that replaces uv's built-in one, as for uv's
        E(UV_PYTHON_DOWNLOADS_JSON_URL).
    type: str
  offline:
    description:
      - Whether to use only what is on the share (also in C(python-archives)), and O(site_pythons).
      - Requests that have not been resolved yet then prefer interpreters on the share.
    type: bool
    default: false
  upgrade:
    description:
      - Requests in O(pythons) to resolve again, to the newest version available now. V(all) means all of them.
    type: list
    elements: str
    default: []
  remove:
    description:
      - Exact versions to remove from the share, such as V(3.11.9), or uv's keys of them.
      - It is an error if a generation of an environment uses one, or something still asks for it, and it stays.
      - What cannot go yet, such as files that a process on the builder has open on NFS, is hidden, and a warning names
        it. Later changes to the share remove it.
    type: list
    elements: str
    default: []
  compile_bytecode:
    description:
      - Whether to compile the standard library to bytecode. Otherwise every process of users who cannot write to the
        share compiles what it imports.
    type: bool
    default: true
  files_dir:
    description:
      - Directory on the controller where a relative path of O(site_pythons[].archive) starts.
      - Without it such a path is searched for as for other actions, in C(files) of a role or beside the playbook.
    type: str
notes:
  - uv's links to the newest version of a minor series, such as C(python/cpython-3.12-linux-x86_64-gnu), are not
    kept. A virtual environment made through one would change its Python at an upgrade, under running processes too.
    People's own virtual environments are tied to an exact version this way, as generations are.
  - In check mode uv downloads nothing, so it cannot predict whether a download is available. Archives of
    O(site_pythons) are brought to the builder and checked in check mode too.
  - An installed Python can be packed on C(x86_64) and C(aarch64).
seealso:
  - module: uvnas.cluster.uv_share
  - module: uvnas.cluster.uv_binary
"""

EXAMPLES = r"""
- name: Install two interpreters on a share
  uvnas.cluster.uv_python:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    pythons: ["3.12", "3.11.9"]

- name: Upgrade to the newest 3.12
  uvnas.cluster.uv_python:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    pythons: ["3.12"]
    upgrade: ["3.12"]

- name: Install the site's own interpreters, and nothing from the Internet
  uvnas.cluster.uv_python:
    share: /mnt/nas-a/uv
    share_name: nas_a
    owner: uvadmin
    pythons: ["3.11", "3.12"]
    site_pythons:
      - name: built-here
        version: 3.11.9
        prefix: /opt/python/3.11.9
      - name: standalone
        version: 3.12.4
        archive: https://mirror.example.org/cpython-3.12.4-x86_64-unknown-linux-gnu-install_only.tar.gz
        sha256: "{{ standalone_sha256 }}"
    offline: true
"""

RETURN = r"""
pythons:
  description: What each request means.
  returned: success
  type: dict
  contains:
    key:
      description: uv's name of the interpreter, and of its directory in C(python).
      returned: always
      type: str
    version:
      description: Its exact version.
      returned: always
      type: str
    executable:
      description: The path of its executable.
      returned: always
      type: str
    digest:
      description:
        - What identifies its content, the same on every share. For a download or a supplied archive, the archive's
          sha256.
        - Null for one that check mode would install.
      returned: always
      type: str
  sample:
    "3.12":
      key: cpython-3.12.13-linux-x86_64-gnu
      version: 3.12.13
      executable: /mnt/nas-a/uv/python/cpython-3.12.13-linux-x86_64-gnu/bin/python3.12
      digest: 1b0a4d0c4ac9b1ed3e8f3e0d2a9d3c1c3a3ef6a7b0e8f4f2b1a6d5c4e3f20111
actions:
  description: What was done, or would be.
  returned: success
  type: list
  elements: str
  sample: ["install cpython-3.12.13-linux-x86_64-gnu", "3.12 is 3.12.11 -> 3.12.13"]
"""

import contextlib
import os
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.host.progress import to
from ..module_utils.options import UV_PYTHON
from ..module_utils.python.converge import from_params


def main() -> t.NoReturn:
    module = AnsibleModule(argument_spec=UV_PYTHON, supports_check_mode=True)
    params = module.params
    adapter.hide_variables(module, params["uv_variables"])
    adapter.hide_secrets(module, [url for url in (params["mirror"], params["downloads_json_url"]) if url])
    with contextlib.ExitStack() as stack:
        # Here an archive is what the action plugin brought to this host, or only its name while nobody needs it.
        # Opened now: the user that the module becomes may not look into the directory that it was brought to.
        brought = {
            site["name"]: stack.enter_context(open(site["archive"], "rb"))
            for site in params["site_pythons"]
            if os.path.isabs(site["archive"] or "")
        }
        progress = stack.enter_context(to(params["progress_to"]))
        adapter.run(
            module,
            lambda: from_params(params, brought, check_mode=module.check_mode, progress=progress).converge(
                purpose="installing interpreters", busy_timeout=params["busy_timeout"]
            ),
            as_owner=True,
            share=params["share"],
            progress=progress,
        )


if __name__ == "__main__":
    main()
