#!/usr/bin/env bash
# Runs tests/controlplane against an API server of its own, and takes that down whatever happens.
# Arguments go to the test program: a test's name, for one.
set -euo pipefail
cd "$(dirname "$0")/.."
cluster=tools/cluster/cluster.sh
state=$(mktemp -d "${TMPDIR:-/tmp}/genie-lm-controlplane.XXXXXX")
down() {
  "$cluster" control-plane down --state "$state" || true
  rm -rf "$state"
}
trap down EXIT
trap 'exit 130' INT TERM

"$cluster" control-plane up --state "$state" | tee "$state.up"
kubeconfig=$(tail -n 1 "$state.up")
rm -f "$state.up"
# The audit log is how tests count the writes that an idle operator must not make.
GENIE_LM_CONTROLPLANE_KUBECONFIG=$kubeconfig GENIE_LM_CONTROLPLANE_AUDIT=$state/audit.log \
  cargo test --locked --test controlplane -- "$@"
