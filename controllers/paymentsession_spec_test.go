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

func TestExpireAt(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Open, gen.ExpireAt(time.Now().Add(time.Hour)))
	w.reason(t, session, v1alpha1.ReasonScheduled)
	if got := w.calls(session); !slices.Equal(got, []string{observe}) {
		t.Errorf("calls %q before expireAt, want one read", got)
	}
	w.clock.step(2 * time.Hour)
	w.refresh(t, session, "now")
	w.reason(t, session, v1alpha1.ReasonExpired)
	// Nothing reopens a session. The status continues to show it as expired.
	w.change(t, session, `{"spec":{"expireAt":"2099-01-01T00:00:00Z"}}`)
	if moved := w.reason(t, session, v1alpha1.ReasonObserved); moved.Status.State != v1alpha1.SessionStateExpired {
		t.Errorf("state %q after expireAt was moved, want expired", moved.Status.State)
	}
}

// TestExpireAtMovedWhileQueuedIsRespected moves expireAt into the future while the expire call is still queued. The
// session must not be expired.
func TestExpireAtMovedWhileQueuedIsRespected(t *testing.T) {
	w := newWorld(t)
	// One call an hour: the read of the first session uses it, so that the expire call of the second one is queued.
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

// TestQueuedExpiryIsReported lets expireAt pass while the rate limit of the account allows no call.
func TestQueuedExpiryIsReported(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise", gen.RateLimit(1, time.Hour))
	session := w.session(t, "omise", simulator.Open, gen.ExpireAt(time.Now().Add(time.Hour)))
	w.reason(t, session, v1alpha1.ReasonScheduled)
	w.clock.step(2 * time.Hour)
	w.touch(t, session)
	await.True(t, "its call is queued", func() bool { return w.gauge(t, "payops_account_calls", "queued") == 1 })
	w.clock.step(11 * time.Second)
	w.touch(t, session)
	waiting := w.reason(t, session, v1alpha1.ReasonExpiring)
	if waiting.Status.State != v1alpha1.SessionStateActive || !apimeta.IsStatusConditionFalse(
		waiting.Status.Conditions, v1alpha1.ConditionExpired,
	) {
		t.Errorf("status %+v, want the state active and Expired=False", waiting.Status)
	}
	if err := w.Delete(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	w.clock.step(11 * time.Second)
	held := w.reason(t, session, v1alpha1.ReasonExpiring)
	if !apimeta.IsStatusConditionTrue(held.Status.Conditions, v1alpha1.ConditionReconciling) {
		t.Errorf("the deletion waits, and the session is not Reconciling: %q", readyOf(held).Message)
	}
}

func TestSuspend(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Open, gen.Suspended)
	suspended := w.reason(t, session, v1alpha1.ReasonSuspended)
	if status := readyOf(suspended).Status; status != metav1.ConditionUnknown {
		t.Errorf("Ready is %s, want Unknown", status)
	}
	if got := w.calls(session); len(got) > 0 {
		t.Errorf("calls %q for a suspended session, want none", got)
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
	// The manager's own last write can trigger the reconcile that deletes the session, before it is touched.
	if err := client.IgnoreNotFound(w.Patch(t.Context(), session, gen.Touch())); err != nil {
		t.Fatal(err)
	}
	await.Gone(t, w, session)
}

func TestFinalizerFollowsPolicyAndState(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Open, gen.Active)
	has := func(s *v1alpha1.PaymentSession) bool { return slices.Contains(s.Finalizers, v1alpha1.ExpireFinalizer) }
	hasNot := func(s *v1alpha1.PaymentSession) bool { return !has(s) }
	await.Until(t, w, session, "it has the finalizer, because its policy is Expire", has)
	w.change(t, session, `{"spec":{"deletionPolicy":"Retain"}}`)
	await.Until(t, w, session, "it has no finalizer, because its policy is Retain", hasNot)
	w.change(t, session, `{"spec":{"deletionPolicy":"Expire"}}`)
	await.Until(t, w, session, "it has the finalizer again", has)
	w.patch(t, session, gen.Expire())
	await.Until(t, w, session, "it has no finalizer, because it is closed", func(s *v1alpha1.PaymentSession) bool {
		return s.Status.State.Closed() && hasNot(s)
	})
}

// TestHeldDeletionSaysWhy deletes a session that has no provider.
func TestHeldDeletionSaysWhy(t *testing.T) {
	w := newWorld(t)
	session := w.session(t, "omise", simulator.Open)
	w.reason(t, session, v1alpha1.ReasonProviderNotFound)
	if err := w.Delete(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	held := await.Until(t, w, session, "it says how to end the wait", func(s *v1alpha1.PaymentSession) bool {
		ready := readyOf(s)
		return ready != nil && strings.Contains(ready.Message, "deletionPolicy: Retain")
	})
	if reason := readyOf(held).Reason; reason != v1alpha1.ReasonProviderNotFound {
		t.Errorf("reason %s, want %s", reason, v1alpha1.ReasonProviderNotFound)
	}
	w.provide(t, "omise")
	w.touch(t, gen.Provider(w.namespace, "omise"))
	await.Gone(t, w, session)
	if state := w.upstreams.State("omise", session.Spec.SessionID); state != simulator.Expired {
		t.Errorf("the provider's books say %q, want expired", state)
	}
}

func TestReconcileAt(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Open)
	w.reason(t, session, v1alpha1.ReasonExpired)
	w.upstreams.SetState("omise", session.Spec.SessionID, simulator.Paid)
	w.refresh(t, session, "2026-11-21T10:00:00Z")
	refreshed := await.Until(t, w, session, "the refresh is handled", func(s *v1alpha1.PaymentSession) bool {
		return s.Status.LastHandledReconcileAt == "2026-11-21T10:00:00Z"
	})
	if refreshed.Status.State != v1alpha1.SessionStateCompleted {
		t.Errorf("state %q after the refresh, want the provider's current state", refreshed.Status.State)
	}
	if got := w.calls(session); !slices.Equal(got, []string{expire, observe}) {
		t.Errorf("calls %q, want one read for the refresh", got)
	}
}

// TestWithdrawnRefreshDoesNotAnswerTheNext removes the annotation while the read is in flight. The outcome of that read
// must not answer the next refresh request.
func TestWithdrawnRefreshDoesNotAnswerTheNext(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Open)
	closed := awaitClosed(t, w, session)
	w.upstreams.SetLatency(2 * time.Second)
	w.refresh(t, session, "first")
	await.True(t, "the read is in flight", func() bool { return w.inFlight(t) == 1 })
	w.change(t, session, fmt.Sprintf(`{"metadata":{"annotations":{%q:null}}}`, v1alpha1.ReconcileAtAnnotation))
	await.True(t, "the read has returned", func() bool { return w.inFlight(t) == 0 })
	w.upstreams.SetLatency(0)
	w.upstreams.SetState("omise", session.Spec.SessionID, simulator.Paid)
	w.refresh(t, session, "second")
	refreshed := await.Until(t, w, session, "the second refresh is handled", func(s *v1alpha1.PaymentSession) bool {
		return s.Status.LastHandledReconcileAt == "second"
	})
	status := refreshed.Status
	if status.State != v1alpha1.SessionStateCompleted || !status.ClosedAt.Equal(closed.Status.ClosedAt) {
		t.Errorf("state %q since %s, want the provider's current state since %s", status.State, status.ClosedAt,
			closed.Status.ClosedAt)
	}
}

func TestDryRun(t *testing.T) {
	w := newWorld(t, dryRun)
	w.provide(t, "omise")
	open, paid := w.session(t, "omise", simulator.Open), w.session(t, "omise", simulator.Paid)
	w.reason(t, open, v1alpha1.ReasonWouldExpire)
	w.reason(t, paid, v1alpha1.ReasonPaymentCompleted)
	for _, call := range w.upstreams.Calls() {
		if call.Operation != observe {
			t.Errorf("a dry run called %s, want only %s", call.Operation, observe)
		}
	}
}

// TestDryRunDecidesFromTheKnownState expires and deletes sessions that are never polled.
func TestDryRunDecidesFromTheKnownState(t *testing.T) {
	w := newWorld(t, dryRun)
	w.provide(t, "omise", gen.PollInterval(0))
	active := w.reason(t, w.session(t, "omise", simulator.Open, gen.Active), v1alpha1.ReasonObserved)
	w.patch(t, active, gen.Expire())
	w.reason(t, active, v1alpha1.ReasonWouldExpire)
	deleted := w.reason(t, w.session(t, "omise", simulator.Open, gen.Active), v1alpha1.ReasonObserved)
	if err := w.Delete(t.Context(), deleted); err != nil {
		t.Fatal(err)
	}
	held := w.reason(t, deleted, v1alpha1.ReasonWouldExpire)
	message := readyOf(held).Message
	if held.DeletionTimestamp.IsZero() || !strings.Contains(message, "deletionPolicy: Retain") {
		t.Errorf("the deletion is held, and the message %q does not say how to end that", message)
	}
	expires := func(call simulator.Call) bool { return call.Operation == expire }
	if calls := w.upstreams.Calls(); slices.ContainsFunc(calls, expires) {
		t.Errorf("calls %v in a dry run, want only reads", calls)
	}
	w.removeFinalizers(t, deleted)
}
