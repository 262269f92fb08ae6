# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Modules with options of any kind, from their arguments to their result: a message, and nothing written."""

from __future__ import annotations

import json
import re
import types
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.modules import (
    uv_binary,
    uv_env,
    uv_env_compare,
    uv_env_info,
    uv_lock,
    uv_profile,
    uv_python,
    uv_share,
)
from ansible_collections.uvnas.cluster.tests.support import shares
from ansible_collections.uvnas.cluster.tests.support.generated import damaged, tree
from ansible_collections.uvnas.cluster.tests.support.modules import run_module
from hypothesis import given, settings
from hypothesis import strategies as st

# Each of these is a module in a process of its own.
FEWER = settings(max_examples=max(20, settings.default.max_examples // 4 if settings.default else 20))
ROOT = "{root}"
ENV = {"name": "train", "python": "3.12", "requirements": ["alpha"], "shares": ["nas_a"]}
SHARE = {"share": ROOT, "share_name": "nas_a", "answer_timeout": 30, "busy_timeout": 0}
ARGUMENTS: dict[types.ModuleType, dict[str, t.Any]] = {
    uv_env: {
        **SHARE,
        "environments": [ENV],
        "glibc": {"nas_a": "2.31"},
        "locks": {"train": {"digest": "1" * 64, "versions": {"alpha": "1"}}},
        "uv_variables": {"UV_HTTP_TIMEOUT": 60},
        "index": {"default": "https://u:p@index.example.org/simple", "extra": [], "find_links": ["/x"]},
        "earlier_shares": [{"name": "nas_b", "root": "/nowhere/uv"}],
        "jobs": 1,
    },
    uv_lock: {
        **SHARE,
        "environments": [ENV],
        "glibc": {"nas_a": "2.31"},
        "inputs": {"train": {"spec_digest": "5", "sources": {"requirements": [["a.in", "alpha\n"]]}, "kept": None}},
        "uv_variables": {"HTTPS_PROXY": "http://u:p@x"},
        "upgrade": ["all"],
    },
    uv_env_compare: {**SHARE, "environments": [ENV], "inputs": {"train": {"spec_digest": "5"}}, "purge": True},
    uv_env_info: {**SHARE, "environments": [ENV], "glibc": "2.31", "share_id": shares.SHARE_ID, "sizes": True},
    uv_python: {
        **SHARE,
        "pythons": ["3.12"],
        "site_pythons": [{"name": "site", "version": "3.11.9", "prefix": "/nowhere"}],
        "uv_variables": {"UV_HTTP_TIMEOUT": 60},
        "mirror": "https://u:p@x/",
        "remove": ["3.9.1"],
        "upgrade": [],
    },
    uv_binary: {**SHARE, "version": "0.13.9", "source": "index", "sha256": "1" * 64},
    uv_share: {
        **SHARE,
        "share": "{root}-new",
        "mode": "0755",
        "declared_shares": [{"name": "nas_a", "root": "/mnt/a"}, {"name": "nas_b", "root": "/mnt/b", "glibc": "2.31"}],
        "user_cache": "private",
        "user_cache_users": ["root"],
        "group": "root",
    },
    uv_profile: {
        "shares": [{"name": "nas_a", "root": "/mnt/nas-a/uv"}],
        "directory": "{root}-profile",
        "fish_directory": "",
        "variables": {"UV_OFFLINE": True},
        "withheld": ["UV_INDEX"],
    },
}


@pytest.fixture(scope="module")
def share(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = shares.make_share(tmp_path_factory.mktemp("share") / "uv")
    shares.add_interpreter(root)
    (root / "bin" / "uv").write_text("#!/bin/sh\nexit 1\n")
    (root / "bin" / "uv").chmod(0o755)
    return root


def _placed(value: t.Any, root: Path) -> t.Any:
    if isinstance(value, dict):
        return {_placed(key, root): _placed(item, root) for key, item in value.items()}
    if isinstance(value, list):
        return [_placed(item, root) for item in value]
    return value.replace("{root}", str(root)) if isinstance(value, str) else value


@FEWER
@given(
    st.sampled_from(list(ARGUMENTS)).flatmap(lambda module: st.tuples(st.just(module), damaged(ARGUMENTS[module]))),
)
def test_any_options(share: Path, given_: tuple[types.ModuleType, t.Any]) -> None:
    module, args = given_
    # Ansible itself takes no text with half a character in it.
    if not isinstance(args, dict) or re.search(r"\\ud[89a-f]", json.dumps(args)):
        return
    before = tree(share.parent, without=(".uvnas.mutex", "generations"))
    args = {name: value for name, value in _placed(args, share).items() if not name.startswith("_")}
    result = run_module(module, args, check=module in (uv_share, uv_profile, uv_binary))
    if result.get("failed"):
        assert result["msg"]
    assert tree(share.parent, without=(".uvnas.mutex", "generations")) == before
