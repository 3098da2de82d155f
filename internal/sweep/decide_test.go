// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sweep

import (
	"testing"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// TestDecideLife decides about sweeps whose namespace lives.
func TestDecideLife(t *testing.T) {
	decide(t, []decideCase{
		{"a new sweep: the finalizer, and the first pass",
			given(unheld, func(in *Input) { in.Memory = Memory{} }),
			decided{Reason: "Listing", Expired: unknown, List: true, Drop: true, Finalizer: true}},
		{"a sweep that reports only: no finalizer",
			given(unheld, reporting), decided{Reason: "Listing", Expired: unknown, List: true}},
		{"deletionPolicy was changed to Retain: the finalizer goes",
			given(reporting), decided{Reason: "Listing", Expired: unknown, List: true, Release: true}},
		{"an obstacle: no finalizer yet",
			given(unheld, obstructed("SweepNotAllowed")),
			decided{Reason: "SweepNotAllowed", Expired: unknown, Stalled: true, Drop: true}},
		{"an obstacle that may go away: Stalled after two minutes",
			given(obstructed("ProviderNotReady")),
			decided{Reason: "ProviderNotReady", Expired: unknown, Drop: true, Wait: 2 * time.Minute}},
		{"suspended", given(suspended), decided{Reason: "Suspended", Expired: unknown, Drop: true}},
		{"a complete pass", given(found("a", "b")),
			decided{Reason: "Planned", Expired: no, Wait: 10*time.Minute - 2*time.Second}},
		{"a pass without any open session", given(found()),
			decided{Reason: "Planned", Expired: yes, Wait: 10*time.Minute - 2*time.Second}},
		{"a pass with sessions that were registered with Retain", given(found("a"), retained("a")),
			decided{Reason: "Planned", Expired: yes, Wait: 10*time.Minute - 2*time.Second}},
		{"a pass with sessions that an object wants active", given(found("a", "b"), retained("a"), objects("b")),
			decided{Reason: "Planned", Expired: no, Wait: 10*time.Minute - 2*time.Second}},
		{"the limit does not count what was registered with Retain", given(found("a", "b", "c", "d"), retained("a")),
			decided{Reason: "Planned", Expired: no, Wait: 10*time.Minute - 2*time.Second}},
		{"a pass that began before the spec was edited: it does not count",
			given(found("a"), expiring, edited),
			decided{Reason: "Listing", Expired: unknown, List: true, Drop: true}},
		{"a pass for another word of the namespace: it does not count", given(found("a"), expiring, otherScope),
			decided{Reason: "Listing", Expired: unknown, List: true}},
		{"the namespace has another word since the last pass: everything again", given(found("a"), expiring, handled, otherScope),
			decided{Reason: "Listing", Expired: unknown, List: true, Drop: true}},
		{"a pass that a neighbour has asked for: it counts, and nothing flaps",
			given(found("a"), remembering(func(m *Memory) { m.Last, m.From = &Listing{Began: now.Add(-time.Hour)}, now.Add(time.Minute) })),
			decided{Reason: "Planned", Expired: no, Wait: 10*time.Minute - 2*time.Second}},
		{"a pass through other credentials or another rule: it does not count",
			given(found("a"), expiring, handled, newAccess),
			decided{Reason: "Listing", Expired: unknown, List: true, Drop: true}},
		{"a pass that a person has asked for", given(found("a"), asked),
			decided{Reason: "Planned", Expired: no, Answers: true, Wait: 10*time.Minute - 2*time.Second}},
		{"a pass that began before a person has asked: another one",
			given(found("a"), asked, remembering(func(m *Memory) { m.RefreshAt = now })),
			decided{Reason: "Planned", Expired: no, List: true}},
		{"expired: what has no object and was not retained",
			given(found("a", "b", "c"), expiring, objects("a"), retained("c")),
			decided{Reason: "Sweeping", Expired: no, Expire: []string{"b"}, Wait: 10*time.Minute - 2*time.Second}},
		{"expired, and all are closed by now",
			given(found("a"), expiring, handled, progress(Progress{Closed: map[string]bool{"a": true}, Expired: 1})),
			decided{Reason: "Planned", Expired: yes, Wait: time.Minute}},
		{"expired, and a payment is in flight",
			given(found("a"), expiring, handled, progress(Progress{Open: 1, Reason: "PaymentInProgress", Message: "words"})),
			decided{Reason: "PaymentInProgress", Expired: no, Wait: time.Minute}},
		{"interval is 0s: no pass", given(never), decided{Reason: "Planned", Expired: unknown}},
		{"interval is 0s, and a person asks for one",
			given(never, func(in *Input) { in.Sweep.Annotations = map[string]string{v1alpha1.ReconcileAtAnnotation: "now"} }),
			decided{Reason: "Listing", Expired: unknown, List: true}},
		{"the next pass is due", given(found("a"), handled, remembering(func(m *Memory) { m.From = now })),
			decided{Reason: "Planned", Expired: no, List: true}},
	})
}

// TestDecideIncomplete decides on passes that allow nothing.
func TestDecideIncomplete(t *testing.T) {
	for _, tc := range []struct {
		because string
		// stable is true where another pass shows the same until somebody changes something.
		stable bool
		change func(*Input)
		want   decided
	}{
		{"throttled", false, failed(v1alpha1.OutcomeThrottled), decided{Reason: "Throttled", Expired: unknown}},
		{"unavailable", false, failed(v1alpha1.OutcomeUnavailable), decided{Reason: "ProviderUnavailable", Expired: unknown}},
		{"the key may not list", false, failed(v1alpha1.OutcomeNotAllowed),
			decided{Reason: "NotAllowed", Expired: unknown, Stalled: true}},
		{"the key is rejected", false, failed(v1alpha1.OutcomeCredentialsRejected),
			decided{Reason: "CredentialsRejected", Expired: unknown, Stalled: true}},
		{"a page without anything new", false, failed(v1alpha1.OutcomeUnexpectedResponse),
			decided{Reason: "UnexpectedResponse", Expired: unknown}},
		{"more pages than the limit", true, spoiled(func(l *Listing) { l.Complete, l.Truncated = false, true }),
			decided{Reason: "ListTruncated", Expired: unknown, Stalled: true}},
		{"more sessions than the limit", true, spoiled(func(l *Listing) { l.Count = 4 }),
			decided{Reason: "TooManySessions", Expired: unknown, Stalled: true}},
		{"a session that the class cannot read", false, spoiled(func(l *Listing) { l.Unreadable = 1 }),
			decided{Reason: "UnexpectedResponse", Expired: unknown}},
	} {
		tc.want.Wait = minRetry
		living := tc.want
		if tc.stable {
			living.Wait = 10 * time.Minute
		}
		decide(t, []decideCase{
			{tc.because + ", expired", given(expiring, found("a"), tc.change), living},
			{tc.because + ", deleted", given(deleted, found("a"), tc.change), tc.want},
			{tc.because + ", deleted after a pass without anything",
				given(deleted, found(), tc.change, remembering(func(m *Memory) { m.Empty = now.Add(-time.Hour) })), tc.want},
		})
	}
	decide(t, []decideCase{
		{"it has failed, and a person has asked for it: the next complete one answers", given(found(), failed(v1alpha1.OutcomeThrottled), asked),
			decided{Reason: "Throttled", Expired: unknown, Wait: minRetry}},
		{"it has shown too many, and a person has asked for it: that is the answer",
			given(found("a", "b", "c", "d"), asked),
			decided{Reason: "TooManySessions", Expired: unknown, Stalled: true, Answers: true, Wait: 10 * time.Minute}},
		{"it has failed often: at most five minutes",
			given(deleted, found(), failed(v1alpha1.OutcomeThrottled), remembering(func(m *Memory) { m.Attempts = 40 })),
			decided{Reason: "Throttled", Expired: unknown, Wait: MaxHold}},
		{"it has failed, and the account has changed: at once",
			given(found(), failed(v1alpha1.OutcomeCredentialsRejected), handled, newAccount),
			decided{Reason: "CredentialsRejected", Expired: unknown, Stalled: true, List: true}},
		{"it was complete, and the account has changed: as planned", given(found(), handled, newAccount),
			decided{Reason: "Planned", Expired: yes, Wait: time.Minute}},
	})
}

// TestDecideDeletion decides about sweeps that are being deleted.
func TestDecideDeletion(t *testing.T) {
	decide(t, []decideCase{
		{"without our finalizer", given(deleted, unheld), decided{Drop: true}},
		{"alone, in a namespace that lives", given(deleted, alone), decided{Release: true, Drop: true}},
		{"with Retain", given(deleted, reporting), decided{Release: true, Drop: true}},
		{"in an uninstall", given(deleted, uninstalling), decided{Release: true, Drop: true}},
		{"suspended: it waits", given(deleted, suspended),
			decided{Reason: "Suspended", Expired: unknown, Drop: true, Wait: MaxHold}},
		{"the provider has no list any more: nothing can be done",
			given(deleted, obstructed("ListUnsupported")), decided{Release: true, Drop: true, Payable: true}},
		{"sweeps are not allowed any more: nothing may be done",
			given(deleted, obstructed("SweepNotAllowed")), decided{Release: true, Drop: true, Payable: true}},
		{"the rule is gone: it waits", given(deleted, obstructed("OwnershipMissing")),
			decided{Reason: "OwnershipMissing", Expired: unknown, Stalled: true, Drop: true, Wait: MaxHold}},
		{"the Secret is gone: it waits", given(deleted, obstructed("CredentialsMissing")),
			decided{Reason: "CredentialsMissing", Expired: unknown, Drop: true, Wait: 2 * time.Minute}},
		{"a pass of before the deletion: it does not count",
			given(found(), deleted, remembering(func(m *Memory) { m.Deleting = false })),
			decided{Reason: "Listing", Expired: unknown, List: true, Drop: true}},
		{"the first pass: everything of the namespace is expired, also with an interval of 0s",
			given(deleted, never, found("a", "b")),
			decided{Reason: "Sweeping", Expired: no, Expire: []string{"a", "b"}, Wait: minRetry}},
		{"what has an object is left to it, and waited for", given(deleted, found("a"), objects("a")),
			decided{Reason: "Sweeping", Expired: no, Wait: minRetry}},
		{"the object is gone: the next pass at once",
			given(deleted, found("a"), waiting, remembering(func(m *Memory) { m.Own = 1 })),
			decided{Reason: "Sweeping", Expired: no, List: true}},
		{"retained: it is not waited for", given(deleted, found("a"), retained("a")),
			decided{Reason: "Listing", Expired: unknown, Wait: lag}},
		{"all are closed: the next pass at once",
			given(deleted, found("a"), waiting, progress(Progress{Closed: map[string]bool{"a": true}})),
			decided{Reason: "Listing", Expired: unknown, List: true}},
		{"all are closed, and the list has shown them as open before: the next pass in time",
			given(deleted, found("a"), waiting, remembering(func(m *Memory) { m.Attempts = 2 }),
				progress(Progress{Closed: map[string]bool{"a": true}})),
			decided{Reason: "Listing", Expired: unknown, Wait: time.Minute}},
		{"the list shows what was read as closed twice: it is not waited for",
			given(deleted, found("a"), progress(Progress{
				Closed: map[string]bool{"a": true}, Settled: map[string]bool{"a": true}, Ended: now.Add(-time.Minute),
			})),
			decided{Reason: "Listing", Expired: unknown, Wait: lag}},
		{"one is being expired", given(deleted, found("a"), waiting, progress(Progress{Open: 1, Acting: 1})),
			decided{Reason: "Sweeping", Expired: no, Wait: time.Minute}},
		{"a payment is in flight", given(deleted, found("a"), waiting,
			progress(Progress{Open: 1, Reason: "PaymentInProgress", Message: "words"})),
			decided{Reason: "PaymentInProgress", Expired: no, Wait: time.Minute}},
		{"the first empty pass: another one, a lag later", given(deleted, found()),
			decided{Reason: "Listing", Expired: unknown, Wait: lag}},
		{"another pass within the lag does not count", given(deleted, found(), emptyAt(now.Add(-lag)),
			remembering(func(m *Memory) { m.From = now.Add(-time.Minute) })),
			decided{Reason: "Listing", Expired: unknown, List: true}},
		{"the second empty pass: released", given(deleted, found(), emptyAt(now.Add(-time.Minute))),
			decided{Reason: "Planned", Expired: yes, Release: true, Drop: true}},
		{"released, and what one of them leaves can be paid elsewhere",
			given(deleted, found(), emptyAt(now.Add(-time.Minute)), progress(Progress{StillPayable: "the invoice"})),
			decided{Reason: "Planned", Expired: yes, Release: true, Drop: true, Payable: true}},
		{"the second pass shows a session again: expired, and two more passes",
			given(deleted, found("b"), emptyAt(now.Add(-time.Minute))),
			decided{Reason: "Sweeping", Expired: no, Expire: []string{"b"}, Wait: minRetry}},
		{"a pass that began before the last call ended: another one",
			given(deleted, found(), progress(Progress{Ended: now.Add(-time.Second)})),
			decided{Reason: "Listing", Expired: unknown, List: true}},
		{"a session is still open that the list does not show any more: it is waited for",
			given(deleted, found(), emptyAt(now.Add(-time.Minute)), progress(Progress{Open: 1, Reason: "PaymentInProgress"})),
			decided{Reason: "PaymentInProgress", Expired: no, Wait: minRetry}},
		{"no call can expire it: released in the end, and said",
			given(deleted, found("a"), emptyAt(now.Add(-time.Minute)), progress(Progress{Unsupported: map[string]bool{"a": true}})),
			decided{Reason: "Planned", Expired: no, Release: true, Drop: true, Payable: true}},
	})
}

// TestWordsOfASession shows a session that is not expired in its own words, also where a pass can have the same reason.
func TestWordsOfASession(t *testing.T) {
	const words = "Session a: The account may not do this with the session."
	for _, reason := range []string{"NotAllowed", "CredentialsRejected", "ProviderUnavailable", "ExpireRefused"} {
		action := Decide(given(expiring, found("a"), handled, progress(Progress{Open: 1, Reason: reason, Message: words})))
		if verdict := action.Verdict; verdict.Reason != reason || verdict.Message != words {
			t.Errorf("%s: got %s: %s", reason, verdict.Reason, verdict.Message)
		}
	}
}
