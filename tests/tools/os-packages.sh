#!/bin/sh
# Have what the tests use of the operating system: os-packages.sh [machines | nfs]
#
# As root on Debian or Ubuntu: install what is missing. Otherwise: say it. With "machines" it is about molecule's hosts,
# with "nfs" about the machine that has NFS.
set -eu

# A command that the tests run, and the Debian package it comes from.
wanted='
bindfs      bindfs
bsd-csh     csh
busybox     busybox
cc          gcc
dash        dash
fish        fish
git         git
ip          iproute2
ksh93       ksh93u+m
mkfs.ext4   e2fsprogs
mkfs.xfs    xfsprogs
mksh        mksh
mount       mount
setpriv     util-linux
shellcheck  shellcheck
strace      strace
strip       binutils
sudo        sudo
tcsh        tcsh
unshare     util-linux
xz          xz-utils
zsh         zsh
'

wanted_by_the_machines='
/usr/lib/podman/aardvark-dns  aardvark-dns
/usr/lib/podman/netavark      netavark
iptables    iptables
losetup     mount
mkfs.ext4   e2fsprogs
mkfs.xfs    xfsprogs
mmdebstrap  mmdebstrap
newuidmap   uidmap
nft         nftables
podman      podman
runc        runc
ssh         openssh-client
'

wanted_by_nfs='
cc          gcc
mmdebstrap  mmdebstrap
'
case ${1:-} in
    machines) wanted=$wanted_by_the_machines ;;
    nfs) wanted=$wanted_by_nfs ;;
esac

PATH=$PATH:/usr/sbin:/sbin
missing=$(echo "$wanted" | while read -r command package; do
    [ -z "$command" ] || command -v "$command" >/dev/null || echo "$package"
done | sort -u | tr '\n' ' ')
[ -z "$missing" ] && exit 0

if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then
    echo "The tests need these Debian packages, or what your system calls them: $missing" >&2
    echo "Install them first, for example:  sudo apt-get install --no-install-recommends $missing" >&2
    exit 1
fi

echo "Installing $missing"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086  # A list of words.
apt-get install -qq --no-install-recommends $missing
