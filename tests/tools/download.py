# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Download a URL to a file, or return 1 where its host cannot be reached: download.py URL FILE"""

from __future__ import annotations

import shutil
import sys
import urllib.request
from pathlib import Path


def main(url: str, path: Path) -> int:
    partial = path.with_suffix(".part")
    try:
        with urllib.request.urlopen(url, timeout=10) as source, partial.open("wb") as target:
            shutil.copyfileobj(source, target)
    except OSError as error:
        print(f"Cannot download {url}: {error}", file=sys.stderr)
        return 1
    partial.replace(path)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2])))
