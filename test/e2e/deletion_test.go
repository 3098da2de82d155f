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

// eitherWay are the tests that run with the policy that puts the finalizer on at creation, and without it. Each looks after a
// namespace of its own, so that all of them run beside each other.
var eitherWay = map[string]func(*testing.T){
	"namespace teardown":                   namespaceTeardown,
	"deletion in every order":              deletionInEveryOrder,
	"rejected credentials hold a deletion": rejectedCredentialsHoldADeletionVisibly,
	"finished sessions need no operator":   finishedSessionsNeedNoOperator,
	"a session moved in Git":               aSessionMovedInGitIsNotExpired,
}

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

// deletionInEveryOrder deletes a session, its provider and its Secret by hand, in all orders.
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
					session, gen.Provider(namespace, "circle"), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "circle"}},
				} {
					await.Gone(t, api, object)
				}
				assertAllExpired(t, upstreams)
			})
		}
	}
}

// rejectedCredentialsHoldADeletionVisibly lets the owner of a namespace see what it waits for, and end it.
func rejectedCredentialsHoldADeletionVisibly(t *testing.T) {
	ways := []struct {
		reason string
		end    []string
		want   simulator.State
	}{
		{"the Secret is repaired", []string{"patch", "secret", "omise", "-p", `{"stringData":{"secretKey":"` + rotated + `"}}`}, simulator.Expired},
		{"the policy becomes Retain", []string{"patch", "paymentsession", "held", "-p", `{"spec":{"deletionPolicy":"Retain"}}`}, simulator.Open},
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
			if err := api.Create(t.Context(), session); err != nil {
				t.Fatal(err)
			}
			await.Reason(t, api, session, v1alpha1.ReasonObserved)
			upstreams.SetKey("omise", "secretKey", rotated)
			deleteNamespace(t, namespace)
			await.Reason(t, api, session, v1alpha1.ReasonCredentialsRejected)
			await.Until(t, api, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}, "its conditions name our finalizer", func(n *corev1.Namespace) bool {
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

// finishedSessionsNeedNoOperator deletes closed sessions, and a namespace of them that a ClusterPaymentProvider served, with
// no operator running.
func finishedSessionsNeedNoOperator(t *testing.T) {
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	running := startManager(t, watching(namespace))
	secret := gen.Secret("payops-system", "txn")
	provider := gen.ClusterPaymentProvider("shared", "txn", &v1alpha1.NamespaceSelector{}, gen.Endpoint(url+"/txn"))
	for _, object := range []client.Object{secret, provider} {
		if err := api.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	var sessions []*v1alpha1.PaymentSession
	for i := range 2 {
		id := gen.ID("txn", i)
		upstreams.Add(simulator.Object{Provider: "txn", ID: id, State: simulator.Open})
		session := gen.Session(namespace, fmt.Sprintf("closed-%d", i), "txn", id, gen.ClusterProvider("shared"))
		if err := api.Create(t.Context(), session); err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, await.Until(t, api, session, "it is closed and released", func(s *v1alpha1.PaymentSession) bool {
			return s.Status.State == v1alpha1.SessionStateExpired && len(s.Finalizers) == 0
		}))
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

// aSessionMovedInGitIsNotExpired makes a second object of the same session and prunes the first.
func aSessionMovedInGitIsNotExpired(t *testing.T) {
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	startManager(t, watching(namespace))
	id := gen.ID("helio", 1)
	upstreams.Add(simulator.Object{Provider: "helio", ID: id, State: simulator.Open})
	before, after := gen.Session(namespace, "before", "helio", id, gen.Active), gen.Session(namespace, "after", "helio", id, gen.Active)
	if err := api.Create(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	await.Reason(t, api, before, v1alpha1.ReasonObserved)
	if err := api.Create(t.Context(), after); err != nil {
		t.Fatal(err)
	}
	kubectl(t, "", "delete", "paymentsession", "before", "-n", namespace, "--timeout=60s")
	await.Reason(t, api, after, v1alpha1.ReasonObserved)
	if state := upstreams.State("helio", id); state != simulator.Open {
		t.Errorf("the session is %s, want it open: the other object wants it active", state)
	}
	if calls := upstreams.CallsOf("helio", id); slices.Contains(calls, simulator.Expire) {
		t.Errorf("calls %q, want no expiry", calls)
	}
}
