// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"slices"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestUnprotectedSecretIsNotUsed forbids the operator to add its finalizer to the Secret.
func TestUnprotectedSecretIsNotUsed(t *testing.T) {
	w := newWorld(t)
	w.wire.forbid("/secrets/")
	provider := w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Open)
	// Nothing shows when the operator first failed. The clock advances until it reports the failure.
	await.True(t, "the provider says that its Secret is not protected", func() bool {
		w.clock.step(time.Minute)
		w.touch(t, provider)
		ready := apimeta.FindStatusCondition(provider.Status.Conditions, v1alpha1.ConditionReady)
		return ready != nil && ready.Reason == v1alpha1.ReasonCredentialsUnprotected
	})
	w.reason(t, session, v1alpha1.ReasonProviderNotReady)
	if calls := w.calls(session); len(calls) > 0 {
		t.Errorf("calls %q with a Secret that can be deleted at any moment, want none", calls)
	}
	w.wire.forbid("")
	w.touch(t, provider)
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
	w.reason(t, session, v1alpha1.ReasonExpired)
}

// TestSecretIsHandedOverToProtectedProvider deletes one of two providers that share a Secret, while the operator cannot
// add its finalizer to the other one. The first provider must stay until the second one is protected: otherwise nothing
// would release the Secret.
func TestSecretIsHandedOverToProtectedProvider(t *testing.T) {
	w := newWorld(t)
	first := gen.Provider(w.namespace, "omise", gen.Endpoint(w.url+"/omise"))
	second := gen.Provider(w.namespace, "omise", gen.Endpoint(w.url+"/omise"))
	first.Name = "first"
	w.create(t, gen.Secret(w.namespace, "omise"), first)
	await.Reason(t, w, first, v1alpha1.ReasonAccountReady)
	w.wire.forbid("/paymentproviders/omise")
	w.create(t, second)
	if err := w.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	await.True(t, "the operator has tried 5 times to protect the second provider", func() bool {
		return w.wire.refusals() >= 5
	})
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(first), first); err != nil {
		t.Errorf("the first provider: %v, want it to wait for the second one", err)
	}
	w.wire.forbid("")
	await.Gone(t, w, first)
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(second), second); err != nil {
		t.Fatal(err)
	}
	finalizers, secrets := second.Finalizers, second.Status.HeldSecrets
	if !slices.Contains(finalizers, v1alpha1.InUseFinalizer) || !slices.Contains(secrets, "omise") {
		t.Errorf("the second provider has the finalizers %q and heldSecrets %q", finalizers, secrets)
	}
}

// TestDeletedSecretIsReleasedWhenUnused replaces the Secret of a provider that is not deleted.
func TestDeletedSecretIsReleasedWhenUnused(t *testing.T) {
	w := newWorld(t)
	provider := w.provide(t, "omise")
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
	session := w.reason(t, w.session(t, "omise", simulator.Open, gen.Active), v1alpha1.ReasonObserved)
	secret := gen.Secret(w.namespace, "omise")
	if err := w.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	w.touch(t, provider)
	if err := w.Create(t.Context(), gen.Secret(w.namespace, "omise")); !apierrors.IsAlreadyExists(err) {
		t.Errorf("error %v, want AlreadyExists: a session needs the Secret", err)
	}
	w.patch(t, session, gen.Expire())
	awaitExpired(t, w, session)
	w.touch(t, provider)
	await.Gone(t, w, secret)
	w.create(t, gen.Secret(w.namespace, "omise"))
	w.touch(t, provider)
	w.reason(t, w.session(t, "omise", simulator.Open), v1alpha1.ReasonExpired)
}

// TestProviderStaysForRetainedExpiry deletes a provider during an outage. A session that should be expired needs it,
// although its deletionPolicy is Retain.
func TestProviderStaysForRetainedExpiry(t *testing.T) {
	w := newWorld(t)
	provider := w.provide(t, "omise")
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
	w.upstreams.SetOutage("omise", true)
	session := w.session(t, "omise", simulator.Open, gen.Retained)
	w.reason(t, session, v1alpha1.ReasonProviderUnavailable)
	if err := w.Delete(t.Context(), provider); err != nil {
		t.Fatal(err)
	}
	terminating := await.Until(t, w, provider, "it is being deleted", func(p *v1alpha1.PaymentProvider) bool {
		return !p.DeletionTimestamp.IsZero()
	})
	w.awaitCached(t, terminating)
	w.upstreams.SetOutage("omise", false)
	w.reason(t, session, v1alpha1.ReasonExpired)
	await.Gone(t, w, provider)
}
