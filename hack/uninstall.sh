#!/usr/bin/env bash
# Removes what make install or make deploy has installed in the cluster of $KUBECONFIG. It expires no session, and
# leaves none of the operator's finalizers on sessions or Secrets, whether the operator runs or not.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kubectl=hack/kubectl.sh

render() { go tool -modfile=hack/tools/go.mod kustomize build "$1"; }

# From here on, no new session gets a finalizer.
if "$kubectl" get --raw /apis/admissionregistration.k8s.io/v1 | grep -q '"mutatingadmissionpolicies"'; then
  "$kubectl" delete --ignore-not-found \
    -f config/admission/finalizer-at-creation/binding.yaml -f config/admission/finalizer-at-creation/policy.yaml
fi

go run . uninstall

# The CRDs and the classes are already deleted, and kubectl no longer knows the kind of the classes.
render config/default |
  awk 'BEGIN {RS = "---\n"; ORS = RS} !/kind: CustomResourceDefinition/ && !/kind: PaymentProviderClass/' |
  "$kubectl" delete --ignore-not-found -f -
