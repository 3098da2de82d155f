// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

func TestFaults(t *testing.T) {
	w := newWorld(t)
	for _, provider := range gen.Providers {
		w.provide(t, provider)
	}
	cases := []struct {
		reason string
		fault  simulator.Fault
		wants  string
	}{
		{
			"throttled", simulator.Fault{Reply: simulator.Reply{Code: 429, Header: map[string]string{"Retry-After": "1"}}},
			v1alpha1.ReasonThrottled,
		},
		{"unavailable", simulator.Fault{Reply: simulator.Reply{Code: 503}}, v1alpha1.ReasonProviderUnavailable},
		{"closed after the effect", simulator.Fault{Drop: true, Effect: true}, v1alpha1.ReasonProviderUnavailable},
		{"closed before the effect", simulator.Fault{Drop: true}, v1alpha1.ReasonProviderUnavailable},
		{"an endless reply", simulator.Fault{Huge: true}, v1alpha1.ReasonUnexpectedResponse},
		{"not JSON", simulator.Fault{Reply: simulator.Reply{Code: 200, Body: "<html>"}}, v1alpha1.ReasonUnexpectedResponse},
	}
	for i, tc := range cases {
		for _, provider := range gen.Providers {
			t.Run(tc.reason+"/"+provider, func(t *testing.T) {
				id := gen.ID(provider, 100+i)
				w.upstreams.Add(simulator.Object{Provider: provider, ID: id, State: simulator.Open})
				w.upstreams.Script(provider, id, tc.fault)
				session := gen.Session(w.namespace, "", provider, id)
				session.GenerateName = provider + "-"
				w.create(t, session)
				w.reason(t, session, tc.wants)
				w.reason(t, session, v1alpha1.ReasonExpired)
				if state := w.upstreams.State(provider, id); state != simulator.Expired {
					t.Errorf("the provider's books say %q, want expired", state)
				}
			})
		}
	}
}

// TestOutageIsReported has a provider that answers nothing until the breaker of its account opens. The status of the
// provider and of each session that waits must show it.
func TestOutageIsReported(t *testing.T) {
	w := newWorld(t)
	provider := w.provide(t, "omise")
	w.provide(t, "txn")
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
	observed := w.session(t, "omise", simulator.Open, gen.Active)
	w.reason(t, observed, v1alpha1.ReasonObserved)
	w.upstreams.SetOutage("omise", true)
	for range 20 {
		w.session(t, "omise", simulator.Open)
	}
	down := await.Reason(t, w, provider, v1alpha1.ReasonProviderUnavailable)
	if down.Status.OutageSince.IsZero() {
		t.Error("outageSince is not set")
	}
	w.event(t, provider, v1alpha1.ReasonProviderUnavailable)

	// A session that is created or deleted during the outage shows why nothing happens.
	session := w.session(t, "omise", simulator.Open)
	w.reason(t, session, v1alpha1.ReasonProviderUnavailable)
	if err := w.Delete(t.Context(), observed); err != nil {
		t.Fatal(err)
	}
	w.reason(t, observed, v1alpha1.ReasonProviderUnavailable)
	w.reason(t, w.session(t, "txn", simulator.Open), v1alpha1.ReasonExpired)

	w.upstreams.SetOutage("omise", false)
	await.Gone(t, w, observed)
	w.reason(t, session, v1alpha1.ReasonExpired)
	if up := await.Reason(t, w, provider, v1alpha1.ReasonAccountReady); up.Status.OutageSince != nil {
		t.Error("outageSince is still set")
	}
}

// TestHangingProviderDelaysNoOther fills all slots of one account with calls that hang. The sessions of another account
// are still expired.
func TestHangingProviderDelaysNoOther(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "helio", gen.Timeout(time.Minute))
	w.provide(t, "omise")
	for range 40 {
		session := w.session(t, "helio", simulator.Open)
		w.upstreams.Script("helio", session.Spec.SessionID, simulator.Fault{Hang: true, Times: simulator.Forever})
	}
	for range 10 {
		w.reason(t, w.session(t, "omise", simulator.Open), v1alpha1.ReasonExpired)
	}
	hanging := &v1alpha1.PaymentSessionList{}
	if err := w.List(t.Context(), hanging, client.InNamespace(w.namespace),
		client.MatchingFields{"spec.providerRef.name": "helio"}); err != nil {
		t.Fatal(err)
	}
	for i := range hanging.Items {
		if state := hanging.Items[i].Status.State; state != "" {
			t.Errorf("%s has the state %q while its provider hangs, want none", hanging.Items[i].Name, state)
		}
	}
	w.upstreams.Close()
}
