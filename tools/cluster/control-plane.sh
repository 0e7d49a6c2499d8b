# etcd, the API server and the controllers: all of Kubernetes that needs no node.
# Takes $state, $host, $port (of the API server), $mode; gives start_control_plane, start_scheduler, kube, etcd_save,
# etcd_restore.

# kubectl as the administrator of this cluster.
kube() { kubectl --kubeconfig "$state/admin.kubeconfig" --request-timeout=5s "$@"; }

start_control_plane() {
  start_etcd
  start_apiserver
  # Before /readyz the roles that the controllers need are not there yet, and they exit when they are refused.
  wait_for 90 "the API server is ready at $server" apiserver kube get --raw /readyz
  start_controller_manager
  wait_for 60 "the controllers work" controller-manager kube -n default get serviceaccount default
}

start_etcd() {
  local client peer durability=--unsafe-no-fsync
  # A test cluster need not survive a power cut; a test that claims something about durability turns fsync on.
  [ "${ETCD_FSYNC:-0}" = 1 ] && durability=
  client=http://127.0.0.1:$(free_port)
  peer=http://127.0.0.1:$(free_port)
  echo "$client" >"$state/etcd.url"
  echo "$peer" >"$state/etcd.peer"
  daemon etcd "$bin/etcd" --name test --data-dir "$state/etcd" --log-level warn $durability \
    --listen-client-urls "$client" --advertise-client-urls "$client" \
    --listen-peer-urls "$peer" --initial-advertise-peer-urls "$peer" --initial-cluster "test=$peer"
}

# A snapshot of all that is stored, as an operator's backup takes it.
etcd_save() { etcdctl --endpoints "$(<"$state/etcd.url")" snapshot save "$1" >>"$state/log/etcd-snapshot.log" 2>&1; }

# Sets the store back to a snapshot. Revisions go on far above any that was seen, as Kubernetes wants it: a watch that
# stood at a revision of the time that is undone begins anew.
etcd_restore() {
  local peer name
  peer=$(<"$state/etcd.peer")
  [ -f "$1" ] || die "there is no snapshot $1"
  rm -rf "$state/etcd.restored"
  etcdutl snapshot restore "$1" --data-dir "$state/etcd.restored" --bump-revision 1000000000 --mark-compacted \
    --name test --initial-cluster "test=$peer" --initial-advertise-peer-urls "$peer" >>"$state/log/etcd-snapshot.log" 2>&1 ||
    die "the snapshot $1 cannot be restored; see $state/log/etcd-snapshot.log"
  stop apiserver
  stop etcd
  rm -rf "$state/etcd"
  mv "$state/etcd.restored" "$state/etcd"
  start etcd
  start apiserver
  # Controllers remember what they saw of the time that is undone, and wait for it: Kubernetes wants them started again.
  # Before /readyz they are refused, and exit.
  wait_for 90 "the API server is ready again" apiserver kube get --raw /readyz
  for name in controller-manager scheduler; do
    [ -f "$state/run/$name.command" ] || continue
    stop "$name"
    start "$name"
  done
}

start_apiserver() {
  local pki=$state/pki special=()
  # Without nodes the API server is reached on loopback alone, which may not stand in the endpoints of a Service.
  [ "$mode" = control-plane ] && special=(--endpoint-reconciler-type=none)
  daemon apiserver "$bin/kube-apiserver" "${special[@]}" \
    --etcd-servers="$(<"$state/etcd.url")" --bind-address="$host" --advertise-address="$host" --secure-port="$port" \
    --service-cluster-ip-range="$service_range" --allow-privileged=true \
    --authorization-mode=Node,RBAC --enable-admission-plugins=NodeRestriction \
    --client-ca-file="$pki/ca.crt" --token-auth-file="$pki/tokens.csv" \
    --tls-cert-file="$pki/apiserver.crt" --tls-private-key-file="$pki/apiserver.key" \
    --service-account-issuer="$issuer" --service-account-jwks-uri="$server/openid/v1/jwks" \
    --service-account-key-file="$pki/service-account.pub" --service-account-signing-key-file="$pki/service-account.key" \
    --kubelet-client-certificate="$pki/kubelet-client.crt" --kubelet-client-key="$pki/kubelet-client.key" \
    --kubelet-certificate-authority="$pki/ca.crt" --kubelet-preferred-address-types=InternalIP \
    --requestheader-client-ca-file="$pki/front-proxy-ca.crt" --requestheader-allowed-names=front-proxy \
    --requestheader-username-headers=X-Remote-User --requestheader-group-headers=X-Remote-Group \
    --requestheader-extra-headers-prefix=X-Remote-Extra- \
    --proxy-client-cert-file="$pki/front-proxy.crt" --proxy-client-key-file="$pki/front-proxy.key" \
    --enable-aggregator-routing=true \
    --audit-policy-file="$here/audit.yaml" --audit-log-path="$state/audit.log" --audit-log-maxsize=1000 \
    --default-not-ready-toleration-seconds="${EVICT_AFTER:-20}" \
    --default-unreachable-toleration-seconds="${EVICT_AFTER:-20}" \
    --profiling=false ${APISERVER_ARGS:-}
}

# No port: nothing asks the controllers for their health, it shows in what they do.
start_controller_manager() {
  local pki=$state/pki own=$state/controller-manager.kubeconfig
  daemon controller-manager "$bin/kube-controller-manager" --secure-port=0 --leader-elect=false \
    --kubeconfig="$own" --authentication-kubeconfig="$own" --authorization-kubeconfig="$own" \
    --use-service-account-credentials=true --service-account-private-key-file="$pki/service-account.key" \
    --root-ca-file="$pki/ca.crt" --cluster-signing-cert-file="$pki/ca.crt" --cluster-signing-key-file="$pki/ca.key" \
    --allocate-node-cidrs=false --service-cluster-ip-range="$service_range" \
    --kube-api-qps=300 --kube-api-burst=600 \
    --node-monitor-period=2s --node-monitor-grace-period="${NODE_GRACE:-20s}"
}

start_scheduler() {
  local own=$state/scheduler.kubeconfig
  daemon scheduler "$bin/kube-scheduler" --secure-port=0 --leader-elect=false \
    --kubeconfig="$own" --authentication-kubeconfig="$own" --authorization-kubeconfig="$own" \
    --kube-api-qps=300 --kube-api-burst=600
}
