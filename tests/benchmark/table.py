# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table of measurements: median, comparison and target."""

from __future__ import annotations

import dataclasses
import statistics
import typing as t

HEADINGS = ("what", "median", "unit", "ratio", "of", "target", "met")


@dataclasses.dataclass
class Table:
    """Rows in the order of measurement."""

    rows: list[tuple[str, ...]] = dataclasses.field(default_factory=list)

    def section(self, title: str) -> None:
        self.rows.append((title,))

    def add(
        self,
        what: str,
        values: t.Sequence[float] | float,
        unit: str = "s",
        *,
        base: float | None = None,
        of: str = "",
        target: str = "",
        met: bool | None = None,
    ) -> float:
        """Add a row and return the median. The ratio is to ``base``."""
        value = statistics.median(values) if isinstance(values, t.Sequence) else float(values)
        ratio = f"{value / base:.2f}x" if base else ""
        verdict = "" if met is None else ("yes" if met else "NO")
        self.rows.append((what, _number(value), unit, ratio, of if base else "", target, verdict))
        return value

    def text(self, caption: str) -> str:
        full = [row for row in self.rows if len(row) > 1]
        widths = [max(len(row[i]) for row in [HEADINGS, *full]) for i in range(len(HEADINGS))]
        lines = [caption, "", _line(HEADINGS, widths), "  ".join("-" * width for width in widths)]
        for row in self.rows:
            lines += ["", row[0]] if len(row) == 1 else [_line(row, widths)]
        return "\n".join(lines)


def _line(row: t.Sequence[str], widths: t.Sequence[int]) -> str:
    # The second and the fourth column are numbers: align right.
    cells = [row[i].rjust(width) if i in (1, 3) else row[i].ljust(width) for i, width in enumerate(widths)]
    return "  ".join(cells).rstrip()


def _number(value: float) -> str:
    if value == int(value):
        return f"{int(value):,}".replace(",", " ")
    return f"{value:.2f}" if value < 1000 else f"{value:,.0f}".replace(",", " ")
