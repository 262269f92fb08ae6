# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who runs Ansible, and where: for the journals of shares."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket


def author() -> dict[str, str]:
    """The options of modules that write to a journal. With sudo, it is the person who used it."""
    user = os.environ.get("SUDO_USER", "")
    with contextlib.suppress(OSError, KeyError):  # A number without a name.
        user = user or getpass.getuser()
    return {"journal_user": user, "journal_controller": socket.gethostname()}
