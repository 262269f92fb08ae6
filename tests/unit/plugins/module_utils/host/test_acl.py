# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Default ACLs, as the kernel has them."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from ansible_collections.uvnas.cluster.plugins.module_utils.host import acl


def test_default_acls() -> None:
    # As setfacl -d -m u::rwx,g::rwx,o::rx writes it.
    found = bytes.fromhex("02000000 01000700ffffffff 04000700ffffffff 20000500ffffffff".replace(" ", ""))
    assert acl.default_acl(0o2775) == found
    assert acl.kind(found) == acl.GROUP
    assert acl.kind(acl.default_acl(0o2770)) == acl.GROUP
    assert acl.kind(acl.default_acl(0o755)) == acl.OTHER
    assert acl.kind(b"") == acl.NONE
    # u::rwx,g::rwx,g:5:rwx,m::r-x,o::---: the mask takes the right to write away.
    masked = "02000000 01000700ffffffff 04000700ffffffff 0800070005000000 10000500ffffffff 20000000ffffffff"
    assert acl.kind(bytes.fromhex(masked.replace(" ", ""))) == acl.OTHER
    assert acl.kind(bytes.fromhex(masked.replace("10000500", "10000700").replace(" ", ""))) == acl.GROUP


def test_default_acl_of_a_directory(tmp_path: Path) -> None:
    assert acl.default_acl_of(str(tmp_path)) == b""
    os.setxattr(tmp_path, acl.DEFAULT_ACL, acl.default_acl(0o2775))
    assert acl.default_acl_of(str(tmp_path)) == acl.default_acl(0o2775)
    assert acl.default_acl_of("/proc") is None
    with pytest.raises(FileNotFoundError):
        acl.default_acl_of(str(tmp_path / "absent"))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
def test_what_cannot_be_seen_is_not_absent(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def getxattr(path: str, name: str) -> bytes:
        raise OSError(number, os.strerror(number), path)

    monkeypatch.setattr(os, "getxattr", getxattr)
    with pytest.raises(OSError, match=os.strerror(number)):
        acl.default_acl_of("/srv")
