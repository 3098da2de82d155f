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

func protected(f *Input) { f.Session.Finalizers = []string{v1alpha1.ExpireFinalizer} }

func deleting(f *Input) {
	protected(f)
	f.Session.DeletionTimestamp = &metav1.Time{Time: now.Add(-time.Second)}
	f.Session.Generation = 2
}

func retained(f *Input)     { f.Session.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain }
func uninstalling(f *Input) { f.Uninstalling = true }
func duplicate(f *Input)    { f.Duplicate = true }
func recognized(f *Input)   { f.Session.Status.Recognized = true }
func heldByOthers(f *Input) { f.Session.Finalizers = append(f.Session.Finalizers, "example.com/other") }
func notAllowed(f *Input) {
	f.Obstacle = &Obstacle{Reason: v1alpha1.ReasonNamespaceNotAllowed, Message: "not allowed"}
}

// ended is what a row expects of an Action about a deletion.
type ended struct {
	Call    v1alpha1.Operation
	Confirm bool
	Release bool
	Loud    bool
	Reason  string
	Wait    time.Duration
}

func TestDecideDeletion(t *testing.T) {
	const active, processing = v1alpha1.SessionStateActive, v1alpha1.SessionStateProcessing
	const expired, completed = v1alpha1.SessionStateExpired, v1alpha1.SessionStateCompleted
	released := ended{Release: true}
	cases := []struct {
		reason string
		facts  Input
		want   ended
	}{
		{"without our finalizer there is nothing to do", given(deleting, func(f *Input) { f.Session.Finalizers = nil }), ended{}},
		{"Retain lets go at once, whatever is missing", given(deleting, retained, missing), released},
		{"Retain lets go of a suspended session too", given(deleting, retained, suspended), released},
		{"an uninstall lets go at once", given(deleting, uninstalling, missing), released},
		{"a closed session goes", given(deleting, told("Expired", expired), missing), released},
		{"a paid session goes", given(deleting, told("PaymentCompleted", completed)), released},
		{"an id that the class refuses: nothing can be done, said loudly", given(deleting, invalidID), ended{Release: true, Loud: true}},
		{"the same, known from before, with the provider gone", given(deleting, told("InvalidSessionID", ""), missing), ended{Release: true, Loud: true}},
		{"the class refused the id before, and was corrected: expire it", given(deleting, told("InvalidSessionID", "")), ended{Call: expire, Confirm: true, Wait: silence}},
		{"the class refuses the id of a session that the provider has shown: hold, the class is wrong", given(deleting, told("Observed", active), invalidID), ended{Reason: "InvalidSessionID", Wait: maxHold}},
		{"it cannot be expired by a call, said loudly", given(deleting, told("ExpireUnsupported", "")), ended{Release: true, Loud: true}},
		{"it turns out that it cannot be expired by a call", given(deleting, cameOutcome(expire, v1alpha1.OutcomeUnsupported)), ended{Release: true, Loud: true}},
		{"another live object wants it active", given(deleting, with(gen.Active), duplicate), released},
		{"another live object wants it active, and the provider is gone", given(deleting, with(gen.Active), duplicate, missing), released},
		{"another live object wants it active, and this one wanted it expired", given(deleting, duplicate), ended{Call: expire, Confirm: true, Wait: silence}},
		{"another live object wants it active, and this one's expireAt has come", given(deleting, with(gen.ExpireAt(now)), duplicate), ended{Call: expire, Confirm: true, Wait: silence}},
		{"an active session is expired, once a live read confirms the deletion", given(deleting), ended{Call: expire, Confirm: true, Wait: silence}},
		{"one that should have stayed active is expired too", given(deleting, with(gen.Active), told("Observed", active)), ended{Call: expire, Confirm: true, Wait: silence}},
		{"what was backed off from is tried at once", given(deleting, told("ExpireRefused", active), remembering(Memory{NextCallAt: now.Add(time.Hour)})), ended{Call: observe, Wait: silence}},
		{"the reply proves the end: let go, without a status that nobody would read", given(deleting, cameState(expire, expired)), released},
		{"a payment was quicker: let go", given(deleting, cameState(observe, completed)), released},
		{"somebody else holds the object: tell them", given(deleting, heldByOthers, cameState(expire, expired)), ended{Release: true, Reason: "Expired"}},
		{"accepted and not visible yet: read", given(deleting, cameState(expire, active)), ended{Call: observe, Reason: "AwaitingConfirmation", Wait: maxHold}},
		{"accepted, of a session that was seen: read, without another write", given(deleting, told("Observed", active), cameState(expire, active)), ended{Call: observe, Wait: silence}},
		{"still not visible: hold", given(deleting, cameState(observe, active), remembering(Memory{Expire: EndingAccepted, ActedAt: now.Add(-time.Second)})), ended{Reason: "AwaitingConfirmation", Wait: time.Second}},
		{"not known and never seen: ask once more", given(deleting, cameOutcome(expire, v1alpha1.OutcomeNotFound)), ended{Reason: "SessionNotFound", Wait: missingInterval}},
		{"not known, 10 s later: let go", given(deleting, found, cameOutcome(expire, v1alpha1.OutcomeNotFound), remembering(Memory{Deleting: true, MissingSince: now.Add(-missingInterval)})), ended{Release: true, Loud: true}},
		{"not known, 10 s later, by an account that has found nothing yet: ask on", given(deleting, cameOutcome(expire, v1alpha1.OutcomeNotFound), remembering(Memory{Deleting: true, MissingSince: now.Add(-missingInterval)})), ended{Reason: "SessionNotFound", Wait: missingInterval}},
		{"not known for 2 minutes, by such an account: let go", given(deleting, cameOutcome(expire, v1alpha1.OutcomeNotFound), remembering(Memory{Deleting: true, MissingSince: now.Add(-Patience)})), ended{Release: true, Loud: true}},
		{"not known by one set of credentials, and by another: begin anew", given(deleting, found, cameOutcome(expire, v1alpha1.OutcomeNotFound), remembering(Memory{Deleting: true, MissingSince: now.Add(-time.Hour), MissingAccess: 7})), ended{Reason: "SessionNotFound", Wait: missingInterval}},
		{"not known, but the provider has accepted an expire call: hold", given(deleting, found, cameOutcome(observe, v1alpha1.OutcomeNotFound), remembering(Memory{Deleting: true, Recognized: true, MissingSince: now.Add(-time.Hour)})), ended{Reason: "SessionNotFound", Wait: time.Second}},
		{"the same, after a restart", given(deleting, found, recognized, cameOutcome(observe, v1alpha1.OutcomeNotFound)), ended{Reason: "SessionNotFound", Wait: time.Second}},
		{"not known, but it was seen before: hold", given(deleting, told("Observed", active), cameOutcome(expire, v1alpha1.OutcomeNotFound)), ended{Reason: "SessionNotFound", Wait: time.Second}},
		{"not known for long, but it was seen before: hold, and look again", given(deleting, told("Observed", active), cameOutcome(expire, v1alpha1.OutcomeNotFound), remembering(Memory{Deleting: true, Trouble: "SessionNotFound", TroubleSince: now.Add(-Patience), Attempts: 20})), ended{Reason: "SessionNotFound", Wait: maxHold}},
		{"found to be missing while it lived: asked again", given(deleting, stalledAs("SessionNotFound")), ended{Call: expire, Confirm: true, Wait: silence}},
		{"a payment in flight: hold", given(deleting, cameState(observe, processing)), ended{Reason: "PaymentInProgress", Wait: time.Second}},
		{"refused: hold", given(deleting, cameState(observe, active), remembering(Memory{Deleting: true, Expire: EndingRefused})), ended{Reason: "ExpireRefused", Wait: time.Second}},
		{"throttled: hold", given(deleting, cameOutcome(expire, v1alpha1.OutcomeThrottled)), ended{Reason: "Throttled", Wait: time.Second}},
		{"unavailable: hold", given(deleting, cameOutcome(expire, v1alpha1.OutcomeUnavailable)), ended{Reason: "ProviderUnavailable", Wait: time.Second}},
		{"credentials rejected: hold", given(deleting, cameOutcome(expire, v1alpha1.OutcomeCredentialsRejected)), ended{Reason: "CredentialsRejected", Wait: maxHold}},
		{"no provider: hold", given(deleting, missing), ended{Reason: "ProviderNotFound", Wait: Patience}},
		{"suspended: hold", given(deleting, suspended), ended{Reason: "Suspended", Wait: maxHold}},
		{"a dry run reads", given(deleting, dryRun), ended{Call: observe, Wait: silence}},
		{"a dry run holds what it would expire", given(deleting, dryRun, cameState(observe, active)), ended{Reason: "WouldExpire", Wait: maxHold}},
		{"a dry run holds what it knows to be active without a read", given(deleting, dryRun, neverPolls, told("Observed", active)), ended{Reason: "WouldExpire", Wait: maxHold}},
		{"its call has been pending for 10 s", given(deleting, told("Observed", active), limited, remembering(Memory{Deleting: true, Next: expire, PendingSince: now.Add(-silence)})), ended{Call: expire, Confirm: true, Reason: "Expiring", Wait: maxHold}},
		{"the provider answers no call", given(deleting, told("Observed", active), outage), ended{Call: expire, Confirm: true, Reason: "ProviderUnavailable", Wait: maxHold}},
		{"a namespace that was served may expire what it opened", given(deleting, told("Observed", active), notAllowed), ended{Call: expire, Confirm: true, Wait: silence}},
		{"a namespace that was never served may not", given(deleting, notAllowed), ended{Reason: "NamespaceNotAllowed", Wait: Patience}},
	}
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			action := Decide(tc.facts)
			got := ended{Call: action.Call, Confirm: action.Confirm, Release: action.Release, Loud: action.Loud != "", Wait: action.Wait}
			if action.Verdict != nil {
				got.Reason = action.Verdict.Reason
				if !got.Release && !strings.Contains(action.Verdict.Message, "deletionPolicy: Retain") {
					t.Errorf("message %q does not say the way out", action.Verdict.Message)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestAnswersThatASessionIsMissingMustBeInARow has another answer between two that say so.
func TestAnswersThatASessionIsMissingMustBeInARow(t *testing.T) {
	for between := range reasonOf {
		if between == v1alpha1.OutcomeNotFound || between == v1alpha1.OutcomeUnsupported {
			continue
		}
		memory := Memory{}
		for step, outcome := range []v1alpha1.Outcome{v1alpha1.OutcomeNotFound, between, v1alpha1.OutcomeNotFound} {
			in := given(deleting, found, remembering(memory), cameOutcome(expire, outcome))
			in.Now = now.Add(time.Duration(step) * missingInterval)
			action := Decide(in)
			if action.Release {
				t.Fatalf("NotFound, %s, NotFound: released", between)
			}
			memory = action.Memory
		}
	}
}

// TestADeletionThatWaitsSaysWhatIsKnown has a session that was seen active and of which the last call showed nothing.
func TestADeletionThatWaitsSaysWhatIsKnown(t *testing.T) {
	known := Decide(given(deleting, told("Observed", v1alpha1.SessionStateActive), cameOutcome(expire, v1alpha1.OutcomeUnavailable))).Verdict
	unknownYet := Decide(given(deleting, cameOutcome(expire, v1alpha1.OutcomeUnavailable))).Verdict
	if known.Expired != no || unknownYet.Expired != unknown {
		t.Errorf("Expired is %s of one that was seen active and %s of one that was never seen; want False and Unknown", known.Expired, unknownYet.Expired)
	}
}

func TestWhatIsStillPayableIsSaid(t *testing.T) {
	used := came(observe, upstream.Result{Outcome: v1alpha1.OutcomeAccepted, State: v1alpha1.SessionStateCompleted, Status: "completed", StillPayable: "the invoice"})
	if message := Decide(given(used)).Verdict.Message; !strings.Contains(message, "Still payable: the invoice.") {
		t.Errorf("message %q", message)
	}
	if loud := Decide(given(deleting, used)).Loud; !strings.Contains(loud, "the invoice") {
		t.Errorf("a deletion is released quietly: %q", loud)
	}
}

func TestWhoNeedsTheProvider(t *testing.T) {
	for reason, tc := range map[string]struct {
		facts Input
		want  bool
	}{
		"one that bears the finalizer":                                 {given(protected, told("Expired", v1alpha1.SessionStateExpired)), true},
		"one that should":                                              {given(with(gen.Active)), true},
		"one that is being deleted without it":                         {given(deleting, func(f *Input) { f.Session.Finalizers = nil }), false},
		"one that is retained and left alone":                          {given(retained, with(gen.Active)), false},
		"one that is retained and should be expired":                   {given(retained), true},
		"one that is retained and whose expireAt has come":             {given(retained, with(gen.ExpireAt(now))), true},
		"one that is retained and expired":                             {given(retained, told("Expired", v1alpha1.SessionStateExpired)), false},
		"one that is retained, should be expired and is being deleted": {given(deleting, retained, func(f *Input) { f.Session.Finalizers = nil }), false},
	} {
		if got := NeedsProvider(tc.facts.Session, now); got != tc.want {
			t.Errorf("%s: needs it %v, want %v", reason, got, tc.want)
		}
	}
}

func TestWhatWasInTheWayOfADeletionIsNotWaitedForAfterwards(t *testing.T) {
	for reason, obstacle := range map[string]func(*Input){"no provider": missing, "suspended": suspended} {
		held := Decide(given(deleting, obstacle))
		action := Decide(given(deleting, func(f *Input) { f.Memory = held.Memory }))
		if action.Call != expire {
			t.Errorf("%s: call %q after it has gone, want an expiry at once", reason, action.Call)
		}
	}
}

func TestFinalizerFollowsPolicyAndState(t *testing.T) {
	cases := []struct {
		reason string
		facts  Input
		wants  bool
	}{
		{"a session that may be payable", given(), true},
		{"an active one", given(with(gen.Active), told("Observed", v1alpha1.SessionStateActive)), true},
		{"one whose policy is Retain", given(retained), false},
		{"one that is closed", given(told("Expired", v1alpha1.SessionStateExpired)), false},
		{"one that was paid", given(told("PaymentCompleted", v1alpha1.SessionStateCompleted)), false},
	}
	for _, tc := range cases {
		if got := WantsFinalizer(tc.facts.Session); got != tc.wants {
			t.Errorf("%s: wants the finalizer %v, want %v", tc.reason, got, tc.wants)
		}
		protected(&tc.facts)
		if got := Decide(tc.facts).Release; got == tc.wants {
			t.Errorf("%s: released %v, want %v", tc.reason, got, !tc.wants)
		}
	}
}

func TestNothingButAClosedOrHopelessSessionIsReleased(t *testing.T) {
	for reason := range table {
		for outcome := range reasonOf {
			if outcome == v1alpha1.OutcomeUnsupported || reason == v1alpha1.ReasonExpireUnsupported {
				continue
			}
			action := Decide(given(deleting, told(reason, v1alpha1.SessionStateActive), cameOutcome(expire, outcome)))
			if action.Release {
				t.Errorf("told %s, came %s: released while it may be payable", reason, outcome)
			}
		}
	}
}

func TestWhatIsNews(t *testing.T) {
	says := func(reason, message string, stalled bool) []metav1.Condition {
		list := []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: reason, Message: message}}
		if stalled {
			list = append(list, metav1.Condition{Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Reason: reason})
		}
		return list
	}
	const reason, away = v1alpha1.ReasonProviderUnavailable, "The provider is away."
	for _, tc := range []struct {
		why     string
		before  []metav1.Condition
		verdict Verdict
		want    bool
	}{
		{"nothing was said before", nil, Verdict{Reason: reason, Message: away}, true},
		{"another reason", says(v1alpha1.ReasonObserved, "", false), Verdict{Reason: reason, Message: away}, true},
		{"the same", says(reason, away, false), Verdict{Reason: reason, Message: away}, false},
		{"other words for the same reason", says(reason, "HTTP 502", false), Verdict{Reason: reason, Message: away}, false},
		{"it goes no further by itself", says(reason, away, false), Verdict{Reason: reason, Message: away, Progress: Stalled}, true},
		{"it went no further before", says(reason, away, true), Verdict{Reason: reason, Message: away, Progress: Stalled}, false},
		{"a deletion begins to wait for what was there before", says(reason, away, false), Verdict{Reason: reason, Message: away + waysOut, Holds: true}, true},
		{"a deletion waits on", says(reason, "HTTP 502"+waysOut, false), Verdict{Reason: reason, Message: away + waysOut, Holds: true}, false},
	} {
		t.Run(tc.why, func(t *testing.T) {
			if got := tc.verdict.News(tc.before); got != tc.want {
				t.Errorf("news: %v, want %v", got, tc.want)
			}
		})
	}
}
