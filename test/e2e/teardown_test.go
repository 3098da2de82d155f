// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const admissionBinding = "config/admission/finalizer-at-creation/binding.yaml"

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

// withAndWithoutAdmission runs a test with the policy that puts the finalizer on at creation, and without it.
func withAndWithoutAdmission(t *testing.T, test func(*testing.T)) {
	t.Helper()
	t.Run("with the admission policy", test)
	t.Run("without the admission policy", func(t *testing.T) {
		kubectl(t, "", "delete", "-f", gen.Root()+"/"+admissionBinding)
		t.Cleanup(func() {
			kubectl(t, "", "apply", "-f", gen.Root()+"/"+admissionBinding)
			awaitAdmission(t, true)
		})
		awaitAdmission(t, false)
		test(t)
	})
}

// awaitAdmission waits until the API server puts the finalizer on such a session when it is created, or no longer does.
func awaitAdmission(t *testing.T, wanted bool, options ...gen.SessionOption) {
	t.Helper()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); <-tick.C {
		probe := gen.Session("default", "admission-probe", "omise", gen.ID("omise", 1), options...)
		// A fresh policy refuses creates until the API server knows its schema.
		// The test's own context has ended where this is called to clean up.
		if err := api.Create(context.Background(), probe, client.DryRunAll); err == nil && slices.Contains(probe.Finalizers, v1alpha1.ExpireFinalizer) == wanted {
			return
		}
	}
	t.Fatalf("the admission policy does not take effect (wanted: %v)", wanted)
}

// payable makes sessions that can be paid and should stay so, spread over the four providers.
func payable(t *testing.T, upstreams *simulator.Simulator, namespace string, count int) []*v1alpha1.PaymentSession {
	t.Helper()
	var sessions []*v1alpha1.PaymentSession
	for i := range count {
		provider := gen.Providers[i%len(gen.Providers)]
		id := gen.ID(provider, i)
		upstreams.Add(simulator.Object{Provider: provider, ID: id, State: simulator.Open})
		session := gen.Session(namespace, fmt.Sprintf("%s-%d", provider, i), provider, id, gen.Active)
		if err := api.Create(t.Context(), session); err != nil {
			t.Fatal(err)
		}
		sessions = append(sessions, session)
	}
	return sessions
}

// watching limits a manager to one namespace, so that tests with managers of their own can run beside each other.
func watching(namespace string) string { return "--watch-namespaces=" + namespace }

func deleteNamespace(t *testing.T, namespace string) {
	t.Helper()
	kubectl(t, "", "delete", "namespace", namespace, "--wait=false")
}

func awaitNamespaceGone(t *testing.T, namespace string) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(kubectl(t, "", "get", "namespace", namespace, "--ignore-not-found", "-o", "jsonpath={.status.conditions}"))
		}
	})
	await.Gone(t, api, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
}

// assertAllExpired looks into the providers' own books.
func assertAllExpired(t *testing.T, upstreams *simulator.Simulator) {
	t.Helper()
	for _, object := range upstreams.Objects() {
		if object.State != simulator.Expired {
			t.Errorf("%s %s is still %s", object.Provider, object.ID, object.State)
		}
	}
}

// namespaceTeardown deletes namespaces with 4 providers, their Secrets and 40 active sessions, while everything else goes
// wrong too.
func namespaceTeardown(t *testing.T) {
	cases := map[string]func(*testing.T, *simulator.Simulator, string, *manager){
		"alone": func(t *testing.T, _ *simulator.Simulator, namespace string, _ *manager) {
			deleteNamespace(t, namespace)
		},
		"Secrets deleted a moment before": func(t *testing.T, _ *simulator.Simulator, namespace string, _ *manager) {
			kubectl(t, "", "delete", "secret", "--all", "-n", namespace, "--wait=false")
			deleteNamespace(t, namespace)
		},
		"providers deleted a moment before": func(t *testing.T, _ *simulator.Simulator, namespace string, _ *manager) {
			kubectl(t, "", "delete", "paymentprovider", "--all", "-n", namespace, "--wait=false")
			deleteNamespace(t, namespace)
		},
		"the operator started later": func(t *testing.T, _ *simulator.Simulator, namespace string, running *manager) {
			running.stop(t)
			deleteNamespace(t, namespace)
			// The sweep has begun when the sessions are being deleted.
			await.Until(t, api, gen.Session(namespace, "circle-0", "circle", ""), "it is being deleted", func(s *v1alpha1.PaymentSession) bool { return !s.DeletionTimestamp.IsZero() })
			startManager(t, watching(namespace))
		},
		"the operator killed in the middle": func(t *testing.T, upstreams *simulator.Simulator, namespace string, running *manager) {
			before := len(upstreams.Calls())
			deleteNamespace(t, namespace)
			awaitCalls(t, upstreams, before+15)
			running.kill(t)
			startManager(t, watching(namespace))
		},
		"a provider answering 503 for 15 s": func(t *testing.T, upstreams *simulator.Simulator, namespace string, _ *manager) {
			upstreams.SetOutage("helio", true)
			over := time.AfterFunc(15*time.Second, func() { upstreams.SetOutage("helio", false) })
			t.Cleanup(func() { over.Stop() })
			deleteNamespace(t, namespace)
		},
		"a session created in the same second": func(t *testing.T, upstreams *simulator.Simulator, namespace string, _ *manager) {
			late := gen.ID("omise", 9999)
			upstreams.Add(simulator.Object{Provider: "omise", ID: late, State: simulator.Open})
			if err := api.Create(t.Context(), gen.Session(namespace, "late", "omise", late, gen.Active)); err != nil {
				t.Fatal(err)
			}
			deleteNamespace(t, namespace)
		},
	}
	for reason, begin := range cases {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			upstreams, url := simulate(t)
			namespace := newNamespace(t, url)
			running := startManager(t, watching(namespace))
			for _, session := range payable(t, upstreams, namespace, 40) {
				await.Reason(t, api, session, v1alpha1.ReasonObserved)
			}
			begin(t, upstreams, namespace, running)
			awaitNamespaceGone(t, namespace)
			assertAllExpired(t, upstreams)
		})
	}
}

// awaitCalls waits until the simulator has received that many calls.
func awaitCalls(t *testing.T, upstreams *simulator.Simulator, count int) {
	t.Helper()
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); len(upstreams.Calls()) < count; <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("%d calls, waited for %d", len(upstreams.Calls()), count)
		}
	}
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

// TestAReplacedManifestKeepsTheFinalizer has pipelines that write whole manifests, which know nothing of finalizers.
func TestAReplacedManifestKeepsTheFinalizer(t *testing.T) {
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	replace := func(session *v1alpha1.PaymentSession) *v1alpha1.PaymentSession {
		t.Helper()
		whole := session.DeepCopy()
		whole.Finalizers, whole.Status = nil, v1alpha1.PaymentSessionStatus{}
		if err := api.Update(t.Context(), whole); err != nil {
			t.Fatal(err)
		}
		return whole
	}
	sessions := payable(t, upstreams, namespace, len(gen.Providers))
	for _, session := range sessions {
		replaced := replace(session)
		if !slices.Contains(replaced.Finalizers, v1alpha1.ExpireFinalizer) {
			t.Errorf("%s has lost its finalizer", session.Name)
		}
		// Nobody has come between the replacement and the deletion.
		if err := api.Delete(t.Context(), replaced); err != nil {
			t.Fatal(err)
		}
	}
	closed := gen.Session(namespace, "closed", "omise", gen.ID("omise", 77))
	retained := gen.Session(namespace, "retained", "omise", gen.ID("omise", 78), gen.Active)
	retained.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
	for _, session := range []*v1alpha1.PaymentSession{closed, retained} {
		if err := api.Create(t.Context(), session); err != nil {
			t.Fatal(err)
		}
	}
	upstreams.Add(simulator.Object{Provider: "omise", ID: closed.Spec.SessionID, State: simulator.Open})
	startManager(t, watching(namespace))
	for _, session := range sessions {
		await.Gone(t, api, session)
		if state := upstreams.State(session.Spec.ProviderRef.Name, session.Spec.SessionID); state != simulator.Expired {
			t.Errorf("%s is gone, and its session is %s", session.Name, state)
		}
	}
	closed = await.Until(t, api, closed, "it is closed and released", func(s *v1alpha1.PaymentSession) bool {
		return s.Status.State.Closed() && len(s.Finalizers) == 0
	})
	retained = await.Reason(t, api, retained, v1alpha1.ReasonSessionNotFound)
	for _, session := range []*v1alpha1.PaymentSession{closed, retained} {
		if replaced := replace(session); len(replaced.Finalizers) > 0 {
			t.Errorf("%s got the finalizers %q, which it does not need", session.Name, replaced.Finalizers)
		}
	}
}
