// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// wakeAll makes a manager look at all sessions of a provider again, with whatever its cache holds of them.
func (w *world) wakeAll(t *testing.T, provider *v1alpha1.PaymentProvider, interval time.Duration) {
	t.Helper()
	w.change(t, provider, fmt.Sprintf(`{"spec":{"pollInterval":%q}}`, interval))
}

// hold keeps what happens to sessions from the manager, from the version on that is given.
func (w *world) hold(t *testing.T, session *v1alpha1.PaymentSession) {
	t.Helper()
	w.awaitCached(t, session)
	w.wire.hold()
}

// awaitCached waits until the manager knows an object as it is.
func (w *world) awaitCached(t *testing.T, object client.Object) {
	t.Helper()
	awaitTrue(t, "the manager knows the object as it is", func() bool {
		known, ok := object.DeepCopyObject().(client.Object)
		err := w.cached.Get(t.Context(), client.ObjectKeyFromObject(object), known)
		return ok && err == nil && known.GetResourceVersion() == object.GetResourceVersion()
	})
}

// awaitLiveRead waits until a manager whose cache is stale has read a session live.
func (w *world) awaitLiveRead(t *testing.T) {
	t.Helper()
	awaitTrue(t, "the session is read live", func() bool { return w.wire.reads() > 0 })
}

// awaitTrue waits for what no watch tells.
func awaitTrue(t *testing.T, what string, holds func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(time.Minute); !holds(); <-tick.C {
		if time.Now().After(deadline) {
			t.Fatalf("waited until %s", what)
		}
	}
}

func (w *world) assertNeverExpired(t *testing.T, session *v1alpha1.PaymentSession) {
	t.Helper()
	if calls := w.calls(session); slices.Contains(calls, simulator.Expire) {
		t.Errorf("%s: calls %q, want no expiry", session.Name, calls)
	}
}

// TestAStaleCacheExpiresNothing changes sessions while the manager's cache of them is held back, so that what it believes is
// several versions old.
func TestAStaleCacheExpiresNothing(t *testing.T) {
	t.Parallel()
	scheduled := func(t *testing.T, w *world) *v1alpha1.PaymentSession {
		t.Helper()
		session := w.session(t, "omise", simulator.Open, gen.ExpireAt(w.clock.now().Add(time.Hour)))
		return w.reason(t, session, v1alpha1.ReasonScheduled)
	}
	cases := map[string]func(*testing.T, *world, *v1alpha1.PaymentSession){
		"expireAt was moved": func(t *testing.T, w *world, session *v1alpha1.PaymentSession) {
			w.change(t, session, fmt.Sprintf(`{"spec":{"expireAt":%q}}`, w.clock.now().Add(1000*time.Hour).UTC().Format(time.RFC3339)))
		},
		"expireAt was taken back": func(t *testing.T, w *world, session *v1alpha1.PaymentSession) {
			w.change(t, session, `{"spec":{"expireAt":null}}`)
		},
		"the session was suspended, after more changes": func(t *testing.T, w *world, session *v1alpha1.PaymentSession) {
			for i := range 5 {
				w.change(t, session, fmt.Sprintf(`{"metadata":{"labels":{"touched":"%d"}}}`, i))
			}
			w.change(t, session, `{"spec":{"suspend":true}}`)
		},
		"the session is being deleted, and is to be kept at the provider": func(t *testing.T, w *world, session *v1alpha1.PaymentSession) {
			// Another finalizer keeps the object, so that the deletion is there to be read.
			w.change(t, session, `{"metadata":{"finalizers":["example.com/hold"]},"spec":{"deletionPolicy":"Retain"}}`)
			if err := w.Delete(t.Context(), session); err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { w.letGo(t, session) })
		},
	}
	for reason, change := range cases {
		t.Run(reason, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			provider := w.provide(t, "omise")
			session := scheduled(t, w)
			w.hold(t, session)
			change(t, w, session)
			w.clock.step(2 * time.Hour)
			w.wakeAll(t, provider, 20*time.Minute)
			w.awaitLiveRead(t)
			w.wire.release()
			await.Until(t, w, session, "the manager has seen the change", func(s *v1alpha1.PaymentSession) bool {
				return s.Status.ObservedGeneration == s.Generation || !s.DeletionTimestamp.IsZero() && !slices.Contains(s.Finalizers, v1alpha1.ExpireFinalizer)
			})
			w.assertNeverExpired(t, session)
		})
	}
}

// letGo takes every finalizer off a session, as a person may.
func (w *world) letGo(t *testing.T, session *v1alpha1.PaymentSession) {
	t.Helper()
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
	if err := client.IgnoreNotFound(w.Patch(context.Background(), session, patch)); err != nil {
		t.Error(err)
	}
}

// TestAnObjectMadeAgainUnderTheSameName deletes a session by force while the cache still shows it waiting for its expiry, and
// makes another one, with another id, under its name.
func TestAnObjectMadeAgainUnderTheSameName(t *testing.T) {
	w := newWorld(t)
	provider := w.provide(t, "omise")
	before := w.reason(t, w.session(t, "omise", simulator.Open, gen.Active, named("order")), v1alpha1.ReasonObserved)
	w.upstreams.SetKey("omise", "secretKey", "skey_test_another")
	if err := w.Delete(t.Context(), before); err != nil {
		t.Fatal(err)
	}
	before = w.reason(t, before, v1alpha1.ReasonCredentialsRejected)
	posts := len(w.calls(before))

	w.hold(t, before)
	w.letGo(t, before)
	await.Gone(t, w, before)
	after := w.session(t, "omise", simulator.Open, gen.Active, named("order"))
	w.upstreams.SetKey("omise", "secretKey", simulator.Keys()["omise"]["secretKey"])
	// The credentials are the same and good again: another account epoch lets the stale session try at once.
	w.change(t, provider, `{"spec":{"timeout":"11s"}}`)
	w.awaitLiveRead(t)
	w.wire.release()
	w.reason(t, after, v1alpha1.ReasonObserved)
	w.assertNeverExpired(t, after)
	if got := len(w.calls(before)); got != posts {
		t.Errorf("%d calls for the object that is gone, want the %d from before", got, posts)
	}
	if state := w.upstreams.State("omise", before.Spec.SessionID); state != simulator.Open {
		t.Errorf("the session of before is %s", state)
	}
}

// TestADisturbedAPIServer lets three of ten requests to the API server go wrong: conflicts, throttling, errors, a namespace that
// is said to be going, lost connections before and after the effect. All comes to the same end, and nothing is claimed before it.
func TestADisturbedAPIServer(t *testing.T) {
	t.Parallel()
	for seed := range uint64(3) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			for _, provider := range gen.Providers {
				w.provide(t, provider)
			}
			var expired, deleted []*v1alpha1.PaymentSession
			for _, provider := range gen.Providers {
				deleted = append(deleted, w.reason(t, w.session(t, provider, simulator.Open, gen.Active), v1alpha1.ReasonObserved))
			}
			w.wire.disturb(seed)
			for _, provider := range gen.Providers {
				expired = append(expired, w.session(t, provider, simulator.Open), w.session(t, provider, simulator.Open))
			}
			for _, object := range withProviders(w, deleted[:2]) {
				if err := w.Delete(t.Context(), object); err != nil {
					t.Fatal(err)
				}
			}
			for _, session := range deleted[:2] {
				await.Gone(t, w, session)
			}
			for _, session := range expired {
				closed := awaitClosed(t, w, session)
				if state := w.upstreams.State(session.Spec.ProviderRef.Name, session.Spec.SessionID); state != simulator.Expired {
					t.Errorf("%s is said to be expired and is %s", closed.Name, state)
				}
			}
			for _, session := range deleted[:2] {
				if state := w.upstreams.State(session.Spec.ProviderRef.Name, session.Spec.SessionID); state != simulator.Expired {
					t.Errorf("%s is gone and is %s", session.Name, state)
				}
			}
			for _, session := range append(expired, deleted...) {
				if calls := w.calls(session); len(calls) > 12 {
					t.Errorf("%s: %d calls", session.Name, len(calls))
				}
			}
		})
	}
}
