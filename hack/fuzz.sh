#!/usr/bin/env bash
# Copyright The Payment Session Operator Authors.
# SPDX-License-Identifier: Apache-2.0

# Runs every fuzz test for FUZZTIME, one after the other, and stops at the first failure. go test writes the failing
# input to testdata/fuzz, where every later run of the tests tries it again.
set -euo pipefail

packages=$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -n1 dirname | sort -u)
for package in $packages; do
  for fuzzer in $(grep -hoE --include='*_test.go' -r '^func Fuzz[A-Za-z]+' "$package" | cut -d' ' -f2); do
    echo "==> $package $fuzzer"
    go test "$package" -run '^$' -fuzz "^$fuzzer\$" -fuzztime "${FUZZTIME:-1m}" -parallel "${WORKERS:-2}" |
      grep -v 'gathering baseline'
  done
done
