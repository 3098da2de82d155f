// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestAClosedSessionThatIsShownOpenAgainIsOpen has a provider that takes an expiry back and then fails the next one.
func TestAClosedSessionThatIsShownOpenAgainIsOpen(t *testing.T) {
	for reason, fault := range map[string]simulator.Fault{
		"the provider is down":  {Operation: expire, Times: simulator.Forever, Reply: simulator.Reply{Code: 503}},
		"it throttles":          {Operation: expire, Times: simulator.Forever, Reply: simulator.Reply{Code: 429}},
		"it rejects the key":    {Operation: expire, Times: simulator.Forever, Reply: simulator.Reply{Code: 401, Body: map[string]any{"object": "error", "code": "authentication_failure"}}},
		"it refuses the expiry": {Operation: expire, Times: simulator.Forever, Reply: simulator.Reply{Code: 400, Body: map[string]any{"object": "error", "code": "failed_expire"}}},
	} {
		t.Run(reason, func(t *testing.T) {
			w := newWorld(t)
			w.provide(t, "omise")
			session := w.session(t, "omise", simulator.Open, gen.TTLAfterClosed(time.Hour))
			await.Until(t, w, session, "it is expired and released", func(s *v1alpha1.PaymentSession) bool {
				return s.Status.State == v1alpha1.SessionStateExpired && len(s.Finalizers) == 0
			})
			w.upstreams.SetState("omise", session.Spec.SessionID, simulator.Open)
			w.upstreams.Script("omise", session.Spec.SessionID, fault)
			w.clock.step(5 * time.Minute)
			w.poke(t, session, "look")
			reopened := await.Until(t, w, session, "it is open again, and the expiry was tried", func(s *v1alpha1.PaymentSession) bool {
				return s.Status.State == v1alpha1.SessionStateActive && slices.Contains(s.Finalizers, v1alpha1.ExpireFinalizer) &&
					!slices.Contains([]string{v1alpha1.ReasonExpiring, v1alpha1.ReasonExpired}, apimeta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady).Reason)
			})
			for _, kind := range []string{v1alpha1.ConditionReady, v1alpha1.ConditionExpired} {
				if apimeta.IsStatusConditionTrue(reopened.Status.Conditions, kind) {
					t.Errorf("%s is True of a session that can be paid", kind)
				}
			}
			if reopened.Status.ClosedAt != nil {
				t.Error("closedAt is there, and with it a time to live")
			}
			w.event(t, session, v1alpha1.ReasonExpiring)
		})
	}
}

// TestAnExpiryThatCannotBeginYetIsSaid lets expireAt come while the account may make no call.
func TestAnExpiryThatCannotBeginYetIsSaid(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise", gen.RateLimit(1, time.Hour))
	session := w.session(t, "omise", simulator.Open, gen.ExpireAt(time.Now().Add(time.Hour)))
	w.reason(t, session, v1alpha1.ReasonScheduled)
	w.clock.step(2 * time.Hour)
	w.change(t, session, `{"metadata":{"labels":{"touched":"once"}}}`)
	awaitTrue(t, "its call is queued", func() bool { return w.counted(t, "payops_account_calls", "queued") == 1 })
	w.clock.step(11 * time.Second)
	w.change(t, session, `{"metadata":{"labels":{"touched":"twice"}}}`)
	waiting := w.reason(t, session, v1alpha1.ReasonExpiring)
	if waiting.Status.State != v1alpha1.SessionStateActive || !apimeta.IsStatusConditionFalse(waiting.Status.Conditions, v1alpha1.ConditionExpired) {
		t.Errorf("status %+v, want it known to be active and not expired", waiting.Status)
	}
	if err := w.Delete(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	w.clock.step(11 * time.Second)
	held := w.reason(t, session, v1alpha1.ReasonExpiring)
	if message := apimeta.FindStatusCondition(held.Status.Conditions, v1alpha1.ConditionReady).Message; !apimeta.IsStatusConditionTrue(held.Status.Conditions, v1alpha1.ConditionReconciling) {
		t.Errorf("the deletion waits, and the status says %q", message)
	}
}

// TestADeletedSecretGoesOnceNoSessionNeedsIt replaces the Secret of a provider that lives.
func TestADeletedSecretGoesOnceNoSessionNeedsIt(t *testing.T) {
	w := newWorld(t)
	provider := w.provide(t, "omise")
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
	session := w.reason(t, w.session(t, "omise", simulator.Open, gen.Active), v1alpha1.ReasonObserved)
	secret := gen.Secret(w.namespace, "omise")
	if err := w.Delete(t.Context(), secret); err != nil {
		t.Fatal(err)
	}
	w.change(t, provider, `{"metadata":{"labels":{"touched":"once"}}}`)
	if err := w.Create(t.Context(), gen.Secret(w.namespace, "omise")); !apierrors.IsAlreadyExists(err) {
		t.Errorf("error %v, want the Secret still there: a session needs it", err)
	}
	w.change(t, session, `{"spec":{"desiredState":"expired"}}`)
	await.Until(t, w, session, "it is expired with the Secret that is being deleted, and released", func(s *v1alpha1.PaymentSession) bool {
		return s.Status.State == v1alpha1.SessionStateExpired && len(s.Finalizers) == 0
	})
	w.change(t, provider, `{"metadata":{"labels":{"touched":"twice"}}}`)
	await.Gone(t, w, secret)
	w.create(t, gen.Secret(w.namespace, "omise"))
	w.change(t, provider, `{"metadata":{"labels":{"touched":"thrice"}}}`)
	w.reason(t, w.session(t, "omise", simulator.Open), v1alpha1.ReasonExpired)
}

// TestAProviderStaysForARetainedSessionThatShouldBeExpired deletes a provider while it cannot do its work.
func TestAProviderStaysForARetainedSessionThatShouldBeExpired(t *testing.T) {
	w := newWorld(t)
	provider := w.provide(t, "omise")
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
	w.upstreams.SetOutage("omise", true)
	session := w.session(t, "omise", simulator.Open, gen.Retained)
	w.reason(t, session, v1alpha1.ReasonProviderUnavailable)
	if err := w.Delete(t.Context(), provider); err != nil {
		t.Fatal(err)
	}
	terminating := await.Until(t, w, provider, "it is being deleted", func(p *v1alpha1.PaymentProvider) bool { return !p.DeletionTimestamp.IsZero() })
	w.awaitCached(t, terminating)
	w.upstreams.SetOutage("omise", false)
	w.reason(t, session, v1alpha1.ReasonExpired)
	await.Gone(t, w, provider)
}

// TestAnAnswerOfTheEndpointOfBeforeDoesNotCount edits a provider while a call to its endpoint is in flight.
func TestAnAnswerOfTheEndpointOfBeforeDoesNotCount(t *testing.T) {
	w := newWorld(t)
	before, after := simulator.New(), w.upstreams
	t.Cleanup(before.Close)
	server := httptest.NewServer(before.Handler())
	t.Cleanup(server.Close)
	provider := w.provide(t, "omise", gen.Endpoint(server.URL+"/omise"))
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
	id := gen.ID("omise", 1)
	for _, books := range []*simulator.Simulator{before, after} {
		books.Add(simulator.Object{Provider: "omise", ID: id, State: simulator.Open})
	}
	before.SetLatency(3 * time.Second)
	session := gen.Session(w.namespace, "order", "omise", id)
	w.create(t, session)
	awaitTrue(t, "the call is in flight", func() bool { return w.flying(t) == 1 })
	w.change(t, provider, `{"spec":{"endpoint":"`+w.url+`/omise"}}`)
	w.reason(t, session, v1alpha1.ReasonExpired)
	if state := after.State("omise", id); state != simulator.Expired {
		t.Errorf("the session is called expired and is %s where the provider object says that it is", state)
	}
}

// TestOverdueSessionsAreCounted holds an expiry up for long.
func TestOverdueSessionsAreCounted(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	w.upstreams.SetOutage("omise", true)
	session := w.session(t, "omise", simulator.Open)
	w.awaitCached(t, w.reason(t, session, v1alpha1.ReasonProviderUnavailable))
	if count := w.counted(t, "payops_expiry_overdue_sessions", v1alpha1.ReasonProviderUnavailable); count != 0 {
		t.Errorf("%v sessions are overdue at once", count)
	}
	w.clock.step(20 * time.Minute)
	if count := w.counted(t, "payops_expiry_overdue_sessions", v1alpha1.ReasonProviderUnavailable); count != 1 {
		t.Errorf("%v sessions are overdue after 20 minutes, want 1", count)
	}
	if oldest := w.counted(t, "payops_expiry_overdue_seconds", v1alpha1.ReasonProviderUnavailable); oldest < 1200 {
		t.Errorf("the oldest is overdue for %v s, want 20 minutes", oldest)
	}
	// A restart does not make it young again.
	w.stop()
	w.start(t)
	w.clock.step(time.Minute)
	awaitTrue(t, "it is counted after the restart", func() bool {
		return w.counted(t, "payops_expiry_overdue_seconds", v1alpha1.ReasonProviderUnavailable) > 1200
	})
	w.upstreams.SetOutage("omise", false)
	w.change(t, session, `{"metadata":{"labels":{"touched":"yes"}}}`)
	w.awaitCached(t, w.reason(t, session, v1alpha1.ReasonExpired))
	if count := w.counted(t, "payops_expiry_overdue_sessions", v1alpha1.ReasonProviderUnavailable); count != 0 {
		t.Errorf("%v sessions are overdue after the expiry", count)
	}
}

// TestADryRunSaysWhatItWouldDoWithWhatItKnows expires and deletes sessions that are never polled.
func TestADryRunSaysWhatItWouldDoWithWhatItKnows(t *testing.T) {
	w := newWorld(t, dryRun)
	w.provide(t, "omise", gen.PollInterval(0))
	asked := w.reason(t, w.session(t, "omise", simulator.Open, gen.Active), v1alpha1.ReasonObserved)
	w.change(t, asked, `{"spec":{"desiredState":"expired"}}`)
	w.reason(t, asked, v1alpha1.ReasonWouldExpire)
	deleted := w.reason(t, w.session(t, "omise", simulator.Open, gen.Active), v1alpha1.ReasonObserved)
	if err := w.Delete(t.Context(), deleted); err != nil {
		t.Fatal(err)
	}
	held := w.reason(t, deleted, v1alpha1.ReasonWouldExpire)
	if message := apimeta.FindStatusCondition(held.Status.Conditions, v1alpha1.ConditionReady).Message; held.DeletionTimestamp.IsZero() || !strings.Contains(message, "deletionPolicy: Retain") {
		t.Errorf("the deletion is held, and the message is %q", message)
	}
	if calls := w.upstreams.Calls(); slices.ContainsFunc(calls, func(call simulator.Call) bool { return call.Operation == expire }) {
		t.Errorf("calls %v in a dry run", calls)
	}
	w.letGo(t, deleted)
}

// TestAUsedLinkSaysWhatIsStillPayable reads a Txn link of which an invoice came.
func TestAUsedLinkSaysWhatIsStillPayable(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "txn")
	session := w.reason(t, w.session(t, "txn", simulator.Paid), v1alpha1.ReasonPaymentCompleted)
	message := apimeta.FindStatusCondition(session.Status.Conditions, v1alpha1.ConditionReady).Message
	if rest := session.Status.Upstream.StillPayable; rest == "" || !strings.Contains(message, rest) {
		t.Errorf("the status has %q, and the message %q", rest, message)
	}
}
