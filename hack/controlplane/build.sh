#!/usr/bin/env bash
# Builds etcd, kube-apiserver, kube-controller-manager and kubectl from the Go modules pinned in this folder, once per
# version and machine, and prints the folder that holds them as the last line. Progress goes to standard error.
#
# KUBEBUILDER_ASSETS, where set and complete, is used as it is. PAYOPS_CACHE moves the cache.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

binaries=(etcd kube-apiserver kube-controller-manager kubectl)
say() { printf '%s\n' "$*" >&2; }

missing_from() {
  local dir=$1 binary missing=()
  for binary in "${binaries[@]}"; do
    [ -x "$dir/$binary" ] || missing+=("$binary")
  done
  printf '%s' "${missing[*]:-}"
}

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  lacking=$(missing_from "$KUBEBUILDER_ASSETS")
  if [ -z "$lacking" ]; then
    printf '%s\n' "$KUBEBUILDER_ASSETS"
    exit 0
  fi
  say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS lacks: $lacking. Building the pinned versions instead."
fi

command -v go >/dev/null || {
  say "go was not found. The control plane is built from Go modules: install Go 1.26 or later and put it on PATH."
  exit 1
}

version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
pins=$(cat go.mod go.sum | git hash-object --stdin | cut -c1-12)
cache=${PAYOPS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/payment-session-operator}
assets=$cache/controlplane/$version-$(go env GOOS)-$(go env GOARCH)-$pins
mkdir -p "$assets"

# Two checkouts on one machine may come here at once; the second waits for the first and then finds everything built.
exec 9>"$assets/.lock"
if command -v flock >/dev/null && ! flock --nonblock 9; then
  say "another build of the control plane is under way; waiting for it"
  flock 9
fi

if [ -n "$(missing_from "$assets")" ]; then
  say "building the control plane $version into $assets"
  say "this takes 5 to 12 minutes on 2 cores, once; later runs find it there"
fi

minor=${version#v1.}
minor=${minor%%.*}
stamp="-X k8s.io/component-base/version.gitVersion=$version -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=$minor"

build() {
  local binary=$1 package=$2 started=$SECONDS
  [ ! -x "$assets/$binary" ] || return 0
  say "  $binary ..."
  # Built under another name first: a half-written binary must not pass for a finished one.
  CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -ldflags "-s -w $stamp" -o "$assets/.$binary" "$package" || {
    say "  $binary could not be built (see above). Go needs to reach its module proxy for the first build: go env GOPROXY says which."
    exit 1
  }
  mv "$assets/.$binary" "$assets/$binary"
  say "  $binary built in $((SECONDS - started)) s"
}

build etcd go.etcd.io/etcd/server/v3
build kubectl k8s.io/kubernetes/cmd/kubectl
build kube-apiserver k8s.io/kubernetes/cmd/kube-apiserver
build kube-controller-manager k8s.io/kubernetes/cmd/kube-controller-manager

printf '%s\n' "$assets"
