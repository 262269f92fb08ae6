#!/usr/bin/python
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: uv_jobs
short_description: Tell which jobs of a Slurm cluster wait or run, and when its nodes were booted
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Asks C(squeue) for the jobs that have not ended, in all partitions and of all users, whatever variables and defaults
    for C(squeue) there are on the host. One host of each cluster is enough.
  - A job that waits has the variables that it was submitted with, and so perhaps the path of a generation that was in
    force then. Nothing but the time of its submission tells.
  - Slurm forgets that time when a job is requeued, so such jobs are always returned.
  - Where Slurm hides the jobs of others (C(PrivateData)), C(root) sees them. It writes nothing, and touches no share.
extends_documentation_fragment:
  - uvnas.cluster.attributes.info
options:
  before:
    description:
      - Only jobs that may have been submitted before this time, ISO 8601 with its zone; that is, also those that were
        requeued, and those with a time that is not known. By default all.
    type: str
  nodes:
    description:
      - Hosts to tell the time of their boot, by the names that Slurm has for them, or by the same with another domain.
    type: list
    elements: str
    default: []
  timeout:
    description: How long each command of Slurm may take, in seconds.
    type: float
    default: 60
seealso:
  - module: uvnas.cluster.uv_in_use
"""

EXAMPLES = r"""
- name: See which jobs were submitted before an upgrade
  uvnas.cluster.uv_jobs:
    before: "2026-11-27T14:02:31+00:00"
    nodes: [node-a1, node-a2]
  become: true
  run_once: true
  register: queue
"""

RETURN = r"""
host:
  description: The name of the host, as it calls itself.
  returned: success
  type: str
is_root:
  description: Whether C(root) has asked, who sees the jobs of everybody.
  returned: success
  type: bool
cluster:
  description:
    - The name of the Slurm cluster, in lower case. Null if there is no Slurm here.
    - Empty if there is, and its name is not to be found.
  returned: success
  type: str
jobs:
  description: The jobs that wait or run. Empty if there is no Slurm here.
  returned: success
  type: list
  elements: dict
  contains:
    id:
      description: The number of the job, with the part of an array that it stands for, such as V(6_[2-9%2]).
      returned: always
      type: str
    user:
      description: Whose it is.
      returned: always
      type: str
    state:
      description: Slurm's word for its state, such as V(PENDING).
      returned: always
      type: str
    submitted:
      description: When it was submitted, or if it was requeued, when that was, in UTC. Null if that is not known.
      returned: always
      type: str
    restarted:
      description: Whether it was requeued.
      returned: always
      type: bool
nodes:
  description: Those of O(nodes) that are nodes of the cluster.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The name that was asked for.
      returned: always
      type: str
    booted:
      description: When it was booted, as it last told Slurm, in UTC, give or take a second. Null if that is not known.
      returned: always
      type: str
"""

import dataclasses
import functools
import os
import socket
import typing as t

from ansible.module_utils.basic import AnsibleModule

from ..module_utils import adapter
from ..module_utils.errors import SpecError, UvnasError
from ..module_utils.host import slurm
from ..module_utils.host.data import is_time
from ..module_utils.host.workers import Result, call_within


def work(params: t.Mapping[str, t.Any]) -> Result:
    """The module's result."""
    before, timeout = params["before"] or None, params["timeout"]
    if before is not None and not is_time(before):
        raise SpecError(f"before must be a time with its zone, such as 2026-11-27T14:02:31+00:00, not {before!r}")
    if not 0 < timeout < float("inf"):
        raise SpecError(f"timeout must be a number of seconds greater than 0, not {timeout:g}")
    # Two commands end by themselves; but nothing of a Slurm that is installed on a NAS that hangs.
    limit = 3 * timeout
    result = call_within(limit, functools.partial(_look, before, params["nodes"], timeout))
    if result is None:
        raise UvnasError(
            f"Slurm has not answered for {limit:g} s",
            hint="Is it installed on a NAS that does not answer on this host?",
        )
    return result


def _look(before: t.Optional[str], nodes: t.Sequence[str], timeout: float) -> Result:
    cluster = slurm.cluster()
    has_slurm = cluster is not None
    jobs = slurm.jobs(before, timeout=timeout) if has_slurm else []
    booted = slurm.nodes(nodes, timeout=timeout) if has_slurm else {}
    return {
        "changed": False,
        "host": socket.gethostname(),
        "is_root": os.geteuid() == 0,
        "cluster": cluster,
        "jobs": [dataclasses.asdict(job) for job in jobs],
        "nodes": [{"name": name, "booted": when} for name, when in booted.items()],
    }


def main() -> t.NoReturn:
    module = AnsibleModule(
        argument_spec={
            "before": {"type": "str"},
            "nodes": {"type": "list", "elements": "str", "default": []},
            "timeout": {"type": "float", "default": slurm.TIMEOUT},
        },
        supports_check_mode=True,
    )
    adapter.run(module, lambda: work(module.params))


if __name__ == "__main__":
    main()
