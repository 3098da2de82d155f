// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// awaitHeld waits until a Secret bears our finalizer, or no longer does.
func awaitHeld(t *testing.T, namespace, name string, wanted bool) {
	t.Helper()
	await.Until(t, api, secretNamed(namespace, name), "the finalizer is there or not, as it should be", func(s *corev1.Secret) bool {
		return slices.Contains(s.Finalizers, v1alpha1.InUseFinalizer) == wanted
	})
}

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

func TestAClusterProviderSharesASecretWithANamespacedOne(t *testing.T) {
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
	kubectl(t, "", "patch", "paymentprovider", "omise", "-n", namespace, "--type=merge", "-p", `{"spec":{"credentialsSecretRef":{"name":"other"}}}`)
	awaitHeld(t, namespace, "other", true)
	awaitHeld(t, namespace, "omise", false)
	kubectl(t, "", "delete", "secret", "omise", "-n", namespace, "--timeout=60s")
	// The list in the status gets shorter only after the Secret was let go, so that nothing is forgotten in between.
	await.Until(t, api, provider, "the other Secret alone is held", func(changed *v1alpha1.PaymentProvider) bool {
		return slices.Equal(changed.Status.HeldSecrets, []string{"other"})
	})
	await.Reason(t, api, provider, v1alpha1.ReasonAccountReady)
	session := payableAt(t, upstreams, namespace, "omise")
	await.Reason(t, api, session, v1alpha1.ReasonObserved)
}

func TestATerminatingSecretIsValid(t *testing.T) {
	t.Parallel()
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	// One that was being deleted before the operator saw it cannot get the finalizer any more.
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
	kubectl(t, "", "patch", "secret", "foreign", "-n", namespace, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	await.Gone(t, api, secretNamed(namespace, "foreign"))

	// A Secret that is deleted and made again is protected again.
	kubectl(t, "", "delete", "paymentprovider", "helio", "-n", namespace, "--timeout=60s")
	kubectl(t, "", "delete", "secret", "helio", "-n", namespace, "--timeout=60s")
	create(t, gen.Secret(namespace, "helio"), gen.Provider(namespace, "helio", gen.Endpoint(url+"/helio")))
	awaitHeld(t, namespace, "helio", true)
}

// TestTheOperatorMayChangeOneFinalizerOfASecretAndNothingElse speaks as the operator's ServiceAccount.
func TestTheOperatorMayChangeOneFinalizerOfASecretAndNothingElse(t *testing.T) {
	t.Parallel()
	operator := asOperator(t)
	_, url := simulate(t)
	namespace := newNamespace(t, url)
	kubectl(t, "", "patch", "secret", "omise", "-n", namespace, "--type=merge", "-p", `{"metadata":{"finalizers":["example.com/hold"],"labels":{"a":"b"}}}`)
	t.Cleanup(func() {
		kubectl(t, "", "patch", "secret", "omise", "-n", namespace, "--type=merge", "-p", `{"metadata":{"finalizers":null}}`)
	})
	for _, tc := range []struct{ reason, patch, wants string }{
		{"our finalizer beside another's", `{"metadata":{"finalizers":["example.com/hold","payments.payops.dev/in-use"]}}`, ""},
		{"another's finalizer", `{"metadata":{"finalizers":["payments.payops.dev/in-use"]}}`, "no finalizer of a Secret but its own"},
		{"data", `{"data":{"secretKey":"eA=="}}`, "what a Secret holds"},
		{"all data", `{"data":null}`, "what a Secret holds"},
		{"more data", `{"stringData":{"more":"x"}}`, "what a Secret holds"},
		{"a label", `{"metadata":{"labels":{"a":"c"}}}`, "labels, annotations and owners"},
		{"no labels", `{"metadata":{"labels":null}}`, "labels, annotations and owners"},
		{"an annotation", `{"metadata":{"annotations":{"a":"b"}}}`, "labels, annotations and owners"},
		{"an owner", `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"x","uid":"y"}]}}`, "labels, annotations and owners"},
		{"immutable", `{"immutable":true}`, "what a Secret holds"},
	} {
		err := operator.Patch(t.Context(), secretNamed(namespace, "omise"), client.RawPatch("application/merge-patch+json", []byte(tc.patch)))
		if tc.wants == "" && err != nil || tc.wants != "" && (err == nil || !strings.Contains(err.Error(), tc.wants)) {
			t.Errorf("%s: %v, want a refusal that says %q", tc.reason, err, tc.wants)
		}
	}
	for reason, err := range map[string]error{
		"list":   operator.List(t.Context(), &corev1.SecretList{}),
		"create": operator.Create(t.Context(), secretNamed(namespace, "new")),
		"delete": operator.Delete(t.Context(), secretNamed(namespace, "omise")),
	} {
		if err == nil || !strings.Contains(err.Error(), "forbidden") {
			t.Errorf("%s Secrets: %v, want it forbidden", reason, err)
		}
	}
}

// TestWhoNamesASecretMustBeAllowedToReadIt makes providers as a developer who may not read Secrets.
func TestWhoNamesASecretMustBeAllowedToReadIt(t *testing.T) {
	t.Parallel()
	_, url := simulate(t)
	namespace := newNamespace(t, url)
	kubectl(t, "", "create", "role", "developer", "-n", namespace, "--verb=create,update,patch,get", "--resource=paymentproviders.payments.payops.dev")
	kubectl(t, "", "create", "rolebinding", "developer", "-n", namespace, "--role=developer", "--user=dev")
	const manifest = `
apiVersion: payments.payops.dev/v1alpha1
kind: PaymentProvider
metadata: {name: sly}
spec: {className: omise, endpoint: "https://evil.example", credentialsSecretRef: {name: omise}}
`
	output, err := plane.Run(manifest, "apply", "-n", namespace, "--as=dev", "-f", "-")
	if err == nil || !strings.Contains(output, "you may not get Secret "+namespace+"/omise") {
		t.Errorf("got %v, want it refused", err)
	}
	kubectl(t, "", "create", "role", "reader", "-n", namespace, "--verb=get", "--resource=secrets", "--resource-name=omise")
	kubectl(t, "", "create", "rolebinding", "reader", "-n", namespace, "--role=reader", "--user=dev")
	kubectl(t, manifest, "apply", "-n", namespace, "--as=dev", "-f", "-")
}
