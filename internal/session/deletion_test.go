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
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

func protected(f *Input) { f.Session.Finalizers = []string{v1alpha1.ExpireFinalizer} }

func deleting(f *Input) {
	protected(f)
	f.Session.DeletionTimestamp = &metav1.Time{Time: now.Add(-time.Second)}
	f.Session.Generation = 2
}

func released(f *Input)     { f.Session.Finalizers = nil }
func retained(f *Input)     { f.Session.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain }
func uninstalling(f *Input) { f.Uninstalling = true }
func duplicate(f *Input)    { f.Duplicate = true }
func recognized(f *Input)   { f.Session.Status.Recognized = true }
func heldByOthers(f *Input) { f.Session.Finalizers = append(f.Session.Finalizers, "example.com/other") }
func notAllowed(f *Input) {
	f.Obstacle = &Obstacle{Reason: v1alpha1.ReasonNamespaceNotAllowed, Message: "not allowed"}
}

// ended is the part of an Action about a deletion that a case expects.
type ended struct {
	Operation     v1alpha1.Operation
	Confirm       bool
	Release       bool
	LeavesPayable bool
	Reason        string
	Wait          time.Duration
}

func TestDecideDeletion(t *testing.T) {
	release := ended{Release: true}
	cases := []struct {
		reason string
		input  Input
		want   ended
	}{
		{"without our finalizer: do nothing",
			given(deleting, released), ended{}},
		{"Retain: release at once, even without a provider", given(deleting, retained, missing), release},
		{"Retain, and suspended: release", given(deleting, retained, suspended), release},
		{"an uninstall: release at once", given(deleting, uninstalling, missing), release},
		{"a closed session: release", given(deleting, showing("Expired", expired), missing), release},
		{"a paid session: release", given(deleting, showing("PaymentCompleted", completed)), release},
		{"an id that the class rejects: release, and report that it may be payable",
			given(deleting, invalidID), ended{Release: true, LeavesPayable: true}},
		{"an id that the class rejected before, and no provider: release, and report it",
			given(deleting, showing("InvalidSessionID", ""), missing), ended{Release: true, LeavesPayable: true}},
		{"the class rejected the id before, and was fixed: expire",
			given(deleting, showing("InvalidSessionID", "")), ended{Operation: expire, Confirm: true, Wait: pendingGrace}},
		{"the class rejects the id of a session that the provider has shown: hold, because the class is wrong",
			given(deleting, showing("Observed", active), invalidID), ended{Reason: "InvalidSessionID", Wait: maxHold}},
		{"it cannot be expired by a call: release, and report it",
			given(deleting, showing("ExpireUnsupported", "")), ended{Release: true, LeavesPayable: true}},
		{"a read shows that no call can expire it",
			given(deleting, showing("Observed", active), afterState(observe, active), unexpirable),
			ended{Release: true, LeavesPayable: true}},
		{"no call could expire it at the last read, which may have changed: read",
			given(deleting, showing("ExpireUnsupported", active), showsExpirable), ended{Operation: observe, Wait: pendingGrace}},
		{"the same, without polls: read",
			given(deleting, showing("ExpireUnsupported", active), showsExpirable, neverPolls),
			ended{Operation: observe, Wait: pendingGrace}},
		{"the same, and a call can expire it now",
			given(deleting, showing("ExpireUnsupported", active), showsExpirable, afterState(observe, active)),
			ended{Operation: expire, Confirm: true, Wait: pendingGrace}},
		{"the same, and no call can expire it yet: release, and report it",
			given(deleting, showing("ExpireUnsupported", active), afterState(observe, active), unexpirable),
			ended{Release: true, LeavesPayable: true}},
		{"a read shows that no call can expire it, a minute after one was accepted: wait for its effect",
			given(deleting, showing("Observed", active), afterState(observe, active), unexpirable,
				remembering(Memory{Deleting: true, Expire: EndingAccepted, ActedAt: now.Add(-time.Minute)})),
			ended{Reason: "AwaitingConfirmation", Wait: time.Second}},
		{"the outcome is that it cannot be expired by a call: release, and report it",
			given(deleting, afterOutcome(expire, v1alpha1.OutcomeUnsupported)), ended{Release: true, LeavesPayable: true}},
		{"another object wants it active: release", given(deleting, with(gen.Active), duplicate), release},
		{"another object wants it active, and there is no provider: release",
			given(deleting, with(gen.Active), duplicate, missing), release},
		{"another object wants it active, and this one wants it expired: expire",
			given(deleting, duplicate), ended{Operation: expire, Confirm: true, Wait: pendingGrace}},
		{"another object wants it active, and this one's expireAt has passed: expire",
			given(deleting, with(gen.ExpireAt(now)), duplicate), ended{Operation: expire, Confirm: true, Wait: pendingGrace}},
		{"a payable session: expire, if a live read confirms the deletion",
			given(deleting), ended{Operation: expire, Confirm: true, Wait: pendingGrace}},
		{"a session whose desired state is active: expire too",
			given(deleting, with(gen.Active), showing("Observed", active)),
			ended{Operation: expire, Confirm: true, Wait: pendingGrace}},
		{"a retry that waits for its backoff: try at once",
			given(deleting, showing("ExpireRefused", active), remembering(Memory{NextCallAt: now.Add(time.Hour)})),
			ended{Operation: observe, Wait: pendingGrace}},
		{"the reply proves the end: release, without a status that nobody would read",
			given(deleting, afterState(expire, expired)), release},
		{"it was paid before: release", given(deleting, afterState(observe, completed)), release},
		{"another finalizer keeps the object: release, and write the status",
			given(deleting, heldByOthers, afterState(expire, expired)), ended{Release: true, Reason: "Expired"}},
		{"accepted and not visible yet: read",
			given(deleting, afterState(expire, active)),
			ended{Operation: observe, Reason: "AwaitingConfirmation", Wait: maxHold}},
		{"accepted, of a session that the provider has shown: read, without another write",
			given(deleting, showing("Observed", active), afterState(expire, active)),
			ended{Operation: observe, Wait: pendingGrace}},
		{"still not visible: hold",
			given(deleting, afterState(observe, active),
				remembering(Memory{Expire: EndingAccepted, ActedAt: now.Add(-time.Second)})),
			ended{Reason: "AwaitingConfirmation", Wait: time.Second}},
		{"not found and never shown: call once more",
			given(deleting, afterOutcome(expire, v1alpha1.OutcomeNotFound)),
			ended{Reason: "SessionNotFound", Wait: missingInterval}},
		{"not found, 10 s later: release",
			given(deleting, found, afterOutcome(expire, v1alpha1.OutcomeNotFound),
				remembering(Memory{Deleting: true, MissingSince: now.Add(-missingInterval)})),
			ended{Release: true, LeavesPayable: true}},
		{"not found, 10 s later, with an account that has found no session yet: call again",
			given(deleting, afterOutcome(expire, v1alpha1.OutcomeNotFound),
				remembering(Memory{Deleting: true, MissingSince: now.Add(-missingInterval)})),
			ended{Reason: "SessionNotFound", Wait: missingInterval}},
		{"not found for 2 minutes, with such an account: release",
			given(deleting, afterOutcome(expire, v1alpha1.OutcomeNotFound),
				remembering(Memory{Deleting: true, MissingSince: now.Add(-Patience)})),
			ended{Release: true, LeavesPayable: true}},
		{"not found for 2 minutes, which is handled only when the same replies are an hour old: call again",
			given(deleting, afterOutcome(expire, v1alpha1.OutcomeNotFound), func(f *Input) {
				f.Memory = Memory{Deleting: true, MissingSince: now.Add(-time.Hour)}
				f.Outcome.EndedAt = now.Add(-time.Hour).Add(missingInterval)
			}),
			ended{Reason: "SessionNotFound", Wait: missingInterval}},
		{"not found with the previous credentials, and now with others: start again",
			given(deleting, found, afterOutcome(expire, v1alpha1.OutcomeNotFound),
				remembering(Memory{Deleting: true, MissingSince: now.Add(-time.Hour), MissingAccess: 7})),
			ended{Reason: "SessionNotFound", Wait: missingInterval}},
		{"not found, but the provider has accepted an expire call: hold",
			given(deleting, found, afterOutcome(observe, v1alpha1.OutcomeNotFound),
				remembering(Memory{Deleting: true, Recognized: true, MissingSince: now.Add(-time.Hour)})),
			ended{Reason: "SessionNotFound", Wait: time.Second}},
		{"not found, but the provider had accepted an expire call before a restart: hold",
			given(deleting, found, recognized, afterOutcome(observe, v1alpha1.OutcomeNotFound)),
			ended{Reason: "SessionNotFound", Wait: time.Second}},
		{"not found, but shown before: hold",
			given(deleting, showing("Observed", active), afterOutcome(expire, v1alpha1.OutcomeNotFound)),
			ended{Reason: "SessionNotFound", Wait: time.Second}},
		{"not found for a long time, but shown before: hold, and read again",
			given(deleting, showing("Observed", active), afterOutcome(expire, v1alpha1.OutcomeNotFound),
				remembering(Memory{Deleting: true, Trouble: "SessionNotFound", TroubleSince: now.Add(-Patience), Attempts: 20})),
			ended{Reason: "SessionNotFound", Wait: maxHold}},
		{"not found before the deletion: call again",
			given(deleting, showingStalled("SessionNotFound")), ended{Operation: expire, Confirm: true, Wait: pendingGrace}},
		{"a payment in flight: hold",
			given(deleting, afterState(observe, processing)), ended{Reason: "PaymentInProgress", Wait: time.Second}},
		{"refused: hold",
			given(deleting, afterState(observe, active), remembering(Memory{Deleting: true, Expire: EndingRefused})),
			ended{Reason: "ExpireRefused", Wait: time.Second}},
		{"throttled: hold",
			given(deleting, afterOutcome(expire, v1alpha1.OutcomeThrottled)), ended{Reason: "Throttled", Wait: time.Second}},
		{"unavailable: hold",
			given(deleting, afterOutcome(expire, v1alpha1.OutcomeUnavailable)),
			ended{Reason: "ProviderUnavailable", Wait: time.Second}},
		{"credentials rejected: hold",
			given(deleting, afterOutcome(expire, v1alpha1.OutcomeCredentialsRejected)),
			ended{Reason: "CredentialsRejected", Wait: maxHold}},
		{"no provider: hold", given(deleting, missing), ended{Reason: "ProviderNotFound", Wait: Patience}},
		{"suspended: hold", given(deleting, suspended), ended{Reason: "Suspended", Wait: maxHold}},
		{"a dry run: read", given(deleting, dryRun), ended{Operation: observe, Wait: pendingGrace}},
		{"a dry run of an active session: hold",
			given(deleting, dryRun, afterState(observe, active)), ended{Reason: "WouldExpire", Wait: maxHold}},
		{"a dry run of a session that is known to be active: hold, without a read",
			given(deleting, dryRun, neverPolls, showing("Observed", active)), ended{Reason: "WouldExpire", Wait: maxHold}},
		{"its call has been pending for 10 s: report it",
			given(deleting, showing("Observed", active), limited,
				remembering(Memory{Deleting: true, Next: expire, PendingSince: now.Add(-pendingGrace)})),
			ended{Operation: expire, Confirm: true, Reason: "Expiring", Wait: maxHold}},
		{"an outage: report it",
			given(deleting, showing("Observed", active), outage),
			ended{Operation: expire, Confirm: true, Reason: "ProviderUnavailable", Wait: maxHold}},
		{"a namespace that is no longer allowed: expire a session that was shown",
			given(deleting, showing("Observed", active), notAllowed),
			ended{Operation: expire, Confirm: true, Wait: pendingGrace}},
		{"a namespace that was never allowed: hold",
			given(deleting, notAllowed), ended{Reason: "NamespaceNotAllowed", Wait: Patience}},
	}
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			action := Decide(tc.input)
			got := ended{
				Operation: action.Operation, Confirm: action.Confirm, Release: action.Release,
				LeavesPayable: action.LeavesPayable != "", Wait: action.Wait,
			}
			if action.Verdict != nil {
				got.Reason = action.Verdict.Reason
				if !got.Release && !strings.Contains(action.Verdict.Message, "deletionPolicy: Retain") {
					t.Errorf("the message %q does not say how to end the wait", action.Verdict.Message)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestNotFoundMustBeConsecutive has another outcome between two NotFound: the session must not be released.
func TestNotFoundMustBeConsecutive(t *testing.T) {
	for between := range reasonOf {
		if between == v1alpha1.OutcomeNotFound || between == v1alpha1.OutcomeUnsupported {
			continue
		}
		memory := Memory{}
		for step, outcome := range []v1alpha1.Outcome{v1alpha1.OutcomeNotFound, between, v1alpha1.OutcomeNotFound} {
			in := given(deleting, found, remembering(memory), afterOutcome(expire, outcome))
			in.Now = now.Add(time.Duration(step) * missingInterval)
			action := Decide(in)
			if action.Release {
				t.Fatalf("NotFound, %s, NotFound: released", between)
			}
			memory = action.Memory
		}
	}
}

// TestHeldDeletionKeepsTheKnownState has a session that was shown as active before a call that showed no state.
func TestHeldDeletionKeepsTheKnownState(t *testing.T) {
	unavailable := afterOutcome(expire, v1alpha1.OutcomeUnavailable)
	if got := Decide(given(deleting, showing("Observed", active), unavailable)).Verdict.Expired; got != no {
		t.Errorf("Expired is %s for a session that was shown as active, want False", got)
	}
	if got := Decide(given(deleting, unavailable)).Verdict.Expired; got != unknown {
		t.Errorf("Expired is %s for a session that was never shown, want Unknown", got)
	}
}

// TestStillPayableIsReported has a session that is closed and leaves something else payable.
func TestStillPayableIsReported(t *testing.T) {
	used := after(observe, call.Result{
		Outcome: v1alpha1.OutcomeAccepted, State: completed, Status: "completed", StillPayable: "the invoice",
	})
	if message := Decide(given(used)).Verdict.Message; !strings.Contains(message, "Still payable: the invoice.") {
		t.Errorf("the message %q does not name the invoice", message)
	}
	if left := Decide(given(deleting, used)).LeavesPayable; !strings.Contains(left, "the invoice") {
		t.Errorf("the deletion is released, and LeavesPayable %q does not name the invoice", left)
	}
}

func TestNeedsProvider(t *testing.T) {
	for reason, tc := range map[string]struct {
		input Input
		want  bool
	}{
		"it has the finalizer":              {given(protected, showing("Expired", expired)), true},
		"it should have the finalizer":      {given(with(gen.Active)), true},
		"it is being deleted without it":    {given(deleting, released), false},
		"Retain, and active":                {given(retained, with(gen.Active)), false},
		"Retain, and it should be expired":  {given(retained), true},
		"Retain, and expireAt has passed":   {given(retained, with(gen.ExpireAt(now))), true},
		"Retain, and expired":               {given(retained, showing("Expired", expired)), false},
		"Retain, desired expired, deleting": {given(deleting, retained, released), false},
	} {
		if got := NeedsProvider(tc.input.Session, now); got != tc.want {
			t.Errorf("%s: needs its provider: %v, want %v", reason, got, tc.want)
		}
	}
}

// TestDeletionGoesOnWithoutItsObstacle removes an obstacle that held a deletion: the expire call must follow at once.
func TestDeletionGoesOnWithoutItsObstacle(t *testing.T) {
	for reason, obstacle := range map[string]func(*Input){"no provider": missing, "suspended": suspended} {
		held := Decide(given(deleting, obstacle))
		action := Decide(given(deleting, func(f *Input) { f.Memory = held.Memory }))
		if action.Operation != expire {
			t.Errorf("%s: call %q after it was resolved, want expire at once", reason, action.Operation)
		}
	}
}

func TestFinalizerFollowsPolicyAndState(t *testing.T) {
	cases := []struct {
		reason string
		input  Input
		wants  bool
	}{
		{"a session that was never shown", given(), true},
		{"an active session", given(with(gen.Active), showing("Observed", active)), true},
		{"the policy Retain", given(retained), false},
		{"an expired session", given(showing("Expired", expired)), false},
		{"a paid session", given(showing("PaymentCompleted", completed)), false},
	}
	for _, tc := range cases {
		if got := WantsFinalizer(tc.input.Session); got != tc.wants {
			t.Errorf("%s: should have the finalizer: %v, want %v", tc.reason, got, tc.wants)
		}
		protected(&tc.input)
		if got := Decide(tc.input).Release; got == tc.wants {
			t.Errorf("%s: released: %v, want %v", tc.reason, got, !tc.wants)
		}
	}
}

// TestPayableSessionsAreNotReleased combines all reasons and outcomes. Only a session that is closed, or that no call
// can expire, may be released.
func TestPayableSessionsAreNotReleased(t *testing.T) {
	for reason := range table {
		for outcome := range reasonOf {
			if outcome == v1alpha1.OutcomeUnsupported || reason == v1alpha1.ReasonExpireUnsupported {
				continue
			}
			if Decide(given(deleting, showing(reason, active), afterOutcome(expire, outcome))).Release {
				t.Errorf("showing %s, after %s: released although it may be payable", reason, outcome)
			}
		}
	}
}

// TestIsNews checks which verdicts differ enough from the status to be recorded as an Event.
func TestIsNews(t *testing.T) {
	shows := func(reason, message string, stalled bool) []metav1.Condition {
		list := []metav1.Condition{{
			Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: reason, Message: message,
		}}
		if stalled {
			list = append(list, metav1.Condition{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Reason: reason})
		}
		return list
	}
	const reason, away = v1alpha1.ReasonProviderUnavailable, "The provider is unavailable."
	for _, tc := range []struct {
		why     string
		before  []metav1.Condition
		verdict Verdict
		want    bool
	}{
		{"no conditions before", nil, Verdict{Reason: reason, Message: away}, true},
		{"another reason", shows(v1alpha1.ReasonObserved, "", false), Verdict{Reason: reason, Message: away}, true},
		{"the same", shows(reason, away, false), Verdict{Reason: reason, Message: away}, false},
		{"another message for the same reason",
			shows(reason, "HTTP 502", false), Verdict{Reason: reason, Message: away}, false},
		{"it becomes Stalled",
			shows(reason, away, false), Verdict{Reason: reason, Message: away, Progress: Stalled}, true},
		{"it was Stalled before",
			shows(reason, away, true), Verdict{Reason: reason, Message: away, Progress: Stalled}, false},
		{"a deletion begins to wait for the same reason",
			shows(reason, away, false), Verdict{Reason: reason, Message: away + waysOut, Holds: true}, true},
		{"a deletion still waits",
			shows(reason, "HTTP 502"+waysOut, false), Verdict{Reason: reason, Message: away + waysOut, Holds: true}, false},
	} {
		t.Run(tc.why, func(t *testing.T) {
			if got := tc.verdict.IsNews(tc.before); got != tc.want {
				t.Errorf("is news: %v, want %v", got, tc.want)
			}
		})
	}
}
