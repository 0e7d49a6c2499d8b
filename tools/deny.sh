#!/usr/bin/env bash
# Runs cargo-deny's checks named as arguments (deny.toml). Installs its pinned version into the cache when it is
# missing: that compiles for some minutes, once.
set -euo pipefail
version=0.20.2
cache=${GENIE_LM_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/genie-lm}
root=$cache/tools/cargo-deny-$version

if [ ! -x "$root/bin/cargo-deny" ]; then
  echo "deny: installing cargo-deny $version into $root (some minutes, once)" >&2
  # A target directory of its own: the project's may be set to one that other checkouts use at this moment.
  build=$(mktemp -d)
  trap 'rm -rf "$build"' EXIT
  CARGO_TARGET_DIR=$build cargo install --quiet --locked cargo-deny --version "$version" --root "$root"
  rm -rf "$build"
  trap - EXIT
fi
"$root/bin/cargo-deny" --locked check "$@"
