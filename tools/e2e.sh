#!/usr/bin/env bash
# Runs tests/cluster with real pods: on the cluster of KUBECONFIG where that is set, else on nodes of its own, which
# need root on Debian. Takes them down whatever happens. Arguments go to the test program.
set -euo pipefail
cd "$(dirname "$0")/.."

# The tests call helm and kubectl: the pinned ones.
PATH="$(tools/cluster/build.sh control-plane | tail -n 1):$PATH"

if [ -n "${KUBECONFIG:-}" ]; then
  if [ -z "${GENIE_LM_IMAGE:-}" ]; then
    echo "e2e: KUBECONFIG is set: set GENIE_LM_IMAGE, too, to an image of this version that the cluster can pull or has" >&2
    exit 1
  fi
  exec cargo test --locked --test cluster -- "$@"
fi

if [ "$(id -u)" != 0 ] || ! grep -qs '^ID.*debian' /etc/os-release; then
  cat >&2 <<'TEXT'
e2e: these tests need real pods. Either
  - set KUBECONFIG to a cluster that may be written to (kind will do) and GENIE_LM_IMAGE to an image it has, or
  - run as root on Debian, where they start their own nodes.
TEXT
  exit 1
fi

tools/cluster/packages.sh
state=$(mktemp -d "${TMPDIR:-/tmp}/genie-lm-e2e.XXXXXX")
down() {
  tools/cluster/cluster.sh nodes down --state "$state" || true
  rm -rf "$state"
}
trap down EXIT
trap 'exit 130' INT TERM
tools/image/build.sh | tee "$state/image.out"
archive=$(tail -n 1 "$state/image.out")
tools/cluster/cluster.sh nodes 2 up --state "$state" | tee "$state.up"
kubeconfig=$(tail -n 1 "$state.up")
rm -f "$state.up"
tools/cluster/cluster.sh nodes load-image "$archive" --state "$state"
image=$(cat "${archive%.tar}.name")
# The same program under another tag: what an update of the image is to Kubernetes.
next=$(tools/image/build.sh --tag "${image%:*}:next" --out "$state/next.tar" | tail -n 1)
tools/cluster/cluster.sh nodes load-image "$next" --state "$state"
KUBECONFIG=$kubeconfig GENIE_LM_IMAGE=$image GENIE_LM_IMAGE_NEXT=${image%:*}:next GENIE_LM_CLUSTER_AUDIT=$state/audit.log \
  cargo test --locked --test cluster -- --test-threads 1 --nocapture "$@"
