# Builds a program that runs in an empty image. Takes $root; gives static_program PACKAGE bin|example NAME [FILE], which prints
# the path of the program: FILE where one is named, which is built already.

static_program() {
  local program=${4:-}
  [ -n "$program" ] || program=$(build_static "$1" "$2" "$3") || return 1
  [ -x "$program" ] || { echo "there is no program at '$program'" >&2; return 1; }
  # A program that asks for an interpreter is not static, and an empty image has none.
  if readelf --program-headers "$program" | grep -q INTERP; then
    echo "'$program' is not static: build it with RUSTFLAGS='-C target-feature=+crt-static' and --target" >&2
    return 1
  fi
  echo "$program"
}

# With the target named, the flag is for the program alone: build scripts and macros stay dynamic, as they must.
build_static() {
  local host folder=''
  host=$(rustc -vV | sed -n 's/^host: //p')
  (cd "$root" && RUSTFLAGS='-C target-feature=+crt-static' \
    cargo build --release --locked --target "$host" -p "$1" "--$2" "$3" >&2) || return 1
  [ "$2" = bin ] || folder=${2}s/
  echo "${CARGO_TARGET_DIR:-$root/target}/$host/release/$folder$3"
}
