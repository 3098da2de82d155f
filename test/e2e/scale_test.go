// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"net/http"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const many = 1000

// TestAThousandSessionsInOneNamespace tears them down, and tells the time beside that of a bare loop which makes the same calls
// and writes. No time is asserted.
func TestAThousandSessionsInOneNamespace(t *testing.T) {
	withAndWithoutAdmission(t, func(t *testing.T) {
		upstreams, url := simulate(t)
		namespace := newNamespace(t, url)
		running := startManager(t, watching(namespace))
		// Without the policy a session is safe once the operator has seen it.
		for _, session := range fill(t, upstreams, namespace) {
			await.Until(t, api, session, "it bears the finalizer", func(s *v1alpha1.PaymentSession) bool { return len(s.Finalizers) > 0 })
		}
		begin := time.Now()
		deleteNamespace(t, namespace)
		awaitNamespaceGone(t, namespace)
		took := time.Since(begin)
		assertAllExpired(t, upstreams)
		running.stop(t)
		t.Logf("%d sessions: the namespace was gone after %s; a bare loop makes the same calls and writes in %s (the namespace controller waits 5 s before it begins)", many, took.Round(time.Millisecond), bareLoop(t).Round(time.Millisecond))
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

// bareLoop expires as many sessions without an operator: one POST, one write that takes the finalizer off a deleted object.
func bareLoop(t *testing.T) time.Duration {
	t.Helper()
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	sessions := fill(t, upstreams, namespace)
	parallel(many, func(i int) {
		patch := fmt.Sprintf(`{"metadata":{"finalizers":[%q]}}`, v1alpha1.ExpireFinalizer)
		if err := api.Patch(t.Context(), sessions[i], client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
			t.Error(err)
		}
		if err := api.Delete(t.Context(), sessions[i]); err != nil {
			t.Error(err)
		}
	})
	key := simulator.Keys()["omise"]["secretKey"]
	begin := time.Now()
	parallel(many, func(i int) {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url+"/omise/charges/"+sessions[i].Spec.SessionID+"/expire", http.NoBody)
		if err != nil {
			t.Error(err)
			return
		}
		request.SetBasicAuth(key, "")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Error(err)
			return
		}
		_ = response.Body.Close()
		if err := api.Patch(t.Context(), sessions[i], client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))); err != nil {
			t.Error(err)
		}
	})
	return time.Since(begin)
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
