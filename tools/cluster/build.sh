#!/usr/bin/env bash
# Builds the Kubernetes programs pinned under mod/ with Go and prints the directory that holds them (last line).
# Takes control-plane, nodes or all (the default). Needs Go; the first build takes minutes, a later one nothing.
# The directory is named by the hash of all under mod/, so a change there makes a new one beside the old.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cache=${GENIE_LM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/genie-lm}
key=$(cat "$here"/mod/*/* | sha256sum | cut -c1-16)
bin=$cache/cluster/$key/bin

# module  binary  package
control_plane="
pki         pki                      .
etcd        etcd                     go.etcd.io/etcd/server/v3
etcd        etcdctl                  go.etcd.io/etcd/etcdctl/v3
etcd        etcdutl                  go.etcd.io/etcd/etcdutl/v3
kubernetes  kubectl                  k8s.io/kubernetes/cmd/kubectl
kubernetes  kube-apiserver           k8s.io/kubernetes/cmd/kube-apiserver
kubernetes  kube-controller-manager  k8s.io/kubernetes/cmd/kube-controller-manager
helm        helm                     helm.sh/helm/v4/cmd/helm"
nodes="
kubernetes  kube-scheduler           k8s.io/kubernetes/cmd/kube-scheduler
kubernetes  kubelet                  k8s.io/kubernetes/cmd/kubelet
kubernetes  kube-proxy               k8s.io/kubernetes/cmd/kube-proxy
containerd  containerd               github.com/containerd/containerd/v2/cmd/containerd
containerd  containerd-shim-runc-v2  github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2
containerd  ctr                      github.com/containerd/containerd/v2/cmd/ctr
coredns     coredns                  github.com/coredns/coredns"

case ${1:-all} in
  control-plane) wanted=$control_plane ;;
  nodes) wanted=$nodes ;;
  all) wanted=$control_plane$nodes ;;
  *) echo "usage: build.sh [control-plane|nodes|all]" >&2; exit 2 ;;
esac

# Version of a module pinned in a go.mod, as v1.2.3.
pinned() { awk -v m="$2" '$1 == m { print $2 }' "$here/mod/$1/go.mod"; }

# Linker flags: the programs tell their version only when the build tells it to them.
ldflags() {
  local v minor
  case $1 in
    kubernetes)
      v=$(pinned kubernetes k8s.io/kubernetes); minor=${v#v1.}; minor=${minor%%.*}
      local at=k8s.io/component-base/version
      echo "-s -w -X $at.gitVersion=$v -X $at.gitMajor=1 -X $at.gitMinor=$minor -X $at.gitTreeState=clean" ;;
    helm) echo "-s -w -X helm.sh/helm/v4/internal/version.version=$(pinned helm helm.sh/helm/v4)" ;;
    *) echo "-s -w" ;;
  esac
}

# One binary, unless it is there. The lock is held for one binary at a time, so that a call that wants only the
# control plane does not wait for another that builds everything; the rename makes a broken build leave nothing.
build() {
  local module=$1 name=$2 package=$3 started=$SECONDS
  exec 9>"$bin/.lock"
  flock -n 9 || { echo "$name: waiting for another build" >&2; flock 9; }
  if [ ! -x "$bin/$name" ]; then
    echo "$name: building" >&2
    (cd "$here/mod/$module" && CGO_ENABLED=0 GOFLAGS=-mod=readonly \
      go build -trimpath -ldflags "$(ldflags "$module")" -o "$bin/.$name.new" "$package")
    mv "$bin/.$name.new" "$bin/$name"
    echo "$name: built in $((SECONDS - started)) s" >&2
  fi
  exec 9>&-
}

mkdir -p "$bin"
while read -r module name package; do
  [ -n "$module" ] || continue
  [ -x "$bin/$name" ] && continue
  command -v go >/dev/null || { echo "build.sh: Go is needed to build $name: install Go 1.26 or set KUBECONFIG to a cluster of your own" >&2; exit 1; }
  build "$module" "$name" "$package" </dev/null
done <<<"$wanted"
echo "$bin"
