// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"slices"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

const (
	// maxHold is the longest time between two looks at a deletion that is held.
	maxHold = 5 * time.Minute
	// missingInterval lies between the two answers that must say the same of a session which was never seen.
	missingInterval = 10 * time.Second

	waysOut = " The deletion of this object waits for it. To let the object go and leave the session as it is, set spec.deletionPolicy: Retain."
)

// HasFinalizer reports whether a session bears our finalizer.
func HasFinalizer(session *v1alpha1.PaymentSession) bool {
	return slices.Contains(session.Finalizers, v1alpha1.ExpireFinalizer)
}

// WantsFinalizer reports whether a session that is not being deleted should bear our finalizer: it does until it can no longer
// be paid, so that finished sessions need no operator.
func WantsFinalizer(session *v1alpha1.PaymentSession) bool {
	return session.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain && !session.Status.State.Closed()
}

// NeedsProvider reports whether a session has unfinished business with its provider: it bears the finalizer or should, or it lives, should
// be expired and is not closed.
func NeedsProvider(session *v1alpha1.PaymentSession, now time.Time) bool {
	if HasFinalizer(session) {
		return true
	}
	lives := session.DeletionTimestamp.IsZero() && !session.Status.State.Closed()
	return lives && (WantsFinalizer(session) || DesiredBySpec(session, now) == v1alpha1.DesiredStateExpired)
}

// ReleasedAtOnce reports whether a session that is being deleted is released before anything is looked up.
func ReleasedAtOnce(session *v1alpha1.PaymentSession, uninstalling bool) bool {
	return session.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain || uninstalling || session.Status.State.Closed()
}

func (d *decision) deleting() bool { return !d.Session.DeletionTimestamp.IsZero() }

// recognized reports whether the provider has ever answered an expire call as for a session that it knows.
func (d *decision) recognized() bool { return d.memory.Recognized || d.Session.Status.Recognized }

// seen reports whether the provider has ever shown that it knows the session.
func (d *decision) seen() bool {
	return d.Session.Status.State != v1alpha1.SessionStateUnknown || d.recognized()
}

// decideDeletion decides about a session that is being deleted, by the table of the design's section 4.
func (d *decision) decideDeletion() Action {
	switch {
	case !HasFinalizer(d.Session):
		return Action{Memory: d.memory}
	case ReleasedAtOnce(d.Session, d.Uninstalling):
		return d.release("")
	case d.provenClosed():
		return d.releaseClosed()
	case d.hopeless() != "":
		return d.release(d.hopeless())
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

// hopeless says why no call can ever expire the session; empty where one may.
func (d *decision) hopeless() string {
	switch {
	case d.neverValid():
		return "its id is not one of the provider's"
	case d.shows(v1alpha1.ReasonExpireUnsupported), d.outcomeIs(v1alpha1.OutcomeUnsupported):
		return "the provider cannot expire it by a call: it stays payable until it runs out"
	default:
		return ""
	}
}

// takenOver reports whether another object wants active what this one wanted active itself, as after a rename in Git.
func (d *decision) takenOver() bool {
	return d.Duplicate && DesiredBySpec(d.Session, d.Now) == v1alpha1.DesiredStateActive
}

// served reports whether the only obstacle is that the namespace is no longer allowed. One that was served keeps its right to
// expire what it opened.
func (d *decision) served() bool {
	return d.Obstacle.Reason == v1alpha1.ReasonNamespaceNotAllowed && d.seen()
}

// neverValid reports whether the class refuses the session's id, or did before where nobody can ask it now. A session that the
// provider has shown proves that it is the class that is wrong.
func (d *decision) neverValid() bool {
	return !d.seen() && (d.InvalidSessionID || d.Obstacle != nil && d.shows(v1alpha1.ReasonInvalidSessionID))
}

func (d *decision) outcomeIs(outcome v1alpha1.Outcome) bool {
	return d.Outcome != nil && d.Outcome.Result.Outcome == outcome
}

// hold says of an object that is being deleted that its deletion waits for what the verdict says.
func (d *decision) hold(verdict *Verdict) {
	if d.deleting() {
		verdict.Holds = true
		verdict.Message += waysOut
	}
}

func (d *decision) release(loud string) Action {
	return Action{Release: true, Loud: loud, Memory: d.memory}
}

// handOver releases a session without a call: it is another object's.
func (d *decision) handOver() Action {
	action := d.release("")
	action.HandedOver = true
	return action
}

// releaseClosed releases a session that the provider has just shown to be closed. Its status is written only for those who hold the
// object with a finalizer of their own: without one it is gone with the next write.
func (d *decision) releaseClosed() Action {
	action := d.release("")
	if rest := d.stillPayable(); rest != "" {
		action.Loud = "the session is closed, and still payable is " + rest
	}
	if len(d.Session.Finalizers) > 1 {
		action.Verdict = d.verdict(d.reasonForState(d.outcomeState()), string(d.outcomeState()))
	}
	return action
}

// handleMissing releases a session that the provider does not know and never knew, once it has said so twice in a row. An account that
// has not found any session since its endpoint or its credentials changed may be the wrong one: it must say so for longer.
func (d *decision) handleMissing() Action {
	if d.memory.MissingSince.IsZero() || d.memory.MissingAccess != d.Outcome.Access {
		d.memory.MissingSince, d.memory.MissingAccess = d.Now, d.Outcome.Access
	}
	left := missingInterval - d.Now.Sub(d.memory.MissingSince)
	if !d.AccountFound {
		left = Patience - d.Now.Sub(d.memory.MissingSince)
	}
	if left <= 0 {
		return d.release("the provider does not know it")
	}
	action := d.conclude(v1alpha1.ReasonSessionNotFound, "")
	action.Wait = min(left, max(missingInterval, d.backoff(maxBackoff)))
	action.Memory.NextCallAt = d.Now.Add(action.Wait)
	return action
}
