#!/usr/bin/env bash
# `make demo`: shows a newcomer what genie-lm does, with the real server and command line, and checks every answer.
# Takes the binary. Leaves nothing behind; ends non-zero when a step is not as expected.
set -euo pipefail
genie=$(realpath "${1:?usage: demo.sh GENIE-LM}")
cd "$(dirname "$0")/.."
port=${GENIE_LM_DEMO_PORT:-1453}
data=$(mktemp -d "${TMPDIR:-/tmp}/genie-lm-demo.XXXXXX")
server='' holders=() taken=0
# The binding of another environment is none of this demo's.
unset SERVICE_BINDING_ROOT GENIE_LM_URI GENIE_LM_PRODUCT GENIE_LM_KEY GENIE_LM_TOKEN_FILE GENIE_LM_CA_FILE

clean_up() {
  local pid
  for pid in "${holders[@]}" $server; do kill -KILL "$pid" 2>/dev/null || true; done
  wait 2>/dev/null || true
  rm -rf "$data"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

if [ -t 1 ]; then bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'; else bold='' dim='' plain=''; fi
step=0
say() { step=$((step + 1)); printf '\n%s%2d. %s%s\n' "$bold" "$step" "$*" "$plain"; }
fail() {
  printf '\ndemo: %s\n' "$*" >&2
  [ ! -s "$data/server.log" ] || { echo "the server's log ends with:" >&2; tail -n 5 "$data/server.log" >&2; }
  exit 1
}
# What was asked, with paths as a reader would write them.
echo_command() { printf '    %s$ genie-lm %s%s\n' "$dim" "${*//"$data"/DATA}" "$plain"; }

# expect EXIT-CODE PATTERN… -- ARGUMENTS…: runs genie-lm, shows it, and checks how it ended and what it said.
expect() {
  local code=$1 patterns=() pattern got=0 answer
  shift
  while [ "$1" != -- ]; do patterns+=("$1"); shift; done
  shift
  echo_command "$@"
  answer=$(timeout 30 "$genie" "$@" 2>&1) || got=$?
  printf '%s\n' "${answer//"$data"/DATA}" | sed 's/^/    /'
  [ "$got" = "$code" ] || fail "that should have ended with $code, and ended with $got"
  for pattern in "${patterns[@]}"; do
    grep -Eq -- "$pattern" <<<"$answer" || fail "the answer should have said: $pattern"
  done
}

# wait_until SECONDS WHAT COMMAND…
wait_until() {
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    ((SECONDS < end)) || fail "waited in vain until $what"
    sleep 0.1
  done
}

start_server() {
  echo_command serve --manifests examples/quickstart --data DATA --listen "127.0.0.1:$port"
  : >"$data/server.out"
  "$genie" serve --manifests examples/quickstart --data "$data" --listen "127.0.0.1:$port" \
    >"$data/server.out" 2>>"$data/server.log" &
  server=$!
  wait_until 30 "the server serves" served_or_gone
  [ -s "$data/server.out" ] || fail "the server did not start"
  sed "s|$data|DATA|g; s/^/    /" "$data/server.out"
}
served_or_gone() { [ -s "$data/server.out" ] || ! kill -0 "$server" 2>/dev/null; }

# Takes a seat in the background, and shows it when it is there.
hold() {
  taken=$((taken + 1))
  local log=$data/holder-$taken.log
  echo_command checkout --binding "$1" '&'
  "$genie" checkout --binding "$1" >"$log" 2>&1 &
  holders+=($!)
  wait_until 15 "a seat is held" has_seat "$log" $!
  sed 's/^/    /' "$log"
}
has_seat() {
  kill -0 "$2" 2>/dev/null || fail "no seat: $(cat "$1")"
  [ -s "$1" ]
}

# Whether so many seats of the pool are in use, as the server sees it.
in_use() {
  "$genie" status --data "$data" --output json 2>/dev/null | tr -d ' \n' |
    grep -Eq "\"name\":\"seats\"[^}]*\"inUse\":$1[,}]"
}

# Ends a process in order, and sees to it that it says so.
stop() {
  local code=0
  kill -TERM "$1"
  wait "$1" || code=$?
  [ "$code" = 0 ] || fail "process $1 should have ended with 0, and ended with $code"
}

if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
  echo "demo: something listens on 127.0.0.1:$port already; stop it, or choose another port: GENIE_LM_DEMO_PORT=11453 make demo" >&2
  exit 1
fi

bindings=$data/bindings/default

say "Start a license server from the YAML files in examples/quickstart: three seats of acme-cad."
start_server

say "May team-a run? It asks with the key in its binding, which the server has written."
expect 0 AUTHORIZED '\bOK\b' '\bpro\b' 'draw,render,simulate' DAYS-LEFT -- validate --binding "$bindings/team-a"

say "Somebody has a key that nobody was given."
"$genie" keys new >"$data/wrong.key"
expect 3 DENIED UNKNOWN_KEY -- validate --binding "$bindings/team-a" --key-file "$data/wrong.key"

say "The trial is over."
expect 4 EXPIRED LICENSE_EXPIRED -- validate --binding "$bindings/trial"

say "Three programs take the three seats, and hold them."
for _ in 1 2 3; do hold "$bindings/team-a"; done

say "A fourth is told that there is none, and when to try again."
expect 3 NO_SEATS '"retryable": ?true' '"retryAfter": ?"[0-9.]+s"' -- \
  checkout --output json --binding "$bindings/team-a"

say "Who has the seats?"
expect 0 acme-cad -- status --data "$data"
in_use 3 || fail "status should have said that 3 seats are in use"

say "One program ends, and gives its seat back; the fourth gets it at once."
stop "${holders[2]}"
unset 'holders[2]'
hold "$bindings/team-a"

say "The server is killed in the middle of it (kill -9), and started again from its files."
kill -KILL "$server"
{ wait "$server" || true; } 2>/dev/null
start_server
echo "    Those who hold a seat know nothing of it: their next renewal (every 20 s) is taken over."
wait_until 30 "the three seats are renewed with the new server" in_use 3
for pid in "${holders[@]}"; do kill -0 "$pid" 2>/dev/null || fail "a program lost its seat"; done
expect 0 acme-cad -- status --data "$data"

say "There is still no fourth seat."
expect 3 DENIED 'NO_SEATS|RECOVERING' -- checkout --binding "$bindings/team-a"

say "All end."
for pid in "${holders[@]}"; do stop "$pid"; done
holders=()
stop "$server"
server=''
(exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null && fail "something still listens on port $port"
rm -rf "$data"
printf '\n%sEvery answer was as it should be, and nothing is left behind.%s Next: docs/quick-start.md\n' "$bold" "$plain"
