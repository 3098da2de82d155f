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
func given(changes ...func(*Facts)) Facts {
	session := gen.Session("shop", "order", "omise", gen.ID("omise", 1))
	session.Generation = 1
	session.Status.ObservedGeneration = -1
	facts := Facts{Session: session, Now: now, Jitter: 0.5, PollInterval: poll, SessionIDName: "charge id", AccountEpoch: 1}
	for _, change := range changes {
		change(&facts)
	}
	return facts
}

func with(options ...gen.SessionOption) func(*Facts) {
	return func(f *Facts) {
		for _, option := range options {
			option(f.Session)
		}
	}
}

// told is a status that says a reason of the present generation.
func told(reason string, state v1alpha1.SessionState) func(*Facts) {
	return func(f *Facts) {
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

func stalledAs(reason string) func(*Facts) {
	return func(f *Facts) {
		told(reason, "")(f)
		f.Session.Status.Conditions = append(f.Session.Status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Reason: reason, ObservedGeneration: 1,
		})
	}
}

func heard(operation v1alpha1.Operation, result upstream.Result) func(*Facts) {
	return func(f *Facts) { f.Heard = &Heard{Operation: operation, Result: result, AccountEpoch: f.AccountEpoch} }
}

func heardState(operation v1alpha1.Operation, state v1alpha1.SessionState) func(*Facts) {
	return heard(operation, upstream.Result{Outcome: v1alpha1.OutcomeAccepted, State: state, Status: string(state)})
}

func heardOutcome(operation v1alpha1.Operation, outcome v1alpha1.Outcome) func(*Facts) {
	return heard(operation, upstream.Result{Outcome: outcome, Message: "their words"})
}

func remembering(memory Memory) func(*Facts) {
	return func(f *Facts) {
		memory.Wish = f.wish()
		f.Memory = memory
	}
}

func suspended(f *Facts)  { f.Session.Spec.Suspend = true }
func dryRun(f *Facts)     { f.DryRun = true }
func invalidID(f *Facts)  { f.InvalidSessionID = true }
func specEdited(f *Facts) { f.Session.Generation = 2 }
func neverPolls(f *Facts) { f.PollInterval = 0 }
func missing(f *Facts) {
	f.Obstacle = &Obstacle{Reason: v1alpha1.ReasonProviderNotFound, Message: "no provider"}
}
func started(f *Facts)    { f.Session.Status.ExpiryStartedAt = &metav1.Time{Time: now.Add(-time.Minute)} }
func outage(f *Facts)     { f.Outage = true }
func newAccount(f *Facts) { f.AccountEpoch = 2 }

// scheduledBefore remembers a poll that is due later, from when the session should have been active.
func scheduledBefore(f *Facts) {
	f.Memory = Memory{Wish: v1alpha1.DesiredStateActive, NextCallAt: now.Add(time.Minute)}
}

// decided is what a row expects of an Action.
type decided struct {
	Call     v1alpha1.Operation
	Confirm  bool
	Probe    bool
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
		facts  Facts
		want   decided
	}{
		// The first call.
		{"a new session that should be expired is expired without a read before", given(), decided{Call: expire}},
		{"a new session that should be active is read", given(with(gen.Active)), decided{Call: observe}},
		{"a new session whose expireAt is past is expired, once a live read confirms it", given(with(gen.ExpireAt(hourAgo))), decided{Call: expire, Confirm: true}},
		{"a new session whose expireAt is ahead is read", given(with(gen.ExpireAt(inAnHour))), decided{Call: observe}},
		{"an expiry that was started goes on although expireAt was moved", given(with(gen.ExpireAt(inAnHour)), started), decided{Call: expire, Confirm: true}},
		{"a dry run reads and does not expire", given(dryRun), decided{Call: observe}},
		{"a new session with the annotation needs no read besides", given(with(gen.ReconcileAt("1"))), decided{Call: expire}},

		// The provider answers no call, so that this one waits in the account's queue.
		{"a new session is told why its call waits", given(outage), decided{Call: expire, Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling}},
		{"one that should be active too", given(with(gen.Active), outage), decided{Call: observe, Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling}},
		{"one whose spec has changed too", given(told("Observed", active), specEdited, outage), decided{Call: expire, Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling}},
		{"what was told of the present spec stands", given(told("AwaitingConfirmation", active), outage), decided{Call: observe}},
		{"what comes back is told all the same", given(heardState(expire, expired), outage), decided{Reason: "Expired", Ready: yes, Expired: yes}},

		// Replies that prove the end.
		{"the reply to expire proves it", given(heardState(expire, expired)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"a read proves it", given(heardState(observe, expired)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"a payment was quicker", given(heardState(observe, completed)), decided{Reason: "PaymentCompleted", Ready: no, Expired: no, Progress: Stalled}},
		{"a failed session cannot be paid", given(heardState(observe, failed)), decided{Reason: "Closed", Ready: yes, Expired: no}},

		// Replies that prove nothing.
		{"accepted, and the reply still shows it active: read", given(heardState(expire, active)), decided{Call: observe}},
		{"accepted, and the reply shows no state: read", given(heardState(expire, "")), decided{Call: observe}},
		{"accepted a moment ago and still active: late visibility", given(heardState(observe, active), remembering(Memory{Expire: EndingAccepted, ActedAt: now.Add(-time.Second)})), decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling, Wait: time.Second}},
		{"awaiting confirmation: only read", given(told("AwaitingConfirmation", active), remembering(Memory{Expire: EndingAccepted, ActedAt: now.Add(-time.Second)})), decided{Call: observe}},
		{"accepted over 2 minutes ago and still active: ask again", given(heardState(observe, active), remembering(Memory{Expire: EndingAccepted, ActedAt: now.Add(-3 * time.Minute)})), decided{Call: expire}},
		{"refused: read and decide from the state", given(heardOutcome(expire, v1alpha1.OutcomeRefused)), decided{Call: observe}},
		{"refused and still active", given(heardState(observe, active), remembering(Memory{Expire: EndingRefused})), decided{Reason: "ExpireRefused", Ready: no, Expired: no, Progress: Stalled, Wait: time.Second}},
		{"refused and still active a minute after a call of unknown outcome: late visibility", given(heardState(observe, active), remembering(Memory{Expire: EndingRefused, ActedAt: now.Add(-time.Minute)})), decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling, Wait: time.Second}},
		{"refused and still active 3 minutes after that", given(heardState(observe, active), remembering(Memory{Expire: EndingRefused, ActedAt: now.Add(-3 * time.Minute)})), decided{Reason: "ExpireRefused", Ready: no, Expired: no, Progress: Stalled, Wait: time.Second}},
		{"refused before: read first", given(told("ExpireRefused", active)), decided{Call: observe}},
		{"refused before and read as active: ask again", given(told("ExpireRefused", active), heardState(observe, active)), decided{Call: expire}},
		{"refused for good", given(heardOutcome(expire, v1alpha1.OutcomeUnsupported)), decided{Reason: "ExpireUnsupported", Ready: no, Expired: no, Progress: Stalled}},
		{"refused for good before: never again", given(told("ExpireUnsupported", "")), decided{}},
		{"a payment in flight", given(heardState(observe, processing)), decided{Reason: "PaymentInProgress", Ready: no, Expired: no, Progress: Reconciling, Wait: time.Second}},
		{"a payment in flight before: read first", given(told("PaymentInProgress", processing)), decided{Call: observe}},
		{"a payment that failed leaves the session active: expire it", given(told("PaymentInProgress", processing), heardState(observe, active)), decided{Call: expire}},

		{"woken by something else while the read is queued: the same read", given(remembering(Memory{Next: observe, Expire: EndingAccepted})), decided{Call: observe}},
		{"woken by something else while an expiry is queued after a read: the same expiry", given(told("PaymentInProgress", processing), remembering(Memory{Next: expire})), decided{Call: expire}},

		// Failures.
		{"not found, at first", given(heardOutcome(expire, v1alpha1.OutcomeNotFound)), decided{Reason: "SessionNotFound", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
		{"not found for 2 minutes", given(heardOutcome(expire, v1alpha1.OutcomeNotFound), remembering(Memory{Trouble: "SessionNotFound", TroubleSince: now.Add(-Patience), Attempts: 8})), decided{Reason: "SessionNotFound", Ready: no, Expired: unknown, Progress: Stalled}},
		{"not found for good: never again, restarts included", given(stalledAs("SessionNotFound")), decided{}},
		{"not found for good, and the annotation asks again", given(stalledAs("SessionNotFound"), with(gen.ReconcileAt("1"))), decided{Call: observe}},
		{"credentials rejected", given(heardOutcome(expire, v1alpha1.OutcomeCredentialsRejected)), decided{Reason: "CredentialsRejected", Ready: no, Expired: unknown, Progress: Stalled, Wait: probeInterval}},
		{"credentials rejected before: wait for others", given(told("CredentialsRejected", ""), remembering(Memory{AccountEpoch: 1, NextCallAt: now.Add(time.Minute)})), decided{Wait: time.Minute}},
		{"credentials rejected before, and there are others", given(told("CredentialsRejected", ""), newAccount, remembering(Memory{AccountEpoch: 1, NextCallAt: now.Add(time.Minute)})), decided{Call: expire}},
		{"credentials rejected before, and 10 minutes are over: a probe", given(told("CredentialsRejected", ""), remembering(Memory{AccountEpoch: 1, NextCallAt: now})), decided{Call: expire, Probe: true}},
		{"not allowed", given(heardOutcome(expire, v1alpha1.OutcomeNotAllowed)), decided{Reason: "NotAllowed", Ready: no, Expired: unknown, Progress: Stalled, Wait: probeInterval}},
		{"throttled", given(heardOutcome(expire, v1alpha1.OutcomeThrottled)), decided{Reason: "Throttled", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
		{"throttled with a Retry-After", given(heard(expire, upstream.Result{Outcome: v1alpha1.OutcomeThrottled, RetryAfter: time.Minute})), decided{Reason: "Throttled", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Minute + 500*time.Millisecond}},
		{"unavailable", given(heardOutcome(expire, v1alpha1.OutcomeUnavailable)), decided{Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
		{"unavailable for the fourth time", given(heardOutcome(expire, v1alpha1.OutcomeUnavailable), remembering(Memory{Trouble: "ProviderUnavailable", Attempts: 3})), decided{Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling, Wait: 8 * time.Second}},
		{"unavailable for the hundredth time", given(heardOutcome(expire, v1alpha1.OutcomeUnavailable), remembering(Memory{Trouble: "Throttled", Attempts: 99})), decided{Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling, Wait: maxBackoff}},
		{"unavailable before: the time is not over", given(told("ProviderUnavailable", ""), remembering(Memory{NextCallAt: now.Add(time.Second)})), decided{Wait: time.Second}},
		{"unavailable before: the next try settles it, without a read before", given(told("ProviderUnavailable", ""), remembering(Memory{NextCallAt: now})), decided{Call: expire}},
		{"unexpected", given(heardOutcome(expire, v1alpha1.OutcomeUnexpectedResponse)), decided{Reason: "UnexpectedResponse", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},

		// What stands between.
		{"no provider yet", given(missing), decided{Reason: "ProviderNotFound", Ready: no, Expired: unknown, Progress: Reconciling, Wait: Patience}},
		{"no provider for 2 minutes", given(missing, remembering(Memory{Trouble: "ProviderNotFound", TroubleSince: now.Add(-Patience)})), decided{Reason: "ProviderNotFound", Ready: no, Expired: unknown, Progress: Stalled}},
		{"no provider, as before a restart: no new hope", given(missing, stalledAs("ProviderNotFound")), decided{Reason: "ProviderNotFound", Ready: no, Expired: unknown, Progress: Stalled}},
		{"the provider went while the proof was on its way", given(missing, heardState(expire, expired)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"an id that the class refuses", given(invalidID), decided{Reason: "InvalidSessionID", Ready: no, Expired: unknown, Progress: Stalled}},

		// Closed sessions.
		{"expired before: nothing, restarts included", given(told("Expired", expired)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"expired before, and the provider is gone", given(told("Expired", expired), missing), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"paid while it should be active, and now it should be expired: no call", given(told("Observed", completed), specEdited), decided{Reason: "PaymentCompleted", Ready: no, Expired: no, Progress: Stalled}},
		{"closed with a time to live ahead", given(told("Expired", expired), with(gen.TTLAfterClosed(2*time.Hour))), decided{Reason: "Expired", Ready: yes, Expired: yes, Wait: time.Hour}},
		{"closed with a time to live that is over", given(told("Expired", expired), with(gen.TTLAfterClosed(time.Hour))), decided{Reason: "Expired", Ready: yes, Expired: yes, Delete: true}},
		{"closed, and the annotation asks for a look", given(told("Expired", expired), with(gen.ReconcileAt("1"))), decided{Call: observe}},
		{"closed, and the look cannot be made", given(told("Expired", expired), with(gen.ReconcileAt("1")), missing), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"closed, and the look fails", given(told("Expired", expired), with(gen.ReconcileAt("1")), remembering(Memory{Look: "1"}), heardOutcome(observe, v1alpha1.OutcomeUnavailable)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"closed, and the look shows it active again: expire it", given(told("Expired", expired), with(gen.ReconcileAt("1")), heardState(observe, active)), decided{Call: expire}},

		// Active sessions.
		{"active and as it should be", given(with(gen.Active), heardState(observe, active)), decided{Reason: "Observed", Ready: yes, Expired: no, Wait: poll}},
		{"paid, and nobody minds", given(with(gen.Active), heardState(observe, completed)), decided{Reason: "Observed", Ready: yes, Expired: no}},
		{"ran out by itself, and nobody minds", given(with(gen.Active), heardState(observe, expired)), decided{Reason: "Observed", Ready: yes, Expired: yes}},
		{"active, with an expireAt ahead", given(with(gen.ExpireAt(inAnHour)), heardState(observe, active)), decided{Reason: "Scheduled", Ready: yes, Expired: no, Wait: poll}},
		{"active, with an expireAt before the next poll", given(with(gen.ExpireAt(now.Add(time.Minute))), heardState(observe, active)), decided{Reason: "Scheduled", Ready: yes, Expired: no, Wait: time.Minute}},
		{"active, and expireAt has come", given(with(gen.ExpireAt(now)), told("Scheduled", active), scheduledBefore), decided{Call: expire, Confirm: true}},
		{"active, the poll is not due", given(with(gen.Active), told("Observed", active), remembering(Memory{NextCallAt: now.Add(time.Minute)})), decided{Reason: "Observed", Ready: yes, Expired: no, Wait: time.Minute}},
		{"active, the poll is due", given(with(gen.Active), told("Observed", active), remembering(Memory{NextCallAt: now})), decided{Call: observe}},
		{"active, after a restart: the polls are spread", given(with(gen.Active), told("Observed", active)), decided{Reason: "Observed", Ready: yes, Expired: no, Wait: poll / 2}},
		{"active, never polled", given(with(gen.Active), told("Observed", active), neverPolls), decided{Reason: "Observed", Ready: yes, Expired: no}},
		{"active, and the provider is down", given(with(gen.Active), heardOutcome(observe, v1alpha1.OutcomeUnavailable)), decided{Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
		{"active before, and now it should be expired: at once", given(told("Observed", active), specEdited, scheduledBefore), decided{Call: expire}},
		{"the spec was edited in what does not matter: the condition is told again", given(told("ProviderUnavailable", ""), specEdited, remembering(Memory{NextCallAt: now.Add(time.Second)})), decided{Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},

		// Suspended and dry runs.
		{"suspended", given(suspended), decided{Reason: "Suspended", Ready: unknown}},
		{"suspended, whatever the annotation says", given(suspended, with(gen.ReconcileAt("1"))), decided{Reason: "Suspended", Ready: unknown}},
		{"suspended while the proof was on its way", given(suspended, heardState(expire, expired)), decided{Reason: "Suspended", Ready: unknown}},
		{"a dry run finds it active", given(dryRun, heardState(observe, active)), decided{Reason: "WouldExpire", Ready: no, Expired: no, Progress: Reconciling, Wait: poll}},
		{"a dry run finds it expired", given(dryRun, heardState(observe, expired)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"a dry run finds a payment in flight", given(dryRun, heardState(observe, processing)), decided{Reason: "PaymentInProgress", Ready: no, Expired: no, Progress: Reconciling, Wait: time.Second}},
	}
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			before := tc.facts.Session.DeepCopy()
			action := Decide(tc.facts)
			got := decided{Call: action.Call, Confirm: action.Confirm, Probe: action.Probe, Delete: action.Delete, Wait: action.Wait}
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
				for _, facts := range []Facts{
					given(dryRun, told(reason, state)),
					given(dryRun, told(reason, state), with(gen.ReconcileAt("1"))),
					given(dryRun, told(reason, state), heardState(observe, state)),
					given(dryRun, told(reason, state), heardOutcome(observe, outcome)),
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
				action := Decide(given(told(reason, v1alpha1.SessionStateActive), heardOutcome(operation, outcome)))
				if action.Verdict != nil && (action.Verdict.Expired == yes || action.Verdict.Reason == v1alpha1.ReasonExpired) {
					t.Errorf("told %s, heard %s from %s: claims that the session is expired", reason, outcome, operation)
				}
			}
		}
	}
}

func TestTheSameFactsTellTheSame(t *testing.T) {
	for outcome := range reasonOf {
		first := Decide(given(heardOutcome(expire, outcome)))
		if first.Verdict == nil {
			continue
		}
		later := given(heardOutcome(expire, outcome), remembering(first.Memory), func(f *Facts) { f.Now = f.Now.Add(30 * time.Second); f.Jitter = 0.9 })
		second := Decide(later)
		if diff := cmp.Diff(first.Verdict, second.Verdict); diff != "" {
			t.Errorf("%s (-first +second):\n%s", outcome, diff)
		}
	}
}

func TestHandledLook(t *testing.T) {
	asked := Decide(given(told("Expired", v1alpha1.SessionStateExpired), with(gen.ReconcileAt("at noon"))))
	answered := Decide(given(told("Expired", v1alpha1.SessionStateExpired), with(gen.ReconcileAt("at one")), func(f *Facts) { f.Memory = asked.Memory }, heardState(observe, v1alpha1.SessionStateExpired)))
	if got := answered.Verdict.Handled; got != "at noon" {
		t.Errorf("handled %q, want the value that the call was made for, not the one that has come since", got)
	}
	if answered.Memory.Look != "" {
		t.Errorf("the look was answered and is still remembered as %q", answered.Memory.Look)
	}
}

func TestALookThatIsAskedForWhileACallIsOnItsWayIsMadeAfterIt(t *testing.T) {
	active := []func(*Facts){with(gen.Active), told("Observed", v1alpha1.SessionStateActive), with(gen.ReconcileAt("at noon"))}
	polled := Decide(given(append(active, heardState(observe, v1alpha1.SessionStateActive))...))
	if polled.Verdict.Handled != "" || polled.Wait != atOnce {
		t.Errorf("handled %q, the next look in %s; want nothing handled and a look at once", polled.Verdict.Handled, polled.Wait)
	}
	asked := Decide(given(append(active, remembering(polled.Memory))...))
	if asked.Call != observe {
		t.Errorf("call %q, want a read", asked.Call)
	}
	looked := Decide(given(append(active, remembering(asked.Memory), heardState(observe, v1alpha1.SessionStateActive))...))
	if looked.Verdict.Handled != "at noon" || looked.Wait <= atOnce {
		t.Errorf("handled %q, the next look in %s; want it handled, and no hurry any more", looked.Verdict.Handled, looked.Wait)
	}
}

func TestAShorterPollIntervalCountsAtOnce(t *testing.T) {
	every := func(interval time.Duration) func(*Facts) { return func(f *Facts) { f.PollInterval = interval } }
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

func TestExpiryStartedOnlyByExpireAt(t *testing.T) {
	asked := Memory{Asked: true}
	scheduled := Decide(given(with(gen.ExpireAt(now)), remembering(asked), heardState(expire, v1alpha1.SessionStateExpired)))
	if !scheduled.Verdict.ExpiryStarted {
		t.Error("expireAt was the trigger: want the start recorded")
	}
	wanted := Decide(given(remembering(asked), heardState(expire, v1alpha1.SessionStateExpired)))
	if wanted.Verdict.ExpiryStarted {
		t.Error("desiredState was the trigger: want no start recorded")
	}
}
