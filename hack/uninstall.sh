#!/usr/bin/env bash
# Takes back what make install or make deploy put into the cluster of $KUBECONFIG. No session is expired by it, and no
# finalizer of ours stays behind, on sessions or on Secrets, whether the operator runs or not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kubectl=hack/kubectl.sh
group=payments.payops.dev

render() { go tool -modfile=hack/tools/go.mod kustomize build "$1"; }

# strip RESOURCE FINALIZER takes one finalizer off every object that bears it, with the rights of whoever runs this.
strip() {
  local namespace name index failed=0
  "$kubectl" get "$1" --all-namespaces --ignore-not-found \
    -o go-template='{{range .items}}{{$o := .}}{{range $i, $f := .metadata.finalizers}}{{if eq $f "'"$2"'"}}{{or $o.metadata.namespace "-"}} {{$o.metadata.name}} {{$i}}{{"\n"}}{{end}}{{end}}{{end}}' | {
    while read -r namespace name index; do
      "$kubectl" patch "$1" "$name" $([ "$namespace" = - ] || echo "--namespace=$namespace") --type=json -p "[
        {\"op\": \"test\", \"path\": \"/metadata/finalizers/$index\", \"value\": \"$2\"},
        {\"op\": \"remove\", \"path\": \"/metadata/finalizers/$index\"}]" >/dev/null || {
        echo "could not take $2 off $1 $namespace/$name: it has changed; run this again" >&2
        failed=1
      }
    done
    exit "$failed"
  }
}

# Nothing new may get a finalizer from here on.
if "$kubectl" get --raw /apis/admissionregistration.k8s.io/v1 | grep -q '"mutatingadmissionpolicies"'; then
  "$kubectl" delete --ignore-not-found -f config/admission/finalizer-at-creation/policy.yaml
fi

# The sessions first, then what they needed. A definition that is being deleted tells the operator that this is an uninstall:
# it lets everything go and makes no call. Where it does not run, the finalizers are taken off here.
for kind in paymentsessions:expire-upstream paymentproviders:in-use clusterpaymentproviders:in-use paymentproviderclasses:; do
  resource=${kind%%:*}.$group
  "$kubectl" get crd "$resource" >/dev/null 2>&1 || continue
  "$kubectl" delete crd "$resource" --wait=false
  if ! "$kubectl" wait --for=delete "crd/$resource" --timeout=10s >/dev/null 2>&1; then
    # The operator may be letting them go at the same time; what counts is that the definition then goes.
    strip "$resource" "$group/${kind##*:}" || true
    "$kubectl" wait --for=delete "crd/$resource" --timeout=60s >/dev/null
  fi
done
strip secrets "$group/in-use"

# The definitions and with them the classes are gone; their kinds would not even be understood any more.
render config/default | awk 'BEGIN {RS = "---\n"; ORS = RS} !/kind: CustomResourceDefinition/ && !/kind: PaymentProviderClass/' |
  "$kubectl" delete --ignore-not-found -f -
