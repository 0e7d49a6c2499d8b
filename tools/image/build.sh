#!/usr/bin/env bash
# Builds the container image of genie-lm without a daemon: one static program in an empty image, as a docker-archive.
# The last line is the archive's path; its reference stands beside it in a file that ends in .name instead of .tar.
# Takes --tag REF and --out FILE; GENIE_LM_BIN names a static program that is built already. Needs buildah and root.
set -euo pipefail
root=$(cd "$(dirname "$0")/../.." && pwd)
. "$root/tools/image/archive.sh"
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

# With the target named, the flag is for the program alone: build scripts and macros stay dynamic, as they must.
build_program() {
  local host
  host=$(rustc -vV | sed -n 's/^host: //p')
  (cd "$root" && RUSTFLAGS='-C target-feature=+crt-static' \
    cargo build --release --locked --target "$host" --bin genie-lm >&2)
  echo "${CARGO_TARGET_DIR:-$root/target}/$host/release/genie-lm"
}

program=${GENIE_LM_BIN:-}
[ -n "$program" ] || program=$(build_program)
[ -x "$program" ] || { echo "build.sh: there is no program at '$program'" >&2; exit 1; }
# A program that asks for an interpreter is not static, and an empty image has none.
if readelf --program-headers "$program" | grep -q INTERP; then
  echo "build.sh: '$program' is not static: build it with RUSTFLAGS='-C target-feature=+crt-static' and --target" >&2
  exit 1
fi
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
