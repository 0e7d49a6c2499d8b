# The network that nodes live in, and the machine-wide things that `down` gives back.
# A portless bridge in the host's network namespace carries the control plane; every node is a namespace of its own on a
# veth pair. Nodes have no default route and the host does not forward, so nothing leaves the machine.
# Takes $state; gives claim_machine, hold_machine, make_bridge, make_node_network, node_down, node_up, clear_network.

bridge=genie0
host_ip=10.99.0.1
pod_range=10.244.0.0/16
# Names and addresses on the machine are fixed, so one cluster with nodes is up at a time; this says whose.
claim=/run/genie-lm-nodes
# kubelet sets these for the whole machine.
sysctls='vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys.root_maxkeys kernel.keys.root_maxbytes'

node_ip() { echo "10.99.0.$((10 + $1))"; }
namespace() { echo "genie-n$1"; }
in_node() { echo "nsenter --net=/run/netns/$(namespace "$1")"; }

claimed_here() { [ ! -f "$claim/state" ] || [ "$(<"$claim/state")" = "$state" ]; }

# Refuses while another cluster is up; clears away what one that crashed has left.
claim_machine() {
  [ "$(id -u)" = 0 ] || die "nodes need root: run it as root, or set KUBECONFIG to a cluster of your own"
  claimed_here && return
  local other
  other=$(<"$claim/state")
  if (state=$other; running apiserver); then
    die "a cluster with nodes is up in $other; take it down first: cluster.sh nodes down --state $other"
  fi
  (state=$other; clear_away)
}

hold_machine() {
  mkdir "$claim" || die "another cluster with nodes is being started on this machine"
  echo "$state" >"$claim/state"
  sysctl $sysctls >"$claim/sysctl" 2>/dev/null || true
}

make_bridge() {
  ip link add "$bridge" type bridge
  ip address add "$host_ip/24" dev "$bridge"
  ip link set "$bridge" up
  # Addresses of Services and pods never leave through another interface, whatever else is missing.
  ip route add "$service_range" dev "$bridge"
  ip route add blackhole "$pod_range" metric 4000
}

make_node_network() {
  local n=$1 ns ip other
  ns=$(namespace "$n") ip=$(node_ip "$n")
  ip netns add "$ns"
  ip link add "$ns" type veth peer name eth0 netns "$ns"
  ip link set "$ns" master "$bridge" up
  ip -n "$ns" address add "$ip/24" dev eth0
  ip -n "$ns" link set lo up
  ip -n "$ns" link set eth0 up
  $(in_node "$n") sysctl -qw net.ipv4.ip_forward=1 net.bridge.bridge-nf-call-iptables=1
  # A process of the node itself reaches a ClusterIP only if there is a route before kube-proxy rewrites the address.
  ip -n "$ns" route add "$service_range" dev eth0
  # The API server reaches pods for webhooks and aggregated APIs.
  ip route add "10.244.$n.0/24" via "$ip"
  for other in $(seq 1 $((n - 1))); do
    ip -n "$ns" route add "10.244.$other.0/24" via "$(node_ip "$other")"
    ip -n "$(namespace "$other")" route add "10.244.$n.0/24" via "$ip"
  done
}

need_node() { [ -d "$state/n$1" ] || die "there is no node $1; there are: $(node_numbers | tr '\n' ' ')"; }
node_down() { need_node "$1"; ip link set "$(namespace "$1")" down; }
node_up() { need_node "$1"; ip link set "$(namespace "$1")" up; }

clear_network() {
  claimed_here || return 0
  ip link delete "$bridge" 2>/dev/null || true
  ip route delete blackhole "$pod_range" 2>/dev/null || true
  [ ! -f "$claim/sysctl" ] || sysctl -q -p "$claim/sysctl" || true
  # The first namespace of a machine mounts this directory; the last one of ours takes it away again.
  if [ -d /run/netns ] && [ -z "$(ls -A /run/netns)" ]; then umount /run/netns 2>/dev/null || true; rmdir /run/netns; fi
  rm -rf "$claim"
}
