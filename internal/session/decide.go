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

// maxRefreshLength is the length to which the reconcile-at annotation is cut: an annotation may be longer than a
// status field.
const maxRefreshLength = 256

// decision is the working state of one decision: the input, which stays as it is, and the memory, which changes.
type decision struct {
	Input

	memory Memory
	// warnsNow is true where a person has to be told that the session is not the namespace's own.
	warnsNow bool
}

// Decide returns what to do about a session.
func Decide(in Input) Action {
	d := &decision{Input: in, memory: in.Memory}
	d.catchUp()
	d.dropOutdated()
	d.learn()
	if d.deleting() {
		return d.decideDeletion()
	}
	action := d.decideLife()
	action.Foreign = d.warnsNow
	// A closed session that turns out to be open again keeps its finalizer.
	action.Release = HasFinalizer(d.Session) && !WantsFinalizer(d.Session) && (d.stateAfter().Closed() || d.retains())
	return action
}

// catchUp drops memory that belongs to another desired state, to another endpoint, or to the time before the
// deletion.
func (d *decision) catchUp() {
	before := d.memory
	if desired := Desired(d.Session, d.Now); before.Desired != desired {
		d.memory = Memory{
			Desired: desired, DesiredSince: d.desiredSince(before.Desired == ""),
			Endpoint: before.Endpoint, ActedAt: before.ActedAt, Recognized: before.Recognized, Warned: before.Warned,
			Refresh: before.Refresh, NextRefreshAt: before.NextRefreshAt,
		}
	}
	if d.Endpoint != "" && d.memory.Endpoint != d.Endpoint {
		if d.memory.Endpoint != "" {
			d.memory = Memory{
				Desired: d.memory.Desired, DesiredSince: d.memory.DesiredSince, NextRefreshAt: d.memory.NextRefreshAt,
			}
		}
		d.memory.Endpoint = d.Endpoint
	}
	if d.deleting() && !d.memory.Deleting {
		// Somebody waits for the deletion now: do not sit out a long backoff.
		d.memory.Deleting, d.memory.NextCallAt, d.memory.Attempts = true, time.Time{}, 0
	}
}

// dropOutdated drops an outcome that shows a closed session as open, unless the call was made for a refresh. Nothing
// else reads a closed session: the call began before another manager process saw the end.
func (d *decision) dropOutdated() {
	if d.Outcome != nil && !d.Outcome.Refresh && d.closed() && !d.provenClosed() {
		d.Outcome, d.memory.Next = nil, ""
	}
}

// desiredSince returns when the desired state became what it is, as far as the object shows it. After a restart the
// memory is empty; an object that is not Ready has then not been as desired since its Ready condition changed.
func (d *decision) desiredSince(forgotten bool) time.Time {
	ready := d.ready()
	switch {
	case d.deleting():
		return d.Session.DeletionTimestamp.Time
	case d.scheduled():
		return d.Session.Spec.ExpireAt.Time
	case forgotten && ready == nil && !d.Session.CreationTimestamp.IsZero():
		return d.Session.CreationTimestamp.Time
	case forgotten && ready != nil && ready.Status != metav1.ConditionTrue:
		return ready.LastTransitionTime.Time
	default:
		return d.Now
	}
}

// decideLife decides about a session that is not being deleted.
func (d *decision) decideLife() Action {
	switch {
	case d.Outcome == nil && d.unaffected():
		return d.stay()
	case d.Session.Spec.Suspend:
		return d.conclude(v1alpha1.ReasonSuspended, "")
	case d.closed() && d.outcomeState() == v1alpha1.SessionStateUnknown && !d.refreshing():
		return d.stayClosed()
	case d.Obstacle != nil && !d.provenClosed():
		return d.obstructed()
	case d.InvalidSessionID && d.Outcome == nil:
		return d.conclude(v1alpha1.ReasonInvalidSessionID, d.SessionIDName)
	case d.Outcome != nil:
		return d.handleOutcome()
	default:
		return d.plan()
	}
}

// unaffected reports whether an obstacle or a suspension does not matter, because no call can change what the status
// shows.
func (d *decision) unaffected() bool {
	obstructed := d.Obstacle != nil
	suspended := d.Session.Spec.Suspend
	return (suspended || obstructed) && d.settled() || obstructed && !suspended && d.row().checked
}

// refreshing reports whether a closed session has to be read because of the annotation: the read is due or under way.
// A read that fails does not reopen the session, and one that cannot be made waits.
func (d *decision) refreshing() bool {
	if d.Outcome != nil || d.refresh() == "" || d.Obstacle != nil || d.InvalidSessionID {
		return false
	}
	return d.memory.Next != "" || !d.Now.Before(d.memory.NextRefreshAt)
}

// Desired returns the state that a session should have at a time. It should be expired if desiredState says so, if
// expireAt has passed, or if it is being deleted.
func Desired(session *v1alpha1.PaymentSession, now time.Time) v1alpha1.DesiredState {
	if !session.DeletionTimestamp.IsZero() && session.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain {
		return v1alpha1.DesiredStateExpired
	}
	return DesiredBySpec(session, now)
}

// DesiredBySpec returns the state that a session should have at a time by its spec alone, whether or not it is being
// deleted.
func DesiredBySpec(session *v1alpha1.PaymentSession, now time.Time) v1alpha1.DesiredState {
	at := session.Spec.ExpireAt
	if session.Spec.DesiredState == v1alpha1.DesiredStateExpired || at != nil && !at.After(now) {
		return v1alpha1.DesiredStateExpired
	}
	return v1alpha1.DesiredStateActive
}

// scheduled reports whether expireAt alone is the cause of an expiry.
func (d *decision) scheduled() bool {
	return d.Session.Spec.DesiredState != v1alpha1.DesiredStateExpired && !d.deleting() &&
		Desired(d.Session, d.Now) == v1alpha1.DesiredStateExpired
}

// shouldExpire reports whether the session should be expired.
func (d *decision) shouldExpire() bool { return d.memory.Desired == v1alpha1.DesiredStateExpired }

// mayExpire reports whether an expire call is wanted and allowed.
func (d *decision) mayExpire() bool { return d.shouldExpire() && !d.DryRun }

// outcomeState returns the state that the outcome proves; unknown where it proves none. An active session in the
// reply to an expire call proves nothing: the reply may show the session as it was before the call.
func (d *decision) outcomeState() v1alpha1.SessionState {
	switch {
	case d.Outcome == nil, d.foreign(), d.hidesOwner():
		return v1alpha1.SessionStateUnknown
	case d.Outcome.Operation == v1alpha1.OperationExpire && d.Outcome.Result.State == v1alpha1.SessionStateActive:
		return v1alpha1.SessionStateUnknown
	default:
		return d.Outcome.Result.State
	}
}

// provenClosed reports whether the outcome proves that the session can no longer be paid.
func (d *decision) provenClosed() bool { return d.outcomeState().Closed() }

// stateAfter returns the session's state, updated by the outcome.
func (d *decision) stateAfter() v1alpha1.SessionState {
	if state := d.outcomeState(); state != v1alpha1.SessionStateUnknown {
		return state
	}
	return d.Session.Status.State
}

func (d *decision) closed() bool { return d.Session.Status.State.Closed() }

func (d *decision) retains() bool {
	return d.Session.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain
}

// refresh returns the value of the reconcile-at annotation if it has not been handled yet, else "".
func (d *decision) refresh() string { return refresh(d.Session) }

func refresh(session *v1alpha1.PaymentSession) string {
	return Refresh(session.Annotations, session.Status.LastHandledReconcileAt)
}

// Refresh returns the value of the reconcile-at annotation if it is not the one that was handled last, else "".
func Refresh(annotations map[string]string, handled string) string {
	value := annotations[v1alpha1.ReconcileAtAnnotation]
	if len(value) > maxRefreshLength {
		value = strings.ToValidUTF8(value[:maxRefreshLength], "")
	}
	if value == handled {
		return ""
	}
	return value
}

// Finished reports whether a session no longer depends on its provider: it is closed, its finalizer is released, and
// no refresh is requested.
func Finished(session *v1alpha1.PaymentSession) bool {
	return session.Status.State.Closed() && !HasFinalizer(session) && refresh(session) == ""
}

func (d *decision) ready() *metav1.Condition {
	return apimeta.FindStatusCondition(d.Session.Status.Conditions, v1alpha1.ConditionReady)
}

// row returns the row of the reason that the status shows; the zero row where it shows none.
func (d *decision) row() row {
	if ready := d.ready(); ready != nil {
		return table[ready.Reason]
	}
	return row{}
}

// shows reports whether the status shows a reason, whichever generation of the spec it belongs to.
func (d *decision) shows(reason string) bool {
	ready := d.ready()
	return ready != nil && ready.Reason == reason
}

// current reports whether the Ready condition belongs to the present spec.
func (d *decision) current() bool {
	ready := d.ready()
	return ready != nil && ready.ObservedGeneration == d.Session.Generation
}

// stayClosed handles a session that can no longer be paid: it makes no call, sets the conditions and observes the
// time to live.
func (d *decision) stayClosed() Action {
	reason := d.reasonForState(d.Session.Status.State)
	action := d.conclude(reason, string(d.Session.Status.State))
	if pause := d.memory.NextRefreshAt.Sub(d.Now); pause > 0 {
		// The memory of the last refresh is needed until then.
		action.Wait = soonest(action.Wait, pause)
	}
	ttl := d.Session.Spec.TTLAfterClosed
	if ttl == nil || d.Session.Status.ClosedAt == nil || table[reason].keepsObject {
		return action
	}
	if left := d.Session.Status.ClosedAt.Add(ttl.Duration).Sub(d.Now); left > 0 {
		action.Wait = soonest(action.Wait, left)
		return action
	}
	action.Delete = true
	return action
}

// reasonForState returns the reason for a state that the provider has shown and that needs no call now.
func (d *decision) reasonForState(state v1alpha1.SessionState) string {
	switch {
	case d.shouldExpire() && state.Closed() && !d.closedInTime():
		return reasonForClosed[state]
	case d.shouldExpire() && state == v1alpha1.SessionStateProcessing:
		return v1alpha1.ReasonPaymentInProgress
	case d.shouldExpire() && !state.Closed():
		return v1alpha1.ReasonWouldExpire
	case d.Session.Spec.ExpireAt != nil && !state.Closed():
		return v1alpha1.ReasonScheduled
	default:
		return v1alpha1.ReasonObserved
	}
}

// closedInTime reports whether the session was closed before expireAt: what happened until then was as desired.
func (d *decision) closedInTime() bool {
	return d.scheduled() && d.Session.Status.ClosedAt != nil && d.Session.Status.ClosedAt.Before(d.Session.Spec.ExpireAt)
}

func (d *decision) obstructed() Action {
	// Make the call at once when the obstacle is gone.
	d.memory.NextCallAt = time.Time{}
	return d.conclude(d.Obstacle.Reason, d.Obstacle.Message)
}
