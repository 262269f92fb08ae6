#!/bin/sh
# Make /machines/srun.tar.gz: this Debian's srun, in directories of its own, for hosts that have a newer Slurm.
#
# Slurm wants no srun that is newer than a slurmd it talks to, so a devserver needs that of its oldest node.
set -eu

work=$(mktemp -d)
cd "$work"
apt-get update -qq
apt-get download -qq slurm-client slurm-wlm-basic-plugins
rm -rf /var/lib/apt/lists/*
for package in *.deb; do dpkg --extract "$package" unpacked; done

# A path of the same length, since it is in the programs too.
libraries=$(echo unpacked/usr/lib/*/slurm-wlm)
old=${libraries%-wlm}-old
mv "$libraries" "$old"
mkdir -p unpacked/usr/local/bin
mv unpacked/usr/bin/srun unpacked/usr/bin/salloc unpacked/usr/local/bin/
sed -i 's#/slurm-wlm#/slurm-old#g' "$old"/* unpacked/usr/local/bin/*
tar --create --gzip --directory unpacked --file /machines/srun.tar.gz "${old#unpacked/}" usr/local/bin
rm -rf "$work"
