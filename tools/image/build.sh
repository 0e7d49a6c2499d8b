#!/usr/bin/env bash
# Builds the container image of genie-lm without a daemon: one static program in an empty image, as a docker-archive.
# The last line is the archive's path; its reference stands beside it in a file that ends in .name instead of .tar.
# Takes --tag REF and --out FILE; GENIE_LM_BIN names a static program that is built already. Needs buildah and root.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tools/image/archive.sh"
. "$root/tools/image/program.sh"
version=$(awk -F'"' '/^\[workspace\.package\]/ { here = 1 } here && /^version = / { print $2; exit }' "$root/Cargo.toml")
tag=ghcr.io/genie-lm/genie-lm:$version out=$root/target/image/genie-lm.tar
# Every node that runs a server fetches the image, and every pod that brings the program in unpacks it.
limit_mb=30

while [ $# -gt 0 ]; do
  case $1 in
    --tag) tag=${2:?--tag needs a reference}; shift 2 ;;
    --out) out=${2:?--out needs a file}; shift 2 ;;
    *) echo "usage: build.sh [--tag REF] [--out FILE]" >&2; exit 2 ;;
  esac
done

program=$(static_program genie-lm bin genie-lm "${GENIE_LM_BIN:-}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
strip -o "$work/genie-lm" "$program"
chmod 755 "$work/genie-lm"
archive "$tag" "$work/image.tar" 65532:65532 '["/bin/genie-lm"]' "$work/genie-lm:/bin/genie-lm"

bytes=$(stat -c %s "$work/image.tar")
size=$((bytes / 1000000)).$((bytes / 100000 % 10))
if [ "$bytes" -gt $((limit_mb * 1000000)) ]; then
  echo "build.sh: the image has $size MB, more than $limit_mb MB" >&2
  exit 1
fi
mkdir -p "$(dirname "$out")"
mv "$work/image.tar" "$out"
echo "$tag" >"${out%.tar}.name"
echo "$tag has $size MB"
echo "$out"
