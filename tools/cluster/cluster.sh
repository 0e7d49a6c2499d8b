#!/usr/bin/env bash
# A real Kubernetes on one machine, for tests. README.md beside this file tells what it is and costs.
# Takes a mode and a verb; the last line of `up` and `status` is the path of the administrator's kubeconfig.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)

usage() {
  cat <<'TEXT'
usage: cluster.sh control-plane  VERB [--state DIR]     etcd, API server and controllers; any user
       cluster.sh nodes [COUNT]  VERB [--state DIR]     all of it, with COUNT nodes (1); root; one for a machine
verbs: up | down | status
       stop DAEMON [SIGNAL]      TERM by default; STOP pauses
       start DAEMON              what was stopped, or goes on after STOP
       etcd-save FILE            a snapshot of all that is stored
       etcd-restore FILE         sets it back to a snapshot; etcd and the API server start again
       load-image ARCHIVE.tar    into every node
       node-down N | node-up N   cuts node N off the network, and back
TEXT
  exit "${1:-2}"
}

state='' words=()
while [ $# -gt 0 ]; do
  case $1 in
    --state) [ $# -ge 2 ] || usage; state=$2; shift 2 ;;
    --state=*) state=${1#*=}; shift ;;
    -h | --help) usage 0 ;;
    *) words+=("$1"); shift ;;
  esac
done
set -- "${words[@]}"
mode=${1:-}
case $mode in control-plane | nodes) shift ;; *) usage ;; esac
count=1
if [ "$mode" = nodes ] && [[ ${1:-} =~ ^[1-9]$ ]]; then count=$1; shift; fi
verb=${1:-}
[ -n "$verb" ] || usage
shift

cache=${GENIE_LM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/genie-lm}
state=$(realpath -m "${state:-$cache/state/$mode}")
# The path stands in configuration files and in the list of mounts, and socket paths below it have at most 107 bytes.
[[ $state =~ ^[A-Za-z0-9_./-]{2,70}$ ]] || {
  echo "cluster.sh: '$state' cannot hold a cluster: give --state a path of at most 70 letters, digits and _ . / -" >&2
  exit 2
}
issuer=https://kubernetes.default.svc.cluster.local
service_range=10.96.0.0/16 service_ip=10.96.0.1
# The programs talk to each other on this machine, never through a proxy.
unset HTTP_PROXY HTTPS_PROXY ALL_PROXY http_proxy https_proxy all_proxy

for part in lib pki control-plane; do . "$here/$part.sh"; done
if [ "$mode" = nodes ]; then
  for part in network node remains; do . "$here/$part.sh"; done
fi

# One verb at a time on a cluster.
lock() {
  mkdir -p "$state"
  exec 9>"$state/.lock"
  flock -w 120 9 || die "another cluster.sh has worked on $state for 120 s"
}

up() {
  if [ -f "$state/up" ] && running apiserver; then
    die "a cluster is up in $state; take it down first: cluster.sh $mode down --state $state"
  fi
  [ "$mode" = nodes ] && claim_machine
  bin=$(GENIE_LM_CACHE=$cache "$here/build.sh" "$([ "$mode" = nodes ] && echo all || echo control-plane)" | tail -n 1)
  PATH=$bin:/usr/sbin:/sbin:$PATH
  begun=${EPOCHREALTIME/[.,]/}
  clear_away
  # A start that fails or is interrupted leaves its logs and nothing else.
  trap clear_away EXIT
  rm -rf "$state/log"
  mkdir -p "$state/run" "$state/log"
  echo "$bin" >"$state/bin"
  if [ "$mode" = nodes ]; then
    bring_up_nodes "$count"
  else
    host=127.0.0.1 port=$(free_port) server=https://$host:$port
    make_pki
    say "keys and certificates are made"
    start_control_plane
  fi
  touch "$state/up"
  trap - EXIT
  say "up"
  echo "$state/admin.kubeconfig"
}

# Stops and removes all that is left of a cluster in $state, whatever became of it; keeps only the logs.
clear_away() {
  local name
  if [ "$mode" = nodes ]; then clear_nodes; fi
  for name in scheduler controller-manager apiserver etcd $(daemons); do stop "$name"; done
  [ "$mode" = nodes ] && clear_network
  find "$state" -mindepth 1 -maxdepth 1 ! -name log ! -name .lock -exec rm -rf {} +
}

status() {
  local name pid total=0 size
  [ -f "$state/up" ] || { echo "no cluster is up in $state"; exit 1; }
  for name in $(daemons); do
    if pid=$(pid_of "$name"); then
      size=$(awk '/^VmRSS/ { print int($2 / 1024) }' "/proc/$pid/status")
      total=$((total + size))
      printf '%-20s pid %-8s %5d MiB\n' "$name" "$pid" "$size"
    else
      printf '%-20s stopped\n' "$name"
    fi
  done
  printf '%-20s %18d MiB\n' 'daemons in all' "$total"
  [ "$mode" = control-plane ] || kube get nodes -o wide || true
  echo "$state/admin.kubeconfig"
}

need_up() {
  [ -f "$state/up" ] || die "no cluster is up in $state"
  bin=$(<"$state/bin")
  PATH=$bin:/usr/sbin:/sbin:$PATH
}

case $verb in
  up) lock; up ;;
  down) lock; clear_away; say "down" ;;
  status) [ ! -f "$state/bin" ] || PATH=$(<"$state/bin"):$PATH; status ;;
  stop) [ $# -ge 1 ] || usage; need_up; lock; stop "$@" ;;
  start) [ $# -eq 1 ] || usage; need_up; lock; start "$1" ;;
  etcd-save | etcd-restore) [ $# -eq 1 ] || usage; need_up; lock; "${verb/-/_}" "$1" ;;
  load-image | node-down | node-up)
    [ "$mode" = nodes ] || die "$verb needs nodes, which control-plane has none of"
    [ $# -eq 1 ] || usage
    need_up
    lock
    "${verb//-/_}" "$1" ;;
  *) usage ;;
esac
