# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by `make schema`, from meta/schema.yml.

from __future__ import annotations


class ModuleDocFragment:
    """Interpreters that a site supplies; the argument spec is options.SITE_PYTHONS."""

    DOCUMENTATION = r"""
options:
  site_pythons:
    description:
      - Interpreters that the site supplies. All of them are put on the share, and requests prefer them to downloads.
      - A share has only one interpreter of an exact version. While it is in use, its content is never replaced.
    type: list
    elements: dict
    default: []
    suboptions:
      name:
        description: The site's name for it, used in messages.
        type: str
        required: true
      version:
        description: Its exact version, such as V(3.11.9), in quotes. It must be the version that the interpreter
          reports.
        type: str
        required: true
      archive:
        description:
          - A C(.tar.gz) with one top directory that contains C(bin) and C(lib), and that works wherever it is unpacked,
            such as those of python-build-standalone.
          - A path on the controller, or a URL that the controller downloads, once, to C(uvnas) in E(XDG_CACHE_HOME) or
            in C(~/.cache).
          - Exactly one of O(site_pythons[].archive) and O(site_pythons[].prefix) is required.
        type: str
      prefix:
        description:
          - The directory on the builder that a Python is installed in, such as V(/opt/python/3.11.9), a version of
            pyenv, or V(/usr). The share's owner must be able to read it.
          - Its program, standard library, header files, and shared libraries are copied, without installed packages,
            tests and bytecode. They are changed to find each other on the share.
          - It is copied once. To copy it again, remove it from the share first.
        type: path
      sha256:
        description:
          - For O(site_pythons[].archive), its checksum. Required for a URL.
          - For O(site_pythons[].prefix), the C(digest) that M(uvnas.cluster.uv_python) returned for it before.
        type: str
"""
