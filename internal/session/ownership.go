// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
)

// enforced reports whether an expire call needs a read that shows the session as the namespace's own.
func (d *decision) enforced() bool { return d.Ownership == v1alpha1.OwnershipEnforce }

// wordless reports whether the namespace has no word of its own, so that no session can be compared with it. There is
// an obstacle then.
func (d *decision) wordless() bool { return d.enforced() && d.Self == "" && d.Obstacle != nil }

// foreign reports whether the outcome shows that the session is not the namespace's own. It then proves nothing else:
// the status must not show what another namespace's session does.
func (d *decision) foreign() bool { return d.enforced() && d.showsOwner() && !d.isOwn() }

// hidesOwner reports whether the outcome is a read that shows a state and not whose the session is. It proves nothing:
// another read in its place would lead to the next one at once.
func (d *decision) hidesOwner() bool {
	return d.enforced() && d.Outcome != nil && d.Outcome.Operation == v1alpha1.OperationObserve &&
		d.Outcome.Result.State != v1alpha1.SessionStateUnknown && !d.showsOwner()
}

// showsOwner reports whether the outcome is a read that shows whose the session is.
func (d *decision) showsOwner() bool { return d.Outcome != nil && d.Outcome.Result.ShowsOwner }

func (d *decision) isOwn() bool { return d.Self != "" && d.Outcome.Result.Owner == d.Self }

// learnOwner keeps what a read says about the owner.
func (d *decision) learnOwner() {
	if d.Ownership == "" || !d.showsOwner() {
		return
	}
	d.memory.Owned = call.Proof{}
	if d.isOwn() {
		d.memory.ForeignSince = time.Time{}
	} else if d.memory.ForeignSince.IsZero() {
		d.memory.ForeignSince = d.Outcome.EndedAt
	}
	switch {
	case d.Ownership == v1alpha1.OwnershipWarn:
		d.warnsNow = !d.isOwn() && !d.memory.Warned
		d.memory.Warned = !d.isOwn()
	case d.isOwn():
		d.memory.Owned = call.Proof{At: d.Outcome.EndedAt, Access: d.Outcome.AccessEpoch, Self: d.Self}
	}
}

// allowed returns the operation to request, and the read that allows it: another read in place of an expire call that
// none allows.
func (d *decision) allowed(operation v1alpha1.Operation) (v1alpha1.Operation, call.Proof) {
	proof := d.memory.Owned
	switch {
	case operation != v1alpha1.OperationExpire || !d.enforced(), d.ExpireBlocked && !d.MayProbe:
		// The account declines a call for which its credentials are rejected. Without one, there is nothing to read for.
		return operation, call.Proof{}
	case proof.At.IsZero(), proof.At.Before(d.ProofSince), proof.Access != d.AccessEpoch, proof.Self != d.Self:
		return v1alpha1.OperationObserve, call.Proof{}
	default:
		return operation, proof
	}
}

// readForProof reports whether a read was made only to allow the next expire call, after one that nobody knows the
// effect of. Without a rule that call is repeated without a read.
func (d *decision) readForProof() bool {
	return d.enforced() && d.memory.Expire == EndingNone && d.memory.Accepted == 0
}

// handleForeign concludes that a session is another's. A deletion is released after two such reads in a row, because
// one reply may be wrong, and the session would stay payable.
func (d *decision) handleForeign() Action {
	action := d.conclude(v1alpha1.ReasonNotOwned, "")
	if d.deleting() {
		action.Wait = missingInterval
		action.Memory.NextCallAt = d.Now.Add(action.Wait)
	}
	return action
}

// mustNotExpire returns why the session of a deletion must not be expired; empty where that is not certain yet. It is
// known where the session may be another's: nothing else that the reply shows counts then.
func (d *decision) mustNotExpire() (why string, known bool) {
	switch {
	case d.wordless(), d.hidesOwner(), d.foreign() && d.Outcome.EndedAt.Sub(d.memory.ForeignSince) < missingInterval:
		return "", true
	case d.foreign():
		return "the ownership rule of the provider object says that it is not this namespace's", true
	default:
		return "", false
	}
}
