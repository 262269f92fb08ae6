#!/usr/bin/env bash
# make demo: one share below .demo, from nothing to two environments, with nothing but this checkout.
set -euo pipefail
cd "$(dirname "$0")/../.."
umask 022  # Nobody else may write to a directory that a share is in.
demo=${UVNAS_DEMO_DIR:-$PWD/.demo}
echo "+ mkdir -p $demo/nas"
mkdir -p "$demo/nas"
echo "The share is in $demo/nas/uv. Its interpreter is packed from $(python -c 'import sys; print(sys.base_prefix)'),"
echo "as a site-supplied one, so that no interpreter download is needed."
echo
echo "+ ansible-playbook -i inventories/quickstart/hosts.yml playbooks/site.yml $*"
ansible-playbook -i inventories/quickstart/hosts.yml playbooks/site.yml "$@"
cat <<END

What to type next:
  . $demo/profile.d/uvnas.sh                        the exports a login shell would get (not as root)
  source $demo/nas/uv/envs/analysis/bin/activate    activate an environment; deactivate leaves it
  $demo/nas/uv/envs/report/bin/python -c 'import rich; print(rich)'
  cat $demo/nas/uv/envs/analysis/.uvnas.json        what is in it, from what, built when and by what
Then change a line of inventories/quickstart/group_vars/all/site.yml and run make demo again.
END
