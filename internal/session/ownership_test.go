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

const own, others = "eu/shop", "us/shop"

// owned gives the account an ownership rule.
func owned(f *Input) {
	f.Ownership, f.Self, f.ProofSince = v1alpha1.OwnershipEnforce, own, now.Add(-time.Minute)
}

// warned gives the account a rule that is not enforced.
func warned(f *Input) { owned(f); f.Ownership = v1alpha1.OwnershipWarn }

// wordless takes the namespace's own word away.
func wordless(f *Input) {
	f.Self, f.Obstacle = "", &Obstacle{Reason: v1alpha1.ReasonOwnershipIncomplete, Message: "no word"}
}

// of says whose session the outcome shows.
func of(owner string) func(*Input) {
	return func(f *Input) { f.Outcome.Result.Owner, f.Outcome.Result.ShowsOwner = owner, true }
}

// foreignFor remembers that reads have shown the session as another's since a while ago.
func foreignFor(ago time.Duration) func(*Input) {
	return remembering(Memory{Self: own, Deleting: true, ForeignSince: now.Add(-ago)})
}

// proven remembers a read that has shown the session as the namespace's own, a while ago.
func proven(ago time.Duration) func(*Input) {
	return func(f *Input) {
		proof := call.Proof{At: now.Add(-ago), Self: own}
		remembering(Memory{Owned: proof, Self: own, Next: expire, PendingSince: now})(f)
	}
}

// TestDecideOwnership decides about accounts with an ownership rule.
func TestDecideOwnership(t *testing.T) {
	notOwned := decided{Reason: "NotOwned", Ready: no, Expired: unknown, Progress: Stalled, Wait: time.Second}
	decide(t, []decideCase{
		{"a new session: read it before the expire call", given(owned), decided{Operation: observe, Wait: pendingGrace}},
		{"a read shows it as the namespace's own for the first time: write the state before the next call",
			given(owned, afterState(observe, active), of(own)),
			decided{Reason: "Expiring", Ready: no, Expired: no, Progress: Reconciling, Wait: noDelay}},
		{"a read shows it as the namespace's own, and the state is known",
			given(owned, showing("Expiring", active), remembering(Memory{PendingSince: now}), afterState(observe, active), of(own)),
			decided{Operation: expire}},
		{"the state is written, and the read was a moment ago",
			given(owned, showing("Expiring", active), proven(time.Second)), decided{Operation: expire}},
		{"the read was too long ago: read it again",
			given(owned, showing("Expiring", active), proven(time.Minute+time.Second)), decided{Operation: observe}},
		{"the namespace has another word since the read: read it again",
			given(owned, showing("Expiring", active), proven(time.Second), func(f *Input) { f.Self = others }),
			decided{Operation: observe}},
		{"the account has other credentials since the read: read it again",
			given(owned, showing("Expiring", active), proven(time.Second), func(f *Input) { f.AccessEpoch = 2 }),
			decided{Operation: observe}},
		{"another's session shows a word that the class does not list: the word is not shown",
			given(owned, after(observe, call.Result{
				Outcome: v1alpha1.OutcomeUnexpectedResponse, Message: "it shows the status \"disputed\"",
			}), of(others)), notOwned},
		{"a read shows it as another's", given(owned, afterState(observe, active), of(others)), notOwned},
		{"a read shows it as nobody's", given(owned, afterState(observe, active), of("")), notOwned},
		{"the namespace has no word of its own, and nobody's session is not its",
			given(owned, wordless, afterState(observe, active), of("")),
			decided{Reason: "OwnershipIncomplete", Ready: no, Expired: unknown, Progress: Stalled}},
		{"another's session is expired: its state is not shown", given(owned, afterState(observe, expired), of(others)), notOwned},
		{"another's session is being paid", given(owned, afterState(observe, processing), of(others)), notOwned},
		{"another's session should be active: its state is not shown, either",
			given(owned, with(gen.Active), afterState(observe, active), of(others)), notOwned},
		{"a read shows a state, and not which session it is about: it proves nothing, and the next one waits",
			given(owned, showing("Expiring", active), afterState(observe, active)),
			decided{Reason: "UnexpectedResponse", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
		{"a read shows an end, and not which session it is about",
			given(owned, afterState(observe, expired)),
			decided{Reason: "UnexpectedResponse", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
		{"a read shows no session: its own cause counts",
			given(owned, afterOutcome(observe, v1alpha1.OutcomeUnavailable)),
			decided{Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
		{"a read shows it expired, and as the namespace's own",
			given(owned, afterState(observe, expired), of(own)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"the expire call was refused: a read settles it, and each further call needs another read",
			given(owned, showing("Expiring", active), proven(0), afterOutcome(expire, v1alpha1.OutcomeRefused)),
			decided{Operation: observe}},
		{"the expire call was accepted, and its reply shows no owner",
			given(owned, showing("Expiring", active), proven(0), afterState(expire, expired)),
			decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"the credentials are rejected for expire calls: no read for a call that is declined",
			given(owned, showing("CredentialsRejected", active), remembering(Memory{Self: own}),
				func(f *Input) { f.ExpireBlocked = true }), decided{Operation: expire}},
		{"the credentials are rejected for expire calls, and it is its turn to probe: read it first",
			given(owned, showing("CredentialsRejected", active), remembering(Memory{Self: own}), mayProbe,
				func(f *Input) { f.ExpireBlocked = true }), decided{Operation: observe}},
		{"an expire call got no reply, and a read shows it active: the call is repeated, as without a rule",
			given(owned, showing("ProviderUnavailable", active), remembering(Memory{Self: own, ActedAt: now.Add(-time.Second)}),
				afterState(observe, active), of(own)), decided{Operation: expire}},
		{"an expire call was accepted, and a read shows it active: wait",
			given(owned, showing("Expiring", active), remembering(Memory{Self: own, Expire: EndingAccepted, ActedAt: now}),
				afterState(observe, active), of(own)),
			decided{Reason: "AwaitingConfirmation", Ready: no, Expired: no, Progress: Reconciling, Wait: time.Second}},
		{"not owned before, and the next read is not due",
			given(owned, showing("NotOwned", ""), remembering(Memory{Self: own, NextCallAt: now.Add(time.Hour)})),
			decided{Wait: time.Hour}},
		{"not owned before, and the namespace has another word now",
			given(owned, showing("NotOwned", ""), remembering(Memory{Self: others, NextCallAt: now.Add(time.Hour)})),
			decided{Operation: observe}},
		{"not owned before, and the spec was edited",
			given(owned, showing("NotOwned", ""), remembering(Memory{Self: own, NextCallAt: now.Add(time.Hour)}), specEdited),
			decided{Operation: observe, Wait: pendingGrace}},
		{"closed, and a refresh shows it as another's: what was known stays",
			given(owned, showing("Expired", expired), with(gen.ReconcileAt("1")), remembering(Memory{Refresh: "1"}),
				afterState(observe, active), of(others)),
			decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"suspended while the read was in flight: the proof is dropped",
			given(owned, suspended, showing("Expiring", active), afterState(observe, active), of(own)),
			decided{Reason: "Suspended", Ready: unknown, Expired: no}},
		{"the rule warns only: no read before the call", given(warned), decided{Operation: expire, Wait: pendingGrace}},
		{"the rule warns only, and a read shows it as another's",
			given(warned, with(gen.Active), afterState(observe, active), of(others)),
			decided{Reason: "Observed", Ready: yes, Expired: no, Wait: poll}},
	})
}

// TestOwnershipProofs checks what a decision remembers of a read.
func TestOwnershipProofs(t *testing.T) {
	for _, tc := range []struct {
		reason string
		input  Input
		proven bool
	}{
		{"the namespace's own", given(owned, showing("Expiring", active), afterState(observe, active), of(own)), true},
		{"the namespace's own, and the state has to be written first", given(owned, afterState(observe, active), of(own)), true},
		{"another's", given(owned, afterState(observe, active), of(others)), false},
		{"the expire call was made",
			given(owned, showing("Expiring", active), proven(0), afterOutcome(expire, v1alpha1.OutcomeRefused)), false},
		{"the expire call was turned away, and needs no other read",
			given(owned, showing("Expiring", active), proven(0), afterOutcome(expire, v1alpha1.OutcomeThrottled)), true},
		{"suspended", given(owned, suspended, showing("Expiring", active), proven(0)), false},
		{"the provider is gone", given(owned, missing, showing("Expiring", active), proven(0)), false},
		{"it should be active by now",
			given(owned, showing("Expiring", active), proven(0), with(gen.Active), specEdited), false},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			action := Decide(tc.input)
			if got := !action.Memory.Owned.At.IsZero(); got != tc.proven {
				t.Errorf("proven: %v, want %v", got, tc.proven)
			}
			if isExpiry := action.Operation == expire; isExpiry != !action.Proof.At.IsZero() || isExpiry != action.NeedsProof {
				t.Errorf("%s is proven by %+v, needs a proof: %v", action.Operation, action.Proof, action.NeedsProof)
			}
		})
	}
}

// TestOwnershipWarnsOnce checks that a rule that warns only tells a person once.
func TestOwnershipWarnsOnce(t *testing.T) {
	first := Decide(given(warned, with(gen.Active), afterState(observe, active), of(others)))
	again := Decide(given(warned, with(gen.Active), showing("Observed", active), afterState(observe, active), of(others),
		func(f *Input) { f.Memory = first.Memory }))
	fixed := Decide(given(warned, with(gen.Active), showing("Observed", active), afterState(observe, active), of(own),
		func(f *Input) { f.Memory = again.Memory }))
	broken := Decide(given(warned, with(gen.Active), showing("Observed", active), afterState(observe, active), of(""),
		func(f *Input) { f.Memory = fixed.Memory }))
	for i, want := range []bool{true, false, false, true} {
		if got := []Action{first, again, fixed, broken}[i].Foreign; got != want {
			t.Errorf("read %d warns: %v, want %v", i+1, got, want)
		}
	}
}

// TestDeletionOfForeign decides about deletions where the account has an ownership rule.
func TestDeletionOfForeign(t *testing.T) {
	for _, tc := range []struct {
		reason    string
		input     Input
		operation v1alpha1.Operation
		release   bool
	}{
		{"never read: read it first", given(owned, deleting, protected, with(gen.Active)), observe, false},
		{"the namespace's own, and its state is known",
			given(owned, deleting, protected, showing("Observed", active), afterState(observe, active), of(own)), expire, false},
		{"another's: one reply may be wrong",
			given(owned, deleting, protected, afterState(observe, active), of(others)), "", false},
		{"another's, and no call can expire it: one reply may be wrong",
			given(owned, deleting, protected, afterState(observe, active), of(others), unexpirable), "", false},
		{"another's, twice in a row",
			given(owned, deleting, protected, foreignFor(missingInterval), afterState(observe, active), of(others)), "", true},
		{"another's, twice within a moment",
			given(owned, deleting, protected, foreignFor(time.Second), afterState(observe, active), of(others)), "", false},
		{"nobody's, twice in a row",
			given(owned, deleting, protected, foreignFor(missingInterval), afterState(observe, active), of("")), "", true},
		{"another's, twice in a row, and expired",
			given(owned, deleting, protected, foreignFor(missingInterval), afterState(observe, expired), of(others)), "", true},
		{"a read shows that no call can expire a session, and not which one",
			given(owned, deleting, protected, foreignFor(missingInterval), afterState(observe, active), unexpirable), "", false},
		{"a page of something in between says nothing about the owner",
			given(owned, deleting, protected, foreignFor(missingInterval),
				afterOutcome(observe, v1alpha1.OutcomeUnexpectedResponse)), "", false},
		{"another's by the status: a read comes first, because marks can change",
			given(owned, deleting, protected, showing("NotOwned", ""), remembering(Memory{Self: own, Deleting: true})), observe, false},
		{"it cannot be read now: hold",
			given(owned, deleting, protected, afterOutcome(observe, v1alpha1.OutcomeUnavailable)), "", false},
		{"the namespace has no word of its own: hold",
			given(owned, wordless, deleting, protected), "", false},
		{"the namespace has lost its word, and a read that was in flight shows an owner: hold",
			given(owned, wordless, deleting, protected, showing("Observed", active), afterState(observe, active), of(own)), "", false},
		{"the namespace has lost its word, and a read shows that no call can expire the session: hold",
			given(owned, wordless, deleting, protected, afterState(observe, active), of(others), unexpirable), "", false},
		{"another's session shows a word that the class does not list",
			given(owned, deleting, protected, foreignFor(missingInterval),
				afterOutcome(observe, v1alpha1.OutcomeUnexpectedResponse), of(others)), "", true},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			action := Decide(tc.input)
			if action.Operation != tc.operation || action.Release != tc.release {
				t.Errorf("%s, release %v; want %s, %v", action.Operation, action.Release, tc.operation, tc.release)
			}
			if tc.release && action.LeavesPayable == "" {
				t.Error("it is released silently")
			}
		})
	}
}
