# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by `make schema`, from meta/schema.yml.

from __future__ import annotations


class ModuleDocFragment:
    """The option of every module that may reach a package index; the argument spec is options.INDEX."""

    DOCUMENTATION = r"""
options:
  index:
    description:
      - Where packages come from. Without it, uv's own default, the Python Package Index.
      - URLs may contain credentials. They reach uv through a pipe, and never appear in an argument, a variable, a lock
        or a manifest.
      - An index may have a name, V(corp=https://packages.example.org/simple). Its credentials may then be given in
        O(uv_variables), as C(UV_INDEX_CORP_USERNAME) and C(UV_INDEX_CORP_PASSWORD).
    type: dict
    suboptions:
      default:
        description: URL of the default index, in place of the Python Package Index.
        type: str
      extra:
        description: URLs of further indexes, which take precedence over the default one.
        type: list
        elements: str
        default: []
      find_links:
        description: Directories (on the builder) or URLs of pages that list more distributions.
        type: list
        elements: str
        default: []
      offline:
        description: Whether to use only the cache and local files.
        type: bool
        default: false
      strategy:
        description: What to do when several indexes have a package, as for uv's C(--index-strategy).
        type: str
        choices: [first-index, unsafe-first-match, unsafe-best-match]
      keyring:
        description: Whether to ask the C(keyring) command for credentials.
        type: bool
        default: false
      torch_backend:
        description: The PyTorch backend to choose, as for uv's C(--torch-backend), such as V(cpu) or V(cu126).
        type: str
"""
