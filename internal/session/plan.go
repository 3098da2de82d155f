// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
)

// plan decides on the next call where no outcome has come back.
func (d *decision) plan() Action {
	if d.memory.Next == v1alpha1.OperationExpire && d.Session.Status.State == v1alpha1.SessionStateProcessing {
		// Another leader has read that a payment is in flight while the call was queued.
		d.memory.Next = ""
	}
	switch {
	case d.dryRunReason() != "":
		return d.conclude(d.dryRunReason(), "")
	case d.settled() && d.refresh() == "":
		return d.stay()
	case d.memory.Next != "":
		return d.request(d.memory.Next)
	}
	operation, at := d.nextCall()
	if d.refresh() != "" {
		at = d.earlier(operation, at, d.memory.NextRefreshAt)
		if operation == "" {
			operation = v1alpha1.OperationObserve
		}
	}
	if operation == "" || at.After(d.Now) {
		return d.wait(at)
	}
	if d.refresh() != "" {
		d.memory.Refresh, d.memory.NextRefreshAt = d.refresh(), d.Now.Add(refreshInterval)
	}
	return d.request(operation)
}

// earlier returns the time of the next call: the earlier of the time when an operation is due and the time when a
// refresh is.
func (d *decision) earlier(operation v1alpha1.Operation, due, refresh time.Time) time.Time {
	if operation != "" && due.Before(refresh) {
		return due
	}
	return refresh
}

// dryRunReason returns the reason that a dry run knows without a call and the status does not show yet; empty for
// none.
func (d *decision) dryRunReason() string {
	state := d.Session.Status.State
	if !d.DryRun || !d.shouldExpire() || state == v1alpha1.SessionStateUnknown || state.Closed() {
		return ""
	}
	ready, reason := d.ready(), d.reasonForState(state)
	if d.shows(reason) {
		if d.current() {
			return ""
		}
		return reason
	}
	if inTrouble := ready != nil && ready.Status != metav1.ConditionTrue; inTrouble && !d.row().acting {
		return ""
	}
	return reason
}

// settled reports whether a session should be expired but shows a reason that no call can change.
func (d *decision) settled() bool {
	return d.shouldExpire() && d.row().final && !d.closed() && !d.mayBecomeExpirable()
}

// mayBecomeExpirable reports whether no call could end the session at the last read, and another read, which a poll or
// a deletion makes, may show that one can.
func (d *decision) mayBecomeExpirable() bool {
	isRead := d.PollInterval > 0 || d.deleting()
	return d.ShowsExpirable && isRead && d.shows(v1alpha1.ReasonExpireUnsupported)
}

// stay keeps a status that no call can change, and repeats it if the spec has changed or a refresh came back.
func (d *decision) stay() Action {
	action := Action{}
	if !d.current() || d.Outcome != nil {
		action.Verdict = d.repeated()
	}
	d.memory.Owned = call.Proof{}
	d.memory.Refresh, d.memory.Next, d.memory.PendingSince = "", "", time.Time{}
	action.Memory = d.memory
	return action
}

// nextCall returns the next operation and its time; no operation where no further call is planned.
func (d *decision) nextCall() (v1alpha1.Operation, time.Time) {
	if d.changed() {
		d.memory.NextCallAt = d.Now
	}
	d.memory.NextCallAt = d.noLaterThanPolled(d.memory.NextCallAt)
	switch {
	case d.mayExpire() && d.readFirst():
		return v1alpha1.OperationObserve, d.memory.NextCallAt
	case d.mayExpire():
		return v1alpha1.OperationExpire, d.memory.NextCallAt
	case d.Session.Status.State == v1alpha1.SessionStateUnknown, !d.memory.NextCallAt.IsZero(), d.troubled():
		return v1alpha1.OperationObserve, d.memory.NextCallAt
	case d.PollInterval == 0:
		return "", time.Time{}
	default:
		// After a restart the time of the last read is unknown. Spread the first reads.
		return v1alpha1.OperationObserve, d.Now.Add(time.Duration(d.Jitter * float64(d.PollInterval)))
	}
}

// changed reports whether a retry might now succeed: the spec or the account has changed, or it is the session's turn
// to probe.
func (d *decision) changed() bool {
	if ready := d.ready(); ready == nil || !d.troubled() {
		return false
	}
	return !d.current() || d.memory.AccountEpoch != d.AccountEpoch || d.memory.Self != d.Self || d.MayProbe
}

// readFirst reports whether the session has to be read before another expire call, because it may have settled
// meanwhile, or because an accepted call may not be visible yet.
func (d *decision) readFirst() bool {
	isAccepted := d.memory.Expire == EndingAccepted || d.memory.Accepted > 0 && d.recentlyActed()
	return isAccepted || d.Session.Status.State == v1alpha1.SessionStateProcessing || d.mayBecomeExpirable() ||
		d.ready() != nil && (d.row().readFirst || d.refresh() != "")
}

// troubled reports whether the session is not Ready and a call may change that.
func (d *decision) troubled() bool {
	ready := d.ready()
	return ready == nil || ready.Status != metav1.ConditionTrue && !d.row().dryRun
}

// wait requests nothing until a call is due or expireAt has passed. It repeats the conditions where the spec has
// changed, since they still hold.
func (d *decision) wait(at time.Time) Action {
	action := Action{Memory: d.memory}
	var wait time.Duration
	if !at.IsZero() {
		action.Memory.NextCallAt, wait = at, at.Sub(d.Now)
	}
	action.Wait = d.untilDecision("", Done, wait)
	action.Verdict = d.unchanged()
	return action
}

// unchanged returns what the status already says, for the present generation; nil where the status says exactly that,
// or nothing that still holds. For a session that should be active it is the state that is known.
func (d *decision) unchanged() *Verdict {
	ready, state := d.ready(), d.Session.Status.State
	if ready == nil {
		return nil
	}
	isOver := !d.current() && d.overcome()
	known := ready.Status == metav1.ConditionTrue || d.row().acting || d.row().dryRun || isOver
	switch {
	case !d.shouldExpire() && state != v1alpha1.SessionStateUnknown && known:
		return d.verdict(d.reasonForState(state), string(state))
	case isOver:
		return nil
	case !d.current():
		verdict := d.repeated()
		d.hold(verdict)
		return verdict
	default:
		return nil
	}
}

// request requests an operation from the account. If the account cannot carry it out soon, the status says why.
func (d *decision) request(operation v1alpha1.Operation) Action {
	operation, proof := d.allowed(operation)
	d.memory.Next = operation
	if d.memory.PendingSince.IsZero() {
		d.memory.PendingSince = d.Now
	}
	action := Action{
		Operation: operation,
		Confirm:   operation == v1alpha1.OperationExpire && (d.scheduled() || d.deleting()),
		Proof:     proof, NeedsProof: operation == v1alpha1.OperationExpire && d.enforced(),
		Memory: d.memory,
	}
	due := d.memory.PendingSince.Add(pendingGrace)
	switch {
	case d.unrecorded():
		action.Verdict = d.pending()
	case d.explained():
		if !d.shouldExpire() && !d.current() && d.Outcome == nil {
			action.Verdict = d.unchanged()
		}
	case d.Hold != HoldOutage && d.Now.Before(due):
		action.Wait = due.Sub(d.Now)
	default:
		action.Verdict = d.pending()
	}
	if action.Verdict != nil {
		// The refresh is still to come.
		action.Verdict.Handled = ""
	}
	// expireAt may pass while the call is pending.
	action.Wait = soonest(action.Wait, d.untilDecision("", Done, 0))
	return action
}

// unrecorded reports whether only the memory of a deletion says that the provider knows the session. The status must
// say so too, or a restart could release the session as an unknown one.
func (d *decision) unrecorded() bool {
	recorded := d.Session.Status.Recognized || d.stateAfter() != v1alpha1.SessionStateUnknown
	return d.deleting() && d.memory.Recognized && !recorded
}

// explained reports whether the status already says why the desired state is not reached, or need not say it.
func (d *decision) explained() bool {
	ready := d.ready()
	switch {
	case d.closed():
		return true
	case !d.shouldExpire():
		return d.Hold != HoldOutage || d.Outcome != nil || d.current()
	case ready == nil || !d.current() || ready.Status == metav1.ConditionTrue || d.overcome():
		return false
	default:
		return d.DryRun || !d.row().dryRun
	}
}

// overcome reports whether the session no longer waits for what the status shows: the obstacle is gone, or the
// account has changed.
func (d *decision) overcome() bool {
	switch d.row().next {
	case onChange:
		return true
	case probing, backingOffPatiently:
		return d.memory.AccountEpoch != 0 && d.memory.AccountEpoch != d.AccountEpoch
	default:
		return false
	}
}

// pending returns why the desired state is not reached while the next call is still to come.
func (d *decision) pending() *Verdict {
	verdict := d.pendingVerdict()
	d.hold(verdict)
	return verdict
}

func (d *decision) pendingVerdict() *Verdict {
	ready, state := d.ready(), d.stateAfter()
	switch {
	case !d.shouldExpire():
		return d.verdict(v1alpha1.ReasonProviderUnavailable, "")
	case d.DryRun && state != v1alpha1.SessionStateUnknown:
		return d.verdict(d.reasonForState(state), "")
	case d.memory.Expire == EndingAccepted || d.recentlyActed():
		return d.verdict(v1alpha1.ReasonAwaitingConfirmation, d.ineffective())
	case state == v1alpha1.SessionStateProcessing:
		return d.verdict(v1alpha1.ReasonPaymentInProgress, "")
	case d.Hold == HoldOutage && (state == v1alpha1.SessionStateUnknown || d.deleting()):
		return d.verdict(v1alpha1.ReasonProviderUnavailable, "")
	case state == v1alpha1.SessionStateUnknown && ready != nil && ready.Status == metav1.ConditionFalse && !d.overcome():
		return d.repeated()
	default:
		return d.verdict(v1alpha1.ReasonExpiring, d.holdText())
	}
}

// holdText completes the sentence "The call waits".
func (d *decision) holdText() string {
	if d.Hold == "" {
		return string(HoldQueue)
	}
	return string(d.Hold)
}
