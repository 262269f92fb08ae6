# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print what pytest counted, a line per run and one for all: summary.py RESULT.xml…"""

from __future__ import annotations

import collections
import sys
import xml.etree.ElementTree as ET
from pathlib import Path


def counts(path: Path) -> collections.Counter[str]:
    """How many tests of one junit file passed, failed and were skipped; an error counts as failed."""
    found: collections.Counter[str] = collections.Counter()
    for suite in ET.parse(path).getroot().iter("testsuite"):
        total, skipped = int(suite.get("tests", 0)), int(suite.get("skipped", 0))
        failed = int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        found.update(passed=total - failed - skipped, failed=failed, skipped=skipped)
    return found


def line(found: collections.Counter[str]) -> str:
    return ", ".join(f"{found[what]} {what}" for what in ("passed", "failed", "skipped"))


def main(paths: list[Path]) -> int:
    total: collections.Counter[str] = collections.Counter()
    for path in paths:
        found = counts(path)
        total += found
        print(f"{path.stem}: {line(found)}")
    print(f"total: {line(total)}")
    return 1 if total["failed"] or not total["passed"] else 0


if __name__ == "__main__":
    sys.exit(main([Path(name) for name in sys.argv[1:]]))
