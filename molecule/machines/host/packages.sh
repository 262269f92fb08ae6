#!/bin/sh
# Install packages. Accounts first, so that they have the same ids in every release.
set -eu

account() { # NAME NUMBER
    groupadd --gid "$2" "$1"
    useradd --uid "$2" --gid "$2" --home-dir / --shell /usr/sbin/nologin "$1"
}
account munge 990
account slurm 991

export DEBIAN_FRONTEND=noninteractive
# Keep services from starting while the image is built.
printf '#!/bin/sh\nexit 101\n' >/usr/sbin/policy-rc.d
chmod 755 /usr/sbin/policy-rc.d
# No manual pages.
printf 'path-exclude=/usr/share/man/*\npath-exclude=/usr/share/doc/*\n' >/etc/dpkg/dpkg.cfg.d/machines
apt-get update -qq
apt-get install -qq --no-install-recommends \
    attr acl bindfs dbus e2fsprogs fish iproute2 munge openssh-client openssh-server patchelf procps python3 \
    slurm-client slurmctld slurmd sudo systemd systemd-sysv tcsh xfsprogs zsh
apt-get clean
rm -rf /usr/sbin/policy-rc.d /var/lib/apt/lists/* /var/cache/apt/*.bin
