# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What has a Python that was started as ``envs/<env>/bin/python`` stay with the generation it began with.

Such a Python takes ``envs/<env>`` for its prefix, as it does not follow links that lead to it. Without this, what it
imports after an upgrade comes from the new generation, and so does every process that it starts by ``sys.executable``.

A ``.pth`` file is read at each start (see the documentation of Python's module site), with ``-I`` too, but not with
``-S``. It is named so as to be the last one, because others add to ``sys.path``. Where the prefix is the generation
already, as in an activated shell, it costs one comparison. Otherwise it runs a script, which has the path of its own
generation in it: from there on nothing follows the link, so that it does not matter when it moves.
"""

from __future__ import annotations

import os

PTH = "zzz_uvnas_pin.pth"
SCRIPT = ".uvnas-pin.py"

_PTH = """\
import sys; sys.prefix == {generation} or exec(compile(open({script}, "rb").read(), {script}, "exec"), {{}})
"""

_SCRIPT = '''\
# Written by uvnas.cluster. Run at the start of a Python that was started by another name than its generation's own.
import os
import site
import sys

GENERATION = {generation}
prefix = sys.prefix


def pinned(path):
    """``path``, by way of the generation if it was by way of the prefix."""
    if isinstance(path, str) and (path + os.sep).startswith(prefix + os.sep):
        return GENERATION + path[len(prefix) :]
    return path


def pin(thing, *names):
    for name in names:
        if isinstance(getattr(thing, name, None), str):
            setattr(thing, name, pinned(getattr(thing, name)))


# Only if the prefix is a name of this environment: site.addsitedir() brings other Pythons here too.
if os.path.dirname(os.path.realpath(prefix)) == os.path.realpath(os.path.dirname(GENERATION)):
    # What was imported until now, mostly by other .pth files.
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
    """Put the pin into the generation at this path (absolute), before it is sealed. Raises OSError."""
    script = os.path.join(generation, SCRIPT)
    _write(script, _SCRIPT.format(generation=ascii(generation)))
    _write(os.path.join(site_packages, PTH), _PTH.format(generation=ascii(generation), script=ascii(script)))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
