# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
name: declared
short_description: Check what an inventory declares
version_added: 0.1.0
author: [uvnas.cluster contributors (@uvnas)]
description:
  - Sees, on the controller and before anything is written, that the environments and shares of an inventory make sense;
    keys, names, sources, files, locks that are kept, and what is to be upgraded.
positional: _input
options:
  _input:
    description: The environments, C(uvnas_envs).
    type: list
    elements: dict
    required: true
  shares:
    description: The shares, C(uvnas_shares).
    type: list
    elements: dict
    required: true
  files_dir:
    description: Where relative paths of files start.
    type: path
    required: true
  lock_dir:
    description: Where locks are kept on the controller.
    type: path
  upgrade:
    description: The environments to upgrade, by name.
    type: list
    elements: str
    default: []
"""

EXAMPLES = r"""
- name: Check what the inventory declares
  ansible.builtin.debug:
    msg: "{{ uvnas_envs | uvnas.cluster.declared(shares=uvnas_shares, files_dir=inventory_dir) }}"
"""

RETURN = r"""
_value:
  description: The names of the environments. What is wrong is an error.
  type: list
  elements: str
"""

import typing as t
from collections.abc import Mapping

from ansible.errors import AnsibleFilterError

from ..module_utils.env.declared import check_shares_exist, parse_environments
from ..module_utils.errors import SpecError, UvnasError
from ..module_utils.host.data import is_text
from ..module_utils.share.spec import parse_shares
from ..plugin_utils.declaration import Declaration


def declared(
    environments: t.Sequence[t.Mapping[str, t.Any]],
    *,
    shares: t.Sequence[t.Mapping[str, t.Any]],
    files_dir: str,
    lock_dir: str | None = None,
    upgrade: t.Sequence[str] = (),
) -> list[str]:
    """The names of the environments. Raises AnsibleFilterError that says all that is wrong."""
    try:
        for name, value in (("uvnas_shares", shares), ("uvnas_envs", environments)):
            if not isinstance(value, (list, tuple)) or not all(isinstance(item, Mapping) for item in value):
                raise SpecError(f"{name} must be a list of dictionaries", hint="Nothing has been changed.")
        if not isinstance(upgrade, (list, tuple)) or not all(map(is_text, upgrade)):
            raise SpecError("uvnas_upgrade must be a list of names of environments", hint="Nothing has been changed.")
        for name, path in (("uvnas_files_dir", files_dir), ("uvnas_lock_dir", lock_dir or "")):
            if not is_text(path):
                raise SpecError(f"{name} must be a path, and is {path!r}", hint="Nothing has been changed.")
        parse_shares(shares)
        specs = parse_environments(environments)
        check_shares_exist(specs, {share["name"] for share in shares})
        names = [spec.name for spec in specs]
        unknown = sorted(set(upgrade) - set(names) - {"all"})
        if unknown:
            raise UvnasError(
                f"cannot upgrade {', '.join(unknown)}: no such environment is declared",
                hint=f"Declared are: {', '.join(names) or 'none'}. Or say all.",
            )
        Declaration(files_dir, lock_dir or None).inputs([spec for spec in specs if spec.present], {}, check_locks=True)
    except UvnasError as error:
        raise AnsibleFilterError(error.explain()) from None
    return names


class FilterModule:
    """Filters of the collection."""

    def filters(self) -> dict[str, t.Callable[..., t.Any]]:
        return {"declared": declared}
