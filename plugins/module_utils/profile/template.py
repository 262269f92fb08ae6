# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Templates of files for shells, in which fill() replaces ``@name@``."""

from __future__ import annotations

import os
import re

from ..share.layout import Layout

# Where things are on a share, relative to its root, whatever that is.
_SHARE = Layout("/share")
_ON_A_SHARE = {
    name: os.path.relpath(path, _SHARE.root)
    for name, path in (("bin", _SHARE.bin_dir), ("user_cache", _SHARE.user_cache), ("python", _SHARE.python))
}


def fill(template: str, **parts: str) -> str:
    """``template`` with its parts filled in; the parts themselves are not expanded."""
    known = {**_ON_A_SHARE, **parts}
    return re.sub("@([a-z_]+)@", lambda match: known[match.group(1)], template)
