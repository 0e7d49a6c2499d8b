# One node: a network namespace with containerd, kubelet and kube-proxy of its own, and pods that runc runs.
# Takes $state, $bin and the network; gives bring_up_nodes, load_image, node_numbers.
. "$here/node-config.sh"

dns_ip=10.96.0.10
cgroups='cpu cpuacct cpuset memory pids devices freezer blkio systemd'

node_numbers() {
  local dir
  for dir in "$state"/n[0-9]*; do
    [ -d "$dir" ] && echo "${dir##*/n}"
  done
  return 0
}

bring_up_nodes() {
  local n all runtimes=() job
  all=$(seq 1 "$1")
  host=$host_ip port=6443 server=https://$host:$port
  "$here/packages.sh" --check
  images=$("$here/images.sh" "$bin" | tail -n 1)
  hold_machine
  make_bridge
  make_pki
  for n in $all; do prepare_node "$n"; done
  say "network, keys and certificates are made"
  # Runtimes start and load their images while the control plane starts.
  for n in $all; do
    start_runtime "$n" &
    runtimes+=($!)
  done
  start_control_plane
  start_scheduler
  for job in "${runtimes[@]}"; do wait "$job" || die "a node's containerd did not start"; done
  for n in $all; do start_kubelet "$n"; done
  for n in $all; do
    wait_for 60 "node n$n is ready" "kubelet-n$n" kube wait --for=condition=Ready "node/n$n" --timeout=2s
  done
  start_dns "$1"
}

prepare_node() {
  local n=$1 dir=$state/n$1
  mkdir -p "$dir"/{cni,kubelet,containerd,static,logs,run}
  make_node_pki "n$n" "$(node_ip "$n")"
  write_node_config "$n"
  make_node_network "$n"
  make_cgroups "$n"
}

# kubelet exits unless its root cgroup is there, and a cpuset takes no process before it is filled.
make_cgroups() {
  local controller root
  for controller in $cgroups; do
    root=/sys/fs/cgroup/$controller
    [ -d "$root" ] || continue
    mkdir -p "$root/genie-n$1"
    [ "$controller" = cpuset ] || continue
    cat "$root/cpuset.cpus" >"$root/genie-n$1/cpuset.cpus"
    cat "$root/cpuset.mems" >"$root/genie-n$1/cpuset.mems"
  done
}

runtime() { local n=$1; shift; ctr -a "$state/n$n/run/containerd.sock" -n k8s.io "$@"; }

start_runtime() {
  local n=$1 image
  daemon "containerd-n$n" $(in_node "$n") "$bin/containerd" -c "$state/n$n/containerd.toml"
  wait_for 30 "containerd of n$n answers" "containerd-n$n" runtime "$n" version
  for image in "$images"/*.tar; do import "$n" "$image"; done
}

import() {
  runtime "$1" images import "$2" >>"$state/log/import-n$1.log" 2>&1 ||
    die "n$1 cannot load the image archive $2; see $state/log/import-n$1.log"
}

load_image() {
  local n
  [ -f "$1" ] || die "there is no image archive $1"
  for n in $(node_numbers); do import "$n" "$1"; done
  say "loaded $1 into every node"
}

start_kubelet() {
  local n=$1 dir=$state/n$1
  daemon "kubelet-n$n" $(in_node "$n") "$bin/kubelet" --config="$dir/kubelet.yaml" --kubeconfig="$state/n$n.kubeconfig" \
    --root-dir="$dir/kubelet" --cert-dir="$dir/kubelet/pki" --hostname-override="n$n" --node-ip="$(node_ip "$n")"
  daemon "proxy-n$n" $(in_node "$n") "$bin/kube-proxy" --config="$dir/proxy.yaml"
}

# Two from two nodes on, so that a node that is cut off does not take the names along.
start_dns() {
  sed "s/DNS_IP/$dns_ip/; s/REPLICAS/$(($1 > 1 ? 2 : 1))/" "$here/dns.yaml" | kube apply -f - >/dev/null
  wait_for 60 "cluster DNS answers" - kube -n kube-system wait --for=condition=Available deployment/coredns --timeout=2s
}
