# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an NFS client keeps of a file that was replaced while it was open. On a real one: tests/nfs/test_repair.py."""

from __future__ import annotations

import errno
import os
import typing as t
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.tests.unit import whole_share
from ansible_collections.uvnas.cluster.tests.unit.whole_share import WholeShare, unpacked, wrong

KEPT = ".nfs000000000001a2b300000007"


def test_it_is_no_damage_and_goes_with_the_next_repair(made: WholeShare, monkeypatch: pytest.MonkeyPatch) -> None:
    busy = made.file(f"alpha/{KEPT}")
    kept = [busy, unpacked(made.root, "alpha") / "alpha" / KEPT, made.interpreter / "bin" / KEPT]
    for path in kept:
        whole_share.add(path, b"damaged")
    assert wrong(made.verify()) == set()
    unlink = os.unlink

    def is_busy(path: t.Any, **how: t.Any) -> None:
        if Path(path) == busy:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
        unlink(path, **how)

    with monkeypatch.context() as patched:
        patched.setattr(os, "unlink", is_busy)
        assert made.repair()["changed"] is False
    assert [path for path in kept if path.exists()] == [busy]
    assert busy.parent.stat().st_mode & 0o777 == 0o555
    made.repair()
    assert made.differences() == []


@pytest.mark.parametrize("name", [".nfs", ".nfsx0000001", "nfs0000000000", f"{KEPT}.py"])
def test_other_names_are_undeclared(made: WholeShare, name: str) -> None:
    whole_share.add(made.file(f"alpha/{name}"))
    assert {what for _place, what in wrong(made.verify())} == {"undeclared"}
