#!/usr/bin/env bash
# Generates, formats, tidies, lints and renders everything. It fails if that changes the tree, including untracked
# files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

step() { printf '== %s\n' "$*"; }

before=$(git status --porcelain)
[ -z "$before" ] || printf 'note: the tree was already dirty:\n%s\n' "$before"

step "generate"
make --no-print-directory generate
step "format and tidy"
gofmt -w api cmd config controllers hack internal main.go test
for module in . hack/tools hack/controlplane; do
  go -C "$module" mod tidy
done
step "shell scripts parse"
for script in hack/*.sh hack/*/*.sh .ci/run; do
  bash -n "$script"
done
step "kustomizations render"
for folder in config/install config/default config/samples config/samples/shop config/prometheus config/classes/catalogue hack/demo hack/demo/shop \
  test/e2e/testdata/* test/install/testdata/*; do
  go tool -modfile=hack/tools/go.mod kustomize build "$folder" >/dev/null
done
step "chart and alert rules"
go tool -modfile=hack/tools/go.mod helm lint --strict dist/chart
hack/rules.sh
step "lint"
make --no-print-directory lint
step "clean tree"
after=$(git status --porcelain)
if [ "$before" != "$after" ]; then
  printf 'make verify changed the tree. Commit its changes:\n%s\n' "$after"
  git --no-pager diff --stat
  exit 1
fi
echo "verified"
