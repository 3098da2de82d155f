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

// ReleasedAtOnce reports whether a session that is being deleted is let go before anything is looked up.
func ReleasedAtOnce(session *v1alpha1.PaymentSession, uninstalling bool) bool {
	return session.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain || uninstalling || session.Status.State.Closed()
}

func (f Facts) deleting() bool { return !f.Session.DeletionTimestamp.IsZero() }

// seen reports whether the provider has ever told the session's state.
func (f Facts) seen() bool { return f.Session.Status.State != v1alpha1.SessionStateUnknown }

// decideDeletion decides about a session that is being deleted, by the table of the design's section 4.
func (f Facts) decideDeletion() Action {
	switch {
	case !HasFinalizer(f.Session):
		return Action{Memory: f.Memory}
	case ReleasedAtOnce(f.Session, f.Uninstalling):
		return f.release("")
	case f.heardTheEnd():
		return f.releaseClosed()
	case f.neverValid():
		return f.release("its id is not one of the provider's")
	case f.saidBefore(v1alpha1.ReasonExpireUnsupported), f.heardOutcome(v1alpha1.OutcomeUnsupported):
		return f.release("the provider cannot expire it by a call: it stays payable until it runs out")
	case f.Session.Spec.Suspend:
		return f.conclude(v1alpha1.ReasonSuspended, "")
	case f.Twin:
		return f.release("")
	case f.Obstacle != nil && !f.served():
		return f.obstructed()
	case f.InvalidSessionID:
		return f.conclude(v1alpha1.ReasonInvalidSessionID, f.SessionIDName)
	case f.heardOutcome(v1alpha1.OutcomeNotFound) && !f.seen():
		return f.hearMissing()
	case f.Heard != nil:
		return f.hear()
	default:
		return f.ask()
	}
}

// served reports whether the only obstacle is that the namespace is no longer allowed. One that was served keeps its right to
// expire what it opened.
func (f Facts) served() bool {
	return f.Obstacle.Reason == v1alpha1.ReasonNamespaceNotAllowed && f.seen()
}

// neverValid reports whether the class refuses the session's id, or did before where nobody can ask it now. A session that the
// provider has shown proves that it is the class that is wrong.
func (f Facts) neverValid() bool {
	return !f.seen() && (f.InvalidSessionID || f.Obstacle != nil && f.saidBefore(v1alpha1.ReasonInvalidSessionID))
}

func (f Facts) saidBefore(reason string) bool {
	ready := f.ready()
	return ready != nil && ready.Reason == reason
}

func (f Facts) heardOutcome(outcome v1alpha1.Outcome) bool {
	return f.Heard != nil && f.Heard.Result.Outcome == outcome
}

// hold says of an object that is being deleted that its deletion waits for what the verdict says.
func (f Facts) hold(verdict *Verdict) {
	if f.deleting() {
		verdict.Holds = true
		verdict.Message += waysOut
	}
}

func (f Facts) release(loud string) Action {
	return Action{Release: true, Loud: loud, Memory: f.Memory}
}

// releaseClosed lets go of a session that the provider has just shown to be closed. Its status is written only for those
// who hold the object with a finalizer of their own: without one it is gone with the next write.
func (f Facts) releaseClosed() Action {
	action := f.release("")
	if len(f.Session.Finalizers) > 1 {
		action.Verdict = f.verdict(f.reasonForState(f.Heard.Result.State), string(f.Heard.Result.State))
	}
	return action
}

// hearMissing lets go of a session that the provider does not know and never knew, once it has said so twice.
func (f Facts) hearMissing() Action {
	if f.Memory.MissingSince.IsZero() {
		f.Memory.MissingSince = f.Now
	}
	left := missingInterval - f.Now.Sub(f.Memory.MissingSince)
	if left <= 0 {
		return f.release("the provider does not know it")
	}
	action := f.conclude(v1alpha1.ReasonSessionNotFound, "")
	action.Wait, action.Memory.NextCallAt = left, f.Now.Add(left)
	return action
}
