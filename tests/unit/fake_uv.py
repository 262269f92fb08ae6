# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Stands in for uv where what it installs does not matter."""

from __future__ import annotations

import os
import typing as t
from pathlib import Path

from ansible_collections.uvnas.cluster.plugins.module_utils.host.process import Completed


class FakeUv:
    """Makes environments that look like those of uv; those called bad cannot be installed."""

    def run(
        self,
        cmd: t.Sequence[str],
        *,
        variables: t.Mapping[str, str] | None = None,
        cwd: str | None = None,
        timeout: float | None = None,
        stdin: str | None = None,
    ) -> Completed:
        if cmd[0] == "/bin/sh":  # A check, which succeeds.
            return Completed(0, "", "")
        if cmd[3] == "venv":
            path, interpreter = Path(cmd[-1]), cmd[cmd.index("--python") + 1]
            (path / "bin").mkdir(parents=True)
            (path / "bin" / "python").symlink_to(interpreter)
            (path / "pyvenv.cfg").write_text(f"home = {os.path.dirname(interpreter)}\n", encoding="utf-8")
            info = path / "lib" / "python3.12" / "site-packages" / "iniconfig-2.1.dist-info"
            info.mkdir(parents=True)
            (info / "RECORD").write_text("iniconfig-2.1.dist-info/RECORD,,\n")
        elif "/bad/" in cmd[-1]:
            return Completed(2, "", "error: there is no such wheel\n")
        return Completed(0, "", "")
