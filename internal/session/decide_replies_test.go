// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"testing"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestDecideFirstCall decides on sessions that were never read.
func TestDecideFirstCall(t *testing.T) {
	hourAgo, inAnHour := now.Add(-time.Hour), now.Add(time.Hour)
	decide(t, []decideCase{
		{"desired expired: expire without reading first",
			given(), decided{Operation: expire, Wait: pendingGrace}},
		{"desired active: read", given(with(gen.Active)), decided{Operation: observe}},
		{"expireAt has passed: expire, if a live read confirms it",
			given(with(gen.ExpireAt(hourAgo))), decided{Operation: expire, Confirm: true, Wait: pendingGrace}},
		{"before expireAt: read",
			given(with(gen.ExpireAt(inAnHour))), decided{Operation: observe, Wait: time.Hour}},
		{"a dry run: read", given(dryRun), decided{Operation: observe, Wait: pendingGrace}},
		{"with a refresh request: expire, without another read",
			given(with(gen.ReconcileAt("1"))), decided{Operation: expire, Wait: pendingGrace}},
	})
}

// TestDecideProvenClosed decides on replies that prove that the session is closed.
func TestDecideProvenClosed(t *testing.T) {
	decide(t, []decideCase{
		{"the reply to expire proves it",
			given(afterState(expire, expired)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"a read proves it", given(afterState(observe, expired)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"it was paid before",
			given(afterState(observe, completed)),
			decided{Reason: "PaymentCompleted", Ready: no, Expired: no, Progress: Stalled}},
		{"a failed session cannot be paid",
			given(afterState(observe, failed)), decided{Reason: "Closed", Ready: yes, Expired: no}},
	})
}

// TestDecideNoProof decides on replies that do not prove that the session is closed.
func TestDecideNoProof(t *testing.T) {
	decide(t, []decideCase{
		{"accepted, and the reply still shows it active: read",
			given(afterState(expire, active)), decided{Operation: observe, Wait: pendingGrace}},
		{"accepted, and the reply shows no state: read",
			given(afterState(expire, "")), decided{Operation: observe, Wait: pendingGrace}},
		{"accepted 1 s ago and still active: the effect may become visible later",
			given(afterState(observe, active), remembering(Memory{Expire: EndingAccepted, ActedAt: now.Add(-time.Second)})),
			decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling, Wait: time.Second}},
		{"awaiting confirmation: only read",
			given(showing("AwaitingConfirmation", active),
				remembering(Memory{Expire: EndingAccepted, ActedAt: now.Add(-time.Second)})),
			decided{Operation: observe}},
		{"accepted over 2 minutes ago and still active: expire again",
			given(showing("AwaitingConfirmation", active), afterState(observe, active),
				remembering(Memory{Expire: EndingAccepted, ActedAt: now.Add(-3 * time.Minute)})),
			decided{Operation: expire}},
		{"refused: read and decide from the state",
			given(afterOutcome(expire, v1alpha1.OutcomeRefused)), decided{Operation: observe, Wait: pendingGrace}},
		{"refused and still active",
			given(afterState(observe, active), remembering(Memory{Expire: EndingRefused})),
			decided{Reason: "ExpireRefused", Ready: no, Expired: no, Progress: Stalled, Wait: time.Second}},
		{"refused and still active, a minute after a call of unknown outcome: its effect may become visible later",
			given(afterState(observe, active), remembering(Memory{Expire: EndingRefused, ActedAt: now.Add(-time.Minute)})),
			decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling, Wait: time.Second}},
		{"refused and still active, 3 minutes after a call of unknown outcome",
			given(afterState(observe, active), remembering(Memory{Expire: EndingRefused, ActedAt: now.Add(-3 * time.Minute)})),
			decided{Reason: "ExpireRefused", Ready: no, Expired: no, Progress: Stalled, Wait: time.Second}},
		{"refused before: read first", given(showing("ExpireRefused", active)), decided{Operation: observe}},
		{"refused before and read as active: expire again",
			given(showing("ExpireRefused", active), afterState(observe, active)), decided{Operation: expire}},
		{"the provider cannot expire it by a call",
			given(afterOutcome(expire, v1alpha1.OutcomeUnsupported)),
			decided{Reason: "ExpireUnsupported", Ready: no, Expired: no, Progress: Stalled}},
		{"a read shows that no call can expire it",
			given(afterState(observe, active), remembering(Memory{Expire: EndingRefused}), unexpirable),
			decided{Reason: "ExpireUnsupported", Ready: no, Expired: no, Progress: Stalled, Wait: poll}},
		{"a read shows that no call can expire it, a minute after one was accepted: the effect may become visible later",
			given(afterState(observe, active), unexpirable,
				remembering(Memory{Expire: EndingAccepted, ActedAt: now.Add(-time.Minute)})),
			decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling, Wait: time.Second}},
		{"no call could expire it before, and that may change: read",
			given(showing("ExpireUnsupported", active), showsExpirable), decided{Operation: observe}},
		{"no call could expire it before, and the provider is not polled: no call",
			given(showing("ExpireUnsupported", active), showsExpirable, neverPolls), decided{}},
		{"no call could expire it before, and now one can: expire",
			given(showing("ExpireUnsupported", active), showsExpirable, afterState(observe, active)),
			decided{Operation: expire}},
		{"a read shows that no call could expire it, and it should be active",
			given(with(gen.Active), afterState(observe, active), unexpirable),
			decided{Reason: "Observed", Ready: yes, Expired: no, Wait: poll}},
		{"it could not be expired by a call before: never again", given(showing("ExpireUnsupported", "")), decided{}},
		{"a payment in flight",
			given(afterState(observe, processing)),
			decided{Reason: "PaymentInProgress", Ready: no, Expired: no, Progress: Reconciling, Wait: time.Second}},
		{"a payment in flight before: read first",
			given(showing("PaymentInProgress", processing)), decided{Operation: observe}},
		{"a payment that failed leaves the session active: report it, then expire",
			given(showing("PaymentInProgress", processing), afterState(observe, active)),
			decided{Reason: "Expiring", Ready: no, Expired: no, Progress: Reconciling, Wait: noDelay}},

		{"reconciled while the read is queued: the same read",
			given(remembering(Memory{Next: observe, Expire: EndingAccepted})), decided{Operation: observe, Wait: pendingGrace}},
		{"reconciled while an expire call is queued after a read: the same call",
			given(showing("Expiring", active), remembering(Memory{Next: expire})), decided{Operation: expire}},
		{"another leader reads a payment in flight while an expire call is queued: read, too",
			given(showing("PaymentInProgress", processing), remembering(Memory{Next: expire})), decided{Operation: observe}},
	})
}

// TestDecideFailure decides on failed calls.
func TestDecideFailure(t *testing.T) {
	decide(t, []decideCase{
		{"a read failed a minute after an accepted call that changed nothing: read again, and do not call twice",
			given(showing("Throttled", active), remembering(Memory{Accepted: 1, ActedAt: now.Add(-time.Minute)})),
			decided{Operation: observe}},
		{"a read failed 3 minutes after an accepted call that changed nothing: call again",
			given(showing("Throttled", active), remembering(Memory{Accepted: 1, ActedAt: now.Add(-3 * time.Minute)})),
			decided{Operation: expire}},
		{"not found, at first",
			given(afterOutcome(expire, v1alpha1.OutcomeNotFound)),
			decided{Reason: "SessionNotFound", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
		{"not found for 2 minutes",
			given(afterOutcome(expire, v1alpha1.OutcomeNotFound),
				remembering(Memory{Trouble: "SessionNotFound", TroubleSince: now.Add(-Patience), Attempts: 8})),
			decided{Reason: "SessionNotFound", Ready: no, Expired: unknown, Progress: Stalled, Wait: 256 * time.Second}},
		{"not found for 2 minutes before a restart: try again",
			given(showingStalled("SessionNotFound")), decided{Operation: expire}},
		{"not found for 2 minutes, and the annotation requests a refresh",
			given(showingStalled("SessionNotFound"), with(gen.ReconcileAt("1"))), decided{Operation: observe}},
		{"credentials rejected",
			given(afterOutcome(expire, v1alpha1.OutcomeCredentialsRejected)),
			decided{Reason: "CredentialsRejected", Ready: no, Expired: unknown, Progress: Stalled, Wait: probeInterval}},
		{"credentials rejected before: wait for other credentials",
			given(showing("CredentialsRejected", ""), remembering(Memory{AccountEpoch: 1, NextCallAt: now.Add(time.Minute)})),
			decided{Wait: time.Minute}},
		{"credentials rejected before, and there are other credentials",
			given(showing("CredentialsRejected", ""), newAccount,
				remembering(Memory{AccountEpoch: 1, NextCallAt: now.Add(time.Minute)})),
			decided{Operation: expire, Wait: pendingGrace}},
		{"credentials rejected before, and 10 minutes have passed: probe",
			given(showing("CredentialsRejected", ""), remembering(Memory{AccountEpoch: 1, NextCallAt: now})),
			decided{Operation: expire}},
		{"not allowed",
			given(afterOutcome(expire, v1alpha1.OutcomeNotAllowed)),
			decided{Reason: "NotAllowed", Ready: no, Expired: unknown, Progress: Stalled, Wait: time.Second}},
		{"throttled",
			given(afterOutcome(expire, v1alpha1.OutcomeThrottled)),
			decided{Reason: "Throttled", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
		{"throttled with a Retry-After",
			given(after(expire, call.Result{Outcome: v1alpha1.OutcomeThrottled, RetryAfter: time.Minute})),
			decided{
				Reason: "Throttled", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Minute + 500*time.Millisecond,
			}},
		{"unavailable",
			given(afterOutcome(expire, v1alpha1.OutcomeUnavailable)),
			decided{Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
		{"unavailable for the fourth time",
			given(afterOutcome(expire, v1alpha1.OutcomeUnavailable),
				remembering(Memory{Trouble: "ProviderUnavailable", Attempts: 3})),
			decided{Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling, Wait: 8 * time.Second}},
		{"unavailable for the hundredth time",
			given(afterOutcome(expire, v1alpha1.OutcomeUnavailable), remembering(Memory{Trouble: "Throttled", Attempts: 99})),
			decided{Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling, Wait: maxBackoff}},
		{"unavailable before, and the next attempt is not due",
			given(showing("ProviderUnavailable", ""), remembering(Memory{NextCallAt: now.Add(time.Second)})),
			decided{Wait: time.Second}},
		{"unavailable before, and the next attempt is due: no read first",
			given(showing("ProviderUnavailable", ""), remembering(Memory{NextCallAt: now})), decided{Operation: expire}},
		{"an unexpected reply",
			given(afterOutcome(expire, v1alpha1.OutcomeUnexpectedResponse)),
			decided{Reason: "UnexpectedResponse", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
	})
}
