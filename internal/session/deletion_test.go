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
	"github.com/payops-dev/payment-session-operator/test/gen"
)

func protected(f *Facts) { f.Session.Finalizers = []string{v1alpha1.ExpireFinalizer} }

func deleting(f *Facts) {
	protected(f)
	f.Session.DeletionTimestamp = &metav1.Time{Time: now.Add(-time.Second)}
	f.Session.Generation = 2
}

func retained(f *Facts)     { f.Session.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain }
func uninstalling(f *Facts) { f.Uninstalling = true }
func twin(f *Facts)         { f.Twin = true }
func heldByOthers(f *Facts) { f.Session.Finalizers = append(f.Session.Finalizers, "example.com/other") }
func notAllowed(f *Facts) {
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
		facts  Facts
		want   ended
	}{
		{"without our finalizer there is nothing to do", given(deleting, func(f *Facts) { f.Session.Finalizers = nil }), ended{}},
		{"Retain lets go at once, whatever is missing", given(deleting, retained, missing), released},
		{"Retain lets go of a suspended session too", given(deleting, retained, suspended), released},
		{"an uninstall lets go at once", given(deleting, uninstalling, missing), released},
		{"a closed session goes", given(deleting, told("Expired", expired), missing), released},
		{"a paid session goes", given(deleting, told("PaymentCompleted", completed)), released},
		{"an id that the class refuses: nothing can be done, said loudly", given(deleting, invalidID), ended{Release: true, Loud: true}},
		{"the same, known from before, with the provider gone", given(deleting, told("InvalidSessionID", ""), missing), ended{Release: true, Loud: true}},
		{"the class refused the id before, and was mended: expire it", given(deleting, told("InvalidSessionID", "")), ended{Call: expire, Confirm: true}},
		{"the class refuses the id of a session that the provider has shown: hold, the class is wrong", given(deleting, told("Observed", active), invalidID), ended{Reason: "InvalidSessionID", Wait: maxHold}},
		{"it cannot be expired by a call, said loudly", given(deleting, told("ExpireUnsupported", "")), ended{Release: true, Loud: true}},
		{"it turns out that it cannot be expired by a call", given(deleting, heardOutcome(expire, v1alpha1.OutcomeUnsupported)), ended{Release: true, Loud: true}},
		{"another live object wants it active", given(deleting, twin), released},
		{"another live object wants it active, and the provider is gone", given(deleting, twin, missing), released},
		{"an active session is expired, once a live read confirms the deletion", given(deleting), ended{Call: expire, Confirm: true}},
		{"one that should have stayed active is expired too", given(deleting, with(gen.Active), told("Observed", active)), ended{Call: expire, Confirm: true}},
		{"what was backed off from is tried at once", given(deleting, told("ExpireRefused", active), remembering(Memory{NextCallAt: now.Add(time.Hour)})), ended{Call: observe}},
		{"the reply proves the end: let go, without a status that nobody would read", given(deleting, heardState(expire, expired)), released},
		{"a payment was quicker: let go", given(deleting, heardState(observe, completed)), released},
		{"somebody else holds the object: tell them", given(deleting, heldByOthers, heardState(expire, expired)), ended{Release: true, Reason: "Expired"}},
		{"accepted and not visible yet: read", given(deleting, heardState(expire, active)), ended{Call: observe}},
		{"still not visible: hold", given(deleting, heardState(observe, active), remembering(Memory{Expire: EndingAccepted, ActedAt: now.Add(-time.Second)})), ended{Reason: "AwaitingConfirmation", Wait: time.Second}},
		{"not known and never seen: ask once more", given(deleting, heardOutcome(expire, v1alpha1.OutcomeNotFound)), ended{Reason: "SessionNotFound", Wait: missingInterval}},
		{"not known, 10 s later: let go", given(deleting, heardOutcome(expire, v1alpha1.OutcomeNotFound), remembering(Memory{Deleting: true, MissingSince: now.Add(-missingInterval)})), ended{Release: true, Loud: true}},
		{"not known, but it was seen before: hold", given(deleting, told("Observed", active), heardOutcome(expire, v1alpha1.OutcomeNotFound)), ended{Reason: "SessionNotFound", Wait: time.Second}},
		{"not known for long, but it was seen before: hold, and look again", given(deleting, told("Observed", active), heardOutcome(expire, v1alpha1.OutcomeNotFound), remembering(Memory{Deleting: true, Trouble: "SessionNotFound", TroubleSince: now.Add(-Patience)})), ended{Reason: "SessionNotFound", Wait: maxHold}},
		{"found to be missing while it lived: asked again", given(deleting, stalledAs("SessionNotFound")), ended{Call: expire, Confirm: true}},
		{"a payment in flight: hold", given(deleting, heardState(observe, processing)), ended{Reason: "PaymentInProgress", Wait: time.Second}},
		{"refused: hold", given(deleting, heardState(observe, active), remembering(Memory{Deleting: true, Expire: EndingRefused})), ended{Reason: "ExpireRefused", Wait: time.Second}},
		{"throttled: hold", given(deleting, heardOutcome(expire, v1alpha1.OutcomeThrottled)), ended{Reason: "Throttled", Wait: time.Second}},
		{"unavailable: hold", given(deleting, heardOutcome(expire, v1alpha1.OutcomeUnavailable)), ended{Reason: "ProviderUnavailable", Wait: time.Second}},
		{"credentials rejected: hold", given(deleting, heardOutcome(expire, v1alpha1.OutcomeCredentialsRejected)), ended{Reason: "CredentialsRejected", Wait: maxHold}},
		{"no provider: hold", given(deleting, missing), ended{Reason: "ProviderNotFound", Wait: Patience}},
		{"suspended: hold", given(deleting, suspended), ended{Reason: "Suspended", Wait: maxHold}},
		{"a dry run reads", given(deleting, dryRun), ended{Call: observe}},
		{"a dry run holds what it would expire", given(deleting, dryRun, heardState(observe, active)), ended{Reason: "WouldExpire", Wait: maxHold}},
		{"a namespace that was served may expire what it opened", given(deleting, told("Observed", active), notAllowed), ended{Call: expire, Confirm: true}},
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

func TestWhatWasInTheWayOfADeletionIsNotWaitedForAfterwards(t *testing.T) {
	for reason, obstacle := range map[string]func(*Facts){"no provider": missing, "suspended": suspended} {
		held := Decide(given(deleting, obstacle))
		action := Decide(given(deleting, func(f *Facts) { f.Memory = held.Memory }))
		if action.Call != expire {
			t.Errorf("%s: call %q after it has gone, want an expiry at once", reason, action.Call)
		}
	}
}

func TestFinalizerFollowsPolicyAndState(t *testing.T) {
	cases := []struct {
		reason string
		facts  Facts
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
			action := Decide(given(deleting, told(reason, v1alpha1.SessionStateActive), heardOutcome(expire, outcome)))
			if action.Release {
				t.Errorf("told %s, heard %s: released while it may be payable", reason, outcome)
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
