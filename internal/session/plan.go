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
	case d.dryRunReason() != "":
		return d.conclude(d.dryRunReason(), "")
	case d.settled() && d.refresh() == "":
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

// dryRunReason is what a dry run knows without a call, where the status does not say it; empty for nothing.
func (d *decision) dryRunReason() string {
	state := d.Session.Status.State
	if !d.DryRun || !d.shouldExpire() || state == v1alpha1.SessionStateUnknown || state.Closed() {
		return ""
	}
	ready, reason := d.ready(), d.reasonForState(state)
	if d.shows(reason) && d.current() || !d.shows(reason) && ready != nil && ready.Status != metav1.ConditionTrue && !d.row().acting {
		return ""
	}
	return reason
}

// settled reports whether a session should be expired and its status shows a reason that no call can change.
func (d *decision) settled() bool { return d.shouldExpire() && d.row().final && !d.closed() }

// stay keeps a status that no call can change, and restates it if the spec has changed or a refresh was made.
func (d *decision) stay() Action {
	action := Action{}
	if !d.current() || d.Outcome != nil {
		action.Verdict = d.restated()
	}
	d.memory.Refresh, d.memory.Next, d.memory.PendingSince = "", "", time.Time{}
	action.Memory = d.memory
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
	return d.Session.Status.State == v1alpha1.SessionStateProcessing || d.memory.Expire == EndingAccepted ||
		d.ready() != nil && (d.row().readFirst || d.refresh() != "")
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
	action.Verdict = d.unchanged()
	return action
}

// unchanged is what the status says, of the present spec; nil where that is what it says already. Of a session that should be active it is
// what is known of it.
func (d *decision) unchanged() *Verdict {
	ready := d.ready()
	switch {
	case ready == nil:
		return nil
	case !d.shouldExpire() && d.Session.Status.State != v1alpha1.SessionStateUnknown &&
		(ready.Status == metav1.ConditionTrue || d.row().acting || d.shows(v1alpha1.ReasonWouldExpire)):
		return d.verdict(d.reasonForState(d.Session.Status.State), string(d.Session.Status.State))
	case !d.current():
		verdict := d.restated()
		d.hold(verdict)
		return verdict
	default:
		return nil
	}
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
		// The look that was asked for is still to come.
		action.Verdict.Handled = ""
	}
	// Another time may come while the call is pending: expireAt.
	action.Wait = soonest(action.Wait, d.untilDecision("", Done, 0))
	return action
}

// unrecorded reports whether a deletion has learnt that the provider knows the session, and nothing but the memory says so: a restart
// must not release it as one that is not known.
func (d *decision) unrecorded() bool {
	return d.deleting() && d.memory.Recognized && !d.Session.Status.Recognized && d.stateAfter() == v1alpha1.SessionStateUnknown
}

// explained reports whether the status already says why the desired state is not reached, or does not have to.
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
		return d.DryRun || ready.Reason != v1alpha1.ReasonWouldExpire
	}
}

// overcome reports whether what the status shows is no longer what the session waits for: an obstacle has gone, or the account has changed.
func (d *decision) overcome() bool {
	otherAccount := d.memory.AccountEpoch != 0 && d.memory.AccountEpoch != d.AccountEpoch
	switch d.row().next {
	case onChange:
		return true
	case probing, backingOffPatiently:
		return otherAccount
	default:
		return false
	}
}

// pending says why the desired state is not reached while the next call is still to come.
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
		return d.verdict(v1alpha1.ReasonAwaitingConfirmation, d.inVain())
	case state == v1alpha1.SessionStateProcessing:
		return d.verdict(v1alpha1.ReasonPaymentInProgress, "")
	case d.Hold == HoldOutage && (state == v1alpha1.SessionStateUnknown || d.deleting()):
		return d.verdict(v1alpha1.ReasonProviderUnavailable, "")
	case state == v1alpha1.SessionStateUnknown && ready != nil && ready.Status == metav1.ConditionFalse && !d.overcome():
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
