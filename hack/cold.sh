#!/usr/bin/env bash
# Runs make demo and make test as on a new machine: in a clean clone of the last commit, with empty module, build and
# control plane caches. Warm caches hide missing steps. A change to tools or tests must pass this at the first try.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
folder=$(mktemp -d)
# Files in the module cache are read-only.
trap 'chmod -R u+w "$folder"; rm -rf "$folder"' EXIT

git clone --quiet "$root" "$folder/clone"
export GOMODCACHE=$folder/modules GOCACHE=$folder/build PAYOPS_CACHE=$folder/payops XDG_CACHE_HOME=$folder/cache
unset KUBEBUILDER_ASSETS
for target in demo test; do
  started=$SECONDS
  make --no-print-directory -C "$folder/clone" "$target"
  printf '### make %s, with empty caches: %d s\n' "$target" "$((SECONDS - started))"
done
