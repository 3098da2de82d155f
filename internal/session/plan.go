// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// plan decides on the next call where none has come back.
func (d *decision) plan() Action {
	switch {
	case d.wouldExpire():
		return d.conclude(v1alpha1.ReasonWouldExpire, "")
	case d.shouldExpire() && d.row().final && !d.closed() && d.refresh() == "":
		return d.stay()
	case d.memory.Next != "":
		return d.call(d.memory.Next)
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
	return d.call(operation)
}

// earlier is the time of a call that is due at one time, if there is an operation, and wanted at another.
func (d *decision) earlier(operation v1alpha1.Operation, due, wanted time.Time) time.Time {
	if operation != "" && due.Before(wanted) {
		return due
	}
	return wanted
}

// wouldExpire reports whether a dry run knows without a call that the session would be expired now, and the status does not say so.
func (d *decision) wouldExpire() bool {
	if !d.DryRun || !d.shouldExpire() || d.Session.Status.State != v1alpha1.SessionStateActive {
		return false
	}
	ready := d.ready()
	if d.shows(v1alpha1.ReasonWouldExpire) {
		return !d.current()
	}
	return ready == nil || ready.Status == metav1.ConditionTrue || d.row().acting
}

// stay leaves a status as it is that no call can change, and restates it where the spec has changed.
func (d *decision) stay() Action {
	action := Action{Memory: d.memory}
	if !d.current() {
		action.Verdict = d.restated()
	}
	return action
}

// nextCall is the operation to ask for and when; empty where there is nothing more to ask.
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
		// After a restart nobody knows when the session was last read. Spread the first reads.
		return v1alpha1.OperationObserve, d.Now.Add(time.Duration(d.Jitter * float64(d.PollInterval)))
	}
}

// changed reports whether something has changed that the trouble which the status shows may come from: the spec or the account; or
// whether it is the session's turn to find that out for the account.
func (d *decision) changed() bool {
	if ready := d.ready(); ready == nil || !d.troubled() {
		return false
	}
	return !d.current() || d.memory.AccountEpoch != d.AccountEpoch || d.MayProbe
}

// readFirst reports whether the state has to be read before another expire call: it may have settled by itself.
func (d *decision) readFirst() bool {
	return d.ready() != nil && (d.row().readFirst || d.refresh() != "")
}

// troubled reports whether the status shows that the session is not as it should be, and a call may change that.
func (d *decision) troubled() bool {
	ready := d.ready()
	return ready == nil || ready.Status != metav1.ConditionTrue && ready.Reason != v1alpha1.ReasonWouldExpire
}

// wait lets the time pass until a call is due or expireAt has come. The conditions are restated where the spec has changed since: they
// still hold.
func (d *decision) wait(at time.Time) Action {
	action := Action{Memory: d.memory}
	var call time.Duration
	if !at.IsZero() {
		action.Memory.NextCallAt, call = at, at.Sub(d.Now)
	}
	action.Wait = d.untilDecision("", Done, call)
	ready := d.ready()
	switch {
	case ready == nil:
	case !d.shouldExpire() && ready.Status == metav1.ConditionTrue:
		action.Verdict = d.verdict(d.reasonForState(d.Session.Status.State), string(d.Session.Status.State))
	case !d.current():
		action.Verdict = d.restated()
	}
	return action
}

// call asks for an operation. Where the account holds its calls back that may take long, so that the status says why.
func (d *decision) call(operation v1alpha1.Operation) Action {
	d.memory.Next = operation
	if d.memory.PendingSince.IsZero() {
		d.memory.PendingSince = d.Now
	}
	action := Action{
		Call:    operation,
		Confirm: operation == v1alpha1.OperationExpire && (d.scheduled() || d.deleting()),
		Memory:  d.memory,
	}
	due := d.memory.PendingSince.Add(silence)
	switch {
	case d.explained():
	case d.Hold != HoldOutage && d.Now.Before(due):
		action.Wait = due.Sub(d.Now)
	default:
		action.Verdict = d.pending()
		// The look that was asked for is still to come.
		action.Verdict.Handled = ""
		d.hold(action.Verdict)
	}
	return action
}

// explained reports whether the status already says why the desired state is not reached, or does not have to.
func (d *decision) explained() bool {
	ready := d.ready()
	switch {
	case d.closed():
		return true
	case !d.mayExpire():
		return d.Hold != HoldOutage || d.Outcome != nil || d.current()
	case ready == nil || !d.current() || ready.Status == metav1.ConditionTrue:
		return false
	default:
		return ready.Reason != v1alpha1.ReasonWouldExpire
	}
}

// pending says why the desired state is not reached while the next call is still to come.
func (d *decision) pending() *Verdict {
	ready, state := d.ready(), d.stateAfter()
	switch {
	case !d.mayExpire():
		return d.verdict(v1alpha1.ReasonProviderUnavailable, "")
	case d.memory.Expire == EndingAccepted || d.recentlyActed():
		return d.verdict(v1alpha1.ReasonAwaitingConfirmation, "")
	case state == v1alpha1.SessionStateProcessing:
		return d.verdict(v1alpha1.ReasonPaymentInProgress, "")
	case d.Hold == HoldOutage && (state == v1alpha1.SessionStateUnknown || d.deleting()):
		return d.verdict(v1alpha1.ReasonProviderUnavailable, "")
	case state == v1alpha1.SessionStateUnknown && ready != nil && ready.Status == metav1.ConditionFalse && !d.shows(v1alpha1.ReasonWouldExpire):
		return d.restated()
	default:
		return d.verdict(v1alpha1.ReasonExpiring, d.holdText())
	}
}

// holdText is what the call waits for, as the end of a sentence.
func (d *decision) holdText() string {
	if d.Hold == "" {
		return string(HoldQueue)
	}
	return string(d.Hold)
}
