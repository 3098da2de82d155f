#!/usr/bin/env bash
# Copyright The Payment Session Operator Authors.
# SPDX-License-Identifier: Apache-2.0

# Draws histories for TIME seconds on every processor, and stops a processor at its first finding. The seeds are new in
# each run, and printed. A history that fails is written into test/simulation/testdata, from where every later test run
# replays it.
#
#   SEED=…   draws histories from a seed on, as a failure prints it: the first one is the failure
#   FILE=…   replays one history
#   DETAILS=1 adds calls and statuses to its story
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../test/simulation"

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
binary=$folder/simulation.test
go test -c -o "$binary" .
run() { "$binary" -test.timeout 0 "-details=${DETAILS:-0}" "$@"; }
draw() { run -test.run '^TestHistories$' "-keep=testdata/seed-$1.json" "-rapid.seed=$1" "${@:2}"; }

# worker draws histories of new seeds until the time is over. For 50 histories rapid takes seeds from the given one to
# 1225 above it.
worker() {
  local count=0 seed=$1
  while [ "$SECONDS" -lt "$end" ]; do
    draw "$seed" -rapid.checks=50 >"$folder/$1" 2>&1 || {
      local status=$?
      cat "$folder/$1"
      echo "histories from seed $seed ended with status $status, after $count others"
      return 1
    }
    count=$((count + 50)) seed=$((seed + 2000))
  done
  echo "$count histories from seed $1 to $((seed - 1)) without a finding"
}

if [ -n "${FILE:-}" ]; then
  run -test.v -test.run '^TestKnownHistories$' "-history=$FILE"
elif [ -n "${SEED:-}" ]; then
  draw "$SEED"
else
  pids=()
  end=$((SECONDS + ${TIME:-60}))
  for _ in $(seq "$(nproc)"); do
    worker $((RANDOM * 32768 + RANDOM + 1)) &
    pids+=($!)
  done
  failed=0
  for pid in "${pids[@]}"; do
    wait "$pid" || failed=1
  done
  exit "$failed"
fi
