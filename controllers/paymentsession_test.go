// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const (
	expire  = simulator.Expire
	observe = simulator.Observe
)

// TestEnd runs a session of every provider to its end and counts the calls that it took.
func TestEnd(t *testing.T) {
	w := newWorld(t)
	for _, provider := range gen.Providers {
		w.provide(t, provider)
	}
	cases := []struct {
		reason   string
		provider string
		state    simulator.State
		wants    string
		calls    []string
	}{
		{"an open session", "circle", simulator.Open, v1alpha1.ReasonExpired, []string{expire, observe}},
		{"an open session", "helio", simulator.Open, v1alpha1.ReasonExpired, []string{expire}},
		{"an open session", "omise", simulator.Open, v1alpha1.ReasonExpired, []string{expire}},
		{"an open session", "txn", simulator.Open, v1alpha1.ReasonExpired, []string{expire}},
		{"one that expired before", "circle", simulator.Expired, v1alpha1.ReasonExpired, []string{expire, observe}},
		{"one that expired before", "helio", simulator.Expired, v1alpha1.ReasonExpired, []string{expire, observe}},
		{"one that expired before", "omise", simulator.Expired, v1alpha1.ReasonExpired, []string{expire}},
		{"one that expired before", "txn", simulator.Expired, v1alpha1.ReasonExpired, []string{expire, observe}},
		{"one that was paid", "circle", simulator.Paid, v1alpha1.ReasonPaymentCompleted, []string{expire, observe}},
		{"one that was paid", "helio", simulator.Paid, v1alpha1.ReasonPaymentCompleted, []string{expire, observe}},
		{"one that was paid", "omise", simulator.Paid, v1alpha1.ReasonPaymentCompleted, []string{expire, observe}},
		{"one that was paid", "txn", simulator.Paid, v1alpha1.ReasonPaymentCompleted, []string{expire, observe}},
		{"one that failed", "circle", simulator.Failed, v1alpha1.ReasonClosed, []string{expire, observe}},
		{"one that failed", "omise", simulator.Failed, v1alpha1.ReasonClosed, []string{expire, observe}},
	}
	for _, tc := range cases {
		t.Run(tc.provider+"/"+tc.reason, func(t *testing.T) {
			session := w.session(t, tc.provider, tc.state)
			done := w.reason(t, session, tc.wants)
			if got := w.calls(session); !slices.Equal(got, tc.calls) {
				t.Errorf("calls %q, want %q", got, tc.calls)
			}
			if claimed, shown := done.Status.State == v1alpha1.SessionStateExpired, w.upstreams.State(tc.provider, session.Spec.SessionID) == simulator.Expired; claimed != shown {
				t.Errorf("the status says %q, the provider's books %q", done.Status.State, w.upstreams.State(tc.provider, session.Spec.SessionID))
			}
			if done.Status.ClosedAt == nil || done.Status.Upstream == nil || done.Status.Upstream.Status == "" {
				t.Errorf("status %+v, want closedAt and the provider's word", done.Status)
			}
			if tc.provider == "circle" && done.Status.Upstream.RequestID == "" {
				t.Error("want the id of the request that settled it")
			}
		})
	}
}

func TestAPaymentThatWasQuickerIsAnEvent(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Paid)
	w.reason(t, session, v1alpha1.ReasonPaymentCompleted)
	w.event(t, session, v1alpha1.ReasonPaymentCompleted)
}

func TestClosedSessionsCostNothingOverARestartAndResyncs(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	var sessions []*v1alpha1.PaymentSession
	for _, state := range []simulator.State{simulator.Open, simulator.Paid, simulator.Failed} {
		session := w.session(t, "omise", state)
		sessions = append(sessions, await.Until(t, w, session, "it is closed and released", func(s *v1alpha1.PaymentSession) bool {
			return s.Status.State.Closed() && len(s.Finalizers) == 0
		}))
	}
	w.stop()
	before := len(w.upstreams.Calls())
	// Each decision asks for one number.
	decided := make(chan struct{})
	ctx := t.Context()
	w.options.Jitter = func() float64 {
		select {
		case decided <- struct{}{}:
		case <-ctx.Done():
		}
		return 0
	}
	w.resync = new(200 * time.Millisecond)
	w.start(t)
	for range 5 * len(sessions) {
		<-decided
	}
	// Whoever decides now must not wait for ever.
	go func() {
		for range decided {
		}
	}()
	w.stop()
	close(decided)
	if got := len(w.upstreams.Calls()) - before; got != 0 {
		t.Errorf("%d calls after the restart, want none", got)
	}
	for _, session := range sessions {
		again := &v1alpha1.PaymentSession{}
		if err := w.Get(t.Context(), client.ObjectKeyFromObject(session), again); err != nil {
			t.Fatal(err)
		}
		if again.ResourceVersion != session.ResourceVersion {
			t.Errorf("%s was written after the restart, or by a resync", session.Name)
		}
	}
}

func TestActiveIsObservedAndThenExpired(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "txn")
	session := w.session(t, "txn", simulator.Open, gen.Active)
	seen := w.reason(t, session, v1alpha1.ReasonObserved)
	if seen.Status.State != v1alpha1.SessionStateActive || seen.Status.Upstream.Status != "created" {
		t.Errorf("status %+v, want it active, in the provider's word created", seen.Status)
	}
	w.change(t, session, `{"spec":{"desiredState":"expired"}}`)
	w.reason(t, session, v1alpha1.ReasonExpired)
	if got := w.calls(session); !slices.Equal(got, []string{observe, expire}) {
		t.Errorf("calls %q, want one read and one expiry", got)
	}
}

func TestActiveIsPolledUntilItIsFinal(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "helio", gen.PollInterval(50*time.Millisecond))
	session := w.session(t, "helio", simulator.Open, gen.Active)
	w.reason(t, session, v1alpha1.ReasonObserved)
	w.upstreams.SetState("helio", session.Spec.SessionID, simulator.Paid)
	done := await.Until(t, w, session, "the payment shows", func(s *v1alpha1.PaymentSession) bool { return s.Status.State == v1alpha1.SessionStateCompleted })
	ready := apimeta.FindStatusCondition(done.Status.Conditions, v1alpha1.ConditionReady)
	if ready.Status != metav1.ConditionTrue || ready.Reason != v1alpha1.ReasonObserved {
		t.Errorf("Ready is %s, reason %s, want True, Observed: nobody wanted it expired", ready.Status, ready.Reason)
	}
}

func TestExpireAt(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Open, gen.ExpireAt(time.Now().Add(time.Hour)))
	w.reason(t, session, v1alpha1.ReasonScheduled)
	if got := w.calls(session); !slices.Equal(got, []string{observe}) {
		t.Errorf("calls %q before the time has come, want one read", got)
	}
	w.clock.step(2 * time.Hour)
	w.poke(t, session, "now")
	w.reason(t, session, v1alpha1.ReasonExpired)
	// Nothing reopens a session: it is reported as what it is.
	w.change(t, session, `{"spec":{"expireAt":"2099-01-01T00:00:00Z"}}`)
	if moved := w.reason(t, session, v1alpha1.ReasonObserved); moved.Status.State != v1alpha1.SessionStateExpired {
		t.Errorf("state %q after expireAt was moved", moved.Status.State)
	}
}

func TestExpireAtThatWasMovedBehindTheCachesBackIsNotActedOn(t *testing.T) {
	w := newWorld(t)
	// One call an hour: the first session's read takes it, so that the second's expiry waits in the queue.
	w.provide(t, "omise", gen.RateLimit(1, time.Hour))
	first := w.session(t, "omise", simulator.Open, gen.Active)
	w.reason(t, first, v1alpha1.ReasonObserved)
	second := w.session(t, "omise", simulator.Open, gen.ExpireAt(time.Now().Add(-time.Hour)))
	w.change(t, second, `{"spec":{"expireAt":"2099-01-01T00:00:00Z"}}`)
	w.change(t, gen.Provider(w.namespace, "omise"), `{"spec":{"rateLimit":{"requests":100,"per":"1s","burst":100}}}`)
	w.reason(t, second, v1alpha1.ReasonScheduled)
	if got := w.calls(second); slices.Contains(got, expire) {
		t.Errorf("calls %q, want no expiry", got)
	}
}

func TestSuspend(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Open, gen.Suspended)
	held := w.reason(t, session, v1alpha1.ReasonSuspended)
	if status := apimeta.FindStatusCondition(held.Status.Conditions, v1alpha1.ConditionReady).Status; status != metav1.ConditionUnknown {
		t.Errorf("Ready is %s, want Unknown", status)
	}
	if got := w.calls(session); len(got) > 0 {
		t.Errorf("calls %q of a suspended session", got)
	}
	w.change(t, session, `{"spec":{"suspend":false}}`)
	w.reason(t, session, v1alpha1.ReasonExpired)
}

func TestTTLAfterClosed(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Open, gen.TTLAfterClosed(time.Hour))
	w.reason(t, session, v1alpha1.ReasonExpired)
	w.clock.step(2 * time.Hour)
	// Any change lets it be looked at again, its own last write included: then it is gone already.
	touch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"touched":"yes"}}}`))
	if err := w.Patch(t.Context(), session, touch); client.IgnoreNotFound(err) != nil {
		t.Fatal(err)
	}
	await.Gone(t, w, session)
}

func TestDryRun(t *testing.T) {
	w := newWorld(t, dryRun)
	w.provide(t, "omise")
	open, paid := w.session(t, "omise", simulator.Open), w.session(t, "omise", simulator.Paid)
	w.reason(t, open, v1alpha1.ReasonWouldExpire)
	w.reason(t, paid, v1alpha1.ReasonPaymentCompleted)
	for _, call := range w.upstreams.Calls() {
		if call.Operation != observe {
			t.Errorf("a dry run called %s", call.Operation)
		}
	}
}

func TestReconcileAt(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Open)
	w.reason(t, session, v1alpha1.ReasonExpired)
	w.upstreams.SetState("omise", session.Spec.SessionID, simulator.Paid)
	w.poke(t, session, "2026-11-21T10:00:00Z")
	looked := await.Until(t, w, session, "the look was handled", func(s *v1alpha1.PaymentSession) bool {
		return s.Status.LastHandledReconcileAt == "2026-11-21T10:00:00Z"
	})
	if looked.Status.State != v1alpha1.SessionStateCompleted {
		t.Errorf("state %q after the look, want what the provider says now", looked.Status.State)
	}
	if got := w.calls(session); !slices.Equal(got, []string{expire, observe}) {
		t.Errorf("calls %q, want one look", got)
	}
}

// TestALookThatNobodyWantsAnyMore takes the annotation away while the read is under way. Its outcome is not the next look's.
func TestALookThatNobodyWantsAnyMore(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Open)
	closed := await.Until(t, w, session, "it is closed and let go of", func(s *v1alpha1.PaymentSession) bool {
		return s.Status.State.Closed() && len(s.Finalizers) == 0
	})
	w.upstreams.SetLatency(2 * time.Second)
	w.poke(t, session, "first")
	awaitTrue(t, "the read is under way", func() bool { return w.flying(t) == 1 })
	w.change(t, session, fmt.Sprintf(`{"metadata":{"annotations":{%q:null}}}`, v1alpha1.ReconcileAtAnnotation))
	awaitTrue(t, "the read has come back", func() bool { return w.flying(t) == 0 })
	w.upstreams.SetLatency(0)
	w.upstreams.SetState("omise", session.Spec.SessionID, simulator.Paid)
	w.poke(t, session, "second")
	looked := await.Until(t, w, session, "the second look was handled", func(s *v1alpha1.PaymentSession) bool {
		return s.Status.LastHandledReconcileAt == "second"
	})
	if looked.Status.State != v1alpha1.SessionStateCompleted || !looked.Status.ClosedAt.Equal(closed.Status.ClosedAt) {
		t.Errorf("the look says %q since %s, want what the provider says now", looked.Status.State, looked.Status.ClosedAt)
	}
}

func TestUnknownSessionStallsAfterTwoMinutes(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "txn")
	session := w.session(t, "txn", "")
	young := w.reason(t, session, v1alpha1.ReasonSessionNotFound)
	if !apimeta.IsStatusConditionTrue(young.Status.Conditions, v1alpha1.ConditionReconciling) {
		t.Error("want it Reconciling at first: it may have been created a moment ago")
	}
	w.clock.step(3 * time.Minute)
	await.Until(t, w, session, "it is Stalled", func(s *v1alpha1.PaymentSession) bool {
		return apimeta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionStalled)
	})
	w.event(t, session, v1alpha1.ReasonSessionNotFound)
}

func TestLateVisibility(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "circle")
	id := gen.ID("circle", 7)
	w.upstreams.Add(simulator.Object{Provider: "circle", ID: id, State: simulator.Open, HiddenReads: 2})
	session := gen.Session(w.namespace, "late", "circle", id)
	w.create(t, session)
	w.reason(t, session, v1alpha1.ReasonAwaitingConfirmation)
	w.reason(t, session, v1alpha1.ReasonExpired)
	if got := w.calls(session); !slices.Equal(got, []string{expire, observe, observe, observe}) {
		t.Errorf("calls %q, want one expiry and then reads alone", got)
	}
}

func TestAPaymentInFlightIsWaitedFor(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "helio")
	session := w.session(t, "helio", simulator.Pending)
	w.reason(t, session, v1alpha1.ReasonPaymentInProgress)
	w.upstreams.SetState("helio", session.Spec.SessionID, simulator.Paid)
	w.reason(t, session, v1alpha1.ReasonPaymentCompleted)
}

func TestRefusedForGood(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	id := gen.ID("omise", 8)
	w.upstreams.Add(simulator.Object{Provider: "omise", ID: id, State: simulator.Open, Variant: simulator.Card})
	session := gen.Session(w.namespace, "card", "omise", id)
	w.create(t, session)
	w.reason(t, session, v1alpha1.ReasonExpireUnsupported)
	if got := w.calls(session); !slices.Equal(got, []string{expire}) {
		t.Errorf("calls %q, want one", got)
	}
}

func TestRefusedAndStillActive(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	id := gen.ID("omise", 8)
	w.upstreams.Add(simulator.Object{Provider: "omise", ID: id, State: simulator.Open})
	w.upstreams.Script("omise", id, simulator.Fault{Reply: simulator.Reply{Code: 400, Body: `{"object":"error","code":"invalid_charge","message":"not now"}`}})
	session := gen.Session(w.namespace, "refused", "omise", id)
	w.create(t, session)
	w.reason(t, session, v1alpha1.ReasonExpireRefused)
	w.reason(t, session, v1alpha1.ReasonExpired)
	if got := w.calls(session); !slices.Equal(got, []string{expire, observe, observe, expire}) {
		t.Errorf("calls %q, want a read after the refusal, and one before the next try", got)
	}
}

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
		{"throttled", simulator.Fault{Reply: simulator.Reply{Code: 429, Header: map[string]string{"Retry-After": "1"}}}, v1alpha1.ReasonThrottled},
		{"unavailable", simulator.Fault{Reply: simulator.Reply{Code: 503}}, v1alpha1.ReasonProviderUnavailable},
		{"cut off after the effect", simulator.Fault{Drop: true, Effect: true}, v1alpha1.ReasonProviderUnavailable},
		{"cut off before the effect", simulator.Fault{Drop: true}, v1alpha1.ReasonProviderUnavailable},
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
					t.Errorf("the provider's books say %q", state)
				}
			})
		}
	}
}

func TestFinalizerFollowsPolicyAndState(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Open, gen.Active)
	held := func(s *v1alpha1.PaymentSession) bool { return slices.Contains(s.Finalizers, v1alpha1.ExpireFinalizer) }
	free := func(s *v1alpha1.PaymentSession) bool { return !held(s) }
	await.Until(t, w, session, "it is held, as its policy is Expire", held)
	w.change(t, session, `{"spec":{"deletionPolicy":"Retain"}}`)
	await.Until(t, w, session, "it is free, as its policy is Retain", free)
	w.change(t, session, `{"spec":{"deletionPolicy":"Expire"}}`)
	await.Until(t, w, session, "it is held again", held)
	w.change(t, session, `{"spec":{"desiredState":"expired"}}`)
	await.Until(t, w, session, "it is free, as it is closed", func(s *v1alpha1.PaymentSession) bool { return s.Status.State.Closed() && free(s) })
}

func TestADeletionThatIsHeldSaysWhy(t *testing.T) {
	w := newWorld(t)
	session := w.session(t, "omise", simulator.Open)
	w.reason(t, session, v1alpha1.ReasonProviderNotFound)
	if err := w.Delete(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	held := await.Until(t, w, session, "it says how to end the wait", func(s *v1alpha1.PaymentSession) bool {
		ready := apimeta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
		return ready != nil && strings.Contains(ready.Message, "deletionPolicy: Retain")
	})
	if reason := apimeta.FindStatusCondition(held.Status.Conditions, v1alpha1.ConditionReady).Reason; reason != v1alpha1.ReasonProviderNotFound {
		t.Errorf("reason %s, want what it waits for", reason)
	}
	w.provide(t, "omise")
	w.change(t, gen.Provider(w.namespace, "omise"), `{"metadata":{"labels":{"touched":"yes"}}}`)
	await.Gone(t, w, session)
	if state := w.upstreams.State("omise", session.Spec.SessionID); state != simulator.Expired {
		t.Errorf("the provider's books say %q", state)
	}
}
