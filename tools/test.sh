#!/usr/bin/env bash
# Runs the parts of `make test` in order, stops at the first that fails, and says how long each took.
# Takes the names of parts (make targets), or none for all. ONE+OTHER are two parts side by side: ONE has what OTHER, which
# mostly waits, leaves of the cores, and what it prints is shown when both have ended.
set -uo pipefail
cd "$(dirname "$0")/.."
parts=("$@")
[ $# -gt 0 ] || parts=(fmt-check clippy deny check-generated helm-lint demo e2e-build+controlplane unit+e2e)

summary=() failed=''
# Process groups of the parts that run: of the one whose output is shown, and of the one beside it.
shown='' beside=''
kept=$(mktemp -d) || exit

stop() { # GROUP: ends a part that runs, and waits until it has cleaned up.
  [ -n "$1" ] || return 0
  kill -- "-$1" 2>/dev/null
  wait "$1"
}
clean_up() {
  stop "$shown"
  stop "$beside"
  rm -rf "$kept"
}
trap clean_up EXIT
trap 'exit 130' INT TERM

noted() { # PART STATUS SECONDS: for the summary.
  local result=ok
  [ "$2" = 0 ] || { result='FAILED after'; failed=yes; }
  summary+=("$(printf '%-16s %s %4d s' "$1" "$result" "$3")")
}

# A part has a process group of its own, so that it can be ended with all that it began.
begin() { # PART
  printf '\n=== %s\n' "$1"
  begun=$SECONDS
  setsid make "$1" &
  shown=$!
}

begin_beside() { # PART: at a low priority, of sessions as well, which Linux gives equal shares of the cores.
  printf '\n=== %s: runs beside what follows\n' "$1"
  setsid bash -c '
    echo 10 >/proc/self/autogroup
    nice -n 10 make "$1"
    status=$?
    echo "$status $SECONDS" >"$2/status"
    exit "$status"
  ' - "$1" "$kept" >"$kept/output" 2>&1 &
  beside=$!
}

end() { # PART
  wait "$shown"
  noted "$1" $? $((SECONDS - begun))
  shown=''
}

end_beside() { # PART
  local status=1 seconds=0
  wait "$beside"
  beside=''
  printf '\n=== %s: what it printed\n' "$1"
  cat "$kept/output"
  read -r status seconds <"$kept/status"
  noted "$1" "$status" "$seconds"
}

side_by_side() { # ONE OTHER: the failure of one ends the other.
  local ended
  begin_beside "$1"
  begin "$2"
  if wait -n -p ended "$shown" "$beside"; then
    # The one that is left decides.
    [ "$ended" = "$shown" ] || wait "$shown"
  elif [ "$ended" = "$beside" ]; then
    end_beside "$1"
    return
  fi
  end "$2"
  [ -z "$failed" ] || { printf '\n=== %s: ended with it, after it printed\n' "$1"; tail -n 20 "$kept/output"; return; }
  end_beside "$1"
}

for part in "${parts[@]}"; do
  case $part in
    *+*) side_by_side "${part%+*}" "${part#*+}" ;;
    *) begin "$part" && end "$part" ;;
  esac
  [ -z "$failed" ] || break
done
[ -n "$failed" ] || noted all 0 "$SECONDS"
printf '\nmake test:\n'
printf '  %s\n' "${summary[@]}"
[ -z "$failed" ] || exit 1
echo "Not among these: known vulnerabilities of dependencies (make advisories), since its database is not in a registry."
