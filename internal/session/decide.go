// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// maxLookLength is how much of the reconcile-at annotation counts: an annotation may be longer than a status field.
const maxLookLength = 256

// Decide says what to do about a session.
func Decide(f Facts) Action {
	if wish := f.wish(); f.Memory.Wish != wish {
		f.Memory = Memory{Wish: wish, WishedAt: f.Now, ActedAt: f.Memory.ActedAt}
	}
	if f.deleting() {
		if !f.Memory.Deleting {
			// What was waited for patiently before is tried at once now that somebody waits for it.
			f.Memory.Deleting, f.Memory.NextCallAt, f.Memory.Attempts = true, time.Time{}, 0
		}
		return f.decideDeletion()
	}
	action := f.decideLife()
	action.Release = HasFinalizer(f.Session) && !WantsFinalizer(f.Session)
	return action
}

// decideLife decides about a session that is not being deleted.
func (f Facts) decideLife() Action {
	switch {
	case f.Session.Spec.Suspend:
		return f.conclude(v1alpha1.ReasonSuspended, "")
	case f.closed() && f.Heard == nil && f.look() == "":
		return f.rest()
	case f.closed() && f.Heard == nil && (f.Obstacle != nil || f.InvalidSessionID):
		// The look that was asked for cannot be made, and what was closed stays so.
		f.Memory.Look = f.look()
		return f.rest()
	case f.Obstacle != nil && !f.heardTheEnd():
		return f.obstructed()
	case f.InvalidSessionID:
		f.Memory.Look = f.look()
		return f.conclude(v1alpha1.ReasonInvalidSessionID, f.SessionIDName)
	case f.Heard != nil:
		return f.hear()
	default:
		return f.ask()
	}
}

// Wish is what a session should be at a time: expired by its desiredState, because expireAt has come, now or before it was
// moved, or because it is being deleted.
func Wish(session *v1alpha1.PaymentSession, now time.Time) v1alpha1.DesiredState {
	at := session.Spec.ExpireAt
	switch {
	case session.Spec.DesiredState == v1alpha1.DesiredStateExpired,
		session.Status.ExpiryStartedAt != nil,
		at != nil && !at.After(now),
		!session.DeletionTimestamp.IsZero() && session.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain:
		return v1alpha1.DesiredStateExpired
	default:
		return v1alpha1.DesiredStateActive
	}
}

func (f Facts) wish() v1alpha1.DesiredState { return Wish(f.Session, f.Now) }

// scheduled reports whether expireAt alone is the cause of an expiry.
func (f Facts) scheduled() bool {
	return f.Session.Spec.DesiredState != v1alpha1.DesiredStateExpired && !f.deleting() && f.wish() == v1alpha1.DesiredStateExpired
}

// mayExpire reports whether an expire call is wanted and allowed.
func (f Facts) mayExpire() bool {
	return f.Memory.Wish == v1alpha1.DesiredStateExpired && !f.DryRun
}

// heardTheEnd reports whether the call that came back has shown that the session can no longer be paid.
func (f Facts) heardTheEnd() bool { return f.Heard != nil && f.Heard.Result.State.Closed() }

func (f Facts) closed() bool { return f.Session.Status.State.Closed() }

// look is the value of the reconcile-at annotation that was not handled yet; empty for none.
func (f Facts) look() string { return look(f.Session) }

func look(session *v1alpha1.PaymentSession) string {
	value := session.Annotations[v1alpha1.ReconcileAtAnnotation]
	if len(value) > maxLookLength {
		value = strings.ToValidUTF8(value[:maxLookLength], "")
	}
	if value == session.Status.LastHandledReconcileAt {
		return ""
	}
	return value
}

// AtRest reports whether nothing that becomes of its provider can matter to a session any more: it is closed and was let go of, and
// nobody asks for another look.
func AtRest(session *v1alpha1.PaymentSession) bool {
	return session.Status.State.Closed() && !HasFinalizer(session) && look(session) == ""
}

func (f Facts) ready() *metav1.Condition {
	return apimeta.FindStatusCondition(f.Session.Status.Conditions, v1alpha1.ConditionReady)
}

// told reports whether the status already says this of the present spec.
func (f Facts) told(reason string) bool {
	ready := f.ready()
	return ready != nil && ready.Reason == reason && ready.ObservedGeneration == f.Session.Generation
}

func (f Facts) stalled() bool {
	return apimeta.IsStatusConditionTrue(f.Session.Status.Conditions, v1alpha1.ConditionStalled)
}

// rest is for a session that can no longer be paid: no call, the conditions that its wish gives, and its time to live.
func (f Facts) rest() Action {
	action := f.conclude(f.reasonForState(f.Session.Status.State), f.stateText())
	ttl := f.Session.Spec.TTLAfterClosed
	if ttl == nil || f.Session.Status.ClosedAt == nil {
		return action
	}
	if left := f.Session.Status.ClosedAt.Add(ttl.Duration).Sub(f.Now); left > 0 {
		action.Wait = left
		return action
	}
	action.Delete = true
	return action
}

// stateText is the detail that the reason Observed needs.
func (f Facts) stateText() string { return string(f.Session.Status.State) }

// reasonForState is the reason for a state that the provider has shown and that needs no further call now.
func (f Facts) reasonForState(state v1alpha1.SessionState) string {
	switch {
	case f.Memory.Wish == v1alpha1.DesiredStateExpired && state.Closed():
		return reasonForClosed[state]
	case f.Memory.Wish == v1alpha1.DesiredStateExpired && state == v1alpha1.SessionStateProcessing:
		return v1alpha1.ReasonPaymentInProgress
	case f.Memory.Wish == v1alpha1.DesiredStateExpired:
		return v1alpha1.ReasonWouldExpire
	case f.Session.Spec.ExpireAt != nil && !state.Closed():
		return v1alpha1.ReasonScheduled
	default:
		return v1alpha1.ReasonObserved
	}
}

func (f Facts) obstructed() Action {
	// What comes back after the obstacle has gone is worth a call at once.
	f.Memory.NextCallAt = time.Time{}
	return f.conclude(f.Obstacle.Reason, f.Obstacle.Message)
}

// ask decides on the next call where none has come back.
func (f Facts) ask() Action {
	if f.look() == "" && f.settled() {
		return Action{Memory: f.Memory}
	}
	if f.Memory.Next != "" {
		return f.call(f.Memory.Next)
	}
	operation, at := f.nextCall()
	if f.look() != "" {
		at = f.Now
	}
	if operation == "" || at.After(f.Now) {
		return f.wait(at)
	}
	f.Memory.Look = f.look()
	return f.call(operation)
}

// settled reports whether the status says something of the present spec that only a person can change.
func (f Facts) settled() bool {
	return !f.deleting() && f.stalled() && (f.told(v1alpha1.ReasonSessionNotFound) || f.told(v1alpha1.ReasonExpireUnsupported))
}

// nextCall is the operation to ask for and when; empty where there is nothing more to ask.
func (f Facts) nextCall() (v1alpha1.Operation, time.Time) {
	if f.rejected() && f.Memory.AccountEpoch != f.AccountEpoch {
		f.Memory.NextCallAt = f.Now
	}
	f.Memory.NextCallAt = f.noLaterThanPolled(f.Memory.NextCallAt)
	if f.mayExpire() {
		if f.readFirst() {
			return v1alpha1.OperationObserve, f.Memory.NextCallAt
		}
		return v1alpha1.OperationExpire, f.Memory.NextCallAt
	}
	switch {
	case f.Session.Status.State == v1alpha1.SessionStateUnknown, !f.Memory.NextCallAt.IsZero(), f.troubled():
		return v1alpha1.OperationObserve, f.Memory.NextCallAt
	case f.PollInterval == 0:
		return "", time.Time{}
	default:
		// After a restart nobody knows when the session was last read. Spread the first reads.
		return v1alpha1.OperationObserve, f.Now.Add(time.Duration(f.Jitter * float64(f.PollInterval)))
	}
}

// readFirst reports whether the state has to be read before another expire call: it may have settled by itself.
func (f Facts) readFirst() bool {
	ready := f.ready()
	if ready == nil {
		return false
	}
	switch ready.Reason {
	case v1alpha1.ReasonAwaitingConfirmation, v1alpha1.ReasonPaymentInProgress, v1alpha1.ReasonExpireRefused:
		return true
	default:
		return f.look() != ""
	}
}

// rejected reports whether the account's credentials stood in the way when last tried.
func (f Facts) rejected() bool {
	ready := f.ready()
	return ready != nil && (ready.Reason == v1alpha1.ReasonCredentialsRejected || ready.Reason == v1alpha1.ReasonNotAllowed)
}

// troubled reports whether the last look at an active session told nothing of its state.
func (f Facts) troubled() bool {
	ready := f.ready()
	return ready == nil || ready.Status != metav1.ConditionTrue
}

// wait lets the time pass until a call is due or expireAt has come. The conditions are told again where the spec has
// changed since: they still hold.
func (f Facts) wait(at time.Time) Action {
	action := Action{Memory: f.Memory}
	var call time.Duration
	if !at.IsZero() {
		action.Memory.NextCallAt, call = at, at.Sub(f.Now)
	}
	action.Wait = f.untilLook("", Done, call)
	ready := f.ready()
	switch {
	case ready == nil:
	case f.Memory.Wish == v1alpha1.DesiredStateActive && ready.Status == metav1.ConditionTrue:
		action.Verdict = f.verdict(f.reasonForState(f.Session.Status.State), f.stateText())
	case ready.ObservedGeneration != f.Session.Generation:
		action.Verdict = f.restated(ready)
	}
	return action
}

// call asks for an operation. Where the account holds its calls back that may take long, so that it is told why.
func (f Facts) call(operation v1alpha1.Operation) Action {
	f.Memory.Next = operation
	f.Memory.Asked = f.Memory.Asked || operation == v1alpha1.OperationExpire
	action := Action{
		Call:    operation,
		Probe:   f.rejected() && f.Memory.AccountEpoch == f.AccountEpoch,
		Confirm: operation == v1alpha1.OperationExpire && (f.scheduled() || f.deleting()),
		Memory:  f.Memory,
	}
	if ready := f.ready(); f.Outage && f.Heard == nil && !f.closed() && (ready == nil || ready.ObservedGeneration != f.Session.Generation) {
		action.Verdict = f.verdict(v1alpha1.ReasonProviderUnavailable, "")
		// The look that was asked for is still to come.
		action.Verdict.Handled = ""
		f.hold(action.Verdict)
	}
	return action
}
