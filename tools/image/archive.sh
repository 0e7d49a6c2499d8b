# Packs files into a container image without a daemon and without a base image. Needs buildah and root.
# Gives archive REF OUT USER ENTRYPOINT SOURCE:TARGET..., where OUT becomes a docker-archive, whole or not at all.

archive() {
  local ref=$1 out=$2 user=$3 entrypoint=$4 store container pair
  shift 4
  command -v buildah >/dev/null || { echo "buildah is needed to build $ref; tools/cluster/packages.sh installs it" >&2; return 1; }
  # A store of its own: nothing of other images is touched, and nothing is left.
  store=$(mktemp -d)
  pack() { buildah --storage-driver vfs --root "$store/root" --runroot "$store/run" "$@"; }
  container=$(pack from scratch)
  for pair in "$@"; do pack copy -q "$container" "${pair%%:*}" "${pair##*:}" >/dev/null; done
  pack config --user "$user" --entrypoint "$entrypoint" --env PATH=/bin "$container"
  mkdir -p "$(dirname "$out")"
  pack commit -q "$container" "docker-archive:$store/image.tar:$ref" >/dev/null
  mv "$store/image.tar" "$out"
  rm -rf "$store"
}
