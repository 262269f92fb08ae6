#!/bin/sh
# Make /machines/srun.tar.gz: this Debian's srun, in separate directories, for hosts with a newer Slurm.
#
# An srun must not be newer than the slurmd that it talks to, so a devserver needs its oldest node's.
set -eu

work=$(mktemp -d)
cd "$work"
apt-get update -qq
apt-get download -qq slurm-client slurm-wlm-basic-plugins
rm -rf /var/lib/apt/lists/*
for package in *.deb; do dpkg --extract "$package" unpacked; done

# A path of the same length, because it is compiled into the programs.
libraries=$(echo unpacked/usr/lib/*/slurm-wlm)
old=${libraries%-wlm}-old
mv "$libraries" "$old"
mkdir -p unpacked/usr/local/bin
mv unpacked/usr/bin/srun unpacked/usr/bin/salloc unpacked/usr/local/bin/
sed -i 's#/slurm-wlm#/slurm-old#g' "$old"/* unpacked/usr/local/bin/*
tar --create --gzip --directory unpacked --file /machines/srun.tar.gz "${old#unpacked/}" usr/local/bin
rm -rf "$work"
