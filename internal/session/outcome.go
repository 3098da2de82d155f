// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"fmt"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
)

// handleOutcome acts on the outcome of a call.
func (d *decision) handleOutcome() Action {
	operation, outcome, state := d.Outcome.Operation, d.Outcome.Result.Outcome, d.outcomeState()
	switch {
	case d.foreign():
		return d.handleForeign()
	case d.hidesOwner():
		return d.conclude(v1alpha1.ReasonUnexpectedResponse, quoted("it does not show which session it is about"))
	case state.Closed(), state == v1alpha1.SessionStateProcessing:
		d.memory.Expire, d.memory.Accepted = EndingNone, 0
		return d.conclude(d.reasonForState(state), string(state))
	case operation == v1alpha1.OperationExpire:
		return d.handleExpire()
	case outcome == v1alpha1.OutcomeAccepted && d.mayExpire():
		return d.handleStillActive()
	case outcome == v1alpha1.OutcomeAccepted:
		return d.conclude(d.reasonForState(state), string(state))
	default:
		return d.fail()
	}
}

// learn keeps what an outcome says apart from the state.
func (d *decision) learn() {
	if d.Outcome == nil {
		return
	}
	d.memory.Next = ""
	outcome := d.Outcome.Result.Outcome
	if outcome != v1alpha1.OutcomeNotFound {
		d.memory.MissingSince = time.Time{}
	}
	if d.Outcome.Operation != v1alpha1.OperationExpire {
		d.learnOwner()
		return
	}
	if outcome != v1alpha1.OutcomeThrottled {
		// Marks can change: each expire call needs a read of its own. A call that was turned away has used none: with
		// another read before each try, a provider that counts calls strictly would turn away every one.
		d.memory.Owned = call.Proof{}
	}
	switch {
	case outcome == v1alpha1.OutcomeAccepted:
		d.memory.ActedAt, d.memory.Recognized = d.Now, true
	case outcome == v1alpha1.OutcomeRefused, outcome == v1alpha1.OutcomeUnsupported:
		d.memory.Recognized = true
	case d.Outcome.Result.MayHaveActed:
		d.memory.ActedAt = d.Now
	}
}

// handleExpire acts on an expire call whose reply does not prove that the session is closed.
func (d *decision) handleExpire() Action {
	switch d.Outcome.Result.Outcome {
	case v1alpha1.OutcomeAccepted:
		d.memory.Expire = EndingAccepted
		return d.request(v1alpha1.OperationObserve)
	case v1alpha1.OutcomeRefused:
		d.memory.Expire, d.memory.Refusal = EndingRefused, d.Outcome.Result.Message
		return d.request(v1alpha1.OperationObserve)
	default:
		return d.fail()
	}
}

// handleStillActive acts on a read that shows the session as active although it should be expired.
func (d *decision) handleStillActive() Action {
	if d.memory.Expire == EndingAccepted {
		d.memory.Expire = EndingNone
		d.memory.Accepted++
	}
	switch {
	case d.settled():
		return d.stay()
	case d.recentlyActed() && !d.readForProof():
		return d.conclude(v1alpha1.ReasonAwaitingConfirmation, d.ineffective())
	case d.Outcome.Result.Unexpirable:
		d.memory.Expire = EndingNone
		return d.conclude(v1alpha1.ReasonExpireUnsupported, quoted(d.Outcome.Result.Message))
	case d.memory.Expire == EndingRefused:
		refusal := d.memory.Refusal
		d.memory.Expire, d.memory.Refusal = EndingNone, ""
		return d.conclude(v1alpha1.ReasonExpireRefused, quoted(refusal))
	case d.Session.Status.State != v1alpha1.SessionStateActive:
		// Write the state that the provider has shown, and add the finalizer, before the next call.
		d.memory.Expire = EndingNone
		return d.conclude(v1alpha1.ReasonExpiring, d.holdText())
	default:
		d.memory.Expire = EndingNone
		return d.request(v1alpha1.OperationExpire)
	}
}

// ineffective returns what a person can do when expire calls are accepted and change nothing; empty before that is
// certain.
func (d *decision) ineffective() string {
	if d.progress(v1alpha1.ReasonAwaitingConfirmation) != Stalled {
		return ""
	}
	return " Several calls were accepted and changed nothing: check the session in the provider's dashboard."
}

// recentlyActed reports whether an expire call may have taken effect without being visible yet.
func (d *decision) recentlyActed() bool {
	return !d.memory.ActedAt.IsZero() && d.Now.Sub(d.memory.ActedAt) < Patience
}

// fail acts on an outcome that proves no state.
func (d *decision) fail() Action {
	reason, known := reasonOf[d.Outcome.Result.Outcome]
	if !known {
		reason = v1alpha1.ReasonUnexpectedResponse
	}
	return d.conclude(reason, quoted(d.Outcome.Result.Message))
}

// conclude ends a series of calls with a reason. The reason's row gives the time of the next call.
func (d *decision) conclude(reason, details string) Action {
	d.remember(reason)
	action := Action{Verdict: d.verdict(reason, details)}
	d.hold(action.Verdict)
	wait := d.untilCall(reason, action.Verdict.Progress)
	d.memory.NextCallAt = time.Time{}
	if wait > 0 {
		d.memory.NextCallAt = d.Now.Add(wait)
	}
	action.Wait = d.untilDecision(reason, action.Verdict.Progress, wait)
	if d.Outcome != nil && d.refresh() != "" && d.refresh() != action.Verdict.Handled {
		if !d.Outcome.Made {
			d.memory.NextRefreshAt = d.Now.Add(d.untilRefresh())
		}
		// The refresh was requested after this call had begun, or no call was made.
		action.Wait = soonest(action.Wait, max(noDelay, d.memory.NextRefreshAt.Sub(d.Now)))
	}
	if d.Outcome != nil && d.Outcome.AccountEpoch != d.AccountEpoch && action.Verdict.Ready != yes {
		// The account has changed since the call began, so that a retry might now succeed. Another decision comes after a
		// write of the status, but the status may say this already.
		action.Wait = noDelay
	}
	if d.Outcome == nil {
		d.memory.Owned = call.Proof{}
	}
	d.memory.Refresh, d.memory.Next, d.memory.PendingSince = "", "", time.Time{}
	action.Memory = d.memory
	return action
}

// remember counts how often, and since when, the session has had one reason.
func (d *decision) remember(reason string) {
	if d.memory.Trouble != reason {
		// Failures that alternate are still one series: do not restart the backoff.
		if !table[d.memory.Trouble].next.backsOff() || !table[reason].next.backsOff() {
			d.memory.Attempts = 0
		}
		d.memory.Trouble, d.memory.TroubleSince = reason, d.Now
	}
	if d.Outcome != nil {
		d.memory.Attempts++
		d.memory.AccountEpoch, d.memory.Self = d.Outcome.AccountEpoch, d.Self
	}
}

// verdict builds a reason's verdict from its row of the table.
func (d *decision) verdict(reason, details string) *Verdict {
	row, state := table[reason], d.stateAfter()
	verdict := &Verdict{
		Reason: reason, Message: d.message(reason, details), Ready: row.ready, Expired: d.expired(row),
		Progress: d.progress(reason), Recognized: d.recognized(),
	}
	verdict.Reopened = d.closed() && !state.Closed()
	verdict.Warn = verdict.Reopened || row.warns && verdict.Progress == Stalled
	if d.Outcome != nil && d.Outcome.Made {
		verdict.Handled = d.memory.Refresh
	}
	if d.outcomeState() != v1alpha1.SessionStateUnknown {
		verdict.Result = &d.Outcome.Result
	}
	if rest := d.stillPayable(); rest != "" && state.Closed() {
		verdict.Message += " Still payable: " + rest + "."
	}
	return verdict
}

// expired returns the status of the Expired condition.
func (d *decision) expired(row row) metav1.ConditionStatus {
	state := d.stateAfter()
	switch {
	case row.expired == asItWas && d.outcomeState() == v1alpha1.SessionStateUnknown:
		return asItWas
	case row.expired == asItWas, row.expired == asShown && state != v1alpha1.SessionStateUnknown:
		return conditionStatus(state == v1alpha1.SessionStateExpired)
	case row.expired == asShown:
		return unknown
	case d.deleting() && row.expired == unknown && state != v1alpha1.SessionStateUnknown:
		// A deletion that waits says what is known.
		return no
	default:
		return row.expired
	}
}

func conditionStatus(holds bool) metav1.ConditionStatus {
	if holds {
		return yes
	}
	return no
}

// progress returns who has to act next. A row that has once been Stalled stays so: a restart, which forgets how long
// the trouble has lasted, must not make it Reconciling again.
func (d *decision) progress(reason string) Progress {
	row := table[reason]
	limited := row.patient || row.stallsAfter > 0
	exhausted := row.patient && d.patienceLeft() <= 0 || row.stallsAfter > 0 && d.memory.Accepted >= row.stallsAfter
	switch {
	case limited && (exhausted || d.wasStalled(reason)):
		return Stalled
	case limited:
		return Reconciling
	default:
		return row.progress
	}
}

// stillPayable names what a closed session leaves that can still be paid elsewhere; empty for nothing.
func (d *decision) stillPayable() string {
	if d.outcomeState().Closed() {
		return d.Outcome.Result.StillPayable
	}
	if of := d.Session.Status.Upstream; of != nil {
		return of.StillPayable
	}
	return ""
}

// wasStalled reports whether the status shows the reason as Stalled.
func (d *decision) wasStalled(reason string) bool {
	stalled := apimeta.FindStatusCondition(d.Session.Status.Conditions, v1alpha1.ConditionStalled)
	return stalled != nil && stalled.Status == metav1.ConditionTrue && stalled.Reason == reason
}

// repeated returns what the status says, for a change of the spec that does not affect it.
func (d *decision) repeated() *Verdict {
	ready := d.ready()
	verdict := d.verdict(ready.Reason, "")
	verdict.Message = strings.TrimSuffix(ready.Message, waysOut)
	return verdict
}

// message returns the message of a reason. A call that was not made says nothing new: it must not replace the words of
// the provider, which the next call would bring back.
func (d *decision) message(reason, details string) string {
	if d.Outcome != nil && !d.Outcome.Made && d.shows(reason) {
		return strings.TrimSuffix(d.ready().Message, waysOut)
	}
	return message(table[reason], details)
}

// message fills details into a row's message, if it has a place for them.
func message(row row, details string) string {
	if !strings.Contains(row.message, "%s") {
		return row.message
	}
	return fmt.Sprintf(row.message, details)
}

// quoted returns the provider's words in brackets, to follow ours.
func quoted(words string) string {
	if words == "" {
		return ""
	}
	return " (" + words + ")"
}
