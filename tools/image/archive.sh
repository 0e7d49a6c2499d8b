# Packs files into a container image without a daemon and without a base image. Needs buildah and root.
# Gives archive REF OUT USER ENTRYPOINT SOURCE:TARGET..., where OUT becomes a docker-archive, whole or not at all.

archive() (
  ref=$1 out=$2 user=$3 entrypoint=$4
  shift 4
  command -v buildah >/dev/null || { echo "buildah is needed to build $ref; tools/cluster/packages.sh installs it" >&2; exit 1; }
  # A store of its own: nothing of other images is touched, and nothing is left.
  store=$(mktemp -d)
  trap 'rm -rf "$store"' EXIT
  pack() { buildah --storage-driver vfs --root "$store/root" --runroot "$store/run" "$@"; }
  container=$(pack from scratch)
  for pair in "$@"; do pack copy -q "$container" "${pair%%:*}" "${pair##*:}" >/dev/null; done
  pack config --user "$user" --entrypoint "$entrypoint" --env PATH=/bin "$container"
  pack commit -q "$container" "docker-archive:$store/image.tar:$ref" >/dev/null
  mkdir -p "$(dirname "$out")"
  mv "$store/image.tar" "$out"
)
