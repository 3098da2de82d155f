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

func TestRejectedCredentials(t *testing.T) {
	w := newWorld(t)
	provider := w.provide(t, "omise")
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
	w.upstreams.SetKey("omise", "secretKey", "skey_test_rotated")
	first, second := w.session(t, "omise", simulator.Open), w.session(t, "omise", simulator.Open)
	w.reason(t, first, v1alpha1.ReasonCredentialsRejected)
	w.reason(t, second, v1alpha1.ReasonCredentialsRejected)
	await.Reason(t, w, provider, v1alpha1.ReasonCredentialsRejected)
	w.event(t, provider, v1alpha1.ReasonCredentialsRejected)
	if got := len(w.upstreams.Calls()); got > 2 {
		t.Errorf("%d calls with credentials that are known to be rejected, want 2 at most", got)
	}
	w.change(t, gen.Secret(w.namespace, "omise"), `{"stringData":{"secretKey":" skey_test_rotated\n"}}`)
	w.touch(t, provider)
	w.reason(t, first, v1alpha1.ReasonExpired)
	w.reason(t, second, v1alpha1.ReasonExpired)
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
}

// TestSecretIsReadAgainBeforeRejection changes the Secret before the provider rejects the previous credentials. The
// session must be expired without a detour over CredentialsRejected.
func TestSecretIsReadAgainBeforeRejection(t *testing.T) {
	w := newWorld(t)
	await.Reason(t, w, w.provide(t, "omise"), v1alpha1.ReasonAccountReady)
	w.upstreams.SetKey("omise", "secretKey", "skey_test_rotated")
	w.change(t, gen.Secret(w.namespace, "omise"), `{"stringData":{"secretKey":"skey_test_rotated"}}`)
	session := w.session(t, "omise", simulator.Open)
	done := await.Until(t, w, session, "it has conditions", func(s *v1alpha1.PaymentSession) bool {
		return len(s.Status.Conditions) > 0
	})
	if reason := readyOf(done).Reason; reason != v1alpha1.ReasonExpired {
		t.Errorf("the first reason is %s, want Expired", reason)
	}
}
