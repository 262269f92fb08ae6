# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parsing of URLs."""

from __future__ import annotations

from urllib.parse import SplitResult, urlsplit

from ..errors import SpecError
from .data import is_text
from .secrets import shown


def split_url(url: str) -> SplitResult:
    """The parts of ``url``. Raises SpecError if it is not a URL."""
    try:
        parts = urlsplit(url)
        _port = parts.port  # Parsed only on access.
        if not is_text(url):
            raise ValueError
    except ValueError:  # Its text may contain what must not be shown.
        raise SpecError(
            f"{shown(url)} is not a valid URL", hint="Brackets are for IPv6 only, and a port is a number."
        ) from None
    return parts
