#!/usr/bin/env bash
# Checks the alert rules of config/prometheus with promtool, and runs their tests.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# Service discovery is not needed, and makes up most of promtool.
promtool() { GOFLAGS=-tags=remove_all_sd go tool -modfile=hack/tools/go.mod promtool "$@"; }

# promtool reads the rules without the PrometheusRule around them.
awk '/^spec:/ {inside = 1; next} inside {sub(/^  /, ""); print}' config/prometheus/rules.yaml >"$folder/rules.yaml"
cp config/prometheus/tests/rules_test.yaml "$folder/"
promtool check rules --lint=all --lint-fatal "$folder/rules.yaml"
promtool test rules "$folder/rules_test.yaml"
