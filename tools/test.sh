#!/usr/bin/env bash
# Runs the parts of `make test` in order, stops at the first that fails, and says how long each took.
# Takes the names of parts (make targets), or none for all.
set -uo pipefail
cd "$(dirname "$0")/.."
parts=("$@")
[ $# -gt 0 ] || parts=(fmt-check clippy deny check-generated helm-lint unit demo controlplane e2e)

summary=()
report() {
  printf '\nmake test:\n'
  printf '  %s\n' "${summary[@]}"
}
started=$SECONDS
for part in "${parts[@]}"; do
  printf '\n=== %s\n' "$part"
  begun=$SECONDS
  if ! make "$part"; then
    summary+=("$(printf '%-16s FAILED after %4d s' "$part" $((SECONDS - begun)))")
    report
    exit 1
  fi
  summary+=("$(printf '%-16s ok %4d s' "$part" $((SECONDS - begun)))")
done
summary+=("$(printf '%-16s ok %4d s' "all" $((SECONDS - started)))")
report
echo "Not among these: known vulnerabilities of dependencies (make advisories), since its database is not in a registry."
