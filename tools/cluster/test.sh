#!/usr/bin/env bash
# Tests this directory on the machine it runs on: both modes at once, pods, Services, DNS, faults, a crash, and that
# nothing is left. Needs what `cluster.sh nodes` needs; takes a minute and a half once the programs are built.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d /tmp/genie-cluster-test.XXXXXX)
nodes() { "$here/cluster.sh" nodes "$@" --state "$work/nodes"; }
alone() { "$here/cluster.sh" control-plane "$@" --state "$work/alone"; }

finish() {
  nodes down >/dev/null 2>&1 || true
  alone down >/dev/null 2>&1 || true
  rm -rf "$work"
}
trap finish EXIT

it() { step=$1 since=$SECONDS; }
ok() { echo "ok    $step ($((SECONDS - since)) s)"; }
fail() { echo "FAIL  $step: $*" >&2; tail -n 20 "$work/out" >&2; exit 1; }
# must COMMAND...: once.   soon SECONDS COMMAND...: until the deadline.
must() { "$@" >"$work/out" 2>&1 || fail "$*"; }
soon() {
  local end=$((SECONDS + $1))
  shift
  until "$@" >"$work/out" 2>&1; do ((SECONDS < end)) || fail "not in time: $*"; sleep 0.2; done
}

k() { kubectl --kubeconfig "$kubeconfig" "$@"; }
# timeout and not wget's own -T, with which Debian's static busybox crashes.
answer() { k exec client -- timeout 2 wget -q -O - "http://$1" | grep -qx 'hello from a pod'; }
refused() { ! answer "$1"; }
node_is() { k get node "$1" -o jsonpath='{.status.conditions[?(@.type=="Ready")].status}' | grep -qx "$2"; }

# All that `down` must give back, as text. Counters and what other programs change on their own is left out.
machine() {
  ip netns list | sort
  ip -br link | awk '{ print $1 }'
  ip route show table all
  awk '{ print $2, $3 }' /proc/mounts
  find /sys/fs/cgroup -type d -name 'genie*'
  ls -d /run/genie-lm-nodes /var/lib/cni /var/log/containers /run/containerd /run/netns 2>/dev/null || true
  sysctl vm.overcommit_memory vm.panic_on_oom kernel.panic kernel.panic_on_oops kernel.keys net.ipv4.ip_forward \
    net.ipv4.conf.all 2>/dev/null
  nft list ruleset 2>/dev/null || true
  ps -eo args | grep -F -- "$work" | grep -vF -e grep -e "$here/test.sh" || true
}

workload() {
  cat <<'YAML'
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      terminationGracePeriodSeconds: 1
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}
      containers:
        - name: web
          image: example.test/busybox:1
          imagePullPolicy: Never
          command: [sh, -c, "echo hello from a pod >/tmp/index.html; exec httpd -f -p 8080 -h /tmp"]
          readinessProbe: {httpGet: {path: /, port: 8080}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80, targetPort: 8080}]}
---
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  nodeName: n1
  terminationGracePeriodSeconds: 1
  containers: [{name: client, image: example.test/busybox:1, imagePullPolicy: Never, command: [sleep, "100000"]}]
YAML
}

machine >"$work/before"
bin=$("$here/build.sh" all)
PATH=$bin:$PATH

it "two nodes come up, and a control plane alone beside them"
nodes 2 up >"$work/up" 2>&1 || { cp "$work/up" "$work/out"; fail "nodes 2 up"; }
cat "$work/up"
kubeconfig=$(tail -n 1 "$work/up")
alone up >"$work/up" 2>&1 || { cp "$work/up" "$work/out"; fail "control-plane up"; }
must kubectl --kubeconfig "$(tail -n 1 "$work/up")" get --raw /readyz
ok

it "a Service answers from another pod by address and by name, over both nodes"
workload >"$work/workload.yaml"
must k apply -f "$work/workload.yaml"
must k rollout status deployment/web --timeout=60s
must k wait --for=condition=Ready pod/client --timeout=60s
[ "$(k get pods -l app=web -o jsonpath='{.items[*].spec.nodeName}' | tr ' ' '\n' | sort -u | wc -l)" = 2 ] || fail "not on both nodes"
soon 20 answer "$(k get service web -o jsonpath='{.spec.clusterIP}')"
soon 20 answer web
must answer web.default.svc.cluster.local
for address in $(k get pods -l app=web -o jsonpath='{.items[*].status.podIP}'); do must answer "$address:8080"; done
ok

it "each finished write is a line of the audit log, and no read is"
must k create configmap counted
must k get configmap counted
writes() { grep -F "$1" "$work/nodes/audit.log" | grep -cF '/namespaces/default/configmaps' || true; }
[ "$(writes '"verb":"create"')" -ge 1 ] || fail "the create is not there"
[ "$(writes '"verb":"get"')" = 0 ] || fail "a get is there"
ok

it "an image is loaded into every node"
. "$here/../image/archive.sh"
must archive example.test/loaded:1 "$work/loaded.tar" 65532 '["/busybox"]' "$(command -v busybox):/busybox"
must nodes load-image "$work/loaded.tar"
for n in n1 n2; do
  must k run "loaded-$n" --image=example.test/loaded:1 --image-pull-policy=Never --restart=Never \
    --overrides="{\"spec\": {\"nodeName\": \"$n\"}}" -- id -u
  must k wait --for=jsonpath='{.status.phase}'=Succeeded "pod/loaded-$n" --timeout=30s
  [ "$(k logs "loaded-$n")" = 65532 ] || fail "it runs as $(k logs "loaded-$n")"
done
ok

it "a daemon that is killed comes back with what it had"
must nodes stop apiserver KILL
if k get --raw /readyz >/dev/null 2>&1; then fail "the API server still answers"; fi
must nodes start apiserver
soon 30 k get --raw /readyz
must k get configmap counted
ok

it "a snapshot that is restored takes back what came after it, and the API server goes on"
must k create configmap before
must nodes etcd-save "$work/snapshot"
must k create configmap after
must nodes etcd-restore "$work/snapshot"
soon 30 k get configmap before
if k get configmap after >/dev/null 2>&1; then fail "what came after the snapshot is still there"; fi
must k create configmap after
ok

it "a node that is cut off is found out, and is back when it is joined again"
away=$(k get pods -l app=web --field-selector spec.nodeName=n2 -o jsonpath='{.items[0].status.podIP}')
must nodes node-down 2
soon 10 refused "$away:8080"
soon 60 node_is n2 Unknown
must nodes node-up 2
soon 60 node_is n2 True
ok

it "a second cluster with nodes is refused while this one is up"
if "$here/cluster.sh" nodes up --state "$work/second" >"$work/second.out" 2>&1; then fail "it came up"; fi
must grep -qF "is up in $work/nodes" "$work/second.out"
must k get --raw /readyz
ok

it "after a crash a cluster comes up in the same place"
for pidfile in "$work"/nodes/run/*.pid; do
  read -r pid _ <"$pidfile"
  kill -KILL "$pid"
done
nodes 1 up >"$work/up" 2>&1 || { cp "$work/up" "$work/out"; fail "nodes 1 up"; }
must k apply -f "$work/workload.yaml"
must k wait --for=condition=Ready pod/client --timeout=60s
ok

it "down leaves nothing on the machine, and may be repeated"
must nodes down
must nodes down
must alone down
machine >"$work/after"
must diff "$work/before" "$work/after"
ok
