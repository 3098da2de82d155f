#!/usr/bin/env bash
# Runs the operator against a real API server and four simulated providers: open sessions become expired, and two
# namespaces are deleted, one of them with charges that no object names.
#
#   KEEP=1           leaves everything running and prints what to try
#   CLUSTER=current  uses the cluster of the current kubeconfig instead of starting one
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

work=$(mktemp -d)
namespace=payops-demo
preview=payops-demo-preview
shop=payops-demo-shop
pids=()
failed=0

step() { printf '\n\033[1m# %s\033[0m\n' "$*"; }
run() { printf '$ %s\n' "$*"; "$@"; }
kubectl() { hack/kubectl.sh "$@"; }

finish() {
  local code=$?
  if [ "${KEEP:-}" = 1 ] && [ "$code" = 0 ]; then
    cat <<TXT

Everything is still running. To try it:
  export KUBECONFIG=${KUBECONFIG:-$HOME/.kube/config}
  kubectl get paymentsessions -n $namespace -o wide
  kubectl explain paymentsession.spec
  bin/simulator objects
  logs: $work
To clean up:
  kubectl delete namespace $namespace
  kill ${pids[*]}
TXT
    [ "${CLUSTER:-}" = current ] && echo "  make uninstall" || echo "  make controlplane-down"
    return
  fi
  step "Clean up"
  # The operator is still running: it expires the open sessions before their namespace goes.
  if [ "${CLUSTER:-}" = current ] && [ "${#pids[@]}" -gt 1 ]; then
    run kubectl delete namespace "$namespace" "$preview" "$shop" --ignore-not-found --timeout=120s || true
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
    kill -0 "$3" 2>/dev/null || { echo "$4 stopped:"; tail -n 20 "$1"; return 1; }
    sleep 0.1
  done
  echo "$4 did not start within 30 s; see $1"
  return 1
}

expect() { # WHAT WANT GOT
  if [ "$2" = "$3" ]; then
    printf '  \033[32mok\033[0m    %-28s %s\n' "$1" "${3:-(no state)}"
  else
    printf '  \033[31mWRONG\033[0m %-28s %s, want %s\n' "$1" "${3:-(no state)}" "${2:-(no state)}"
    failed=1
  fi
}

# upstream prints the state of a session at its provider, without asking the operator.
upstream() { # PROVIDER ID
  bin/simulator objects | awk -v p="$1" -v id="$2" '$1 == p && $2 == id {print $3}'
}

if [ "${CLUSTER:-}" = current ]; then
  step "Use the cluster of the current kubeconfig"
  run kubectl version
  for name in "$namespace" "$preview" "$shop"; do
    if kubectl get namespace "$name" >/dev/null 2>&1; then
      echo "namespace $name already exists: run kubectl delete namespace $name, and try again when it is gone"
      exit 1
    fi
  done
else
  step "Start a control plane"
  KUBECONFIG=$(bin/cluster up | tail -n 1)
  export KUBECONFIG
  echo "export KUBECONFIG=$KUBECONFIG"
fi

step "Install the CRDs, the classes and the roles"
run make --no-print-directory install

step "Start the four simulated providers"
echo "$ bin/simulator serve --objects hack/demo/objects.yaml &"
bin/simulator serve --objects hack/demo/objects.yaml >"$work/simulator.log" 2>&1 &
pids+=($!)
await_line "$work/simulator.log" "txn is served at" $! "the simulator"

step "Start the operator"
flags=(--allow-private-endpoints --cluster-name=demo --metrics-bind-address=0 --health-probe-bind-address=0)
echo "$ bin/manager ${flags[*]} &"
bin/manager "${flags[@]}" >"$work/manager.log" 2>&1 &
pids+=($!)
await_line "$work/manager.log" "Starting workers" $! "the manager"

step "Before: the sessions at the providers"
run bin/simulator objects

step "Ask for 16 sessions to be expired: at each provider one is open, one paid, one expired, one unknown"
run kubectl apply -k hack/demo

step "Wait until every session has reached its final state"
run kubectl wait -n $namespace paymentprovider --all --for=condition=Ready --timeout=60s
run kubectl wait -n $namespace paymentsession/{circle,helio,omise,txn}-{open,expired} --for=condition=Ready --timeout=60s
run kubectl wait -n $namespace paymentsession/{circle,helio,omise,txn}-paid --for='jsonpath={.status.conditions[?(@.type=="Ready")].reason}=PaymentCompleted' --timeout=60s
run kubectl wait -n $namespace paymentsession/{circle,helio,omise,txn}-unknown --for='jsonpath={.status.conditions[?(@.type=="Ready")].reason}=SessionNotFound' --timeout=60s

step "The sessions, as kubectl shows them"
run kubectl get paymentsessions -n $namespace

step "One session in full"
run kubectl get paymentsession omise-open -n $namespace -o yaml

step "A preview environment with an open session"
run kubectl apply -f hack/demo/preview.yaml
run kubectl wait -n $preview paymentsession/order-1042 --for=condition=Ready --timeout=60s
run kubectl get paymentsessions -n $preview

step "Delete its namespace: the session is expired first, with credentials that are kept until then"
run kubectl delete namespace $preview --timeout=120s

step "A shop that opens charges without any object, at an account that another cluster shares"
for n in 1 2 3; do
  run bin/simulator add --provider omise --id chrg_test_5xuy4w91xqz7d1w9s00$n --owner demo/$shop
done
run bin/simulator add --provider omise --id chrg_test_5xuy4w91xqz7d1w9s009 --owner production/$shop
run kubectl apply -k hack/demo/shop
run kubectl wait -n $shop paymentsweep/omise --for=condition=Ready --timeout=60s
run kubectl get paymentsweeps -n $shop

step "One more charge. Then the namespace is deleted, and what it has opened is expired"
run bin/simulator add --provider omise --id chrg_test_5xuy4w91xqz7d1w9s004 --owner demo/$shop
run kubectl delete namespace $shop --timeout=180s

step "After: the sessions at the providers"
run bin/simulator objects

step "The calls that the providers received"
run bin/simulator calls

step "Check the results"
for provider in circle helio omise txn; do
  for session in open:expired paid:completed expired:expired unknown:; do
    name=$provider-${session%%:*}
    expect "$name" "${session##*:}" "$(kubectl get paymentsession "$name" -n $namespace -o jsonpath='{.status.state}')"
  done
  id=$(kubectl get paymentsession "$provider-open" -n $namespace -o jsonpath='{.spec.sessionID}')
  expect "$provider-open at $provider" expired "$(upstream "$provider" "$id")"
done
expect "order-1042 at omise" expired "$(upstream omise chrg_test_5xuy4w91xqz7d1w9u042)"
for n in 1 2 3 4; do
  expect "charge $n of the shop" expired "$(upstream omise chrg_test_5xuy4w91xqz7d1w9s00$n)"
done
expect "a charge of another cluster" open "$(upstream omise chrg_test_5xuy4w91xqz7d1w9s009)"
exit "$failed"
