// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"sync"
	"testing"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

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

// parallel runs a function for each number below count, 16 at once: as many as an account's calls.
func parallel(count int, run func(int)) {
	var workers sync.WaitGroup
	numbers := make(chan int)
	for range 16 {
		workers.Go(func() {
			for number := range numbers {
				run(number)
			}
		})
	}
	for number := range count {
		numbers <- number
	}
	close(numbers)
	workers.Wait()
}
