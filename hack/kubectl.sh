#!/usr/bin/env bash
# Runs the kubectl on PATH, or the one of hack/controlplane if there is none.
set -euo pipefail
if command -v kubectl >/dev/null; then
  exec kubectl "$@"
fi
exec "$("$(dirname "${BASH_SOURCE[0]}")/controlplane/build.sh")/kubectl" "$@"
