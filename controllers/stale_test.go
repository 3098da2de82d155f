// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestStaleCacheExpiresNothing changes sessions while the watch of the manager is paused, so that its cache is several
// versions old.
func TestStaleCacheExpiresNothing(t *testing.T) {
	t.Parallel()
	scheduled := func(t *testing.T, w *world) *v1alpha1.PaymentSession {
		t.Helper()
		session := w.session(t, "omise", simulator.Open, gen.ExpireAt(w.clock.now().Add(time.Hour)))
		return w.reason(t, session, v1alpha1.ReasonScheduled)
	}
	cases := map[string]func(*testing.T, *world, *v1alpha1.PaymentSession){
		"expireAt was moved": func(t *testing.T, w *world, session *v1alpha1.PaymentSession) {
			w.change(t, session,
				fmt.Sprintf(`{"spec":{"expireAt":%q}}`, w.clock.now().Add(1000*time.Hour).UTC().Format(time.RFC3339)))
		},
		"expireAt was removed": func(t *testing.T, w *world, session *v1alpha1.PaymentSession) {
			w.change(t, session, `{"spec":{"expireAt":null}}`)
		},
		"the session was suspended, after more changes": func(t *testing.T, w *world, session *v1alpha1.PaymentSession) {
			for range 5 {
				w.touch(t, session)
			}
			w.change(t, session, `{"spec":{"suspend":true}}`)
		},
		"the session is being deleted, and its policy became Retain": func(
			t *testing.T, w *world, session *v1alpha1.PaymentSession,
		) {
			// Another finalizer keeps the object, so that a live read shows the deletion.
			w.change(t, session, `{"metadata":{"finalizers":["example.com/other"]},"spec":{"deletionPolicy":"Retain"}}`)
			if err := w.Delete(t.Context(), session); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { w.removeFinalizers(t, session) })
		},
	}
	for reason, change := range cases {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			provider := w.provide(t, "omise")
			session := scheduled(t, w)
			w.pauseWatch(t, session)
			change(t, w, session)
			w.clock.step(2 * time.Hour)
			w.requeueAll(t, provider, 20*time.Minute)
			w.awaitLiveRead(t)
			w.wire.resume()
			await.Until(t, w, session, "the manager has seen the change", func(s *v1alpha1.PaymentSession) bool {
				return s.Status.ObservedGeneration == s.Generation || !s.DeletionTimestamp.IsZero() && !slices.Contains(
					s.Finalizers, v1alpha1.ExpireFinalizer,
				)
			})
			w.assertNeverExpired(t, session)
		})
	}
}

// TestRecreatedUnderTheSameName force-deletes a session while the cache still shows that it waits for its expiry, and
// creates a session with another id under the same name. The new session must not be expired.
func TestRecreatedUnderTheSameName(t *testing.T) {
	w := newWorld(t)
	provider := w.provide(t, "omise")
	before := w.reason(t, w.session(t, "omise", simulator.Open, gen.Active, named("order")), v1alpha1.ReasonObserved)
	w.upstreams.SetKey("omise", "secretKey", "skey_test_another")
	if err := w.Delete(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	before = w.reason(t, before, v1alpha1.ReasonCredentialsRejected)
	posts := len(w.calls(before))

	w.pauseWatch(t, before)
	w.removeFinalizers(t, before)
	await.Gone(t, w, before)
	after := w.session(t, "omise", simulator.Open, gen.Active, named("order"))
	w.upstreams.SetKey("omise", "secretKey", simulator.Keys()["omise"]["secretKey"])
	// The provider accepts the credentials again. A new account epoch makes the stale session try at once.
	w.change(t, provider, `{"spec":{"timeout":"11s"}}`)
	w.awaitLiveRead(t)
	w.wire.resume()
	w.reason(t, after, v1alpha1.ReasonObserved)
	w.assertNeverExpired(t, after)
	if got := len(w.calls(before)); got != posts {
		t.Errorf("%d calls for the deleted object, want %d as before its deletion", got, posts)
	}
	if state := w.upstreams.State("omise", before.Spec.SessionID); state != simulator.Open {
		t.Errorf("the session of the deleted object is %s, want it open", state)
	}
}
