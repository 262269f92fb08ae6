#!/bin/sh
# Create users, and choose which services run on which host.
set -eu

groupadd --gid 2000 research
user() { useradd --uid "$2" --gid research --no-create-home --home-dir "/home/$1" --shell /bin/bash "$1"; }
user uvadmin 2000
user alice 2001
user bob 2002

install -d -o munge -g munge -m 0700 /etc/munge
install -o munge -g munge -m 0400 /machines/munge.key /etc/munge/munge.key
rm /machines/munge.key
install -D -m 0644 /machines/slurm.conf /etc/slurm/slurm.conf
install -d -o slurm -g slurm /var/spool/slurmctld /var/log/slurm
install -d /var/spool/slurmd
# Older sshds have no sshd_config.d; the first value counts.
cat /machines/sshd.conf /etc/ssh/sshd_config >/etc/ssh/sshd_config.new
mv /etc/ssh/sshd_config.new /etc/ssh/sshd_config

only_on() { # SERVICE HOSTS
    mkdir -p "/etc/systemd/system/$1.service.d"
    printf '[Unit]\nConditionHost=%s\nAfter=munge.service\n' "$2" >"/etc/systemd/system/$1.service.d/machines.conf"
    systemctl enable "$1.service"
}
only_on slurmctld 'dev*'
only_on slurmd 'node-*'
systemctl enable munge.service ssh.service
# These make no sense in a container.
systemctl mask getty.target console-getty.service systemd-networkd.service systemd-resolved.service \
    systemd-udevd.service apt-daily.timer apt-daily-upgrade.timer e2scrub_all.timer fstrim.timer
