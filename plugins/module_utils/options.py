# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Argument specs that more than one file uses: several modules, or a module and its action plugin."""

from __future__ import annotations

import typing as t

Spec = dict[str, t.Any]

# `make schema` writes what is between these two lines, from meta/schema.yml. Each group of options is documented in
# the doc fragment of its name.
# schema:begin
_TEXT: Spec = {"type": "str"}
_REQUIRED: Spec = {"type": "str", "required": True}
_TEXTS: Spec = {"type": "list", "elements": "str", "default": []}
_SECRETS: Spec = {"type": "list", "elements": "str", "default": [], "no_log": True}
_PATH: Spec = {"type": "path"}
_REQUIRED_PATH: Spec = {"type": "path", "required": True}
_FLAG: Spec = {"type": "bool", "default": False}
_VALUES: Spec = {"type": "dict", "default": {}}
TRY_ON_KEYS: Spec = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "at_least": {"type": "int", "default": 1},
}
KEEP_KEYS: Spec = {"generations": {"type": "int", "default": 2}, "days": {"type": "float", "default": 30}}
EARLIER_SHARE_KEYS: Spec = {"name": _REQUIRED, "root": _REQUIRED_PATH}
ENVIRONMENT_KEYS: Spec = {
    "name": _REQUIRED,
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "shares": {"type": "list", "elements": "str"},
    "python": _TEXT,
    "requirements": {"type": "list", "elements": "str"},
    "requirements_files": _TEXTS,
    "constraints": _TEXTS,
    "constraints_files": _TEXTS,
    "overrides": _TEXTS,
    "overrides_files": _TEXTS,
    "build_constraints": _TEXTS,
    "build_constraints_files": _TEXTS,
    "project": _TEXT,
    "package": _TEXT,
    "extras": _TEXTS,
    "groups": _TEXTS,
    "lock": _TEXT,
    "exclude_newer": _TEXT,
    "no_binary": _TEXTS,
    "torch_backend": _TEXT,
    "imports": _TEXTS,
    "checks": _TEXTS,
    "seed": _FLAG,
    "system_site_packages": _FLAG,
    "compile_bytecode": {"type": "bool", "default": True},
    "try_on": {"type": "dict", "options": TRY_ON_KEYS},
    "hold": _TEXT,
}
INDEX_KEYS: Spec = {
    "default": {"type": "str", "no_log": True},
    "extra": _SECRETS,
    "find_links": _SECRETS,
    "offline": _FLAG,
    "strategy": {"type": "str", "choices": ["first-index", "unsafe-first-match", "unsafe-best-match"]},
    "keyring": _FLAG,
    "torch_backend": _TEXT,
}
SITE_PYTHON_KEYS: Spec = {"name": _REQUIRED, "version": _REQUIRED, "archive": _TEXT, "prefix": _PATH, "sha256": _TEXT}
LOOKING: Spec = {
    "share": _REQUIRED_PATH,
    "share_name": _REQUIRED,
    "share_id": _TEXT,
    "mount": _PATH,
    "answer_timeout": {"type": "float", "default": 30.0},
}
KEEP: Spec = {"keep": {"type": "dict", "default": {}, "options": KEEP_KEYS}}
SHARE: Spec = {
    "share": _REQUIRED_PATH,
    "share_id": _TEXT,
    "mount": _PATH,
    "owner": _TEXT,
    "busy_timeout": {"type": "float", "default": 600.0},
    "answer_timeout": {"type": "float", "default": 30.0},
}
EARLIER_SHARES: Spec = {
    "earlier_shares": {"type": "list", "elements": "dict", "default": [], "options": EARLIER_SHARE_KEYS},
}
PROGRESS: Spec = {"progress": {"type": "bool", "default": True}, "progress_to": _TEXT}
AUTHOR: Spec = {"journal_user": _TEXT, "journal_controller": _TEXT}
ENVIRONMENTS: Spec = {
    "share_name": _REQUIRED,
    "glibc": _VALUES,
    "environments": {"type": "list", "elements": "dict", "required": True, "options": ENVIRONMENT_KEYS},
}
LOCKS: Spec = {
    "upgrade": _TEXTS,
    "upgrade_packages": _TEXTS,
    "upgrade_elsewhere": _FLAG,
    "files_dir": _PATH,
    "lock_dir": _PATH,
}
INDEX: Spec = {"index": {"type": "dict", "options": INDEX_KEYS}}
SITE_PYTHONS: Spec = {"site_pythons": {"type": "list", "elements": "dict", "default": [], "options": SITE_PYTHON_KEYS}}
UV_VARIABLES: Spec = {"uv_variables": {"type": "dict", "default": {}, "no_log": True}}
# schema:end

# What uv_lock and uv_env have in common.
_LOCKING: Spec = {
    **SHARE,
    **INDEX,
    **UV_VARIABLES,
    **ENVIRONMENTS,
    **LOCKS,
    **EARLIER_SHARES,
    **PROGRESS,
    "jobs": {"type": "int", "default": 4},
}
UV_LOCK: Spec = {**_LOCKING, "inputs": _VALUES}
UV_ENV: Spec = {
    **_LOCKING,
    **AUTHOR,
    "lock": _FLAG,
    "tries": _FLAG,
    "locks": {"type": "dict"},
    "purge": _FLAG,
    "link_mode": {"type": "str", "choices": ["clone", "hardlink", "copy"]},
    "min_free_bytes": {"type": "int", "default": 0},
    "min_free_inodes": {"type": "int", "default": 0},
    "smoke_timeout": {"type": "float", "default": 300.0},
}
UV_HOLD: Spec = {
    **SHARE,
    **INDEX,
    **UV_VARIABLES,
    **EARLIER_SHARES,
    **PROGRESS,
    **AUTHOR,
    "share_name": _REQUIRED,
    "environment": _REQUIRED,
    "generation": _TEXT,
    "reason": _TEXT,
    "state": {"type": "str", "choices": ["held", "released", "published"], "default": "held"},
}
UV_ROLLBACK: Spec = {
    "stage": {"type": "str", "choices": ["decide", "report"], "required": True},
    "environment": _TEXT,
    "hosts": {"type": "list", "elements": "str", "required": True},
}
_ITEM: Spec = {
    "kind": {"type": "str", "choices": ["generation", "interpreter", "uv"], "required": True},
    "name": _REQUIRED,
}
UV_PRUNE: Spec = {
    **SHARE,
    **INDEX,
    **UV_VARIABLES,
    **ENVIRONMENTS,
    **SITE_PYTHONS,
    **PROGRESS,
    **AUTHOR,
    **KEEP,
    "pythons": _TEXTS,
    "stage": {"type": "str", "choices": ["look", "aside", "remove"], "required": True},
    "items": {"type": "list", "elements": "dict", "default": [], "options": _ITEM},
    "measure": _FLAG,
    "jobs": {"type": "int", "default": 4},
}
UV_PRUNING: Spec = {
    "stage": {"type": "str", "choices": ["candidates", "clusters", "decide"], "required": True},
    "hosts": {"type": "list", "elements": "str", "required": True},
}
UV_PYTHON: Spec = {
    **SHARE,
    **EARLIER_SHARES,
    **SITE_PYTHONS,
    **UV_VARIABLES,
    **PROGRESS,
    "share_name": _REQUIRED,
    "pythons": _TEXTS,
    "mirror": {"type": "str", "no_log": True},
    "downloads_json_url": {"type": "str", "no_log": True},
    "offline": _FLAG,
    "upgrade": _TEXTS,
    "remove": _TEXTS,
    "compile_bytecode": {"type": "bool", "default": True},
    "files_dir": _TEXT,
}

UV_VERIFY: Spec = {
    **SHARE,
    **PROGRESS,
    "share_name": _REQUIRED,
    "bytes_per_second": {"type": "int", "default": 0},
    "seconds": {"type": "float", "default": 3600.0},
    "jobs": {"type": "int", "default": 0},
}
UV_REPAIR: Spec = {
    **SHARE,
    **EARLIER_SHARES,
    **INDEX,
    **UV_VARIABLES,
    **PROGRESS,
    **AUTHOR,
    "share_name": _REQUIRED,
    "mirror": {"type": "str", "no_log": True},
    "downloads_json_url": {"type": "str", "no_log": True},
    "offline": _FLAG,
    "remove_undeclared": _FLAG,
    "jobs": {"type": "int", "default": 0},
}

UV_BINARY: Spec = {
    **SHARE,
    "version": _REQUIRED,
    "share": _PATH,
    "share_name": _TEXT,
    "bin_dir": _PATH,
    "lib_dir": _PATH,
    "verify": _FLAG,
    "source": {"type": "str", "choices": ["index", "release", "archive"], "default": "index"},
    "archive": {"type": "str", "no_log": True},
    "sha256": _TEXT,
    "release_url": {"type": "str", "default": "https://github.com/astral-sh/uv/releases/download", "no_log": True},
    "download_dir": _TEXT,
    "files_dir": _TEXT,
}
UV_PROFILE: Spec = {
    "shares": {
        "type": "list",
        "elements": "dict",
        "default": [],
        "options": {"name": {"type": "str", "required": True}, "root": {"type": "str", "required": True}},
    },
    "directory": {"type": "path", "default": "/etc/profile.d"},
    "fish_directory": {"type": "path", "default": "/etc/fish/conf.d"},
    "user_cache": {"type": "str", "choices": ["personal", "group", "private"], "default": "personal"},
    "user_cache_users": {"type": "list", "elements": "str", "default": []},
    "variables": {"type": "dict", "default": {}, "no_log": True},
    "withheld": {"type": "list", "elements": "str", "default": []},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
}
# This one has only an action plugin.
UV_DECLARATION: Spec = {
    "hosts": {"type": "list", "elements": "str"},
    "writes": {"type": "bool", "default": True},
    "prunes": _FLAG,
}

UV_REPORT: Spec = {
    "hosts": {"type": "list", "elements": "str", "required": True},
    "well": {"type": "list", "elements": "str", "required": True},
    "kind": {
        "type": "str",
        "choices": ["run", "info", "history", "usage", "prune", "deep", "repair"],
        "default": "run",
    },
}

UV_BINARY_RULES: Spec = {
    "required_one_of": [("share", "bin_dir")],
    "mutually_exclusive": [("share", "bin_dir"), ("share", "lib_dir")],
    "required_together": [("share", "share_name")],
}
