#!/usr/bin/env bash
# The main job, end to end: four providers' sessions go from open to expired through a real API server.
#
#   KEEP=1           leaves everything up and says what to try
#   CLUSTER=current  uses the cluster of the current kubeconfig instead of one of its own
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

work=$(mktemp -d)
namespace=payops-demo
url=http://127.0.0.1:9090
pids=()
failed=0

step() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }
kubectl() { hack/kubectl.sh "$@"; }

finish() {
  local code=$?
  if [ "${KEEP:-}" = 1 ] && [ "$code" = 0 ]; then
    cat <<TXT

Everything is left up. To try it:
  export KUBECONFIG=${KUBECONFIG:-$HOME/.kube/config}
  kubectl get paymentsessions -n $namespace -o wide
  kubectl explain paymentsession.spec
  bin/simulator objects
  logs: $work
To take it down:
  kubectl delete namespace $namespace
  kill ${pids[*]}
TXT
    [ "${CLUSTER:-}" = current ] && echo "  make uninstall" || echo "  make controlplane-down"
    return
  fi
  step "Taking everything down"
  # With the operator still up: what the namespace opened is expired before it goes.
  if [ "${CLUSTER:-}" = current ] && [ "${#pids[@]}" -gt 1 ]; then
    run kubectl delete namespace "$namespace" --ignore-not-found --timeout=120s || true
  fi
  for pid in "${pids[@]:-}"; do
    [ -z "$pid" ] || { kill "$pid" 2>/dev/null && wait "$pid" 2>/dev/null || true; }
  done
  if [ "${CLUSTER:-}" != current ]; then
    bin/cluster down
  fi
  [ "$code" = 0 ] && rm -rf "$work" || echo "the logs are in $work"
  return "$code"
}
trap finish EXIT

await_line() { # FILE TEXT PID WHAT
  for _ in $(seq 300); do
    grep -q "$2" "$1" 2>/dev/null && return 0
    kill -0 "$3" 2>/dev/null || { echo "$4 ended:"; tail -n 20 "$1"; return 1; }
    sleep 0.1
  done
  echo "$4 did not start within 30 s; see $1"
  return 1
}

expect() { # WHAT WANT GOT
  if [ "$2" = "$3" ]; then
    printf '  ok    %-16s %s\n' "$1" "$3"
  else
    printf '  WRONG %-16s %s, want %s\n' "$1" "$3" "$2"
    failed=1
  fi
}

if [ "${CLUSTER:-}" = current ]; then
  step "Using the cluster of the current kubeconfig"
  run kubectl version
  if kubectl get namespace "$namespace" >/dev/null 2>&1; then
    echo "namespace $namespace is there already: kubectl delete namespace $namespace, and start again when it is gone"
    exit 1
  fi
else
  step "A control plane"
  KUBECONFIG=$(bin/cluster up | tail -n 1)
  export KUBECONFIG
  echo "export KUBECONFIG=$KUBECONFIG"
fi

step "Install the definitions, the classes and the roles"
run make --no-print-directory install

step "The four providers, simulated on this machine"
echo "$ bin/simulator serve --objects hack/demo/objects.yaml &"
bin/simulator serve --objects hack/demo/objects.yaml >"$work/simulator.log" 2>&1 &
pids+=($!)
await_line "$work/simulator.log" "are served at" $! "the simulator"

step "The operator"
echo "$ bin/manager --allow-private-endpoints --metrics-bind-address=0 --health-probe-bind-address=0 &"
bin/manager --allow-private-endpoints --metrics-bind-address=0 --health-probe-bind-address=0 >"$work/manager.log" 2>&1 &
pids+=($!)
await_line "$work/manager.log" "Starting workers" $! "the manager"

step "Before: what the providers have in their books"
run bin/simulator objects

step "Accounts and sessions: each provider has one that is open, one paid, one expired and one that it does not know"
run kubectl apply -k hack/demo

step "Wait until each has come to its end"
run kubectl wait -n $namespace paymentprovider --all --for=condition=Ready --timeout=60s
run kubectl wait -n $namespace paymentsession/{circle,helio,omise,txn}-{open,expired} --for=condition=Ready --timeout=60s
run kubectl wait -n $namespace paymentsession/{circle,helio,omise,txn}-paid --for='jsonpath={.status.conditions[?(@.type=="Ready")].reason}=PaymentCompleted' --timeout=60s
run kubectl wait -n $namespace paymentsession/{circle,helio,omise,txn}-unknown --for='jsonpath={.status.conditions[?(@.type=="Ready")].reason}=SessionNotFound' --timeout=60s

step "The sessions"
run kubectl get paymentsessions -A

step "One of them in full"
run kubectl get paymentsession omise-open -n $namespace -o yaml

step "After: what the providers have in their books"
run bin/simulator objects

step "The calls that they received"
run bin/simulator calls

step "Did everything end as it should?"
for provider in circle helio omise txn; do
  for session in open:expired paid:completed expired:expired unknown:; do
    name=$provider-${session%%:*}
    expect "$name" "${session##*:}" "$(kubectl get paymentsession "$name" -n $namespace -o jsonpath='{.status.state}')"
  done
  id=$(kubectl get paymentsession "$provider-open" -n $namespace -o jsonpath='{.spec.sessionID}')
  expect "$provider's books" expired "$(bin/simulator objects | awk -v p="$provider" -v id="$id" '$1 == p && $2 == id {print $3}')"
done
exit "$failed"
