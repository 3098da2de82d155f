#!/usr/bin/env bash
# Builds the tools of hack/tools/go.mod that tests and scripts call, so that their first use is not slow and prints
# nothing but their own output. Progress goes to standard error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

for tool in kustomize helm promtool stripe-mock; do
  started=$SECONDS
  printf '  %s ...\n' "$tool" >&2
  # Service discovery is not needed, and makes up most of promtool.
  if [ "$tool" = promtool ]; then export GOFLAGS=-tags=remove_all_sd; fi
  go tool -modfile=hack/tools/go.mod "$tool" --help >/dev/null
  printf '  %s built in %d s\n' "$tool" "$((SECONDS - started))" >&2
done
