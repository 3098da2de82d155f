// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"testing"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestDecideOutage decides while the account holds back all requests because of an outage.
func TestDecideOutage(t *testing.T) {
	decide(t, []decideCase{
		{"a new session: report why its call waits",
			given(outage),
			decided{Operation: expire, Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling}},
		{"a new session whose desired state is active: report it too",
			given(with(gen.Active), outage),
			decided{Operation: observe, Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling}},
		{"the spec was edited: report it too",
			given(showing("Observed", active), specEdited, outage),
			decided{Operation: expire, Reason: "Expiring", Ready: no, Expired: no, Progress: Reconciling}},
		{"the status is about the current generation: no other verdict",
			given(showing("AwaitingConfirmation", active), outage), decided{Operation: observe}},
		{"an outcome is still handled",
			given(afterState(expire, expired), outage), decided{Reason: "Expired", Ready: yes, Expired: yes}},
	})
}

// TestDecideObstacle decides while something is missing or wrong in the cluster.
func TestDecideObstacle(t *testing.T) {
	decide(t, []decideCase{
		{"no provider yet",
			given(missing),
			decided{Reason: "ProviderNotFound", Ready: no, Expired: unknown, Progress: Reconciling, Wait: Patience}},
		{"no provider for 2 minutes",
			given(missing, remembering(Memory{Trouble: "ProviderNotFound", TroubleSince: now.Add(-Patience)})),
			decided{Reason: "ProviderNotFound", Ready: no, Expired: unknown, Progress: Stalled}},
		{"no provider, and Stalled before a restart: still Stalled",
			given(missing, showingStalled("ProviderNotFound")),
			decided{Reason: "ProviderNotFound", Ready: no, Expired: unknown, Progress: Stalled}},
		{"the provider was deleted while the call that proves the expiry was in flight",
			given(missing, afterState(expire, expired)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"an id that the class rejects",
			given(invalidID), decided{Reason: "InvalidSessionID", Ready: no, Expired: unknown, Progress: Stalled}},
	})
}

// TestDecideRetry checks that only a proof is final. Everything else is retried after a bounded time, and at once when
// its cause may have changed.
func TestDecideRetry(t *testing.T) {
	decide(t, []decideCase{
		{"not found for 2 minutes, and never shown: backoff",
			given(afterOutcome(expire, v1alpha1.OutcomeNotFound), showingStalled("SessionNotFound"),
				remembering(Memory{Trouble: "SessionNotFound", Attempts: 40})),
			decided{Reason: "SessionNotFound", Ready: no, Expired: unknown, Progress: Stalled, Wait: patientBackoff}},
		{"not found for 2 minutes, and shown before: as often as it is polled",
			given(showing("Observed", active), afterOutcome(expire, v1alpha1.OutcomeNotFound),
				remembering(Memory{Trouble: "SessionNotFound", TroubleSince: now.Add(-Patience), Attempts: 40})),
			decided{Reason: "SessionNotFound", Ready: no, Expired: unknown, Progress: Stalled, Wait: poll}},
		{"not found before, and expireAt has passed",
			given(with(gen.ExpireAt(now)), showing("Observed", active), showingStalled("SessionNotFound"), pollScheduled),
			decided{Operation: expire, Confirm: true, Wait: 0}},
		{"not found before, and the account has changed",
			given(showingStalled("SessionNotFound"), newAccount,
				remembering(Memory{AccountEpoch: 1, NextCallAt: now.Add(time.Hour)})),
			decided{Operation: expire}},
		{"refused before, and the account has changed: read first",
			given(showing("ExpireRefused", active), newAccount,
				remembering(Memory{AccountEpoch: 1, NextCallAt: now.Add(time.Hour)})),
			decided{Operation: observe}},
		{"not allowed for the twentieth time",
			given(afterOutcome(expire, v1alpha1.OutcomeNotAllowed), remembering(Memory{Trouble: "NotAllowed", Attempts: 19})),
			decided{Reason: "NotAllowed", Ready: no, Expired: unknown, Progress: Stalled, Wait: patientBackoff}},
		{"credentials rejected, and the account has changed since the call began: again at once",
			given(showing("CredentialsRejected", ""), afterOutcome(expire, v1alpha1.OutcomeCredentialsRejected), newAccount),
			decided{Reason: "CredentialsRejected", Ready: no, Expired: unknown, Progress: Stalled, Wait: noDelay}},
		{"shown as active, and the account has changed since the call began: polled as usual",
			given(with(gen.Active), afterState(observe, active), newAccount),
			decided{Reason: "Observed", Ready: yes, Expired: no, Wait: poll}},
		{"credentials rejected before, and it is this session's turn to probe",
			given(showing("CredentialsRejected", ""), mayProbe, remembering(Memory{NextCallAt: now.Add(time.Hour)})),
			decided{Operation: expire}},
		{"it cannot be expired by a call, and the spec was edited: still no call",
			given(showing("ExpireUnsupported", ""), specEdited),
			decided{Reason: "ExpireUnsupported", Ready: no, Expired: no, Progress: Stalled}},
		{"it cannot be expired by a call, and the account has changed: still no call",
			given(showing("ExpireUnsupported", ""), newAccount), decided{}},
		{"the previous endpoint accepted a call: it does not count",
			given(elsewhere, remembering(Memory{Endpoint: "there", Next: observe, Expire: EndingAccepted, ActedAt: now})),
			decided{Operation: expire, Wait: pendingGrace}},
	})
}

// TestDecidePending checks that the status shows what a pending call waits for.
func TestDecidePending(t *testing.T) {
	hourAgo := now.Add(-time.Hour)
	decide(t, []decideCase{
		{"a call that has been pending for 10 s",
			given(showing("Observed", active), specEdited, limited,
				remembering(Memory{Next: expire, PendingSince: now.Add(-pendingGrace)})),
			decided{Operation: expire, Reason: "Expiring", Ready: no, Expired: no, Progress: Reconciling}},
		{"expireAt has passed, and the call has been pending for 10 s",
			given(with(gen.ExpireAt(hourAgo)), showing("Scheduled", active), limited,
				remembering(Memory{Next: expire, PendingSince: now.Add(-pendingGrace)})),
			decided{Operation: expire, Confirm: true, Reason: "Expiring", Ready: no, Expired: no, Progress: Reconciling}},
		{"expireAt has passed, and the call has been pending for 9 s",
			given(with(gen.ExpireAt(hourAgo)), showing("Scheduled", active), limited,
				remembering(Memory{Next: expire, PendingSince: now.Add(-pendingGrace + time.Second)})),
			decided{Operation: expire, Confirm: true, Wait: time.Second}},
		{"a session that was never shown: Expired stays Unknown",
			given(limited, remembering(Memory{Next: expire, PendingSince: now.Add(-pendingGrace)})),
			decided{Operation: expire, Reason: "Expiring", Ready: no, Expired: unknown, Progress: Reconciling}},
		{"the reason of the last failure stays while the next call is pending",
			given(showing("ProviderUnavailable", ""), limited,
				remembering(Memory{Next: expire, PendingSince: now.Add(-time.Hour)})),
			decided{Operation: expire}},
		{"the read after an accepted expire call is pending",
			given(showing("Observed", active), specEdited, limited,
				remembering(Memory{Next: observe, Expire: EndingAccepted, PendingSince: now.Add(-pendingGrace)})),
			decided{Operation: observe, Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling}},
		{"a payment was in flight when it was last read",
			given(showing("Observed", processing), specEdited, limited,
				remembering(Memory{Next: observe, PendingSince: now.Add(-pendingGrace)})),
			decided{Operation: observe, Reason: "PaymentInProgress", Ready: no, Expired: no, Progress: Reconciling}},
		{"after a dry run",
			given(showing("WouldExpire", active), limited,
				remembering(Memory{Next: expire, PendingSince: now.Add(-pendingGrace)})),
			decided{Operation: expire, Reason: "Expiring", Ready: no, Expired: no, Progress: Reconciling}},
		{"a session whose desired state is active: no verdict",
			given(with(gen.Active), limited, remembering(Memory{Next: observe, PendingSince: now.Add(-time.Hour)})),
			decided{Operation: observe}},
	})
}

// TestDecideIneffective decides on expire calls that are accepted and have no effect.
func TestDecideIneffective(t *testing.T) {
	decide(t, []decideCase{
		{"accepted for the second time",
			given(showing("AwaitingConfirmation", active), afterState(observe, active),
				remembering(Memory{
					Expire: EndingAccepted, Accepted: 1, ActedAt: now, Trouble: "AwaitingConfirmation", Attempts: 2,
				})),
			decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling, Wait: 4 * time.Second}},
		{"accepted 110 s ago: read again when the call may be repeated",
			given(showing("AwaitingConfirmation", active), afterState(observe, active),
				remembering(Memory{ActedAt: now.Add(-110 * time.Second), Trouble: "AwaitingConfirmation", Attempts: 7})),
			decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling, Wait: 10 * time.Second}},
		{"accepted for the third time: Stalled",
			given(showing("AwaitingConfirmation", active), afterState(observe, active),
				remembering(Memory{
					Expire: EndingAccepted, Accepted: 2, ActedAt: now, Trouble: "AwaitingConfirmation", Attempts: 40,
				})),
			decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Stalled, Wait: poll}},
		{"accepted twice, and read again since: not counted twice",
			given(showing("AwaitingConfirmation", active), afterState(observe, active),
				remembering(Memory{Accepted: 2, ActedAt: now, Trouble: "AwaitingConfirmation", Attempts: 1})),
			decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling, Wait: 2 * time.Second}},
		{"accepted, and the read after it failed: read again",
			given(showing("ProviderUnavailable", active),
				remembering(Memory{Expire: EndingAccepted, ActedAt: now, NextCallAt: now})),
			decided{Operation: observe}},
		{"Stalled before a restart: still Stalled",
			given(showing("AwaitingConfirmation", active), alsoStalled("AwaitingConfirmation"), afterState(observe, active),
				remembering(Memory{Accepted: 1, ActedAt: now})),
			decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Stalled, Wait: time.Second}},
	})
}
