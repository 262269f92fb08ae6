# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The program that tells whether the modules of an environment can be imported."""

from __future__ import annotations

# Run inside an environment: import each module by itself, so that the one that fails has a name.
IMPORTS = """
import importlib, sys, traceback
failed = 0
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except BaseException as error:
        failed = 1
        print("import " + name + " failed:", file=sys.stderr)
        # Frames of files: neither this one nor what Python does in order to import.
        frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename[:1] != "<"]
        lines = traceback.format_list(frames[-3:]) + traceback.format_exception_only(type(error), error)
        print("".join(lines), end="", file=sys.stderr)
sys.exit(failed)
"""
