#!/usr/bin/env bash
# Copyright (c) 2026, the uvnas.cluster contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The first process of the machine: serves /export by NFS, sets up two clients with their own namespaces, runs pytest.
set -u
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin HOME=/root LC_ALL=C.UTF-8

mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t tmpfs run /run
mount -t tmpfs tmp /tmp
mount -t tmpfs -o mode=0755,size=2g export /export
mkdir -p /run/rpcbind /run/rpc_pipefs /dev/pts /dev/shm
mount -t devpts pts /dev/pts
mount -t tmpfs shm /dev/shm
argument() { tr ' ' '\n' </proc/cmdline | sed -n "s/^$1=//p"; }
mount -t hostfs -o "$(argument checkout)" checkout /checkout
mount -t hostfs -o "$(argument state)" state /state
ip link set lo up
hostname server

# Otherwise the first lock after a server start waits for 50 s.
modprobe lockd nlm_grace_period=5
modprobe -a nfs nfsv4 nfsd veth bridge
mount -t rpc_pipefs pipefs /run/rpc_pipefs
mount -t nfsd nfsd /proc/fs/nfsd
# Otherwise the first open waits for 90 s.
echo 10 >/proc/fs/nfsd/nfsv4leasetime
echo 10 >/proc/fs/nfsd/nfsv4gracetime
rpcbind -w

mapfile -d '' -t arguments </state/arguments
cd /checkout || exit
PYTHONPATH=/opt/python python3 -m pytest -p no:cacheprovider --rootdir /checkout \
    --junit-xml=build/results/nfs.xml "${arguments[@]}" </dev/null
echo $? >/state/status
sync
echo o >/proc/sysrq-trigger
sleep 60
