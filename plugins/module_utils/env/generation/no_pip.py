# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What answers to ``pip`` in an environment without pip: how to make an environment of one's own on top of this one.

Without it an activated shell finds the distribution's pip, which advises people to break their system's packages, and
``%pip`` in a notebook finds nothing. Questions (``pip list``) are passed on to uv.

None of this counts among the ingredients of a generation: one without it, or with an older text, is as good. So a new
text rebuilds nothing.
"""

from __future__ import annotations

import os
import shlex

from ...share.layout import Layout, site_packages

# In the directory for packages. A module, not a distribution: no tool takes it for an installed package.
MODULE = "pip.py"
PROGRAM = "pip"

# POSIX sh. Paths and names come in as assignments; where they are shown, they are quoted for whoever copies them.
_PROGRAM = """\
#!/bin/sh
# Written by uvnas.cluster: there is no pip in this environment.
uv={uv} python={python}
case "${{1:-}}" in
  list | freeze | show | check) exec "$uv" pip "$@" --python "$python" ;;
  install) shift ;;
  *) set -- ;;
esac
[ $# -gt 0 ] || set -- PACKAGE
packages=
for word; do
  case "$word" in
    # Most shells take an unquoted > or < for a file.
    '' | *[!A-Za-z0-9_@%+=:,./-]*)
      quoted=
      while [ "${{word#*\\'}}" != "$word" ]; do
        quoted="$quoted${{word%%\\'*}}'\\''"
        word="${{word#*\\'}}"
      done
      word="'$quoted$word'" ;;
  esac
  packages="$packages $word"
done
case "${{SHELL:-}}" in
  */fish | fish) activate=activate.fish ;;
  *csh) activate=activate.csh ;;
  *) activate=activate ;;
esac
cat >&2 <<'END'
There is no pip in the environment {name}: it is read-only, and everybody's.

To have its packages and yours, make an environment of your own. In a directory of yours, best on the same NAS:

END
command -v uv >/dev/null 2>&1 && shown=uv || shown={shown_uv}
printf '  %s\\n' >&2 \\
  "$shown venv --python "{shown_python}" {plus}" \\
  "source {plus}/bin/$activate" \\
  "$shown pip install -r "{shown_lock}"$packages"
cat >&2 <<'END'

More is on the page "For researchers" of the documentation of uvnas.cluster.
END
[ -z "${{UVNAS_HELP:-}}" ] || printf '%s\\n' "$UVNAS_HELP" >&2
exit 1
"""

# The same on every share: only bin/, RECORDs and files for shells name theirs.
_MODULE = """\
# Written by uvnas.cluster: there is no pip in this environment. "python -m pip" says what to do instead.
import os
import sys

if __name__ != "__main__":
    raise ModuleNotFoundError("No module named 'pip'", name="pip")
generation = os.path.abspath(__file__)
for _level in "lib/pythonX.Y/site-packages/pip.py".split("/"):
    generation = os.path.dirname(generation)
os.execv("/bin/sh", ["sh", os.path.join(generation, "bin", "pip"), *sys.argv[1:]])
"""


def write(layout: Layout, env: str, generation: str, minor: str) -> None:
    """Put it into the generation at this path, before it is sealed, unless something there is called so already.

    That is pip itself, or what another package brought. Raises OSError.
    """
    bin_dir, packages = os.path.join(generation, "bin"), site_packages(generation, minor)
    program, module = os.path.join(bin_dir, PROGRAM), os.path.join(packages, MODULE)
    links = [os.path.join(bin_dir, name) for name in ("pip3", f"pip{minor.rstrip('t')}")]
    if any(map(os.path.lexists, (program, module, os.path.join(packages, "pip"), *links))):
        return
    # By the name of the environment: what people keep in their notes is right after an upgrade, too.
    here = layout.env(env)
    text = _PROGRAM.format(
        name=env,
        plus=f"{env}-plus",
        uv=shlex.quote(layout.uv),
        python=shlex.quote(os.path.join(generation, "bin", "python")),
        shown_uv=_shown(layout.uv),
        shown_python=_shown(os.path.join(here, "bin", "python")),
        shown_lock=_shown(os.path.join(here, os.path.basename(layout.generation_lock(env, "")))),
    )
    with open(program, "w", encoding="utf-8", errors="surrogateescape") as file:
        file.write(text)
        os.fchmod(file.fileno(), 0o755)
    with open(module, "w", encoding="utf-8") as file:
        file.write(_MODULE)
    for link in links:
        os.symlink(PROGRAM, link)


def _shown(path: str) -> str:
    """A word of the script that has the path as somebody would type it."""
    return shlex.quote(shlex.quote(path))
