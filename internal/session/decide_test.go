// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

var now = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

const (
	expire  = v1alpha1.OperationExpire
	observe = v1alpha1.OperationObserve
	poll    = 10 * time.Minute
)

// given makes the facts of a session that should be expired and was never looked at, with the middle of every jitter.
func given(changes ...func(*Input)) Input {
	session := gen.Session("shop", "order", "omise", gen.ID("omise", 1))
	session.Generation = 1
	session.Status.ObservedGeneration = -1
	facts := Input{Session: session, Now: now, Jitter: 0.5, PollInterval: poll, SessionIDName: "charge id", AccountEpoch: 1}
	for _, change := range changes {
		change(&facts)
	}
	return facts
}

func with(options ...gen.SessionOption) func(*Input) {
	return func(f *Input) {
		for _, option := range options {
			option(f.Session)
		}
	}
}

// told is a status that says a reason of the present generation.
func told(reason string, state v1alpha1.SessionState) func(*Input) {
	return func(f *Input) {
		row := table[reason]
		f.Session.Status = v1alpha1.PaymentSessionStatus{ObservedGeneration: 1, State: state, Conditions: []metav1.Condition{{
			Type: v1alpha1.ConditionReady, Status: row.ready, Reason: reason, Message: "told before", ObservedGeneration: 1,
		}}}
		if row.progress != Done {
			f.Session.Status.Conditions = append(f.Session.Status.Conditions, metav1.Condition{
				Type: string(row.progress), Status: metav1.ConditionTrue, Reason: reason, ObservedGeneration: 1,
			})
		}
		if state.Closed() {
			f.Session.Status.ClosedAt = &metav1.Time{Time: now.Add(-time.Hour)}
		}
	}
}

func stalledAs(reason string) func(*Input) {
	return func(f *Input) {
		told(reason, f.Session.Status.State)(f)
		stalledAgain(reason)(f)
	}
}

func came(operation v1alpha1.Operation, result upstream.Result) func(*Input) {
	return func(f *Input) {
		f.Outcome = &Outcome{Operation: operation, Result: result, Made: true, AccountEpoch: f.AccountEpoch}
	}
}

func cameState(operation v1alpha1.Operation, state v1alpha1.SessionState) func(*Input) {
	return came(operation, upstream.Result{Outcome: v1alpha1.OutcomeAccepted, State: state, Status: string(state)})
}

func cameOutcome(operation v1alpha1.Operation, outcome v1alpha1.Outcome) func(*Input) {
	return came(operation, upstream.Result{Outcome: outcome, Message: "their words"})
}

func remembering(memory Memory) func(*Input) {
	return func(f *Input) {
		memory.Desired = Desired(f.Session, f.Now)
		if memory.AccountEpoch == 0 {
			memory.AccountEpoch = f.AccountEpoch
		}
		f.Memory = memory
	}
}

func suspended(f *Input)  { f.Session.Spec.Suspend = true }
func dryRun(f *Input)     { f.DryRun = true }
func invalidID(f *Input)  { f.InvalidSessionID = true }
func specEdited(f *Input) { f.Session.Generation = 2 }
func neverPolls(f *Input) { f.PollInterval = 0 }
func missing(f *Input) {
	f.Obstacle = &Obstacle{Reason: v1alpha1.ReasonProviderNotFound, Message: "no provider"}
}
func outage(f *Input)     { f.Hold = HoldOutage }
func newAccount(f *Input) { f.AccountEpoch = 2 }
func limited(f *Input)    { f.Hold = HoldRateLimit }
func mayProbe(f *Input)   { f.MayProbe = true }
func elsewhere(f *Input)  { f.Endpoint = "here" }
func found(f *Input)      { f.AccountFound = true }

// stalledAgain adds to what was told that a person was needed.
func stalledAgain(reason string) func(*Input) {
	return func(f *Input) {
		f.Session.Status.Conditions = append(f.Session.Status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Reason: reason, ObservedGeneration: 1,
		})
	}
}

// scheduledBefore remembers a poll that is due later, from when the session should have been active.
func scheduledBefore(f *Input) {
	f.Memory = Memory{Desired: v1alpha1.DesiredStateActive, NextCallAt: now.Add(time.Minute)}
}

// decided is what a row expects of an Action.
type decided struct {
	Call     v1alpha1.Operation
	Confirm  bool
	Delete   bool
	Reason   string
	Ready    metav1.ConditionStatus
	Expired  metav1.ConditionStatus
	Progress Progress
	Wait     time.Duration
}

func TestDecide(t *testing.T) {
	const (
		active, processing = v1alpha1.SessionStateActive, v1alpha1.SessionStateProcessing
		expired, completed = v1alpha1.SessionStateExpired, v1alpha1.SessionStateCompleted
		failed             = v1alpha1.SessionStateFailed
	)
	hourAgo, inAnHour := now.Add(-time.Hour), now.Add(time.Hour)
	cases := []struct {
		reason string
		facts  Input
		want   decided
	}{
		// The first call.
		{"a new session that should be expired is expired without a read before", given(), decided{Call: expire, Wait: silence}},
		{"a new session that should be active is read", given(with(gen.Active)), decided{Call: observe}},
		{"a new session whose expireAt is past is expired, once a live read confirms it", given(with(gen.ExpireAt(hourAgo))), decided{Call: expire, Confirm: true, Wait: silence}},
		{"a new session whose expireAt is ahead is read", given(with(gen.ExpireAt(inAnHour))), decided{Call: observe, Wait: time.Hour}},
		{"a dry run reads and does not expire", given(dryRun), decided{Call: observe, Wait: silence}},
		{"a new session with the annotation needs no read besides", given(with(gen.ReconcileAt("1"))), decided{Call: expire, Wait: silence}},

		// The provider answers no call, so that this one waits in the account's queue.
		{"a new session is told why its call waits", given(outage), decided{Call: expire, Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling}},
		{"one that should be active too", given(with(gen.Active), outage), decided{Call: observe, Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling}},
		{"one whose spec has changed too", given(told("Observed", active), specEdited, outage), decided{Call: expire, Reason: "Expiring", Ready: no, Expired: no, Progress: Reconciling}},
		{"what was told of the present spec stands", given(told("AwaitingConfirmation", active), outage), decided{Call: observe}},
		{"what comes back is told all the same", given(cameState(expire, expired), outage), decided{Reason: "Expired", Ready: yes, Expired: yes}},

		// Replies that prove the end.
		{"the reply to expire proves it", given(cameState(expire, expired)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"a read proves it", given(cameState(observe, expired)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"a payment was quicker", given(cameState(observe, completed)), decided{Reason: "PaymentCompleted", Ready: no, Expired: no, Progress: Stalled}},
		{"a failed session cannot be paid", given(cameState(observe, failed)), decided{Reason: "Closed", Ready: yes, Expired: no}},

		// Replies that prove nothing.
		{"accepted, and the reply still shows it active: read", given(cameState(expire, active)), decided{Call: observe, Wait: silence}},
		{"accepted, and the reply shows no state: read", given(cameState(expire, "")), decided{Call: observe, Wait: silence}},
		{"accepted a moment ago and still active: late visibility", given(cameState(observe, active), remembering(Memory{Expire: EndingAccepted, ActedAt: now.Add(-time.Second)})), decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling, Wait: time.Second}},
		{"awaiting confirmation: only read", given(told("AwaitingConfirmation", active), remembering(Memory{Expire: EndingAccepted, ActedAt: now.Add(-time.Second)})), decided{Call: observe}},
		{"accepted over 2 minutes ago and still active: ask again", given(told("AwaitingConfirmation", active), cameState(observe, active), remembering(Memory{Expire: EndingAccepted, ActedAt: now.Add(-3 * time.Minute)})), decided{Call: expire}},
		{"refused: read and decide from the state", given(cameOutcome(expire, v1alpha1.OutcomeRefused)), decided{Call: observe, Wait: silence}},
		{"refused and still active", given(cameState(observe, active), remembering(Memory{Expire: EndingRefused})), decided{Reason: "ExpireRefused", Ready: no, Expired: no, Progress: Stalled, Wait: time.Second}},
		{"refused and still active a minute after a call of unknown outcome: late visibility", given(cameState(observe, active), remembering(Memory{Expire: EndingRefused, ActedAt: now.Add(-time.Minute)})), decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling, Wait: time.Second}},
		{"refused and still active 3 minutes after that", given(cameState(observe, active), remembering(Memory{Expire: EndingRefused, ActedAt: now.Add(-3 * time.Minute)})), decided{Reason: "ExpireRefused", Ready: no, Expired: no, Progress: Stalled, Wait: time.Second}},
		{"refused before: read first", given(told("ExpireRefused", active)), decided{Call: observe}},
		{"refused before and read as active: ask again", given(told("ExpireRefused", active), cameState(observe, active)), decided{Call: expire}},
		{"refused for good", given(cameOutcome(expire, v1alpha1.OutcomeUnsupported)), decided{Reason: "ExpireUnsupported", Ready: no, Expired: no, Progress: Stalled}},
		{"refused for good before: never again", given(told("ExpireUnsupported", "")), decided{}},
		{"a payment in flight", given(cameState(observe, processing)), decided{Reason: "PaymentInProgress", Ready: no, Expired: no, Progress: Reconciling, Wait: time.Second}},
		{"a payment in flight before: read first", given(told("PaymentInProgress", processing)), decided{Call: observe}},
		{"a payment that failed leaves the session active: say so, and expire it then", given(told("PaymentInProgress", processing), cameState(observe, active)), decided{Reason: "Expiring", Ready: no, Expired: no, Progress: Reconciling, Wait: atOnce}},

		{"woken by something else while the read is queued: the same read", given(remembering(Memory{Next: observe, Expire: EndingAccepted})), decided{Call: observe, Wait: silence}},
		{"woken by something else while an expiry is queued after a read: the same expiry", given(told("PaymentInProgress", processing), remembering(Memory{Next: expire})), decided{Call: expire}},

		// Failures.
		{"not found, at first", given(cameOutcome(expire, v1alpha1.OutcomeNotFound)), decided{Reason: "SessionNotFound", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
		{"not found for 2 minutes", given(cameOutcome(expire, v1alpha1.OutcomeNotFound), remembering(Memory{Trouble: "SessionNotFound", TroubleSince: now.Add(-Patience), Attempts: 8})), decided{Reason: "SessionNotFound", Ready: no, Expired: unknown, Progress: Stalled, Wait: 256 * time.Second}},
		{"not found for 2 minutes before a restart: tried again", given(stalledAs("SessionNotFound")), decided{Call: expire}},
		{"not found for 2 minutes, and the annotation asks again", given(stalledAs("SessionNotFound"), with(gen.ReconcileAt("1"))), decided{Call: observe}},
		{"credentials rejected", given(cameOutcome(expire, v1alpha1.OutcomeCredentialsRejected)), decided{Reason: "CredentialsRejected", Ready: no, Expired: unknown, Progress: Stalled, Wait: probeInterval}},
		{"credentials rejected before: wait for others", given(told("CredentialsRejected", ""), remembering(Memory{AccountEpoch: 1, NextCallAt: now.Add(time.Minute)})), decided{Wait: time.Minute}},
		{"credentials rejected before, and there are others", given(told("CredentialsRejected", ""), newAccount, remembering(Memory{AccountEpoch: 1, NextCallAt: now.Add(time.Minute)})), decided{Call: expire, Wait: silence}},
		{"credentials rejected before, and 10 minutes are over: a probe", given(told("CredentialsRejected", ""), remembering(Memory{AccountEpoch: 1, NextCallAt: now})), decided{Call: expire}},
		{"not allowed", given(cameOutcome(expire, v1alpha1.OutcomeNotAllowed)), decided{Reason: "NotAllowed", Ready: no, Expired: unknown, Progress: Stalled, Wait: time.Second}},
		{"throttled", given(cameOutcome(expire, v1alpha1.OutcomeThrottled)), decided{Reason: "Throttled", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
		{"throttled with a Retry-After", given(came(expire, upstream.Result{Outcome: v1alpha1.OutcomeThrottled, RetryAfter: time.Minute})), decided{Reason: "Throttled", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Minute + 500*time.Millisecond}},
		{"unavailable", given(cameOutcome(expire, v1alpha1.OutcomeUnavailable)), decided{Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
		{"unavailable for the fourth time", given(cameOutcome(expire, v1alpha1.OutcomeUnavailable), remembering(Memory{Trouble: "ProviderUnavailable", Attempts: 3})), decided{Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling, Wait: 8 * time.Second}},
		{"unavailable for the hundredth time", given(cameOutcome(expire, v1alpha1.OutcomeUnavailable), remembering(Memory{Trouble: "Throttled", Attempts: 99})), decided{Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling, Wait: maxBackoff}},
		{"unavailable before: the time is not over", given(told("ProviderUnavailable", ""), remembering(Memory{NextCallAt: now.Add(time.Second)})), decided{Wait: time.Second}},
		{"unavailable before: the next try settles it, without a read before", given(told("ProviderUnavailable", ""), remembering(Memory{NextCallAt: now})), decided{Call: expire}},
		{"unexpected", given(cameOutcome(expire, v1alpha1.OutcomeUnexpectedResponse)), decided{Reason: "UnexpectedResponse", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},

		// What stands between.
		{"no provider yet", given(missing), decided{Reason: "ProviderNotFound", Ready: no, Expired: unknown, Progress: Reconciling, Wait: Patience}},
		{"no provider for 2 minutes", given(missing, remembering(Memory{Trouble: "ProviderNotFound", TroubleSince: now.Add(-Patience)})), decided{Reason: "ProviderNotFound", Ready: no, Expired: unknown, Progress: Stalled}},
		{"no provider, as before a restart: no new hope", given(missing, stalledAs("ProviderNotFound")), decided{Reason: "ProviderNotFound", Ready: no, Expired: unknown, Progress: Stalled}},
		{"the provider went while the proof was on its way", given(missing, cameState(expire, expired)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"an id that the class refuses", given(invalidID), decided{Reason: "InvalidSessionID", Ready: no, Expired: unknown, Progress: Stalled}},

		// Closed sessions.
		{"expired before: nothing, restarts included", given(told("Expired", expired)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"expired before, and the provider is gone", given(told("Expired", expired), missing), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"paid while it should be active, and now it should be expired: no call", given(told("Observed", completed), specEdited), decided{Reason: "PaymentCompleted", Ready: no, Expired: no, Progress: Stalled}},
		{"closed with a time to live ahead", given(told("Expired", expired), with(gen.TTLAfterClosed(2*time.Hour))), decided{Reason: "Expired", Ready: yes, Expired: yes, Wait: time.Hour}},
		{"closed with a time to live that is over", given(told("Expired", expired), with(gen.TTLAfterClosed(time.Hour))), decided{Reason: "Expired", Ready: yes, Expired: yes, Delete: true}},
		{"closed, and the annotation asks for a look", given(told("Expired", expired), with(gen.ReconcileAt("1"))), decided{Call: observe}},
		{"closed, and the look cannot be made", given(told("Expired", expired), with(gen.ReconcileAt("1")), missing), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"closed, and the look fails", given(told("Expired", expired), with(gen.ReconcileAt("1")), remembering(Memory{Refresh: "1"}), cameOutcome(observe, v1alpha1.OutcomeUnavailable)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"closed, and the look shows it active again: it is open, before anything else is asked for", given(told("Expired", expired), with(gen.ReconcileAt("1")), cameState(observe, active)), decided{Reason: "Expiring", Ready: no, Expired: no, Progress: Reconciling, Wait: atOnce}},

		// Active sessions.
		{"active and as it should be", given(with(gen.Active), cameState(observe, active)), decided{Reason: "Observed", Ready: yes, Expired: no, Wait: poll}},
		{"paid, and nobody minds", given(with(gen.Active), cameState(observe, completed)), decided{Reason: "Observed", Ready: yes, Expired: no}},
		{"ran out by itself, and nobody minds", given(with(gen.Active), cameState(observe, expired)), decided{Reason: "Observed", Ready: yes, Expired: yes}},
		{"active, with an expireAt ahead", given(with(gen.ExpireAt(inAnHour)), cameState(observe, active)), decided{Reason: "Scheduled", Ready: yes, Expired: no, Wait: poll}},
		{"active, with an expireAt before the next poll", given(with(gen.ExpireAt(now.Add(time.Minute))), cameState(observe, active)), decided{Reason: "Scheduled", Ready: yes, Expired: no, Wait: time.Minute}},
		{"active, and expireAt has come", given(with(gen.ExpireAt(now)), told("Scheduled", active), scheduledBefore), decided{Call: expire, Confirm: true, Wait: silence}},
		{"active, the poll is not due", given(with(gen.Active), told("Observed", active), remembering(Memory{NextCallAt: now.Add(time.Minute)})), decided{Reason: "Observed", Ready: yes, Expired: no, Wait: time.Minute}},
		{"active, the poll is due", given(with(gen.Active), told("Observed", active), remembering(Memory{NextCallAt: now})), decided{Call: observe}},
		{"active, after a restart: the polls are spread", given(with(gen.Active), told("Observed", active)), decided{Reason: "Observed", Ready: yes, Expired: no, Wait: poll / 2}},
		{"active, never polled", given(with(gen.Active), told("Observed", active), neverPolls), decided{Reason: "Observed", Ready: yes, Expired: no}},
		{"active, and the provider is down", given(with(gen.Active), cameOutcome(observe, v1alpha1.OutcomeUnavailable)), decided{Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
		{"active before, and now it should be expired: at once", given(told("Observed", active), specEdited, scheduledBefore), decided{Call: expire, Wait: silence}},
		{"in trouble, and the spec was edited: tried at once", given(told("ProviderUnavailable", ""), specEdited, remembering(Memory{NextCallAt: now.Add(time.Hour)})), decided{Call: expire, Wait: silence}},

		// Only a proof is final: everything else is tried again after a bounded time, and at once when what could change it changes.
		{"not found for 2 minutes, and never seen: ever more rarely", given(cameOutcome(expire, v1alpha1.OutcomeNotFound), stalledAs("SessionNotFound"), remembering(Memory{Trouble: "SessionNotFound", Attempts: 40})), decided{Reason: "SessionNotFound", Ready: no, Expired: unknown, Progress: Stalled, Wait: patientBackoff}},
		{"not found for 2 minutes, and seen before: as often as it is polled", given(told("Observed", active), cameOutcome(expire, v1alpha1.OutcomeNotFound), remembering(Memory{Trouble: "SessionNotFound", TroubleSince: now.Add(-Patience), Attempts: 40})), decided{Reason: "SessionNotFound", Ready: no, Expired: unknown, Progress: Stalled, Wait: poll}},
		{"not found before, and expireAt has come", given(with(gen.ExpireAt(now)), told("Observed", active), stalledAs("SessionNotFound"), scheduledBefore), decided{Call: expire, Confirm: true, Wait: 0}},
		{"not found before, and the account is another", given(stalledAs("SessionNotFound"), newAccount, remembering(Memory{AccountEpoch: 1, NextCallAt: now.Add(time.Hour)})), decided{Call: expire}},
		{"refused before, and the account is another: read first", given(told("ExpireRefused", active), newAccount, remembering(Memory{AccountEpoch: 1, NextCallAt: now.Add(time.Hour)})), decided{Call: observe}},
		{"not allowed for the twentieth time", given(cameOutcome(expire, v1alpha1.OutcomeNotAllowed), remembering(Memory{Trouble: "NotAllowed", Attempts: 19})), decided{Reason: "NotAllowed", Ready: no, Expired: unknown, Progress: Stalled, Wait: patientBackoff}},
		{"credentials rejected before, and it is this session's turn to probe", given(told("CredentialsRejected", ""), mayProbe, remembering(Memory{NextCallAt: now.Add(time.Hour)})), decided{Call: expire}},
		{"refused for good before, and the spec was edited: still no call", given(told("ExpireUnsupported", ""), specEdited), decided{Reason: "ExpireUnsupported", Ready: no, Expired: no, Progress: Stalled}},
		{"refused for good before, and the account is another: still no call", given(told("ExpireUnsupported", ""), newAccount), decided{}},
		{"what an endpoint of before accepted counts for nothing", given(elsewhere, remembering(Memory{Endpoint: "there", Next: observe, Expire: EndingAccepted, ActedAt: now})), decided{Call: expire, Wait: silence}},

		// Silence is told.
		{"a call that has been pending for 10 s", given(told("Observed", active), specEdited, limited, remembering(Memory{Next: expire, PendingSince: now.Add(-silence)})), decided{Call: expire, Reason: "Expiring", Ready: no, Expired: no, Progress: Reconciling}},
		{"expireAt came 10 s ago, and the account holds its calls back", given(with(gen.ExpireAt(hourAgo)), told("Scheduled", active), limited, remembering(Memory{Next: expire, PendingSince: now.Add(-silence)})), decided{Call: expire, Confirm: true, Reason: "Expiring", Ready: no, Expired: no, Progress: Reconciling}},
		{"the same for 9 s", given(with(gen.ExpireAt(hourAgo)), told("Scheduled", active), limited, remembering(Memory{Next: expire, PendingSince: now.Add(-silence + time.Second)})), decided{Call: expire, Confirm: true, Wait: time.Second}},
		{"a session of which nothing is known claims nothing", given(limited, remembering(Memory{Next: expire, PendingSince: now.Add(-silence)})), decided{Call: expire, Reason: "Expiring", Ready: no, Expired: unknown, Progress: Reconciling}},
		{"what was told stands while the next call is pending", given(told("ProviderUnavailable", ""), limited, remembering(Memory{Next: expire, PendingSince: now.Add(-time.Hour)})), decided{Call: expire}},
		{"a read that settles an accepted call is pending", given(told("Observed", active), specEdited, limited, remembering(Memory{Next: observe, Expire: EndingAccepted, PendingSince: now.Add(-silence)})), decided{Call: observe, Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling}},
		{"a payment was in flight when it was last read", given(told("Observed", processing), specEdited, limited, remembering(Memory{Next: observe, PendingSince: now.Add(-silence)})), decided{Call: observe, Reason: "PaymentInProgress", Ready: no, Expired: no, Progress: Reconciling}},
		{"after a dry run", given(told("WouldExpire", active), limited, remembering(Memory{Next: expire, PendingSince: now.Add(-silence)})), decided{Call: expire, Reason: "Expiring", Ready: no, Expired: no, Progress: Reconciling}},
		{"a session that should be active waits in silence", given(with(gen.Active), limited, remembering(Memory{Next: observe, PendingSince: now.Add(-time.Hour)})), decided{Call: observe}},

		// An expiry that is accepted in vain.
		{"accepted for the second time", given(told("AwaitingConfirmation", active), cameState(observe, active), remembering(Memory{Expire: EndingAccepted, Accepted: 1, ActedAt: now, Trouble: "AwaitingConfirmation", Attempts: 2})), decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling, Wait: 4 * time.Second}},
		{"accepted 110 s ago: read again when the call may be repeated", given(told("AwaitingConfirmation", active), cameState(observe, active), remembering(Memory{ActedAt: now.Add(-110 * time.Second), Trouble: "AwaitingConfirmation", Attempts: 7})), decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling, Wait: 10 * time.Second}},
		{"accepted for the third time: a person should know", given(told("AwaitingConfirmation", active), cameState(observe, active), remembering(Memory{Expire: EndingAccepted, Accepted: 2, ActedAt: now, Trouble: "AwaitingConfirmation", Attempts: 40})), decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Stalled, Wait: poll}},
		{"accepted for the third time, and never read since the second: not counted twice", given(told("AwaitingConfirmation", active), cameState(observe, active), remembering(Memory{Accepted: 2, ActedAt: now, Trouble: "AwaitingConfirmation", Attempts: 1})), decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling, Wait: 2 * time.Second}},
		{"accepted, and the read that should settle it failed: read again", given(told("ProviderUnavailable", active), remembering(Memory{Expire: EndingAccepted, ActedAt: now, NextCallAt: now})), decided{Call: observe}},
		{"the same, after a restart", given(told("AwaitingConfirmation", active), stalledAgain("AwaitingConfirmation"), cameState(observe, active), remembering(Memory{Accepted: 1, ActedAt: now})), decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Stalled, Wait: time.Second}},

		// The annotation.
		{"the annotation, where an active session is never polled", given(with(gen.Active), told("Observed", active), neverPolls, with(gen.ReconcileAt("1"))), decided{Call: observe}},
		{"the annotation, again within 10 s", given(with(gen.Active), told("Observed", active), neverPolls, with(gen.ReconcileAt("2")), remembering(Memory{NextRefreshAt: now.Add(7 * time.Second)})), decided{Reason: "Observed", Ready: yes, Expired: no, Wait: 7 * time.Second}},
		{"the annotation of a closed session, again within 10 s", given(told("Expired", expired), with(gen.ReconcileAt("2")), remembering(Memory{NextRefreshAt: now.Add(7 * time.Second)})), decided{Reason: "Expired", Ready: yes, Expired: yes, Wait: 7 * time.Second}},

		// A time to live.
		{"paid although it should be expired: the object stays", given(told("PaymentCompleted", completed), with(gen.TTLAfterClosed(0))), decided{Reason: "PaymentCompleted", Ready: no, Expired: no, Progress: Stalled}},
		{"paid, and nobody minds: its time to live counts", given(with(gen.Active), told("Observed", completed), with(gen.TTLAfterClosed(0))), decided{Reason: "Observed", Ready: yes, Expired: no, Delete: true}},

		// Suspended and dry runs.
		{"a dry run of a session that was observed", given(dryRun, told("Observed", active), specEdited), decided{Reason: "WouldExpire", Ready: no, Expired: no, Progress: Reconciling, Wait: poll}},
		{"a dry run of one that is never polled", given(dryRun, neverPolls, told("Observed", active), specEdited), decided{Reason: "WouldExpire", Ready: no, Expired: no, Progress: Reconciling}},
		{"a dry run of one whose expireAt has come", given(dryRun, with(gen.ExpireAt(now)), told("Scheduled", active), scheduledBefore), decided{Reason: "WouldExpire", Ready: no, Expired: no, Progress: Reconciling, Wait: poll}},
		{"a dry run of one that was refused before", given(dryRun, told("ExpireRefused", active)), decided{Reason: "WouldExpire", Ready: no, Expired: no, Progress: Reconciling, Wait: poll}},
		{"a dry run whose read of an active session is pending", given(dryRun, told("UnexpectedResponse", active), specEdited, limited, remembering(Memory{Next: observe, PendingSince: now.Add(-silence)})), decided{Call: observe, Reason: "WouldExpire", Ready: no, Expired: no, Progress: Reconciling}},
		{"a dry run has said so", given(dryRun, neverPolls, told("WouldExpire", active)), decided{}},
		{"suspended", given(suspended), decided{Reason: "Suspended", Ready: unknown}},
		{"suspended, whatever the annotation says", given(suspended, with(gen.ReconcileAt("1"))), decided{Reason: "Suspended", Ready: unknown}},
		{"suspended while the proof was on its way", given(suspended, cameState(expire, expired)), decided{Reason: "Suspended", Ready: unknown, Expired: yes}},
		{"a dry run finds it active", given(dryRun, cameState(observe, active)), decided{Reason: "WouldExpire", Ready: no, Expired: no, Progress: Reconciling, Wait: poll}},
		{"a dry run finds it expired", given(dryRun, cameState(observe, expired)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"a dry run finds a payment in flight", given(dryRun, cameState(observe, processing)), decided{Reason: "PaymentInProgress", Ready: no, Expired: no, Progress: Reconciling, Wait: time.Second}},
	}
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			before := tc.facts.Session.DeepCopy()
			action := Decide(tc.facts)
			got := decided{Call: action.Call, Confirm: action.Confirm, Delete: action.Delete, Wait: action.Wait}
			if verdict := action.Verdict; verdict != nil {
				got.Reason, got.Ready, got.Expired, got.Progress = verdict.Reason, verdict.Ready, verdict.Expired, verdict.Progress
				if strings.Contains(verdict.Message, "%") || verdict.Message == "" {
					t.Errorf("message %q", verdict.Message)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, tc.facts.Session); diff != "" {
				t.Errorf("the decision changed its facts:\n%s", diff)
			}
		})
	}
}

func TestDryRunNeverExpires(t *testing.T) {
	states := []v1alpha1.SessionState{"", v1alpha1.SessionStateActive, v1alpha1.SessionStateProcessing, v1alpha1.SessionStateExpired, v1alpha1.SessionStateCompleted, v1alpha1.SessionStateFailed}
	for reason := range table {
		for _, state := range states {
			for outcome := range reasonOf {
				for _, facts := range []Input{
					given(dryRun, told(reason, state)),
					given(dryRun, told(reason, state), with(gen.ReconcileAt("1"))),
					given(dryRun, told(reason, state), cameState(observe, state)),
					given(dryRun, told(reason, state), cameOutcome(observe, outcome)),
					given(dryRun, told(reason, state), with(gen.ExpireAt(now))),
				} {
					if action := Decide(facts); action.Call == expire {
						t.Errorf("told %s, state %q: a dry run wants to expire", reason, state)
					}
				}
			}
		}
	}
}

func TestOnlyAProofClaimsExpired(t *testing.T) {
	for reason := range table {
		for outcome := range reasonOf {
			for _, operation := range []v1alpha1.Operation{expire, observe} {
				action := Decide(given(told(reason, v1alpha1.SessionStateActive), cameOutcome(operation, outcome)))
				if action.Verdict != nil && (action.Verdict.Expired == yes || action.Verdict.Reason == v1alpha1.ReasonExpired) {
					t.Errorf("told %s, came %s from %s: claims that the session is expired", reason, outcome, operation)
				}
			}
		}
	}
}

func TestTheSameFactsTellTheSame(t *testing.T) {
	for outcome := range reasonOf {
		first := Decide(given(cameOutcome(expire, outcome)))
		if first.Verdict == nil {
			continue
		}
		later := given(cameOutcome(expire, outcome), remembering(first.Memory), func(f *Input) { f.Now = f.Now.Add(30 * time.Second); f.Jitter = 0.9 })
		second := Decide(later)
		if diff := cmp.Diff(first.Verdict, second.Verdict); diff != "" {
			t.Errorf("%s (-first +second):\n%s", outcome, diff)
		}
	}
}

func TestHandledLook(t *testing.T) {
	asked := Decide(given(told("Expired", v1alpha1.SessionStateExpired), with(gen.ReconcileAt("at noon"))))
	answered := Decide(given(told("Expired", v1alpha1.SessionStateExpired), with(gen.ReconcileAt("at one")), func(f *Input) { f.Memory = asked.Memory }, cameState(observe, v1alpha1.SessionStateExpired)))
	if got := answered.Verdict.Handled; got != "at noon" {
		t.Errorf("handled %q, want the value that the call was made for, not the one that has come since", got)
	}
	if answered.Memory.Refresh != "" {
		t.Errorf("the look was answered and is still remembered as %q", answered.Memory.Refresh)
	}
}

// TestALookThatWasNotMadeIsNotHandled has a call that was asked for by annotation, and was taken back, or declined by the account.
func TestALookThatWasNotMadeIsNotHandled(t *testing.T) {
	active := []func(*Input){with(gen.Active), told("Observed", v1alpha1.SessionStateActive), with(gen.ReconcileAt("at noon"))}
	asked := Decide(given(active...))
	if asked.Call != observe || asked.Memory.Refresh != "at noon" {
		t.Fatalf("call %q for %q, want a read for the annotation", asked.Call, asked.Memory.Refresh)
	}
	declined := func(f *Input) {
		cameOutcome(observe, v1alpha1.OutcomeCredentialsRejected)(f)
		f.Outcome.Made = false
	}
	for reason, event := range map[string]func(*Input){"suspended": suspended, "the provider is gone": missing, "declined by the account": declined} {
		action := Decide(given(append(active, remembering(asked.Memory), event)...))
		if action.Verdict.Handled != "" {
			t.Errorf("%s: %q is said to be handled", reason, action.Verdict.Handled)
		}
	}
	action := Decide(given(append(active, remembering(asked.Memory), declined)...))
	if action.Wait < refreshInterval || action.Wait > probeInterval {
		t.Errorf("a look that was declined is tried again after %s", action.Wait)
	}
}

// TestWhatAReplyProvesIsInTheStatusBeforeAnotherCall walks all reasons and states: a state that a read shows, and the status does not, is
// written before, or together with, whatever is asked for next; and an open session is called closed by nothing.
func TestWhatAReplyProvesIsInTheStatusBeforeAnotherCall(t *testing.T) {
	states := []v1alpha1.SessionState{"", v1alpha1.SessionStateActive, v1alpha1.SessionStateProcessing, v1alpha1.SessionStateExpired, v1alpha1.SessionStateCompleted, v1alpha1.SessionStateFailed}
	for reason := range table {
		for _, before := range states {
			for _, shown := range states[1:] {
				for _, change := range []func(*Input){with(gen.Active), protected, suspended, dryRun, with(gen.ReconcileAt("1")), outage} {
					action := Decide(given(told(reason, before), change, cameState(observe, shown)))
					if before == shown {
						continue
					}
					verdict := action.Verdict
					if verdict == nil || verdict.Result == nil || verdict.Result.State != shown {
						t.Errorf("told %s, state %q, read as %s: verdict %+v", reason, before, shown, verdict)
						continue
					}
					if action.Call != "" && before.Closed() {
						t.Errorf("told %s, state %q, read as %s: %s is called before the finalizer is back", reason, before, shown, action.Call)
					}
					if !shown.Closed() && action.Release {
						t.Errorf("told %s, state %q, read as %s: the finalizer is released", reason, before, shown)
					}
					if !shown.Closed() && verdict.Expired == yes {
						t.Errorf("told %s, state %q, read as %s: called expired", reason, before, shown)
					}
				}
			}
		}
	}
}

// TestEveryStateButAProofIsTriedAgain walks all reasons that the status can show: each is followed by a call, or waits for one, or is
// final; and a change of the spec or of the account leads to a call at once.
func TestEveryStateButAProofIsTriedAgain(t *testing.T) {
	for reason, row := range table {
		if row.ready == yes || row.final || row.next == onChange || reason == v1alpha1.ReasonPaymentCompleted ||
			reason == v1alpha1.ReasonInvalidSessionID || reason == v1alpha1.ReasonSuspended || reason == v1alpha1.ReasonWouldExpire {
			continue
		}
		later := Memory{NextCallAt: now.Add(24 * time.Hour)}
		if action := Decide(given(told(reason, v1alpha1.SessionStateActive), remembering(later))); action.Call == "" && action.Wait == 0 {
			t.Errorf("%s waits for nothing", reason)
		}
		for what, change := range map[string]func(*Input){"the spec": specEdited, "the account": newAccount, "the annotation": with(gen.ReconcileAt("1"))} {
			if action := Decide(given(told(reason, v1alpha1.SessionStateActive), remembering(Memory{NextCallAt: later.NextCallAt, AccountEpoch: 1}), change)); action.Call == "" {
				t.Errorf("%s, and %s has changed: no call", reason, what)
			}
		}
	}
}

// TestSinceWhenItShouldBeExpired is what the age of an expiry that is overdue is counted from.
func TestSinceWhenItShouldBeExpired(t *testing.T) {
	made := now.Add(-2 * time.Hour)
	created := func(f *Input) { f.Session.CreationTimestamp = metav1.NewTime(made) }
	for reason, tc := range map[string]struct {
		facts Input
		want  time.Time
	}{
		"a new object":                         {given(created), made},
		"expireAt":                             {given(created, with(gen.ExpireAt(now.Add(-time.Minute)))), now.Add(-time.Minute)},
		"a deletion":                           {given(created, deleting), now.Add(-time.Second)},
		"after a restart, not expired since":   {given(created, told("ProviderUnavailable", ""), transition(made.Add(time.Hour))), made.Add(time.Hour)},
		"it should have been active until now": {given(created, told("Observed", v1alpha1.SessionStateActive), specEdited, scheduledBefore), now},
	} {
		if got := Decide(tc.facts).Memory.DesiredSince; !got.Equal(tc.want) {
			t.Errorf("%s: since %s, want %s", reason, got, tc.want)
		}
	}
}

func transition(at time.Time) func(*Input) {
	return func(f *Input) { f.Session.Status.Conditions[0].LastTransitionTime = metav1.NewTime(at) }
}

func TestALookThatIsAskedForWhileACallIsOnItsWayIsMadeAfterIt(t *testing.T) {
	active := []func(*Input){with(gen.Active), told("Observed", v1alpha1.SessionStateActive), with(gen.ReconcileAt("at noon"))}
	polled := Decide(given(append(active, cameState(observe, v1alpha1.SessionStateActive))...))
	if polled.Verdict.Handled != "" || polled.Wait != atOnce {
		t.Errorf("handled %q, the next look in %s; want nothing handled and a look at once", polled.Verdict.Handled, polled.Wait)
	}
	asked := Decide(given(append(active, remembering(polled.Memory))...))
	if asked.Call != observe {
		t.Errorf("call %q, want a read", asked.Call)
	}
	looked := Decide(given(append(active, remembering(asked.Memory), cameState(observe, v1alpha1.SessionStateActive))...))
	if looked.Verdict.Handled != "at noon" || looked.Wait <= atOnce {
		t.Errorf("handled %q, the next look in %s; want it handled, and no hurry any more", looked.Verdict.Handled, looked.Wait)
	}
}

func TestAShorterPollIntervalCountsAtOnce(t *testing.T) {
	every := func(interval time.Duration) func(*Input) { return func(f *Input) { f.PollInterval = interval } }
	for reason, tc := range map[string]struct {
		told string
		want time.Duration
	}{
		"an active session":                   {"Observed", time.Minute},
		"one that the provider cannot answer": {"ProviderUnavailable", 24 * time.Hour},
	} {
		before := remembering(Memory{NextCallAt: now.Add(24 * time.Hour)})
		if wait := Decide(given(with(gen.Active), told(tc.told, v1alpha1.SessionStateActive), before, every(time.Minute))).Wait; wait < tc.want*9/10 || wait > tc.want*11/10 {
			t.Errorf("%s is read after %s, want about %s", reason, wait, tc.want)
		}
	}
	soon := remembering(Memory{NextCallAt: now.Add(time.Second)})
	if wait := Decide(given(with(gen.Active), told("Observed", v1alpha1.SessionStateActive), soon, every(time.Hour))).Wait; wait != time.Second {
		t.Errorf("a longer interval puts a read off by %s", wait)
	}
}
