// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
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

// gate holds back the first expire call until it is opened. reached is closed when that call arrives.
type gate struct {
	providers http.Handler
	reached   chan struct{}
	opened    chan struct{}
	once      sync.Once
}

func (g *gate) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	first := false
	if r.Method == http.MethodPost {
		g.once.Do(func() { first = true })
	}
	if first {
		close(g.reached)
		<-g.opened
	}
	g.providers.ServeHTTP(w, r)
}

// TestShutdownFinishesTheCallInFlight sends SIGTERM while an expire call is in flight. The manager finishes the call
// and writes the outcome before it exits.
func TestShutdownFinishesTheCallInFlight(t *testing.T) {
	t.Parallel()
	for _, provider := range gen.Providers {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			upstreams := simulator.New()
			held := &gate{providers: upstreams.Handler(), reached: make(chan struct{}), opened: make(chan struct{})}
			url := serve(t, upstreams, held)
			namespace := newNamespace(t, url, gen.Timeout(time.Minute))
			running := startManager(t, watching(namespace))
			id := gen.ID(provider, 1)
			upstreams.Add(simulator.Object{Provider: provider, ID: id, State: simulator.Open})
			session := gen.Session(namespace, "late", provider, id)
			create(t, session)
			<-held.reached
			running.terminate(t)
			close(held.opened)
			running.stop(t)
			if err := api.Get(t.Context(), client.ObjectKeyFromObject(session), session); err != nil {
				t.Fatal(err)
			}
			switch {
			case claimsExpired(session) && len(session.Finalizers) > 0:
				t.Errorf("it is closed but has the finalizers %q, which another manager would have to remove\n%s",
					session.Finalizers, running.output(t))
			case !claimsExpired(session) && provider != "circle":
				t.Errorf("the outcome of the call in flight was not written: %+v", session.Status)
			case !claimsExpired(session):
				// Circle's reply does not prove the expiry, and the manager starts no further read while it stops.
				startManager(t, watching(namespace))
				await.Reason(t, api, session, v1alpha1.ReasonExpired)
			}
			if calls := len(upstreams.CallsOf(provider, id)); provider != "circle" && calls != 1 {
				t.Errorf("%d calls, want only the one in flight", calls)
			}
		})
	}
}
