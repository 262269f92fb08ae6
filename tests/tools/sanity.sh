#!/usr/bin/env bash
# Run `ansible-test sanity` on the working tree: sanity.sh VENV [ARGUMENT…]
#
# ansible-test wants the collection in a real directory …/ansible_collections/NAMESPACE/NAME (it resolves symlinks away) of
# a git repository, so the working tree is copied to build/sanity: what git tracks, and what is new and not ignored. The
# environments that the tests need are made once and kept there too, in a home directory of their own.
set -euo pipefail

venv=$(realpath "$1")
shift
tools=$(dirname "$(realpath "$0")")
root=$(dirname "$(dirname "$tools")")
work=$root/build/sanity
copy=$work/ansible_collections/uvnas/cluster
home=$work/home

# The copy. safe.directory: root may test a checkout of somebody else.
rm -rf "$copy"
mkdir -p "$copy"
cd "$root"
git -c safe.directory='*' ls-files -z --cached --others --exclude-standard --deduplicate |
    while IFS= read -r -d '' file; do [ -f "$file" ] && printf '%s\0' "$file"; done |
    tar --create --null --no-recursion --files-from=- | tar --extract --directory="$copy"
cd "$copy"
git init --quiet
git add --all
git -c user.name=sanity -c user.email=sanity@localhost commit --quiet --no-verify --message 'Working tree'

# Its own home, with what configures pip and git for this user.
mkdir -p "$home/.ansible/test/cache"
for name in .config .cache .pip .netrc .gitconfig; do
    if [ -e "$HOME/$name" ] && [ ! -e "$home/$name" ]; then ln -s "$HOME/$name" "$home/$name"; fi
done

# ansible-test downloads a script that puts pip into its environments. Where that host cannot be reached, the pip that
# comes with Python does: this stand-in takes the same arguments, and has the real script's name in ansible-test's cache.
pip_version=$("$venv/bin/python" -c '
import pathlib, re, ansible_test
text = (pathlib.Path(ansible_test.__path__[0]) / "_internal/python_requirements.py").read_text()
print(re.search(r"pip=\W(\d[\d.]*)", text).group(1))')
script=$home/.ansible/test/cache/get_pip_$(echo "$pip_version" | tr . _).py
url=https://ci-files.testing.ansible.com/ansible-test/get-pip-$pip_version.py
if [ ! -e "$script" ] && ! "$venv/bin/python" "$tools/download.py" "$url" "$script"; then
    cat >"$script" <<'PYTHON'
import subprocess, sys
subprocess.check_call([sys.executable, "-m", "ensurepip", "--upgrade"])
options = [option for option in sys.argv[1:] if option not in ("--no-setuptools", "--no-wheel")]
sys.exit(subprocess.call([sys.executable, "-m", "pip", "install", *options]))
PYTHON
fi

# Modules run on Python 3.9 and newer, so these tests use both ends, where a Python 3.9 is to be found.
targets=$("$venv/bin/python" -c 'import sys; print("--target-python %d.%d@%s" % (*sys.version_info[:2], sys.executable))')
path=$venv/bin
if oldest=$("$tools/find-python.sh" 3.9 3.9); then
    targets="$targets --target-python 3.9@$oldest"
    path=$path:$(dirname "$oldest")  # It looks there for one to make environments with, and trips over a pyenv shim.
fi

sanity() {
    # shellcheck disable=SC2086  # A list of options.
    HOME=$home PATH=$path:$PATH "$venv/bin/ansible-test" sanity --color no \
        --controller origin:python=default@"$venv/bin/python" $targets "$@"
}

# First make the environments, which says much that matters only when it fails. Then test.
sanity --prime-venvs "$@" >"$work/prepare.log" 2>&1 || { cat "$work/prepare.log" >&2; exit 1; }
sanity "$@"
