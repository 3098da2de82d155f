#!/usr/bin/env bash
# Copyright The Payment Session Operator Authors.
# SPDX-License-Identifier: Apache-2.0

# Draws histories for TIME seconds on every processor, and stops at the first finding. A failed history is kept in
# test/simulation/testdata/rapid, from where every later test run replays it first.
#
#   SEED=…   replays the histories of a seed, as a failure prints it
#   FILE=…   replays one failed history
#   DETAILS=1 adds calls and statuses to its story
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../test/simulation"

binary=$(mktemp)
trap 'rm -f "$binary"' EXIT
go test -c -o "$binary" .
run() { "$binary" -test.run '^TestHistories$' -test.timeout 0 "-details=${DETAILS:-0}" "$@"; }

if [ -n "${FILE:-}" ]; then
  run "-rapid.failfile=$FILE"
elif [ -n "${SEED:-}" ]; then
  run "-rapid.seed=$SEED" -rapid.nofailfile
else
  pids=()
  end=$((SECONDS + ${TIME:-60}))
  worker() {
    local count=0
    while [ "$SECONDS" -lt "$end" ]; do
      run -rapid.checks=50 "-rapid.seed=$((RANDOM * 32768 + RANDOM + 1))" >"$binary.$1" 2>&1 || { cat "$binary.$1"; rm -f "$binary.$1"; return 1; }
      count=$((count + 50))
    done
    rm -f "$binary.$1"
    echo "$count histories without a finding"
  }
  for i in $(seq "$(nproc)"); do
    worker "$i" &
    pids+=($!)
  done
  failed=0
  for pid in "${pids[@]}"; do
    wait "$pid" || failed=1
  done
  exit "$failed"
fi
