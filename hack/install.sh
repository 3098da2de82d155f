#!/usr/bin/env bash
# Applies a kustomization of config/ to the cluster of $KUBECONFIG, and waits until that cluster accepts a
# PaymentSession.
#
#   hack/install.sh config/install    everything but the manager's Deployment
#   hack/install.sh config/default    everything
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
kubectl=hack/kubectl.sh

render() { go tool -modfile=hack/tools/go.mod kustomize build "$1"; }
apply() {
  "$kubectl" apply --server-side --force-conflicts --field-manager=payment-session-operator-install -f - >/dev/null
}

# The CRDs come first, because the classes need one of them.
render config/crd | apply
"$kubectl" wait --for=condition=Established --timeout=60s \
  crd/paymentsessions.payments.payops.dev crd/paymentsweeps.payments.payops.dev crd/paymentproviders.payments.payops.dev \
  crd/clusterpaymentproviders.payments.payops.dev crd/paymentproviderclasses.payments.payops.dev >/dev/null
if [ -n "${IMG:-}" ]; then
  render "$1" | sed "s|image: payment-session-operator:dev|image: $IMG|" | apply
else
  render "$1" | apply
fi

# An admission policy adds the finalizer at creation in Kubernetes 1.36 and later. Before that, the operator adds it.
finalizer=
if "$kubectl" get --raw /apis/admissionregistration.k8s.io/v1 | grep -q '"mutatingadmissionpolicies"'; then
  apply <config/admission/finalizer-at-creation/policy.yaml
  apply <config/admission/finalizer-at-creation/binding.yaml
  finalizer=payments.payops.dev/expire-upstream
fi

# CRDs and admission policies take effect a moment after they were written. Until then, the API server rejects
# creates or does not add the finalizer.
for _ in $(seq 60); do
  if reply=$("$kubectl" create --dry-run=server -o jsonpath='{.metadata.finalizers}' -f - 2>&1 <<YAML
apiVersion: payments.payops.dev/v1alpha1
kind: PaymentSession
metadata: {generateName: install-check-, namespace: payops-system}
spec: {providerRef: {name: install-check}, sessionID: install-check}
YAML
  ) && [[ "$reply" == *"$finalizer"* ]]; then
    echo "installed: the cluster accepts PaymentSessions"
    exit 0
  fi
  sleep 1
done
echo "the cluster still does not accept a PaymentSession after a minute: $reply" >&2
exit 1
