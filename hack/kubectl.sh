#!/usr/bin/env bash
# kubectl: the one on PATH, or the one of hack/controlplane where there is none.
set -euo pipefail
if command -v kubectl >/dev/null; then
  exec kubectl "$@"
fi
exec "$("$(dirname "${BASH_SOURCE[0]}")/controlplane/build.sh")/kubectl" "$@"
