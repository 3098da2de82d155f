// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"testing"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// namespaceTeardown deletes namespaces with 4 providers, their Secrets and 40 active sessions, under adverse
// conditions. Every session is expired, and every namespace is deleted.
func namespaceTeardown(t *testing.T) {
	cases := map[string]func(*testing.T, *simulator.Simulator, string, *manager){
		"alone": func(t *testing.T, _ *simulator.Simulator, namespace string, _ *manager) {
			deleteNamespace(t, namespace)
		},
		"the Secrets were deleted just before": func(t *testing.T, _ *simulator.Simulator, namespace string, _ *manager) {
			kubectl(t, "", "delete", "secret", "--all", "-n", namespace, "--wait=false")
			deleteNamespace(t, namespace)
		},
		"the providers were deleted just before": func(t *testing.T, _ *simulator.Simulator, namespace string, _ *manager) {
			kubectl(t, "", "delete", "paymentprovider", "--all", "-n", namespace, "--wait=false")
			deleteNamespace(t, namespace)
		},
		"the operator starts later": func(t *testing.T, _ *simulator.Simulator, namespace string, running *manager) {
			running.stop(t)
			deleteNamespace(t, namespace)
			// The namespace controller is at work once a session has a deletion timestamp.
			first := gen.Session(namespace, "circle-0", "circle", "")
			await.Until(t, api, first, "it is being deleted", func(s *v1alpha1.PaymentSession) bool {
				return !s.DeletionTimestamp.IsZero()
			})
			startManager(t, watching(namespace))
		},
		"the operator is killed halfway": func(
			t *testing.T, upstreams *simulator.Simulator, namespace string, running *manager,
		) {
			before := len(upstreams.Calls())
			deleteNamespace(t, namespace)
			awaitCalls(t, upstreams, before+15)
			running.kill(t)
			startManager(t, watching(namespace))
		},
		"a provider answers 503 for 15 s": func(t *testing.T, upstreams *simulator.Simulator, namespace string, _ *manager) {
			upstreams.SetOutage("helio", true)
			over := time.AfterFunc(15*time.Second, func() { upstreams.SetOutage("helio", false) })
			t.Cleanup(func() { over.Stop() })
			deleteNamespace(t, namespace)
		},
		"a session is created in the same second": func(
			t *testing.T, upstreams *simulator.Simulator, namespace string, _ *manager,
		) {
			late := gen.ID("omise", 9999)
			upstreams.Add(simulator.Object{Provider: "omise", ID: late, State: simulator.Open})
			create(t, gen.Session(namespace, "late", "omise", late, gen.Active))
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

// many is the number of sessions in the teardown of a large namespace.
const many = 1000

// TestAThousandSessionsInOneNamespace deletes the namespace of a thousand sessions. make bench measures how long that
// takes.
func TestAThousandSessionsInOneNamespace(t *testing.T) {
	withAndWithoutAdmission(t, func(t *testing.T) {
		upstreams, url := simulate(t)
		namespace := newNamespace(t, url)
		startManager(t, watching(namespace))
		// Without the policy, a session is protected only after its first reconcile.
		for _, session := range fill(t, upstreams, namespace) {
			await.Until(t, api, session, "it has the finalizer", func(s *v1alpha1.PaymentSession) bool {
				return len(s.Finalizers) > 0
			})
		}
		deleteNamespace(t, namespace)
		awaitNamespaceGone(t, namespace)
		assertAllExpired(t, upstreams)
	})
}

// fill creates the sessions, several at once.
func fill(t *testing.T, upstreams *simulator.Simulator, namespace string) []*v1alpha1.PaymentSession {
	t.Helper()
	sessions := make([]*v1alpha1.PaymentSession, many)
	parallel(many, func(i int) {
		id := gen.ID("omise", i)
		upstreams.Add(simulator.Object{Provider: "omise", ID: id, State: simulator.Open})
		sessions[i] = gen.Session(namespace, fmt.Sprintf("session-%d", i), "omise", id, gen.Active)
		if err := api.Create(t.Context(), sessions[i]); err != nil {
			t.Error(err)
		}
	})
	return sessions
}
