# Removes nodes, whole or half made, running or crashed: found by their names on the machine as well as by their files.
# Takes $state and the network's names; gives clear_nodes.

clear_nodes() {
  claimed_here || return 0
  local n jobs=() job
  for n in $(nodes_left); do
    clear_node "$n" &
    jobs+=($!)
  done
  for job in "${jobs[@]}"; do wait "$job" || die "something of a node is left; run down again"; done
  # kubelet and the CNI plugins keep these outside the directories they are given.
  find /var/log/containers -lname "$state/*" -delete 2>/dev/null || true
  rm -f /var/lib/cni/results/genie-* /var/lib/cni/results/cni-loopback-*
  # A shim that was killed leaves its socket, which is one of ours if nothing listens on it.
  local socket
  for socket in /run/containerd/s/*; do
    [ ! -S "$socket" ] || grep -qF -- "$socket" /proc/net/unix || rm -f "$socket"
  done
  rmdir /var/log/containers /var/lib/cni/results /var/lib/cni /run/containerd/s /run/containerd 2>/dev/null || true
}

nodes_left() {
  {
    node_numbers
    ls -d /run/netns/genie-n[0-9]* /sys/fs/cgroup/*/genie-n[0-9]* 2>/dev/null | sed 's/.*genie-n//'
  } | sort -nu
}

clear_node() {
  local n=$1 dir=$state/n$1 ns mount
  ns=$(namespace "$n")
  stop "kubelet-n$n"
  stop "proxy-n$n"
  # Pods first, then what runs them: what lives in the node's namespace and is not a pod is a shim or a lost daemon.
  kill_all pids_in_cgroups "$n"
  stop "containerd-n$n"
  kill_all ip netns pids "$ns"
  awk -v under="$dir/" 'index($2, under) == 1 { print $2 }' /proc/mounts | sort -r | while read -r mount; do
    umount -l "$mount" 2>/dev/null || true
  done
  remove_cgroups "$n"
  ip netns delete "$ns" 2>/dev/null || true
  ip link delete "$ns" 2>/dev/null || true
  rm -rf "$dir"
}

pids_in_cgroups() { find /sys/fs/cgroup/*/"genie-n$1" -name cgroup.procs -exec cat {} + 2>/dev/null | sort -u; }

# kill_all COMMAND...: kills the processes the command lists until it lists none.
kill_all() {
  local pids tries
  for tries in {1..50}; do
    pids=$("$@" 2>/dev/null) || true
    [ -n "$pids" ] || return 0
    kill -KILL $pids 2>/dev/null || true
    sleep 0.1
  done
  die "processes do not end: $pids ($*)"
}

remove_cgroups() {
  local tries
  for tries in {1..50}; do
    find /sys/fs/cgroup/*/"genie-n$1" -depth -type d -exec rmdir {} + 2>/dev/null || true
    ls -d /sys/fs/cgroup/*/"genie-n$1" >/dev/null 2>&1 || return 0
    sleep 0.1
  done
  die "the cgroups genie-n$1 cannot be removed"
}
