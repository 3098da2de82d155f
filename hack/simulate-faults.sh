#!/usr/bin/env bash
# Copyright The Payment Session Operator Authors.
# SPDX-License-Identifier: Apache-2.0

# Checks that the simulation finds planted faults: a simulation that finds nothing proves nothing. Each patch of
# test/simulation/faults, or each one that is named, is applied to a copy of the tree, and the simulation draws histories
# on every processor for TIME seconds (60) from SEED on. Where the text of a patch names actions ("Actions: create,
# storm"), every other processor draws histories of these alone. A fault that is not found, and that UNREACHABLE.md does
# not list, is a failure. With LOGS=folder the output of each run is kept there.
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

# actions prints the actions that a patch names, as the simulation takes them.
actions() { sed -nE '/^diff /q;s/^Actions: //p' "$1" | sed 's/, */,/g'; }

# worker draws histories until one of the workers has found the fault, or the time is over. rapid ends at a number of
# histories, not at a time, and takes seeds for them from the given one to 300 above it. The arguments are a log, the
# first seed, the end and the actions to choose from; empty for all.
worker() {
  local count=0 seed=$2
  while [ ! -e "$folder/found" ] && [ "$SECONDS" -lt "$3" ]; do
    if "$folder/simulation.test" -test.run '^TestHistories$' -test.v -test.timeout 10m -rapid.checks=25 \
      -rapid.seed="$seed" -rapid.shrinktime=0s -only="$4" >"$1" 2>&1; then
      count=$((count + 25)) seed=$((seed + 1000))
      continue
    fi
    # A history that never ends shows nothing about the rules.
    if grep -q '^panic: test timed out' "$1"; then
      touch "$folder/endless"
    else
      count=$((count + $(histories "$1")))
      mv "$1" "$folder/found"
    fi
    break
  done
  echo "$count" >>"$folder/counts"
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
  elif ! "$folder/simulation.test" -test.run '^$' -only="$(actions "$faults/$name.patch")" >"$log" 2>&1; then
    # Otherwise an action that does not exist would look like a fault that is found.
    row "$name" 'NO ACTION' - -
    failed=1
  else
    started=$SECONDS
    rm -f "$folder/found" "$folder/endless" "$folder/counts"
    for i in $(seq "$(nproc)"); do
      # Some faults need two rare actions in a row. Every other worker draws from those that the patch names.
      only=
      [ $((i % 2)) -ne 0 ] || only=$(actions "$faults/$name.patch")
      (cd "$copy/test/simulation" &&
        worker "$log.$i" $((${SEED:-7} + 1000000 * i)) $((started + ${TIME:-60})) "$only") &
    done
    wait
    result='NOT FOUND'
    if [ -e "$folder/found" ]; then
      result=found
      mv "$folder/found" "$log"
    elif grep -qsF "\`$name\`" "$faults/UNREACHABLE.md"; then
      result=unreachable
    else
      [ ! -e "$folder/endless" ] || result='TIMED OUT'
      failed=1
    fi
    rm -f "$log".[0-9]*
    row "$name" "$result" "$(awk '{ n += $1 } END { print n }' "$folder/counts")" "$((SECONDS - started))"
  fi
  git -C "$copy" apply -R "$faults/$name.patch"
done
exit "$failed"
