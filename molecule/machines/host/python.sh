#!/bin/sh
# Make /machines/python.tar.gz: this Debian's Python, as a site-supplied interpreter for the shares. It bundles the shared
# libraries that it needs, except glibc's, so that it runs on every newer Debian, too.
set -eu

series=$(python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])')
work=$(mktemp -d)
python=$work/python
mkdir -p "$work/unpacked" "$python/bin" "$python/lib/machines"

cd "$work"
apt-get update -qq
packages="python$series-minimal libpython$series-minimal libpython$series-stdlib"
# Before 3.12, most of distutils, which uv asks for paths, is a separate package.
if [ "$(apt-cache policy python3-distutils | wc -l)" -gt 1 ]; then packages="$packages python3-distutils"; fi
# shellcheck disable=SC2086  # A list of words.
apt-get download -qq $packages
for package in *.deb; do dpkg --extract "$package" unpacked; done
rm -rf /var/lib/apt/lists/*

cp "unpacked/usr/bin/python$series" "$python/bin/"
ln -s "python$series" "$python/bin/python3"
cp -R "unpacked/usr/lib/python$series" "$python/lib/"
# A link to /etc.
rm -f "$python/lib/python$series/sitecustomize.py"

bundle() { # FILE RUNPATH
    ldd "$1" | sed -n 's/.* => \(\/[^ ]*\) .*/\1/p' | while read -r library; do
        case ${library##*/} in
            libc.so* | libm.so* | libpthread.so* | libdl.so* | librt.so* | libutil.so* | libresolv.so* | libnsl.so*) ;;
            *) cp --dereference --update "$library" "$python/lib/machines/" ;;
        esac
    done
    # RPATH, not RUNPATH, applies to dependencies of the bundled libraries, too.
    patchelf --force-rpath --set-rpath "$2" "$1"
}
# shellcheck disable=SC2016  # The loader replaces $ORIGIN.
bundle "$python/bin/python$series" '$ORIGIN/../lib/machines'
for module in "$python/lib/python$series/lib-dynload"/*.so; do
    # shellcheck disable=SC2016
    bundle "$module" '$ORIGIN/../../machines'
done

"$python/bin/python3" -c 'import ctypes, decimal, sqlite3, ssl, zlib'
"$python/bin/python3" -c 'import platform; print(platform.python_version())' >/machines/python.version
tar --create --gzip --owner 0 --group 0 --directory "$work" --file /machines/python.tar.gz python
rm -rf "$work"
