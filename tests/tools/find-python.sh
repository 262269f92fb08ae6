#!/bin/sh
# Print the path of a Python between two minor versions, both included: find-python.sh 3.12 3.14 [--oldest]
#
# Looks along PATH, then where pyenv and uv keep theirs. A candidate counts only if it runs, and if it can make virtual
# environments: a pyenv shim of a version that is not active, and a Python without ensurepip, are passed over. Of a virtual
# environment it names the Python that made it, since that environment may be the one to be made anew. Prints nothing and
# returns 1 where there is none. Needs nothing but sh, because it runs before anything is installed.
set -eu

oldest_minor=${1#3.}
newest_minor=${2#3.}
probe='import ensurepip, ssl, sys, sysconfig, venv
if sysconfig.get_config_var("Py_GIL_DISABLED") or "%d.%d" % sys.version_info[:2] != sys.argv[1]:
    sys.exit(1)
print(getattr(sys, "_base_executable", None) or sys.executable)'

find_minor() {
    version=3.$1
    for candidate in \
        "$(command -v "python$version" || true)" \
        "$(command -v python3 || true)" \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version"*/bin/python3 \
        "${UV_PYTHON_INSTALL_DIR:-${XDG_DATA_HOME:-$HOME/.local/share}/uv/python}"/cpython-"$version".*/bin/python3; do
        [ -x "$candidate" ] && "$candidate" -c "$probe" "$version" 2>/dev/null && return 0
    done
    return 1
}

minors=$(seq "$newest_minor" -1 "$oldest_minor")
[ "${3:-}" = --oldest ] && minors=$(seq "$oldest_minor" "$newest_minor")
for minor in $minors; do
    find_minor "$minor" && exit 0
done
exit 1
