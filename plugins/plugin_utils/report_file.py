# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file on the controller that a report is written to."""

from __future__ import annotations

import os
import typing as t

from ..module_utils.host import files


def problem(path: str) -> str | None:
    """Why a report cannot be written to ``path``, an absolute one; None where it can."""
    directory = os.path.dirname(path)
    why = None
    if not os.path.isdir(directory):
        why = f"{directory} is not a directory; make it first"
    elif os.path.lexists(path) and not os.path.isfile(path):
        why = "something else than a file is there"
    elif not os.access(directory, os.W_OK | os.X_OK):
        why = f"you may not write to {directory}"
    return None if why is None else f"uvnas_report_file: cannot write {path}: {why}"


def write(path: str, report: t.Mapping[str, t.Any]) -> None:
    """Have the report at ``path``, in one step, with the mode of any new file. Raises OSError."""
    umask = os.umask(0o077)
    os.umask(umask)
    # Where a link is, its file is meant.
    files.write_json(os.path.realpath(path), report, mode=0o666 & ~umask)
