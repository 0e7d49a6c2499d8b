# What every part shares: messages, deadlines, and daemons that outlive the script.
# Takes $state (where all files of a cluster live) and $bin (the programs); gives say, die, wait_for and the daemon verbs.
# A daemon NAME is run/NAME.command (its words, quoted), run/NAME.pid ("PID START-TIME") and log/NAME.log.

begun=${EPOCHREALTIME/[.,]/}
say() {
  local t=$(((${EPOCHREALTIME/[.,]/} - begun) / 10000))
  printf '[%3d.%02d s] %s\n' $((t / 100)) $((t % 100)) "$*"
}
die() { echo "cluster.sh: $*" >&2; exit 1; }

# START-TIME of a process in clock ticks since boot; empty for one that is gone or a zombie. With it a pid file never
# names a stranger that got the number later.
start_time() {
  local stat
  { stat=$(<"/proc/$1/stat"); } 2>/dev/null || return 0
  set -- ${stat##*) }
  [ "$1" = Z ] || echo "${20}"
}

# Pid of a daemon that runs; fails when it does not.
pid_of() {
  local pid started
  { read -r pid started <"$state/run/$1.pid"; } 2>/dev/null || return 1
  [ -n "$started" ] && [ "$(start_time "$pid")" = "$started" ] && echo "$pid"
}
running() { pid_of "$1" >/dev/null; }

# daemon NAME COMMAND...: remembers the command and starts it.
daemon() {
  local name=$1
  shift
  printf '%q ' "$@" >"$state/run/$name.command"
  start "$name"
}

start() {
  local name=$1 words pid
  [ -f "$state/run/$name.command" ] || die "there is no daemon $name in $state; there are: $(daemons | tr '\n' ' ')"
  if pid=$(pid_of "$name"); then
    kill -CONT "$pid"
    return
  fi
  eval "words=($(<"$state/run/$name.command"))"
  # The log is appended to: what led to a crash stays readable after a restart. The lock (9) is not handed on.
  setsid nohup "${words[@]}" >>"$state/log/$name.log" 2>&1 </dev/null 9>&- &
  echo "$! $(start_time $!)" >"$state/run/$name.pid"
}

# stop NAME [SIGNAL]: TERM and, after 5 s, KILL; another signal is only sent. STOP pauses until `start`.
stop() {
  local pid signal=${2:-TERM} tries=100
  pid=$(pid_of "$1") || { rm -f "$state/run/$1.pid"; return 0; }
  kill "-$signal" "$pid" 2>/dev/null || true
  case $signal in TERM | KILL | INT | QUIT) ;; *) return 0 ;; esac
  kill -CONT "$pid" 2>/dev/null || true
  while running "$1"; do
    ((tries-- > 0)) || kill -KILL "$pid" 2>/dev/null || true
    sleep 0.05
  done
  rm -f "$state/run/$1.pid"
}

daemons() {
  local file
  for file in "$state"/run/*.command; do
    [ -f "$file" ] && basename "$file" .command
  done
  return 0
}

# wait_for SECONDS WHAT DAEMON|- COMMAND...: until the command succeeds; gives up when the daemon dies or time is over.
wait_for() {
  local seconds=$1 what=$2 name=$3 end=$((SECONDS + $1))
  shift 3
  until "$@" >/dev/null 2>&1; do
    if [ "$name" != - ] && ! running "$name"; then
      tail -n 5 "$state/log/$name.log" >&2
      die "$name ended while it was waited for ($what); its log is $state/log/$name.log"
    fi
    if ((SECONDS >= end)); then
      [ "$name" = - ] || tail -n 5 "$state/log/$name.log" >&2
      die "waited $seconds s in vain: $what"
    fi
    sleep 0.1
  done
  say "$what"
}

# A loopback port that nothing listens on, outside the range the kernel takes for outgoing connections, so that it
# stays free while its daemon is stopped.
free_port() {
  local port tries
  for tries in {1..100}; do
    port=$((15000 + RANDOM % 15000))
    (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null || { echo "$port"; return; }
  done
  die "no free port on 127.0.0.1 in $tries tries"
}
