# Certificates, keys and kubeconfigs of one cluster, made by the pki program (mod/pki).
# Takes $state, $host (the API server's address), $service_ip and $server (its URL); gives make_pki, make_node_pki, kubeconfig.

make_pki() {
  mkdir -p "$state/pki"
  chmod 700 "$state/pki"
  local names=kubernetes,kubernetes.default,kubernetes.default.svc,kubernetes.default.svc.cluster.local,localhost
  pki "$state/pki" <<LINES
ca    ca                  kubernetes-ca
ca    front-proxy-ca      front-proxy-ca
cert  apiserver           ca              kube-apiserver                  -               $names,127.0.0.1,$host,$service_ip
cert  kubelet-client      ca              kube-apiserver-kubelet-client   system:masters  -
cert  controller-manager  ca              system:kube-controller-manager  -               -
cert  scheduler           ca              system:kube-scheduler           -               -
cert  proxy               ca              system:kube-proxy               -               -
cert  front-proxy         front-proxy-ca  front-proxy                     -               -
rsa   service-account
token admin.token
LINES
  echo "$(<"$state/pki/admin.token"),admin,admin,system:masters" >"$state/pki/tokens.csv"
  chmod 600 "$state/pki/tokens.csv"
  kubeconfig admin "token: $(<"$state/pki/admin.token")"
  local name
  for name in controller-manager scheduler proxy; do kubeconfig "$name" "$(by_certificate "$name")"; done
}

# make_node_pki NODE ADDRESS
make_node_pki() {
  echo "cert $1 ca system:node:$1 system:nodes $1,$2" | pki "$state/pki"
  kubeconfig "$1" "$(by_certificate "$1")"
}

by_certificate() {
  echo "client-certificate-data: $(base64 -w0 "$state/pki/$1.crt"), client-key-data: $(base64 -w0 "$state/pki/$1.key")"
}

# kubeconfig NAME CREDENTIAL: writes NAME.kubeconfig, which holds all it needs and may be copied elsewhere.
kubeconfig() {
  cat >"$state/$1.kubeconfig" <<YAML
apiVersion: v1
kind: Config
clusters: [{name: test, cluster: {server: "$server", certificate-authority-data: $(base64 -w0 "$state/pki/ca.crt")}}]
users: [{name: $1, user: {$2}}]
contexts: [{name: test, context: {cluster: test, user: $1}}]
current-context: test
YAML
  chmod 600 "$state/$1.kubeconfig"
}
