#!/usr/bin/env bash
# Builds the tools that tests and scripts call, which hack/tools/go.mod pins, so that the first use of one is as quick as every other and
# writes nothing but its own output. Progress goes to standard error.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

for tool in kustomize helm promtool; do
  started=$SECONDS
  printf '  %s ...\n' "$tool" >&2
  # None of promtool's ways to discover targets is needed, and they make up most of the program.
  if [ "$tool" = promtool ]; then export GOFLAGS=-tags=remove_all_sd; fi
  go tool -modfile=hack/tools/go.mod "$tool" --help >/dev/null
  printf '  %s is there after %d s\n' "$tool" "$((SECONDS - started))" >&2
done
