#!/usr/bin/env bash
# Installs from Debian what nodes with real pods need, as root and only what is missing; --check only looks.
set -euo pipefail

# package  a program or file of it  what for
needed="
runc                        runc                  runs the containers of pods
containernetworking-plugins /usr/lib/cni/bridge   connects pods to their node
nftables                    nft                   kube-proxy's rules for Services, and faults in tests
iptables                    iptables              host ports of pods
iproute2                    ip                    network namespaces of nodes
conntrack                   conntrack             kube-proxy forgets connections of Services that are gone
procps                      sysctl                the kernel's settings of a node
buildah                     buildah               builds images without a daemon
busybox-static              busybox               the shell and tools of the test image
gcc                         gcc                   compiles the pause program of pods
libc6-dev                   /usr/include/stdio.h  what that program is compiled against"

PATH=$PATH:/usr/sbin:/sbin
missing=() reasons=''
while read -r package file reason; do
  [ -n "$package" ] || continue
  command -v "$file" >/dev/null || [ -e "$file" ] || { missing+=("$package"); reasons+="  $package: $reason"$'\n'; }
done <<<"$needed"
[ "${#missing[@]}" -gt 0 ] || exit 0

printf 'Nodes with real pods need, and this machine lacks:\n%s' "$reasons" >&2
if [ "${1:-}" = --check ]; then
  echo "Install them with tools/cluster/packages.sh, or set KUBECONFIG to a cluster of your own." >&2
  exit 1
fi
if [ ! -f /etc/debian_version ] || [ "$(id -u)" != 0 ]; then
  echo "They are installed here only on Debian and as root. Install them yourself, or set KUBECONFIG to a cluster of your own." >&2
  exit 1
fi
echo "apt-get installs: ${missing[*]}" >&2
apt-get update -q >&2
DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends "${missing[@]}" >&2
