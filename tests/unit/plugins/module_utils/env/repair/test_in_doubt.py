# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Unpacked wheels that are dropped because of a power cut, while a share is repaired."""

from __future__ import annotations

import json
from pathlib import Path

from ansible_collections.uvnas.cluster.tests.unit import whole_share
from ansible_collections.uvnas.cluster.tests.unit.whole_share import not_done, unpacked, wrong


def test_what_is_gone_is_no_damage(tmp_path: Path) -> None:
    made = whole_share.make(tmp_path / "uv", envs={"train": ("alpha",)})
    # Of a wheel that no environment has, so that nobody can repair it.
    (unpacked(made.root, "beta") / "beta.py").unlink()
    whole_share.remove(made.pyc("alpha/core.py"))
    (made.root / "cache" / ".uvnas-unsynced.json").write_text(json.dumps({"boot": "another"}))
    result = made.repair()
    assert ("beta.py", "missing") in wrong(result)
    assert not unpacked(made.root, "beta").exists()
    assert not_done(result) == {}
    assert wrong(made.verify()) == set()
