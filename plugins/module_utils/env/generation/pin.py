# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Pins a Python that was started as ``envs/<env>/bin/python`` to the generation that it started with.

Such a Python takes ``envs/<env>`` as its prefix, because it does not resolve directory links. Without a pin, what it
imports after an upgrade, and every process that it starts by ``sys.executable``, comes from the new generation.

Python reads ``.pth`` files at each start (see its module site), with ``-I`` too, but not with ``-S``. Ours sorts last,
because others add to ``sys.path``. If the prefix is the generation already, as in an activated shell, it costs one
comparison. Otherwise it runs a script that contains the path of its generation; from then on nothing goes through the
link, so it may move.
"""

from __future__ import annotations

import os

PTH = "zzz_uvnas_pin.pth"
SCRIPT = ".uvnas-pin.py"

_PTH = """\
import sys; sys.prefix == {generation} or exec(compile(open({script}, "rb").read(), {script}, "exec"), {{}})
"""

_SCRIPT = '''\
# Written by uvnas.cluster. Runs when Python was started by a path other than its generation's own.
import os
import site
import sys

GENERATION = {generation}
prefix = sys.prefix


def pinned(path):
    """``path``, with the prefix replaced by the generation."""
    if isinstance(path, str) and (path + os.sep).startswith(prefix + os.sep):
        return GENERATION + path[len(prefix) :]
    return path


def pin(thing, *names):
    for name in names:
        if isinstance(getattr(thing, name, None), str):
            setattr(thing, name, pinned(getattr(thing, name)))


# Only if the prefix is this environment: site.addsitedir() brings other Pythons here too.
if os.path.dirname(os.path.realpath(prefix)) == os.path.realpath(os.path.dirname(GENERATION)):
    # Already imported, mostly by other .pth files.
    for module in list(sys.modules.values()):
        pin(module, "__file__", "__cached__")
        spec = getattr(module, "__spec__", None)
        pin(spec, "origin", "cached")
        pin(getattr(spec, "loader", None), "path")
        for paths in (getattr(module, "__path__", None), getattr(spec, "submodule_search_locations", None)):
            if isinstance(paths, list):
                paths[:] = map(pinned, paths)
    pin(sys, "exec_prefix", "executable", "_base_executable", "prefix")
    sys.path[:] = map(pinned, sys.path)
    site.PREFIXES[:] = map(pinned, site.PREFIXES)
    for path in list(sys.path_importer_cache):
        if pinned(path) != path:
            del sys.path_importer_cache[path]
'''


def write(generation: str, site_packages: str) -> None:
    """Write the pin to the generation at this absolute path, before it is sealed. Raises OSError."""
    script = os.path.join(generation, SCRIPT)
    _write(script, _SCRIPT.format(generation=ascii(generation)))
    _write(os.path.join(site_packages, PTH), _PTH.format(generation=ascii(generation), script=ascii(script)))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
