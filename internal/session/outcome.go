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
)

// acceptedInVain is how many expire calls may be accepted and change nothing before a person should know.
const acceptedInVain = 3

// handleOutcome acts on the outcome of a call.
func (d *decision) handleOutcome() Action {
	operation, outcome, state := d.Outcome.Operation, d.Outcome.Result.Outcome, d.outcomeState()
	switch {
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

// learn remembers what an outcome says beside the state.
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
		return
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

// handleExpire acts on an expire call whose reply shows no end.
func (d *decision) handleExpire() Action {
	switch d.Outcome.Result.Outcome {
	case v1alpha1.OutcomeAccepted:
		d.memory.Expire = EndingAccepted
		return d.call(v1alpha1.OperationObserve)
	case v1alpha1.OutcomeRefused:
		d.memory.Expire, d.memory.Refusal = EndingRefused, d.Outcome.Result.Message
		return d.call(v1alpha1.OperationObserve)
	default:
		return d.fail()
	}
}

// handleStillActive handles a read that shows a session still active although it should be expired.
func (d *decision) handleStillActive() Action {
	if d.memory.Expire == EndingAccepted {
		d.memory.Expire = EndingNone
		d.memory.Accepted++
	}
	switch {
	case d.settled():
		return d.stay()
	case d.recentlyActed():
		return d.conclude(v1alpha1.ReasonAwaitingConfirmation, d.inVain())
	case d.memory.Expire == EndingRefused:
		refusal := d.memory.Refusal
		d.memory.Expire, d.memory.Refusal = EndingNone, ""
		return d.conclude(v1alpha1.ReasonExpireRefused, quoted(refusal))
	case d.Session.Status.State != v1alpha1.SessionStateActive:
		// What the provider has shown stands in the status, and the finalizer is back, before anything else is asked for.
		d.memory.Expire = EndingNone
		return d.conclude(v1alpha1.ReasonExpiring, d.holdText())
	default:
		d.memory.Expire = EndingNone
		return d.call(v1alpha1.OperationExpire)
	}
}

// inVain says what a person can do about an expiry that is accepted again and again and changes nothing.
func (d *decision) inVain() string {
	if d.progress(v1alpha1.ReasonAwaitingConfirmation) != Stalled {
		return ""
	}
	return " It has accepted several calls that changed nothing: look at the session in the provider's dashboard."
}

// recentlyActed reports whether an expire call may have had an effect that a read does not show yet.
func (d *decision) recentlyActed() bool {
	return !d.memory.ActedAt.IsZero() && d.Now.Sub(d.memory.ActedAt) < Patience
}

func (d *decision) fail() Action {
	reason, known := reasonOf[d.Outcome.Result.Outcome]
	if !known {
		reason = v1alpha1.ReasonUnexpectedResponse
	}
	return d.conclude(reason, quoted(d.Outcome.Result.Message))
}

// conclude ends what was begun with a reason and, by its row of the table, the time of the next call.
func (d *decision) conclude(reason, details string) Action {
	d.remember(reason)
	action := Action{Verdict: d.verdict(reason, details)}
	d.hold(action.Verdict)
	call := d.untilCall(reason, action.Verdict.Progress)
	d.memory.NextCallAt = time.Time{}
	if call > 0 {
		d.memory.NextCallAt = d.Now.Add(call)
	}
	action.Wait = d.untilDecision(reason, action.Verdict.Progress, call)
	if d.Outcome != nil && d.refresh() != "" && d.refresh() != action.Verdict.Handled {
		if !d.Outcome.Made {
			d.memory.NextRefreshAt = d.Now.Add(d.untilRefresh())
		}
		// It was asked for when this call was already on its way, or no call was made.
		action.Wait = soonest(action.Wait, max(atOnce, d.memory.NextRefreshAt.Sub(d.Now)))
	}
	d.memory.Refresh, d.memory.Next, d.memory.PendingSince = "", "", time.Time{}
	action.Memory = d.memory
	return action
}

// remember counts how often and since when the session has been in one kind of trouble.
func (d *decision) remember(reason string) {
	if d.memory.Trouble != reason {
		// A provider that is down in changing ways is backed off from all the same.
		if table[d.memory.Trouble].next != backingOff || table[reason].next != backingOff {
			d.memory.Attempts = 0
		}
		d.memory.Trouble, d.memory.TroubleSince = reason, d.Now
	}
	if d.Outcome != nil {
		d.memory.Attempts++
		d.memory.AccountEpoch = d.Outcome.AccountEpoch
	}
}

// verdict makes a reason's verdict by its row of the table.
func (d *decision) verdict(reason, details string) *Verdict {
	row, state := table[reason], d.stateAfter()
	verdict := &Verdict{
		Reason: reason, Message: message(row, details), Ready: row.ready, Expired: d.expired(reason), Progress: d.progress(reason),
		Recognized: d.recognized(),
	}
	verdict.Reopened = d.closed() && !state.Closed()
	verdict.Alarming = verdict.Reopened || row.alarming && verdict.Progress == Stalled
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

// expired is the status of the Expired condition: the row's, but for what is known better.
func (d *decision) expired(reason string) metav1.ConditionStatus {
	row, state := table[reason], d.stateAfter()
	switch {
	case row.expired == asItWas && d.outcomeState() != v1alpha1.SessionStateUnknown:
		// What it was is not what it is.
		return conditionStatus(state == v1alpha1.SessionStateExpired)
	case reason == v1alpha1.ReasonObserved && state == v1alpha1.SessionStateExpired:
		return yes
	case reason == v1alpha1.ReasonExpiring && state == v1alpha1.SessionStateUnknown:
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

// progress says whether the operator goes on by itself. It is Reconciling while a trouble is young, and Stalled once it was called so: a
// restart, which forgets how old it is, must not bring hope back.
func (d *decision) progress(reason string) Progress {
	row := table[reason]
	switch {
	case row.patient && (d.wasStalled(reason) || d.patienceLeft() <= 0):
		return Stalled
	case row.patient:
		return Reconciling
	case reason == v1alpha1.ReasonAwaitingConfirmation && (d.memory.Accepted >= acceptedInVain || d.wasStalled(reason)):
		return Stalled
	default:
		return row.progress
	}
}

// stillPayable is what a closed session leaves that can still be paid elsewhere.
func (d *decision) stillPayable() string {
	if d.outcomeState().Closed() {
		return d.Outcome.Result.StillPayable
	}
	if of := d.Session.Status.Upstream; of != nil {
		return of.StillPayable
	}
	return ""
}

// wasStalled reports whether the status shows the reason as one that needs a person.
func (d *decision) wasStalled(reason string) bool {
	stalled := apimeta.FindStatusCondition(d.Session.Status.Conditions, v1alpha1.ConditionStalled)
	return stalled != nil && stalled.Status == metav1.ConditionTrue && stalled.Reason == reason
}

// restated is what the status says, for a spec that has changed in nothing that matters to it.
func (d *decision) restated() *Verdict {
	ready := d.ready()
	verdict := d.verdict(ready.Reason, "")
	verdict.Message = strings.TrimSuffix(ready.Message, waysOut)
	return verdict
}

// message fills the details into a row's message, where it has a place for them.
func message(row row, details string) string {
	if !strings.Contains(row.message, "%s") {
		return row.message
	}
	return fmt.Sprintf(row.message, details)
}

// quoted is the provider's words in brackets, to stand behind ours.
func quoted(words string) string {
	if words == "" {
		return ""
	}
	return " (" + words + ")"
}
