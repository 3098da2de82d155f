// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
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

// TestExpireEveryProvider runs sessions of every provider to their end and compares the calls.
func TestExpireEveryProvider(t *testing.T) {
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
		{"a session that had expired", "circle", simulator.Expired, v1alpha1.ReasonExpired, []string{expire, observe}},
		{"a session that had expired", "helio", simulator.Expired, v1alpha1.ReasonExpired, []string{expire, observe}},
		{"a session that had expired", "omise", simulator.Expired, v1alpha1.ReasonExpired, []string{expire}},
		{"a session that had expired", "txn", simulator.Expired, v1alpha1.ReasonExpired, []string{expire, observe}},
		{"a paid session", "circle", simulator.Paid, v1alpha1.ReasonPaymentCompleted, []string{expire, observe}},
		{"a paid session", "helio", simulator.Paid, v1alpha1.ReasonPaymentCompleted, []string{expire, observe}},
		{"a paid session", "omise", simulator.Paid, v1alpha1.ReasonPaymentCompleted, []string{expire, observe}},
		{"a paid session", "txn", simulator.Paid, v1alpha1.ReasonPaymentCompleted, []string{expire, observe}},
		{"a failed session", "circle", simulator.Failed, v1alpha1.ReasonClosed, []string{expire, observe}},
		{"a failed session", "omise", simulator.Failed, v1alpha1.ReasonClosed, []string{expire, observe}},
	}
	for _, tc := range cases {
		t.Run(tc.provider+"/"+tc.reason, func(t *testing.T) {
			session := w.session(t, tc.provider, tc.state)
			done := w.reason(t, session, tc.wants)
			if got := w.calls(session); !slices.Equal(got, tc.calls) {
				t.Errorf("calls %q, want %q", got, tc.calls)
			}
			state := stateOf(w, session)
			if (done.Status.State == v1alpha1.SessionStateExpired) != (state == simulator.Expired) {
				t.Errorf("the status says %q, the provider's books say %q", done.Status.State, state)
			}
			if done.Status.ClosedAt == nil || done.Status.Upstream == nil || done.Status.Upstream.Status == "" {
				t.Errorf("status %+v, want closedAt and the provider's word", done.Status)
			}
			if tc.provider == "circle" && done.Status.Upstream.RequestID == "" {
				t.Error("the status has no request id")
			}
		})
	}
}

// TestPaymentCompletedIsAnEvent has a session that was paid before it could be expired.
func TestPaymentCompletedIsAnEvent(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Paid)
	w.reason(t, session, v1alpha1.ReasonPaymentCompleted)
	w.event(t, session, v1alpha1.ReasonPaymentCompleted)
}

// TestClosedSessionsCostNoCallsAndNoWrites restarts the manager and lets its cache resync several times.
func TestClosedSessionsCostNoCallsAndNoWrites(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	var sessions []*v1alpha1.PaymentSession
	for _, state := range []simulator.State{simulator.Open, simulator.Paid, simulator.Failed} {
		sessions = append(sessions, awaitClosed(t, w, w.session(t, "omise", state)))
	}
	w.stop()
	before := len(w.upstreams.Calls())
	// Each decision takes one jitter.
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
	// Decisions that are made from now on must not block.
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
			t.Errorf("%s was written after the restart or at a resync", session.Name)
		}
	}
}

func TestActiveIsObservedAndThenExpired(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "txn")
	session := w.session(t, "txn", simulator.Open, gen.Active)
	seen := w.reason(t, session, v1alpha1.ReasonObserved)
	if seen.Status.State != v1alpha1.SessionStateActive || seen.Status.Upstream.Status != "created" {
		t.Errorf("status %+v, want the state active and the provider's word created", seen.Status)
	}
	w.patch(t, session, gen.Expire())
	w.reason(t, session, v1alpha1.ReasonExpired)
	if got := w.calls(session); !slices.Equal(got, []string{observe, expire}) {
		t.Errorf("calls %q, want one read and one expiry", got)
	}
}

func TestActiveIsPolledUntilClosed(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "helio", gen.PollInterval(50*time.Millisecond))
	session := w.session(t, "helio", simulator.Open, gen.Active)
	w.reason(t, session, v1alpha1.ReasonObserved)
	w.upstreams.SetState("helio", session.Spec.SessionID, simulator.Paid)
	done := await.Until(t, w, session, "it is completed", func(s *v1alpha1.PaymentSession) bool {
		return s.Status.State == v1alpha1.SessionStateCompleted
	})
	ready := apimeta.FindStatusCondition(done.Status.Conditions, v1alpha1.ConditionReady)
	if ready.Status != metav1.ConditionTrue || ready.Reason != v1alpha1.ReasonObserved {
		t.Errorf("Ready is %s with the reason %s, want True with Observed: its desired state is active", ready.Status,
			ready.Reason)
	}
}

func TestUnknownSessionStallsAfterTwoMinutes(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "txn")
	session := w.session(t, "txn", "")
	young := w.reason(t, session, v1alpha1.ReasonSessionNotFound)
	if !apimeta.IsStatusConditionTrue(young.Status.Conditions, v1alpha1.ConditionReconciling) {
		t.Error("it is not Reconciling at first, although the provider may show it a moment later")
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
		t.Errorf("calls %q, want one expire call and then only reads", got)
	}
}

func TestPaymentInFlightIsAwaited(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "helio")
	session := w.session(t, "helio", simulator.Pending)
	w.reason(t, session, v1alpha1.ReasonPaymentInProgress)
	w.upstreams.SetState("helio", session.Spec.SessionID, simulator.Paid)
	w.reason(t, session, v1alpha1.ReasonPaymentCompleted)
}

func TestExpireUnsupported(t *testing.T) {
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
	w.upstreams.Script("omise", id,
		simulator.Fault{Reply: simulator.Reply{
			Code: 400, Body: `{"object":"error","code":"invalid_charge","message":"not now"}`,
		}})
	session := gen.Session(w.namespace, "refused", "omise", id)
	w.create(t, session)
	w.reason(t, session, v1alpha1.ReasonExpireRefused)
	w.reason(t, session, v1alpha1.ReasonExpired)
	if got := w.calls(session); !slices.Equal(got, []string{expire, observe, observe, expire}) {
		t.Errorf("calls %q, want a read after the refusal and another before the next attempt", got)
	}
}

// TestReopenedSessionIsActiveAgain has a provider that shows an expired session as open again and then fails the next
// expire call.
func TestReopenedSessionIsActiveAgain(t *testing.T) {
	for reason, fault := range map[string]simulator.Fault{
		"the provider is unavailable": {Operation: expire, Times: simulator.Forever, Reply: simulator.Reply{Code: 503}},
		"it throttles":                {Operation: expire, Times: simulator.Forever, Reply: simulator.Reply{Code: 429}},
		"it rejects the credentials": {
			Operation: expire, Times: simulator.Forever,
			Reply: simulator.Reply{Code: 401, Body: map[string]any{"object": "error", "code": "authentication_failure"}},
		},
		"it refuses the expiry": {
			Operation: expire, Times: simulator.Forever,
			Reply: simulator.Reply{Code: 400, Body: map[string]any{"object": "error", "code": "failed_expire"}},
		},
	} {
		t.Run(reason, func(t *testing.T) {
			w := newWorld(t)
			w.provide(t, "omise")
			session := w.session(t, "omise", simulator.Open, gen.TTLAfterClosed(time.Hour))
			awaitExpired(t, w, session)
			w.upstreams.SetState("omise", session.Spec.SessionID, simulator.Open)
			w.upstreams.Script("omise", session.Spec.SessionID, fault)
			w.clock.step(5 * time.Minute)
			w.refresh(t, session, "now")
			before := []string{v1alpha1.ReasonExpiring, v1alpha1.ReasonExpired}
			tried := func(s *v1alpha1.PaymentSession) bool {
				return s.Status.State == v1alpha1.SessionStateActive && slices.Contains(s.Finalizers, v1alpha1.ExpireFinalizer) &&
					!slices.Contains(before, readyOf(s).Reason)
			}
			reopened := await.Until(t, w, session, "it is active again, and an expire call was made", tried)
			for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionExpired} {
				if apimeta.IsStatusConditionTrue(reopened.Status.Conditions, kind) {
					t.Errorf("%s is True although the session can be paid", kind)
				}
			}
			if reopened.Status.ClosedAt != nil {
				t.Error("closedAt is set, so that ttlAfterClosed would delete an open session")
			}
			w.event(t, session, v1alpha1.ReasonExpiring)
		})
	}
}

// TestUsedLinkReportsStillPayable reads a Txn link from which an invoice was created.
func TestUsedLinkReportsStillPayable(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "txn")
	session := w.reason(t, w.session(t, "txn", simulator.Paid), v1alpha1.ReasonPaymentCompleted)
	message := readyOf(session).Message
	if payable := session.Status.Upstream.StillPayable; payable == "" || !strings.Contains(message, payable) {
		t.Errorf("stillPayable is %q, and the message %q does not name it", payable, message)
	}
}

// TestChargeOfAnotherMerchant has a charge that the credentials may not expire. The other sessions of the account are
// still expired.
func TestChargeOfAnotherMerchant(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "helio")
	id := gen.ID("helio", 9)
	w.upstreams.Add(simulator.Object{Provider: "helio", ID: id, State: simulator.Open, Variant: simulator.OtherMerchant})
	theirs := gen.Session(w.namespace, "theirs", "helio", id)
	w.create(t, theirs)
	w.reason(t, theirs, v1alpha1.ReasonNotAllowed)
	ours := w.session(t, "helio", simulator.Open)
	w.reason(t, ours, v1alpha1.ReasonExpired)
}

func TestInvalidSessionID(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	session := gen.Session(w.namespace, "wrong", "omise", "8755d0ea-14f9-4259-b092-000000000001")
	w.create(t, session)
	seen := w.reason(t, session, v1alpha1.ReasonInvalidSessionID)
	if message := readyOf(seen).Message; !strings.Contains(message, "charge id") {
		t.Errorf("message %q, want the provider's name for the id", message)
	}
	if calls := w.upstreams.Calls(); len(calls) > 0 {
		t.Errorf("calls %v with an id that the class rejects, want none", calls)
	}
}
