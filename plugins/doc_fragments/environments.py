# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# Written by `make schema`, from meta/schema.yml.

from __future__ import annotations


class ModuleDocFragment:
    """Options of modules that take the environments of an inventory; the argument spec is options.ENVIRONMENTS."""

    DOCUMENTATION = r"""
options:
  share_name:
    description: The share's name. Environments that are declared for other shares only are ignored.
    type: str
    required: true
  glibc:
    description:
      - The oldest glibc among the hosts that use a share, by the share's name, in quotes. Also for shares other than
        this one, as an environment that is declared for several shares has one lock.
      - An environment is locked and built for the oldest glibc of its shares. Without any, it is for hosts like the
        builder.
    type: dict
    default: {}
  environments:
    description: The environments, as declared in C(uvnas_envs). One with O(environments[].state=present) has exactly
      one source; O(environments[].requirements) and O(environments[].requirements_files) together,
      O(environments[].project), or O(environments[].lock).
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The environment's name. Letters, digits and C(. _ + -), at most 64.
        type: str
        required: true
      state:
        description: Whether the environment should exist. V(absent) removes its name and its lock on the share at once.
          Its files stay until C(uvnas.cluster.prune).
        type: str
        choices: [present, absent]
        default: present
      shares:
        description: The names of the shares to put it on. By default every share.
        type: list
        elements: str
      python:
        description: The Python it is for, such as V(3.12) or V(3.12.4), in quotes. Required if it should be present.
        type: str
      requirements:
        description: What to install, as requirements (PEP 508). An empty list means no packages at all.
        type: list
        elements: str
      requirements_files:
        description: Files with requirements, on the controller. They may include others (C(-r), C(-c)).
        type: list
        elements: str
        default: []
      constraints:
        description: Constraints on versions.
        type: list
        elements: str
        default: []
      constraints_files:
        description: Files with constraints, on the controller.
        type: list
        elements: str
        default: []
      overrides:
        description: Requirements that replace those that packages declare.
        type: list
        elements: str
        default: []
      overrides_files:
        description: Files with overrides, on the controller.
        type: list
        elements: str
        default: []
      build_constraints:
        description:
          - Constraints on what packages are built with, if they have to be built. Hashes in them are enforced.
          - Anything with an exact version here (V(cmake==4.1.2)) is locked for any build that asks for it.
        type: list
        elements: str
        default: []
      build_constraints_files:
        description: Files with such constraints, on the controller.
        type: list
        elements: str
        default: []
      project:
        description:
          - Directory of a project with C(pyproject.toml) and C(uv.lock), on the controller.
          - Its locked dependencies are installed, not its own code.
        type: str
      package:
        description: The member of the project's workspace to install for, by name, as with uv's C(--package). By
          default the project in the directory O(environments[].project).
        type: str
      extras:
        description: Extras of the project, or of a C(pylock.toml).
        type: list
        elements: str
        default: []
      groups:
        description: Dependency groups of the project, or of a C(pylock.toml). By default none, or the default groups of
          the C(pylock.toml).
        type: list
        elements: str
        default: []
      lock:
        description: A ready-made lock on the controller, in requirements format with hashes, or a C(pylock.toml).
        type: str
      exclude_newer:
        description: Ignore packages uploaded after this date or time (RFC 3339), in quotes.
        type: str
      no_binary:
        description: Packages to build from source.
        type: list
        elements: str
        default: []
      torch_backend:
        description: The PyTorch backend, such as V(cpu) or V(cu126). Overrides that of the index.
        type: str
      imports:
        description: Modules that must be importable before the environment is published.
        type: list
        elements: str
        default: []
      checks:
        description: Commands, run by C(/bin/sh) in the environment, that must succeed before it is published.
        type: list
        elements: str
        default: []
      seed:
        description: Whether to include C(pip), locked like any other package.
        type: bool
        default: false
      system_site_packages:
        description: Whether packages installed in the interpreter are visible.
        type: bool
        default: false
      compile_bytecode:
        description: Whether to compile what is installed to bytecode, since its users cannot.
        type: bool
        default: true
      try_on:
        description:
          - Hosts on which a generation is tried before it is published; by its final path, with
            O(environments[].imports) and O(environments[].checks), which are not run on the builder then. For what
            needs a GPU, an older libc, or another processor.
          - C(site.yml) does that. A role or a module alone builds the generation, and leaves it unpublished.
        type: dict
        suboptions:
          hosts:
            description: Hosts and groups of the inventory, or V(all). Of those, the ones that use the share count.
            type: list
            elements: str
            required: true
          at_least:
            description: How many of them have to answer. All that answer have to be well.
            type: int
            default: 1
      hold:
        description:
          - The generation that stays in force, by its id or the beginning of it, until this is removed. What the rest
            of the declaration asks for is built beside it.
          - C(rollback.yml) does the same without a change to the inventory.
        type: str
"""
