// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

const (
	// maxHold is the longest time between two attempts at a deletion that waits.
	maxHold = 5 * time.Minute
	// missingInterval is the time between two "no such session" replies that release a session which was never seen.
	missingInterval = 10 * time.Second

	waysOut = " The deletion of this object waits for that. To delete the object and leave the session as it is, set " +
		"spec.deletionPolicy: Retain."
)

// HasFinalizer reports whether a session has our finalizer.
func HasFinalizer(session *v1alpha1.PaymentSession) bool {
	return slices.Contains(session.Finalizers, v1alpha1.ExpireFinalizer)
}

// WantsFinalizer reports whether a session that is not being deleted should have our finalizer. It should until it
// can no longer be paid, so that the API server can delete a closed session without the operator.
func WantsFinalizer(session *v1alpha1.PaymentSession) bool {
	return session.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain && !session.Status.State.Closed()
}

// NeedsProvider reports whether a session still needs its provider: it has the finalizer or should have it, or it is
// not being deleted, should be expired and is not closed.
func NeedsProvider(session *v1alpha1.PaymentSession, now time.Time) bool {
	if HasFinalizer(session) {
		return true
	}
	lives := session.DeletionTimestamp.IsZero() && !session.Status.State.Closed()
	return lives && (WantsFinalizer(session) || DesiredBySpec(session, now) == v1alpha1.DesiredStateExpired)
}

// ReleasedAtOnce reports whether a session that is being deleted is released before its provider is looked up.
func ReleasedAtOnce(session *v1alpha1.PaymentSession, uninstalling bool) bool {
	return session.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain || uninstalling || session.Status.State.Closed()
}

func (d *decision) deleting() bool { return !d.Session.DeletionTimestamp.IsZero() }

// recognized reports whether the provider has ever answered an expire call as it does for a session that it knows.
func (d *decision) recognized() bool { return d.memory.Recognized || d.Session.Status.Recognized }

// seen reports whether the provider has ever shown that it knows the session.
func (d *decision) seen() bool {
	return d.Session.Status.State != v1alpha1.SessionStateUnknown || d.recognized()
}

// decideDeletion decides about a session that is being deleted. docs/operations.md has the same table for users.
func (d *decision) decideDeletion() Action {
	switch {
	case !HasFinalizer(d.Session):
		return Action{Memory: d.memory}
	case ReleasedAtOnce(d.Session, d.Uninstalling):
		return d.release("")
	case d.provenClosed():
		return d.releaseClosed()
	case d.unexpirable() != "":
		return d.release(d.unexpirable())
	case d.Session.Spec.Suspend:
		return d.conclude(v1alpha1.ReasonSuspended, "")
	case d.takenOver():
		return d.handOver()
	case d.Obstacle != nil && !d.served():
		return d.obstructed()
	case d.InvalidSessionID && d.Outcome == nil:
		return d.conclude(v1alpha1.ReasonInvalidSessionID, d.SessionIDName)
	case d.outcomeIs(v1alpha1.OutcomeNotFound) && !d.seen():
		return d.handleMissing()
	case d.Outcome != nil:
		return d.handleOutcome()
	default:
		return d.plan()
	}
}

// unexpirable returns why no call can ever expire the session, or must not; empty where a call may.
func (d *decision) unexpirable() string {
	if why, known := d.mustNotExpire(); known {
		return why
	}
	switch shown := d.row(); {
	case d.InvalidSessionID && !d.seen():
		return table[v1alpha1.ReasonInvalidSessionID].unexpirable
	case shown.unexpirable != "" && !shown.checked && !d.mayBecomeExpirable(), shown.checked && d.Obstacle != nil && !d.seen():
		return shown.unexpirable
	case d.Outcome != nil && d.Outcome.Result.Unexpirable && !d.recentlyActed():
		return table[v1alpha1.ReasonExpireUnsupported].unexpirable
	case d.Outcome != nil:
		return table[reasonOf[d.Outcome.Result.Outcome]].unexpirable
	default:
		return ""
	}
}

// takenOver reports whether another object wants the session active, as this one did by its spec: for example after a
// rename in Git.
func (d *decision) takenOver() bool {
	return d.Duplicate && DesiredBySpec(d.Session, d.Now) == v1alpha1.DesiredStateActive
}

// served reports whether the obstacle does not stop the deletion, because the operator has served the session before.
// A namespace that is no longer allowed keeps its right to expire what it opened.
func (d *decision) served() bool { return table[d.Obstacle.Reason].servedAnyway && d.seen() }

func (d *decision) outcomeIs(outcome v1alpha1.Outcome) bool {
	return d.Outcome != nil && d.Outcome.Result.Outcome == outcome
}

// hold adds to the verdict of an object that is being deleted that the deletion waits.
func (d *decision) hold(verdict *Verdict) {
	if d.deleting() {
		verdict.Holds = true
		verdict.Message += waysOut
	}
}

// release releases a session. leavesPayable is why it may stay payable; empty where it does not.
func (d *decision) release(leavesPayable string) Action {
	return Action{Release: true, LeavesPayable: leavesPayable, Memory: d.memory}
}

// handOver releases a session without a call, because another object takes it over.
func (d *decision) handOver() Action {
	action := d.release("")
	action.HandedOver = true
	return action
}

// releaseClosed releases a session that has just been proven closed. It writes the status only for others who hold
// the object with a finalizer of their own: without one the object is gone after the release.
func (d *decision) releaseClosed() Action {
	action := d.release("")
	action.LeavesPayable = LeavesPayable(d.stillPayable())
	if len(d.Session.Finalizers) > 1 {
		action.Verdict = d.verdict(d.reasonForState(d.outcomeState()), string(d.outcomeState()))
	}
	return action
}

// LeavesPayable returns the message for a closed session that leaves something payable; empty where it leaves
// nothing.
func LeavesPayable(stillPayable string) string {
	if stillPayable == "" {
		return ""
	}
	return "the session is closed, but this can still be paid: " + stillPayable
}

// handleMissing releases a session that the provider does not know and never knew, after two such replies in a row.
// An account that has not found any session since its endpoint or its credentials changed may be the wrong one: its
// replies must be the same for longer.
func (d *decision) handleMissing() Action {
	if d.memory.MissingSince.IsZero() || d.memory.MissingAccess != d.Outcome.AccessEpoch {
		d.memory.MissingSince, d.memory.MissingAccess = d.Outcome.EndedAt, d.Outcome.AccessEpoch
	}
	// The time between the replies counts, and not the time until they are handled.
	left := missingInterval - d.Outcome.EndedAt.Sub(d.memory.MissingSince)
	if !d.AccountFound {
		left = Patience - d.Outcome.EndedAt.Sub(d.memory.MissingSince)
	}
	if left <= 0 {
		return d.release("the provider does not know it")
	}
	action := d.conclude(v1alpha1.ReasonSessionNotFound, "")
	action.Wait = min(left, max(missingInterval, d.backoff(maxBackoff)))
	action.Memory.NextCallAt = d.Now.Add(action.Wait)
	return action
}
