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

const many = 1000

// TestAThousandSessionsInOneNamespace tears them down. make bench tells how long that takes.
func TestAThousandSessionsInOneNamespace(t *testing.T) {
	withAndWithoutAdmission(t, func(t *testing.T) {
		upstreams, url := simulate(t)
		namespace := newNamespace(t, url)
		startManager(t, watching(namespace))
		// Without the policy a session is safe once the operator has seen it.
		for _, session := range fill(t, upstreams, namespace) {
			await.Until(t, api, session, "it bears the finalizer", func(s *v1alpha1.PaymentSession) bool { return len(s.Finalizers) > 0 })
		}
		deleteNamespace(t, namespace)
		awaitNamespaceGone(t, namespace)
		assertAllExpired(t, upstreams)
	})
}

// fill makes the sessions with many creates at once.
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
