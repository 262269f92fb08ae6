#!/bin/sh
# Make a virtual environment of hashed requirements: venv.sh PYTHON DIRECTORY REQUIREMENTS
#
# It is built from nothing each time, so that it holds what the requirements say and no more; make calls this only when
# they change. pip does it, not uv, so that the site's pip.conf, proxies and mirrors count.
set -eu

python=$1 directory=$2 requirements=$3

if ! "${python:-false}" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
    cat >&2 <<'MESSAGE'
No usable Python: it takes Python 3.11 or newer, with its venv and ensurepip modules.
  Debian, Ubuntu:  apt-get install python3 python3-venv
  RHEL and kin:    dnf install python3.12
Or name one yourself:  make PYTHON=/path/to/python3.12 …
MESSAGE
    exit 1
fi

echo "Making $directory with $("$python" --version) and $requirements"
rm -rf "$directory"
"$python" -m venv "$directory"
"$directory/bin/python" -m pip install -qq --disable-pip-version-check --no-deps --require-hashes -r "$requirements"
touch "$directory/.ready"
