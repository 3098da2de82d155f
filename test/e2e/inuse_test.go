// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// awaitHeld waits until a Secret has our finalizer, or no longer has it.
func awaitHeld(t *testing.T, namespace, name string, wanted bool) {
	t.Helper()
	what := fmt.Sprintf("it has our finalizer: %v", wanted)
	await.Until(t, api, secretNamed(namespace, name), what, func(s *corev1.Secret) bool {
		return slices.Contains(s.Finalizers, v1alpha1.InUseFinalizer) == wanted
	})
}

// TestTwoProvidersThatShareASecret deletes a Secret and one of its two providers. The Secret stays until the other
// provider is gone.
func TestTwoProvidersThatShareASecret(t *testing.T) {
	t.Parallel()
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	second := gen.Provider(namespace, "omise", gen.Endpoint(url+"/omise"))
	second.Name = "second"
	create(t, second)
	running := startManager(t, watching(namespace))
	await.Reason(t, api, second, v1alpha1.ReasonAccountReady)
	await.Reason(t, api, gen.Provider(namespace, "omise"), v1alpha1.ReasonAccountReady)
	session := payableAt(t, upstreams, namespace, "omise")
	await.Reason(t, api, session, v1alpha1.ReasonObserved)
	kubectl(t, "", "delete", "secret", "omise", "-n", namespace, "--wait=false")
	kubectl(t, "", "delete", "paymentprovider", "second", "-n", namespace, "--timeout=60s")
	awaitHeld(t, namespace, "omise", true)
	running.stop(t)
	startManager(t, watching(namespace))
	kubectl(t, "", "delete", "paymentprovider", "omise", "-n", namespace, "--wait=false")
	kubectl(t, "", "delete", "paymentsession", session.Name, "-n", namespace, "--timeout=60s")
	await.Gone(t, api, gen.Provider(namespace, "omise"))
	await.Gone(t, api, secretNamed(namespace, "omise"))
	assertAllExpired(t, upstreams)
}

// TestASecretOfBothProviderKinds has a ClusterPaymentProvider and a PaymentProvider share a Secret. The Secret keeps
// its finalizer until both are gone.
func TestASecretOfBothProviderKinds(t *testing.T) {
	_, url := simulate(t)
	startManager(t)
	namespaced := gen.Provider("payops-system", "helio", gen.Endpoint(url+"/helio"))
	cluster := gen.ClusterPaymentProvider("sharing", "helio", nil, gen.Endpoint(url+"/helio"))
	create(t, gen.Secret("payops-system", "helio"), namespaced, cluster)
	await.Reason(t, api, namespaced, v1alpha1.ReasonAccountReady)
	await.Reason(t, api, cluster, v1alpha1.ReasonAccountReady)
	kubectl(t, "", "delete", "clusterpaymentprovider", "sharing", "--timeout=60s")
	awaitHeld(t, "payops-system", "helio", true)
	kubectl(t, "", "delete", "paymentprovider", "helio", "-n", "payops-system", "--timeout=60s")
	awaitHeld(t, "payops-system", "helio", false)
	kubectl(t, "", "delete", "secret", "helio", "-n", "payops-system", "--timeout=60s")
}

// TestAProviderThatChangesItsSecret has a provider use another Secret. That one gets the finalizer, and the previous
// one loses it.
func TestAProviderThatChangesItsSecret(t *testing.T) {
	t.Parallel()
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	startManager(t, watching(namespace))
	provider := gen.Provider(namespace, "omise")
	await.Reason(t, api, provider, v1alpha1.ReasonAccountReady)
	awaitHeld(t, namespace, "omise", true)
	other := gen.Secret(namespace, "omise")
	other.Name = "other"
	create(t, other)
	const useOther = `{"spec":{"credentialsSecretRef":{"name":"other"}}}`
	kubectl(t, "", "patch", "paymentprovider", "omise", "-n", namespace, "--type=merge", "-p", useOther)
	awaitHeld(t, namespace, "other", true)
	awaitHeld(t, namespace, "omise", false)
	kubectl(t, "", "delete", "secret", "omise", "-n", namespace, "--timeout=60s")
	// The status stops listing a Secret only after the finalizer was released, so that no crash in between forgets it.
	await.Until(t, api, provider, "it holds only the other Secret", func(changed *v1alpha1.PaymentProvider) bool {
		return slices.Equal(changed.Status.HeldSecrets, []string{"other"})
	})
	await.Reason(t, api, provider, v1alpha1.ReasonAccountReady)
	session := payableAt(t, upstreams, namespace, "omise")
	await.Reason(t, api, session, v1alpha1.ReasonObserved)
}

// TestATerminatingSecretIsValid expires a session with the credentials of a Secret that is being deleted.
func TestATerminatingSecretIsValid(t *testing.T) {
	t.Parallel()
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	// A Secret that is already being deleted cannot get the finalizer: Kubernetes forbids new finalizers then.
	foreign := gen.Secret(namespace, "omise")
	foreign.Name, foreign.Finalizers = "foreign", []string{"example.com/hold"}
	create(t, foreign)
	kubectl(t, "", "delete", "secret", "foreign", "-n", namespace, "--wait=false")
	provider := gen.Provider(namespace, "omise", gen.Endpoint(url+"/omise"))
	provider.Name, provider.Spec.CredentialsSecretRef.Name = "late", "foreign"
	create(t, provider)
	startManager(t, watching(namespace))
	await.Reason(t, api, provider, v1alpha1.ReasonAccountReady)
	id := gen.ID("omise", 1)
	upstreams.Add(simulator.Object{Provider: "omise", ID: id, State: simulator.Open})
	session := gen.Session(namespace, "late", "late", id)
	create(t, session)
	await.Reason(t, api, session, v1alpha1.ReasonExpired)
	kubectl(t, "", "patch", "secret", "foreign", "-n", namespace, "--type=merge", "-p", noFinalizers)
	await.Gone(t, api, secretNamed(namespace, "foreign"))

	// A Secret that is deleted and recreated is protected again.
	kubectl(t, "", "delete", "paymentprovider", "helio", "-n", namespace, "--timeout=60s")
	kubectl(t, "", "delete", "secret", "helio", "-n", namespace, "--timeout=60s")
	create(t, gen.Secret(namespace, "helio"), gen.Provider(namespace, "helio", gen.Endpoint(url+"/helio")))
	awaitHeld(t, namespace, "helio", true)
}

// TestTheOperatorMayOnlyChangeItsFinalizer patches a Secret as the operator's ServiceAccount. The admission policy
// accepts a change of the operator's own finalizer and rejects every other change.
func TestTheOperatorMayOnlyChangeItsFinalizer(t *testing.T) {
	t.Parallel()
	operator := asOperator(t)
	_, url := simulate(t)
	namespace := newNamespace(t, url)
	const hold = `{"metadata":{"finalizers":["example.com/hold"],"labels":{"a":"b"}}}`
	kubectl(t, "", "patch", "secret", "omise", "-n", namespace, "--type=merge", "-p", hold)
	t.Cleanup(func() {
		kubectl(t, "", "patch", "secret", "omise", "-n", namespace, "--type=merge", "-p", noFinalizers)
	})
	const owner = `{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"y"}`
	for _, tc := range []struct{ reason, patch, wants string }{
		{"our finalizer next to another one", `{"metadata":{"finalizers":["example.com/hold","payments.payops.dev/in-use"]}}`, ""},
		{"another finalizer", `{"metadata":{"finalizers":["payments.payops.dev/in-use"]}}`, "must not change finalizers of a Secret other than"},
		{"data", `{"data":{"secretKey":"eA=="}}`, "must not change the data, type or immutability"},
		{"all data", `{"data":null}`, "must not change the data, type or immutability"},
		{"more data", `{"stringData":{"more":"x"}}`, "must not change the data, type or immutability"},
		{"a label", `{"metadata":{"labels":{"a":"c"}}}`, "must not change the labels, annotations or owner references"},
		{"no labels", `{"metadata":{"labels":null}}`, "must not change the labels, annotations or owner references"},
		{"an annotation", `{"metadata":{"annotations":{"a":"b"}}}`, "must not change the labels, annotations or owner references"},
		{"an owner", `{"metadata":{"ownerReferences":[` + owner + `]}}`, "must not change the labels, annotations or owner references"},
		{"immutable", `{"immutable":true}`, "must not change the data, type or immutability"},
	} {
		err := operator.Patch(t.Context(), secretNamed(namespace, "omise"), gen.MergePatch(tc.patch))
		if tc.wants == "" && err != nil || tc.wants != "" && (err == nil || !strings.Contains(err.Error(), tc.wants)) {
			t.Errorf("%s: %v, want an error that says %q", tc.reason, err, tc.wants)
		}
	}
	for reason, err := range map[string]error{
		"list":   operator.List(t.Context(), &corev1.SecretList{}),
		"create": operator.Create(t.Context(), secretNamed(namespace, "new")),
		"delete": operator.Delete(t.Context(), secretNamed(namespace, "omise")),
	} {
		if err == nil || !strings.Contains(err.Error(), "forbidden") {
			t.Errorf("%s Secrets: %v, want it to be forbidden", reason, err)
		}
	}
}

// TestWhoNamesASecretMustBeAllowedToReadIt creates a provider as a developer. Its Secret must be one that the
// developer may read: otherwise, the provider could send its content to any endpoint.
func TestWhoNamesASecretMustBeAllowedToReadIt(t *testing.T) {
	t.Parallel()
	_, url := simulate(t)
	namespace := newNamespace(t, url)
	kubectl(t, "", "create", "role", "developer", "-n", namespace,
		"--verb=create,update,patch,get", "--resource=paymentproviders.payments.payops.dev")
	kubectl(t, "", "create", "rolebinding", "developer", "-n", namespace, "--role=developer", "--user=dev")
	const manifest = `
apiVersion: payments.payops.dev/v1alpha1
kind: PaymentProvider
metadata: {name: sly}
spec: {className: omise, endpoint: "https://evil.example", credentialsSecretRef: {name: omise}}
`
	output, err := plane.Run(manifest, "apply", "-n", namespace, "--as=dev", "-f", "-")
	if err == nil || !strings.Contains(output, "you may not get Secret "+namespace+"/omise") {
		t.Errorf("got %v, want it to be rejected", err)
	}
	kubectl(t, "", "create", "role", "reader", "-n", namespace,
		"--verb=get", "--resource=secrets", "--resource-name=omise")
	kubectl(t, "", "create", "rolebinding", "reader", "-n", namespace, "--role=reader", "--user=dev")
	kubectl(t, manifest, "apply", "-n", namespace, "--as=dev", "-f", "-")
}
