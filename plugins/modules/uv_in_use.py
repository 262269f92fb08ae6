#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_in_use
short_description: Tell which generations, interpreters and versions of uv the processes of a host use
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Looks for paths of generations, interpreters and uv in what the kernel says of each process; its program, its
    working directory, what it has open and mapped, its variables and its command line.
  - It looks at the text of a path only. So it is the same in a container, on another mount point, and for what has been
    deleted, and a NAS that hangs does not hang it.
  - Of a Python that shows no such path itself, such as one in somebody's environment made with C(--copies), it also
    reads the C(pyvenv.cfg), as that names the interpreter.
  - A Python of a generation shows that from its start to its end, whatever it has open; but not one started with C(-S),
    nor one of a generation that a release of this collection without that mark has built.
  - What is not seen is an idle shell in which an environment has been activated; the kernel tells the variables that a
    process was started with.
  - Only C(root) sees the processes of everybody. It writes nothing, and touches no share.
extends_documentation_fragment:
  - uvnas.cluster.attributes.info
options:
  patience:
    description:
      - How long the kernel may take to say what it knows of one process, in seconds. It may wait for a NAS that hangs.
      - A process that it says nothing of is returned as RV(unread). So are those that are left after 60 times as long.
      - It is also how long the configuration of Slurm may take to be read.
    type: float
    default: 5
seealso:
  - module: uvnas.cluster.uv_env_info
  - module: uvnas.cluster.uv_jobs
"""

EXAMPLES = r"""
- name: See who uses what
  uvnas.cluster.uv_in_use:
  become: true
  register: usage
"""

RETURN = r"""
host:
  description: The name of the host, as it calls itself.
  returned: success
  type: str
is_root:
  description: Whether the processes of everybody were seen.
  returned: success
  type: bool
cluster:
  description:
    - The name of the Slurm cluster that this host belongs to, in lower case. Null if there is no Slurm here.
    - Empty if there is, and its name is not to be found.
  returned: success
  type: str
booted:
  description: When the host was booted, in UTC, give or take a second. Empty if that is not known.
  returned: success
  type: str
uses:
  description: Who uses what; at most 50 things of each process, and 20000 of all. One with more is RV(unread), too.
  returned: success
  type: list
  elements: dict
  contains:
    pid:
      description: The process.
      returned: always
      type: int
    user:
      description: Who runs it.
      returned: always
      type: str
    command:
      description: The name of its program, without arguments.
      returned: always
      type: str
    since:
      description: When it was started, in UTC. Empty if that is not known.
      returned: always
      type: str
    job:
      description: The number of its Slurm job. Empty if it has none.
      returned: always
      type: str
    environment:
      description: The environment whose generation it uses. Empty if it is something else.
      returned: always
      type: str
    generation:
      description: That generation.
      returned: always
      type: str
    interpreter:
      description: uv's key of the interpreter that it uses. Empty if it is something else.
      returned: always
      type: str
    uv:
      description: The version of uv that it runs. Empty if it is something else.
      returned: always
      type: str
unread:
  description: Processes that could not be read, at most 1000 of them. They may use anything.
  returned: success
  type: list
  elements: dict
  contains:
    pid:
      description: The process.
      returned: always
      type: int
    user:
      description: Who runs it. Empty if that is not known.
      returned: always
      type: str
    command:
      description: The name of its program. Empty if that is not known.
      returned: always
      type: str
    why:
      description: Why it could not be read.
      returned: always
      type: str
"""

import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.env import usage
from ..module_utils.errors import SpecError
from ..module_utils.host.workers import Result


def work(params: t.Mapping[str, t.Any]) -> Result:
    """The module's result."""
    patience = params["patience"]
    if not 0 < patience < float("inf"):
        raise SpecError(f"patience must be a number of seconds greater than 0, not {patience:g}")
    return usage.look(patience=patience)


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={"patience": {"type": "float", "default": 5.0}},
        supports_check_mode=True,
    )
    adapter.run(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
