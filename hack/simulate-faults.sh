#!/usr/bin/env bash
# Copyright The Payment Session Operator Authors.
# SPDX-License-Identifier: Apache-2.0

# Checks that the simulation finds planted faults: a simulation that finds nothing proves nothing. Each patch of
# test/simulation/faults, or each one that is named, is applied to a copy of the tree, and the simulation draws histories
# for TIME seconds (60) from SEED on. A fault that is not found, and that UNREACHABLE.md does not list, is a failure. With
# LOGS=folder the output of each run is kept there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
faults=$PWD/test/simulation/faults
folder=$(mktemp -d)
copy=$folder/copy
logs=${LOGS:-$folder/logs}
trap 'rm -rf "$folder"' EXIT
# git apply must not take the copy for a part of a repository around it.
export GIT_CEILING_DIRECTORIES=$folder

names=("$@")
if [ $# -eq 0 ]; then
  mapfile -t names < <(cd "$faults" && printf '%s\n' *.patch)
fi

# One copy serves all patches: with the path unchanged, only what a patch changes is compiled again.
mkdir -p "$copy" "$logs"
git ls-files -z --cached --others --exclude-standard | tar --create --null --ignore-failed-read --files-from=- |
  tar --extract --directory="$copy"

# histories prints how many histories a failed run has drawn before it ended.
histories() {
  sed -nE 's/.*\[rapid\] (failed|panic) after ([0-9]+) tests.*/\2/p;$s/.*/0/p' "$1" | head -n 1
}

failed=0
row() { printf '%-46s %-12s %10s %8s\n' "$@"; }
row fault result histories seconds
for name in "${names[@]}"; do
  name=$(basename "$name" .patch)
  log=$logs/$name.log
  if ! git -C "$copy" apply "$faults/$name.patch" 2>"$log"; then
    row "$name" 'NO PATCH' - -
    failed=1
    continue
  fi
  if ! (cd "$copy" && go test -c -vet=off -ldflags=-w -o "$folder/simulation.test" ./test/simulation) >"$log" 2>&1; then
    row "$name" 'NO BUILD' - -
    failed=1
  else
    started=$SECONDS
    count=0
    seed=${SEED:-7}
    result='NOT FOUND'
    # rapid ends at a number of histories, not at a time.
    while [ $((SECONDS - started)) -lt "${TIME:-60}" ] && [ "$result" = 'NOT FOUND' ]; do
      if (cd "$copy/test/simulation" && "$folder/simulation.test" -test.run '^TestHistories$' -test.v -test.timeout 10m \
        -rapid.checks=25 -rapid.seed="$seed" -rapid.shrinktime=0s) >"$log" 2>&1; then
        count=$((count + 25))
      elif grep -q '^panic: test timed out' "$log"; then
        # A history that never ends shows nothing about the rules.
        result='TIMED OUT'
      else
        result=found
        count=$((count + $(histories "$log")))
      fi
      seed=$((seed + 1))
    done
    if [ "$result" != found ]; then
      if grep -qsF "\`$name\`" "$faults/UNREACHABLE.md"; then
        result=unreachable
      else
        failed=1
      fi
    fi
    row "$name" "$result" "$count" "$((SECONDS - started))"
  fi
  git -C "$copy" apply -R "$faults/$name.patch"
done
exit "$failed"
