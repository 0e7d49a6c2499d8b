# The configuration files of one node. Lines that a small machine needs say why.
# Takes $state, $bin, $dns_ip, $pod_range; gives write_node_config.

write_node_config() {
  local n=$1 dir=$state/n$1 ip
  ip=$(node_ip "$n")
  # Empty, so that pods do not inherit the machine's resolver.
  : >"$dir/resolv.conf"
  cni_config >"$dir/cni/10-bridge.conflist"
  containerd_config >"$dir/containerd.toml"
  kubelet_config >"$dir/kubelet.yaml"
  proxy_config >"$dir/proxy.yaml"
}

cni_config() {
  cat <<JSON
{"cniVersion": "1.0.0", "name": "genie", "plugins": [
  {"type": "bridge", "bridge": "cni0", "isGateway": true, "ipMasq": false, "hairpinMode": true,
   "ipam": {"type": "host-local", "dataDir": "$dir/ipam", "ranges": [[{"subnet": "10.244.$n.0/24"}]], "routes": [{"dst": "0.0.0.0/0"}]}},
  {"type": "portmap", "capabilities": {"portMappings": true}}]}
JSON
}

containerd_config() {
  cat <<TOML
version = 3
root = "$dir/containerd"
state = "$dir/run/containerd"
disabled_plugins = [
  "io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.zfs", "io.containerd.snapshotter.v1.devmapper",
  "io.containerd.snapshotter.v1.blockfile", "io.containerd.snapshotter.v1.erofs", "io.containerd.nri.v1.nri",
  "io.containerd.tracing.processor.v1.otlp", "io.containerd.internal.v1.tracing"]
[grpc]
  address = "$dir/run/containerd.sock"
[ttrpc]
  address = "$dir/run/containerd.sock.ttrpc"
[plugins."io.containerd.cri.v1.images"]
  snapshotter = "overlayfs"
  [plugins."io.containerd.cri.v1.images".pinned_images]
    sandbox = "example.test/pause:1"
[plugins."io.containerd.cri.v1.runtime"]
  # Without CAP_SYS_RESOURCE a process may not lower its oom_score_adj, and runc fails.
  restrict_oom_score_adj = true
  disable_apparmor = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.cri.v1.runtime".cni]
    bin_dirs = ["/usr/lib/cni"]
    conf_dir = "$dir/cni"
  [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    runtime_path = "$bin/containerd-shim-runc-v2"
    [plugins."io.containerd.cri.v1.runtime".containerd.runtimes.runc.options]
      BinaryName = "$(command -v runc)"
      Root = "$dir/run/runc"
      SystemdCgroup = false
TOML
}

# failCgroupV1: kubelet exits on cgroup v1 otherwise. The disk is shared with the machine, so its thresholds are low.
# nodeStatusUpdateFrequency goes with the API server's and the controllers' short grace for a node that is silent.
kubelet_config() {
  cat <<YAML
apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
address: $ip
port: 10250
healthzBindAddress: 127.0.0.1
containerRuntimeEndpoint: unix://$dir/run/containerd.sock
staticPodPath: $dir/static
podLogsDir: $dir/logs
volumePluginDir: $dir/volume-plugins
resolvConf: $dir/resolv.conf
clusterDNS: [$dns_ip]
clusterDomain: cluster.local
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupRoot: /genie-n$n
enforceNodeAllocatable: [pods]
failSwapOn: false
makeIPTablesUtilChains: false
oomScoreAdj: 0
maxOpenFiles: 20000
evictionHard: {memory.available: 100Mi, nodefs.available: 1%, imagefs.available: 1%, nodefs.inodesFree: 1%}
imageGCHighThresholdPercent: 100
imageGCLowThresholdPercent: 99
nodeStatusUpdateFrequency: 4s
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: $state/pki/ca.crt}}
authorization: {mode: Webhook}
tlsCertFile: $state/pki/n$n.crt
tlsPrivateKeyFile: $state/pki/n$n.key
YAML
}

# conntrack: kube-proxy may not set the machine's limits and exits when it tries; zeros tell it not to.
proxy_config() {
  cat <<YAML
apiVersion: kubeproxy.config.k8s.io/v1alpha1
kind: KubeProxyConfiguration
clientConnection: {kubeconfig: $state/proxy.kubeconfig}
hostnameOverride: n$n
mode: nftables
clusterCIDR: $pod_range
bindAddress: $ip
healthzBindAddress: $ip:10256
metricsBindAddress: 127.0.0.1:10249
conntrack: {maxPerCore: 0, min: 0, tcpEstablishedTimeout: 0s, tcpCloseWaitTimeout: 0s, udpTimeout: 0s, udpStreamTimeout: 0s}
nftables: {minSyncPeriod: 100ms, syncPeriod: 30s}
YAML
}
