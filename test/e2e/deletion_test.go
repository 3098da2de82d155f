// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// eitherWay are the tests that run both with and without the admission policy that adds the finalizer at creation.
// Each uses its own namespace, so that all of them run in parallel.
var eitherWay = map[string]func(*testing.T){
	"namespace teardown":                   namespaceTeardown,
	"deletion in every order":              deletionInEveryOrder,
	"rejected credentials hold a deletion": rejectedCredentialsHoldADeletionVisibly,
	"finished sessions need no operator":   finishedSessionsNeedNoOperator,
	"a session moved in Git":               aSessionMovedInGitIsNotExpired,
}

// TestDeletion deletes sessions in every way, with and without the admission policy. Each is expired first, unless
// its user wants to keep it.
func TestDeletion(t *testing.T) {
	withAndWithoutAdmission(t, func(t *testing.T) {
		for name, test := range eitherWay {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				test(t)
			})
		}
	})
}

// deletionInEveryOrder deletes a session, its provider and its Secret with kubectl, in every order. The session is
// expired, and all three are deleted.
func deletionInEveryOrder(t *testing.T) {
	for _, order := range [][]string{
		{"paymentsession", "paymentprovider", "secret"}, {"paymentsession", "secret", "paymentprovider"},
		{"paymentprovider", "paymentsession", "secret"}, {"paymentprovider", "secret", "paymentsession"},
		{"secret", "paymentsession", "paymentprovider"}, {"secret", "paymentprovider", "paymentsession"},
	} {
		for _, restart := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, restart %v", strings.Join(order, " "), restart), func(t *testing.T) {
				t.Parallel()
				upstreams, url := simulate(t)
				namespace := newNamespace(t, url)
				running := startManager(t, watching(namespace))
				session := payable(t, upstreams, namespace, 1)[0]
				await.Reason(t, api, session, v1alpha1.ReasonObserved)
				names := map[string]string{"paymentsession": session.Name, "paymentprovider": "circle", "secret": "circle"}
				for i, kind := range order {
					kubectl(t, "", "delete", kind, names[kind], "-n", namespace, "--wait=false")
					if restart && i == 0 {
						running.stop(t)
						startManager(t, watching(namespace))
					}
				}
				for _, object := range []client.Object{
					session, gen.Provider(namespace, "circle"), secretNamed(namespace, "circle"),
				} {
					await.Gone(t, api, object)
				}
				assertAllExpired(t, upstreams)
			})
		}
	}
}

// rejectedCredentialsHoldADeletionVisibly deletes a namespace while the provider rejects the credentials. The
// conditions of session and namespace show why the deletion waits, and the owner can finish it.
func rejectedCredentialsHoldADeletionVisibly(t *testing.T) {
	ways := []struct {
		reason string
		end    []string
		want   simulator.State
	}{
		{
			"the Secret is fixed",
			[]string{"patch", "secret", "omise", "-p", `{"stringData":{"secretKey":"` + rotated + `"}}`},
			simulator.Expired,
		},
		{
			"the policy becomes Retain",
			[]string{"patch", "paymentsession", "held", "-p", `{"spec":{"deletionPolicy":"Retain"}}`},
			simulator.Open,
		},
	}
	for _, way := range ways {
		t.Run(way.reason, func(t *testing.T) {
			t.Parallel()
			upstreams, url := simulate(t)
			namespace := newNamespace(t, url)
			startManager(t, watching(namespace))
			id := gen.ID("omise", 1)
			upstreams.Add(simulator.Object{Provider: "omise", ID: id, State: simulator.Open})
			session := gen.Session(namespace, "held", "omise", id, gen.Active)
			create(t, session)
			await.Reason(t, api, session, v1alpha1.ReasonObserved)
			upstreams.SetKey("omise", "secretKey", rotated)
			deleteNamespace(t, namespace)
			await.Reason(t, api, session, v1alpha1.ReasonCredentialsRejected)
			terminating := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
			await.Until(t, api, terminating, "its conditions name our finalizer", func(n *corev1.Namespace) bool {
				return slices.ContainsFunc(n.Status.Conditions, func(c corev1.NamespaceCondition) bool {
					return strings.Contains(c.Message, v1alpha1.ExpireFinalizer)
				})
			})
			kubectl(t, "", append(way.end, "-n", namespace, "--type=merge")...)
			awaitNamespaceGone(t, namespace)
			if state := upstreams.State("omise", id); state != way.want {
				t.Errorf("the session is %s, want %s", state, way.want)
			}
		})
	}
}

// finishedSessionsNeedNoOperator deletes a closed session, and then a namespace of closed sessions of a
// ClusterPaymentProvider, while no operator runs.
func finishedSessionsNeedNoOperator(t *testing.T) {
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	running := startManager(t, watching(namespace))
	secret := gen.Secret("payops-system", "txn")
	provider := gen.ClusterPaymentProvider("shared", "txn", &v1alpha1.NamespaceSelector{}, gen.Endpoint(url+"/txn"))
	create(t, secret, provider)
	var sessions []*v1alpha1.PaymentSession
	for i := range 2 {
		id := gen.ID("txn", i)
		upstreams.Add(simulator.Object{Provider: "txn", ID: id, State: simulator.Open})
		session := gen.Session(namespace, fmt.Sprintf("closed-%d", i), "txn", id, gen.ClusterProvider("shared"))
		create(t, session)
		session = await.Until(t, api, session, "it is closed and released", func(s *v1alpha1.PaymentSession) bool {
			return s.Status.State == v1alpha1.SessionStateExpired && len(s.Finalizers) == 0
		})
		sessions = append(sessions, session)
	}
	kubectl(t, "", "delete", "paymentprovider", "--all", "-n", namespace)
	running.stop(t)
	kubectl(t, "", "delete", "paymentsession", sessions[0].Name, "-n", namespace, "--timeout=60s")
	deleteNamespace(t, namespace)
	awaitNamespaceGone(t, namespace)
	startManager(t, watching(namespace))
	kubectl(t, "", "delete", "clusterpaymentprovider", "shared", "--timeout=60s")
	kubectl(t, "", "delete", "secret", "txn", "-n", "payops-system", "--timeout=60s")
}

// aSessionMovedInGitIsNotExpired creates a second object for the same session and prunes the first, as GitOps tools
// do when a manifest is renamed. The second object takes the session over, without a call.
func aSessionMovedInGitIsNotExpired(t *testing.T) {
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	startManager(t, watching(namespace))
	id := gen.ID("helio", 1)
	upstreams.Add(simulator.Object{Provider: "helio", ID: id, State: simulator.Open})
	before := gen.Session(namespace, "before", "helio", id, gen.Active)
	after := gen.Session(namespace, "after", "helio", id, gen.Active)
	create(t, before)
	await.Reason(t, api, before, v1alpha1.ReasonObserved)
	create(t, after)
	kubectl(t, "", "delete", "paymentsession", "before", "-n", namespace, "--timeout=60s")
	await.Reason(t, api, after, v1alpha1.ReasonObserved)
	if state := upstreams.State("helio", id); state != simulator.Open {
		t.Errorf("the session is %s, want it open, because the other object's desired state is active", state)
	}
	if calls := upstreams.CallsOf("helio", id); slices.Contains(calls, simulator.Expire) {
		t.Errorf("calls %q, want no expiry", calls)
	}
}
