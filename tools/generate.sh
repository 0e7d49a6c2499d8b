#!/usr/bin/env bash
# Generated files: `write` makes them anew, `check` fails when they differ from what `write` would make.
# Takes the mode and the genie-lm binary. Helm is the one that tools/cluster pins.
set -euo pipefail
mode=${1:-} genie=$(realpath "${2:-}")
cd "$(dirname "$0")/.."
case $mode in write | check) ;; *) echo "usage: generate.sh write|check GENIE-LM" >&2; exit 2 ;; esac
PATH="$(tools/cluster/build.sh control-plane | tail -n 1):$PATH"
generated=(crds charts/genie-lm/files/crds deploy/crds.yaml deploy/operator.yaml docs/openapi.json)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT

# Everything is made in $out, from the binary and the chart's templates.
mkdir -p "$out/charts/genie-lm/files" "$out/deploy" "$out/docs"
"$genie" openapi >"$out/docs/openapi.json"
"$genie" crds --out-dir "$out/crds"
cp -r charts/genie-lm/{Chart.yaml,values.yaml,values.schema.json,templates} "$out/charts/genie-lm/"
cp -r "$out/crds" "$out/charts/genie-lm/files/crds"
cat "$out"/crds/*.yaml >"$out/deploy/crds.yaml"
{
  echo "# Generated from charts/genie-lm by make generate; do not edit."
  # What speaks of Helm is left out: it is not Helm that applies this.
  helm template genie-lm "$out/charts/genie-lm" --namespace genie-lm --set crds.install=false --skip-tests |
    grep -v -e '^# Source:' -e 'helm.sh/' -e 'app.kubernetes.io/managed-by: Helm'
} >"$out/deploy/operator.yaml"

differ=0
for path in "${generated[@]}"; do
  if [ "$mode" = write ]; then
    rm -rf "$path"
    mkdir -p "$(dirname "$path")"
    cp -r "$out/$path" "$path"
  else
    diff -ruN "$path" "$out/$path" || differ=1
  fi
done
if [ $differ = 1 ]; then
  echo "generated files are not up to date: run make generate, look at the difference, and commit it" >&2
  exit 1
fi
