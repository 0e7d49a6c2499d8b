#!/usr/bin/env bash
# Builds the image of the witness, the application of tests/cluster, as build.sh builds that of genie-lm. The last line is
# the archive's path. Takes --tag REF and --out FILE; GENIE_LM_WITNESS_BIN names a static program that is built already.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tools/image/archive.sh"
. "$root/tools/image/program.sh"
tag=example.test/witness:1 out=$root/target/image/witness.tar

while [ $# -gt 0 ]; do
  case $1 in
    --tag) tag=${2:?--tag needs a reference}; shift 2 ;;
    --out) out=${2:?--out needs a file}; shift 2 ;;
    *) echo "usage: app.sh [--tag REF] [--out FILE]" >&2; exit 2 ;;
  esac
done

program=$(static_program genie-client example witness "${GENIE_LM_WITNESS_BIN:-}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
strip -o "$work/witness" "$program"
chmod 755 "$work/witness"
archive "$tag" "$out" 65532:65532 '["/bin/witness"]' "$work/witness:/bin/witness"
echo "$out"
