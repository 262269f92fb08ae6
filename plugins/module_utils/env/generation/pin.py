# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Marks a running Python with its generation, and pins one that was started as ``envs/<env>/bin/python`` to it.

Python reads ``.pth`` files at each start (see its module site), with ``-I`` too, but not with ``-S``. Ours sorts
last, because others add to ``sys.path``.

**The mark** says who uses a generation: between two imports a process need not have any file of it open. So each maps
one page of a file, and ``/proc/PID/maps`` shows the generation's own path for as long as the process lives: in forked
children, whatever descriptors are closed, and when ``envs/<env>`` means another one. Nothing touches the page, so
nothing reads it. What cannot be marked starts all the same: for lack of a module mmap, of address space, or of
mappings on a filesystem.

The file is the ``.pth`` itself. It is there when smoke tests run, unlike the manifest, is never replaced, and Python
has had it open just before, so that a NAS has little to answer. Other Pythons that bring in the packages by
``site.addsitedir()`` are marked too, as they would miss them just as much. Who only has them on ``sys.path`` is not.

What keeps the page is in ``sys``, where nobody looks, and whose end is the last that happens to a Python's objects.
This matters before Python 3.13: there, mmap also keeps a descriptor. It is closed on exec, but who closes all
descriptors may get its number for a file of their own, which is closed with the page, and so must have been written
by then.

**The pin.** A Python that was started as ``envs/<env>/bin/python`` takes ``envs/<env>`` as its prefix, because it
does not resolve directory links. Without a pin, what it imports after an upgrade, and every process that it starts by
``sys.executable``, comes from the new generation. If the prefix is the generation already, as in an activated shell,
this costs one comparison. Otherwise a script runs that contains the path of its generation; from then on nothing goes
through the link, so it may move.
"""

from __future__ import annotations

import os

PTH = "zzz_uvnas_pin.pth"
SCRIPT = ".uvnas-pin.py"

# Python wants a .pth's code on one line. Compiling it is most of what it costs, so each start compiles only what it
# needs: the rest is text in text. Never by compile(), which at first sets up the module ast: 0.7 to 0.9 ms. In a
# virtual environment, site reads each .pth twice.
_PTH = (
    "import sys; {pth} in getattr(sys, '_uvnas_marks', ()) or exec({mark}, {{'sys': sys}}); "
    "sys.prefix == {generation} or exec({pin}, {{}})\n"
)

# Mapped privately, as programs are: some filesystems can do no more.
_MARK = """\
try:
    if "mmap" in sys.builtin_module_names:
        import mmap
    else:
        exec({load})
    more = {{"trackfd": False}} if sys.version_info >= (3, 13) else {{}}
    with open({pth}, "rb", 0) as file:
        page = mmap.mmap(file.fileno(), 1, mmap.MAP_PRIVATE, mmap.PROT_READ, **more)
    sys.__dict__.setdefault("_uvnas_marks", {{}})[{pth}] = page
except Exception:
    pass
"""

# From the standard library, by hand: a mmap.py on PYTHONPATH must not run, and one beside a script not be hidden.
_LOAD = """\
mmap = sys.modules.get("mmap")
if mmap is None:
    import os
    from _frozen_importlib_external import PathFinder
    spec = PathFinder.find_spec("mmap", [os.path.dirname(os.__file__) + "/lib-dynload"])
    mmap = spec.loader.create_module(spec)
    spec.loader.exec_module(mmap)
    sys.modules.pop("mmap", None)
"""

_PIN = """\
with open({script}, "rb") as file:
    exec(file.read(), {{}})
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
    """Write mark and pin to the generation at this absolute path, before it is sealed. Raises OSError."""
    script, pth = os.path.join(generation, SCRIPT), os.path.join(site_packages, PTH)
    _write(script, _SCRIPT.format(generation=ascii(generation)))
    mark = _MARK.format(load=ascii(_LOAD), pth=os.fsencode(pth))
    start = _PIN.format(script=ascii(script))
    parts = {"pth": os.fsencode(pth), "mark": ascii(mark), "generation": ascii(generation), "pin": ascii(start)}
    _write(pth, _PTH.format(**parts))


def _write(path: str, text: str) -> None:
    with open(path, "w", encoding="utf-8") as file:
        file.write(text)
