// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"testing"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestAnOutageIsSaidOfTheProviderAndOfEachSessionThatWaits lets a provider answer nothing until its breaker opens.
func TestAnOutageIsSaidOfTheProviderAndOfEachSessionThatWaits(t *testing.T) {
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
		t.Error("the status does not say since when")
	}
	w.event(t, provider, v1alpha1.ReasonProviderUnavailable)

	// What is asked for while calls are held back is told why nothing happens: a new session, and a deletion.
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
		t.Error("the status still says since when")
	}
}
