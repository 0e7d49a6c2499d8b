#!/usr/bin/env bash
# Builds the images that nodes need before any other, beside the programs they are made of, unless they are there:
# pause, busybox (for tests) and coredns. Takes the directory of the programs; the last line is that of the archives.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
. "$here/../image/archive.sh"
bin=${1:-$("$here/build.sh" nodes)}
images=$(dirname "$bin")/images
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$images"
exec 9>"$images/.lock"
flock 9

# image NAME ENTRYPOINT SOURCE:TARGET
image() {
  [ -s "$images/$1.tar" ] && return
  archive "example.test/$1:1" "$images/$1.tar" 0 "$2" "$3"
  echo "example.test/$1:1 has $(($(stat -c %s "$images/$1.tar") / 1024)) KiB" >&2
}

if [ ! -s "$images/pause.tar" ]; then gcc -Os -static -s -o "$work/pause" "$here/../image/pause.c"; fi
image pause '["/pause"]' "$work/pause:/pause"

if [ ! -s "$images/busybox.tar" ]; then
  mkdir -p "$work"/root/{bin,tmp,etc}
  cp "$(command -v busybox)" "$work/root/bin/busybox"
  "$work/root/bin/busybox" --list | while read -r applet; do
    [ "$applet" = busybox ] || ln -s busybox "$work/root/bin/$applet"
  done
fi
image busybox '["/bin/sh"]' "$work/root:/"

image coredns '["/coredns"]' "$bin/coredns:/coredns"
echo "$images"
