#!/usr/bin/env bash
# Takes back what make install or make deploy put into the cluster of $KUBECONFIG. No session is expired by it, and no
# finalizer of ours stays behind, on sessions or on Secrets, whether the operator runs or not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kubectl=hack/kubectl.sh

render() { go tool -modfile=hack/tools/go.mod kustomize build "$1"; }

# Nothing new may get a finalizer from here on.
if "$kubectl" get --raw /apis/admissionregistration.k8s.io/v1 | grep -q '"mutatingadmissionpolicies"'; then
  "$kubectl" delete --ignore-not-found \
    -f config/admission/finalizer-at-creation/binding.yaml -f config/admission/finalizer-at-creation/policy.yaml
fi

go run . uninstall

# The definitions and with them the classes are gone; their kinds would not even be understood any more.
render config/default | awk 'BEGIN {RS = "---\n"; ORS = RS} !/kind: CustomResourceDefinition/ && !/kind: PaymentProviderClass/' |
  "$kubectl" delete --ignore-not-found -f -
