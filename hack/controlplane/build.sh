#!/usr/bin/env bash
# Builds etcd, kube-apiserver, kube-controller-manager and kubectl from the Go modules pinned in this folder, once per
# version and machine, and prints their folder on the last line. Progress goes to standard error.
#
# If KUBEBUILDER_ASSETS is set and complete, nothing is built. PAYOPS_CACHE moves the cache.
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
  say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS does not contain $lacking. Building the pinned versions instead."
fi

command -v go >/dev/null || {
  say "go is not on PATH. The control plane is built from Go modules: install Go 1.26 or later."
  exit 1
}

version=$(go list -m -f '{{.Version}}' k8s.io/kubernetes)
pins=$(cat go.mod go.sum | git hash-object --stdin | cut -c1-12)
cache=${PAYOPS_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/payment-session-operator}
assets=$cache/controlplane/$version-$(go env GOOS)-$(go env GOARCH)-$pins
mkdir -p "$assets"

# Two checkouts on one machine may build at the same time. The second waits for the first, and then finds everything
# built.
exec 9>"$assets/.lock"
if command -v flock >/dev/null && ! flock --nonblock 9; then
  say "waiting for another build of the control plane"
  flock 9
fi

if [ -n "$(missing_from "$assets")" ]; then
  say "building the control plane $version into $assets"
  say "this takes 5 to 12 minutes on 2 cores, but only once"
fi

minor=${version#v1.}
minor=${minor%%.*}
stamped=k8s.io/component-base/version
stamp="-X $stamped.gitVersion=$version -X $stamped.gitMajor=1 -X $stamped.gitMinor=$minor"

build() {
  local binary=$1 package=$2 started=$SECONDS
  [ ! -x "$assets/$binary" ] || return 0
  say "  $binary ..."
  # Build under a temporary name, so that an aborted build leaves no binary that looks complete.
  CGO_ENABLED=0 go build -mod=readonly -trimpath -buildvcs=false -ldflags "-s -w $stamp" \
    -o "$assets/.$binary" "$package" || {
    say "  $binary could not be built (see above). The first build downloads modules from the proxy in go env GOPROXY."
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
