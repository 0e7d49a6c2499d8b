#!/usr/bin/env bash
# Runs tests/cluster with real pods: on the cluster of KUBECONFIG where that is set, else on nodes of its own, which
# need root on Debian. Takes them down whatever happens. Arguments go to the test program; --build alone builds the programs
# of the images and of the tests, and runs nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

build_tests() { cargo test --locked --test cluster --no-run; }

# The tests call helm and kubectl: the pinned ones. They run one after the other: each would disturb another.
run_tests() {
  case " $* " in
    *" --ignored "*) ;;
    *) echo "e2e: NOT TESTED here: ten minutes without the API server: make e2e-long" >&2 ;;
  esac
  PATH="$(tools/cluster/build.sh control-plane | tail -n 1):$PATH" \
    cargo test --locked --test cluster -- --test-threads=1 "$@"
}

if [ -n "${KUBECONFIG:-}" ]; then
  [ "${1:-}" != --build ] || { build_tests; exit; }
  for name in GENIE_LM_IMAGE GENIE_LM_IMAGE_NEXT GENIE_LM_WITNESS_IMAGE GENIE_LM_SHELL_IMAGE; do
    [ -n "${!name:-}" ] || {
      cat >&2 <<'TEXT'
e2e: KUBECONFIG is set. Set four images, too, which that cluster has or can pull:
  GENIE_LM_IMAGE          this version (tools/image/build.sh or the Dockerfile)
  GENIE_LM_IMAGE_NEXT     the same under another tag, to roll over to
  GENIE_LM_WITNESS_IMAGE  the application of the tests (tools/image/app.sh)
  GENIE_LM_SHELL_IMAGE    any that has sh and date, such as busybox
TEXT
      exit 1
    }
  done
  if [ -z "${GENIE_LM_CLUSTER_STATE:-}" ]; then
    echo "e2e: NOT TESTED here: a restart of etcd and the API server, and an etcd that is set back: tools/cluster does that to its own. Unset KUBECONFIG" >&2
  fi
  if [ -z "${GENIE_LM_CLUSTER_AUDIT:-}" ]; then
    echo "e2e: NOT TESTED here: that an idle cluster is not written to. It is judged by the API server's audit log; set GENIE_LM_CLUSTER_AUDIT to its path" >&2
    set -- --skip quiet "$@"
  fi
  run_tests "$@"
  exit
fi

if [ "$(id -u)" != 0 ] || ! grep -qs '^ID.*debian' /etc/os-release; then
  cat >&2 <<'TEXT'
e2e: these tests need real pods. Either
  - set KUBECONFIG to a cluster that may be written to (kind will do), or
  - run as root on Debian, where they start their own nodes.
TEXT
  exit 1
fi

tools/cluster/packages.sh
if [ "${1:-}" = --build ]; then
  root=$PWD
  . tools/image/program.sh
  static_program genie-lm bin genie-lm
  static_program genie-client example witness
  build_tests
  exit
fi
state=$(mktemp -d "${TMPDIR:-/tmp}/genie-lm-e2e.XXXXXX")
down() {
  tools/cluster/cluster.sh nodes down --state "$state" || true
  rm -rf "$state" "$state.images"
}
trap down EXIT
trap 'exit 130' INT TERM

# image TAG-SUFFIX: builds the image, and prints its archive.
image() {
  local reference
  reference=ghcr.io/genie-lm/genie-lm:e2e$1
  tools/image/build.sh --tag "$reference" --out "$state.images/genie-lm$1.tar" >&2
  echo "$reference"
}
mkdir -p "$state.images"
this=$(image "")
next=$(image -next)
witness=example.test/witness:1
tools/image/app.sh --tag "$witness" --out "$state.images/witness.tar"
# What is said of a restored store rests on what was stored.
ETCD_FSYNC=1 tools/cluster/cluster.sh nodes 2 up --state "$state"
for archive in "$state.images"/*.tar; do
  tools/cluster/cluster.sh nodes load-image "$archive" --state "$state"
done
export KUBECONFIG=$state/admin.kubeconfig GENIE_LM_CLUSTER_AUDIT=$state/audit.log GENIE_LM_CLUSTER_STATE=$state
export GENIE_LM_IMAGE=$this GENIE_LM_IMAGE_NEXT=$next GENIE_LM_WITNESS_IMAGE=$witness
export GENIE_LM_SHELL_IMAGE=example.test/busybox:1
run_tests "$@"
