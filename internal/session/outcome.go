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

// hear acts on the outcome of a call.
func (f Facts) hear() Action {
	heard := f.Heard
	f.Memory.Next = ""
	if heard.Operation == v1alpha1.OperationExpire && (heard.Result.Outcome == v1alpha1.OutcomeAccepted || heard.Result.MayHaveActed) {
		f.Memory.ActedAt = f.Now
	}
	switch {
	case f.closed() && heard.Result.State == v1alpha1.SessionStateUnknown:
		// A fresh look that told nothing does not reopen what was closed.
		return f.rest()
	case heard.Result.State.Closed(), heard.Result.State == v1alpha1.SessionStateProcessing:
		f.Memory.Expire = EndingNone
		return f.conclude(f.reasonForState(heard.Result.State), string(heard.Result.State))
	case heard.Operation == v1alpha1.OperationExpire:
		return f.hearExpire()
	case heard.Result.Outcome == v1alpha1.OutcomeAccepted && f.mayExpire():
		return f.hearStillActive()
	case heard.Result.Outcome == v1alpha1.OutcomeAccepted:
		return f.conclude(f.reasonForState(heard.Result.State), string(heard.Result.State))
	default:
		return f.fail()
	}
}

// hearExpire acts on an expire call whose reply shows no end.
func (f Facts) hearExpire() Action {
	switch f.Heard.Result.Outcome {
	case v1alpha1.OutcomeAccepted:
		f.Memory.Expire = EndingAccepted
		return f.call(v1alpha1.OperationObserve)
	case v1alpha1.OutcomeRefused:
		f.Memory.Expire, f.Memory.Refusal = EndingRefused, f.Heard.Result.Message
		return f.call(v1alpha1.OperationObserve)
	default:
		return f.fail()
	}
}

// hearStillActive acts on a read that shows a session active which should be expired.
func (f Facts) hearStillActive() Action {
	switch {
	case !f.Memory.ActedAt.IsZero() && f.Now.Sub(f.Memory.ActedAt) < Patience:
		return f.conclude(v1alpha1.ReasonAwaitingConfirmation, "")
	case f.Memory.Expire == EndingRefused:
		refusal := f.Memory.Refusal
		f.Memory.Expire, f.Memory.Refusal = EndingNone, ""
		return f.conclude(v1alpha1.ReasonExpireRefused, quoted(refusal))
	default:
		f.Memory.Expire = EndingNone
		return f.call(v1alpha1.OperationExpire)
	}
}

func (f Facts) fail() Action {
	reason, known := reasonOf[f.Heard.Result.Outcome]
	if !known {
		reason = v1alpha1.ReasonUnexpectedResponse
	}
	return f.conclude(reason, quoted(f.Heard.Result.Message))
}

// conclude tells a reason and, by its row of the table, when to go on.
func (f Facts) conclude(reason, details string) Action {
	f.Memory = f.remember(reason)
	action := Action{Memory: f.Memory, Verdict: f.verdict(reason, details)}
	action.Memory.Look, action.Memory.Next = "", ""
	f.hold(action.Verdict)
	call := f.untilCall(reason, action.Verdict.Progress)
	action.Memory.NextCallAt = time.Time{}
	if call > 0 {
		action.Memory.NextCallAt = f.Now.Add(call)
	}
	action.Wait = f.untilLook(reason, action.Verdict.Progress, call)
	if f.Heard != nil && f.look() != "" && f.look() != f.Memory.Look {
		// It was asked for when this call was already on its way.
		action.Wait = atOnce
	}
	return action
}

func (f Facts) stateAfter() v1alpha1.SessionState {
	if f.Heard != nil && f.Heard.Result.State != v1alpha1.SessionStateUnknown {
		return f.Heard.Result.State
	}
	return f.Session.Status.State
}

// remember counts how often and since when the session has been in one kind of trouble.
func (f Facts) remember(reason string) Memory {
	if f.Memory.Trouble != reason {
		// A provider that is down in changing ways is backed off from all the same.
		if table[f.Memory.Trouble].next != backingOff || table[reason].next != backingOff {
			f.Memory.Attempts = 0
		}
		f.Memory.Trouble, f.Memory.TroubleSince = reason, f.Now
	}
	if f.Heard != nil {
		f.Memory.Attempts++
		f.Memory.AccountEpoch = f.Heard.AccountEpoch
	}
	return f.Memory
}

// verdict makes a reason's verdict by its row of the table.
func (f Facts) verdict(reason, details string) *Verdict {
	row := table[reason]
	verdict := &Verdict{
		Reason: reason, Message: message(row, details), Ready: row.ready, Expired: row.expired, Progress: row.progress,
		Alarming: row.alarming, Handled: f.Memory.Look,
	}
	if row.patient {
		verdict.Progress = f.patientProgress(reason)
		verdict.Alarming = row.alarming && verdict.Progress == Stalled
	}
	if f.Heard != nil && f.Heard.Result.State != v1alpha1.SessionStateUnknown {
		verdict.Result = &f.Heard.Result
	}
	if reason == v1alpha1.ReasonObserved && f.stateAfter() == v1alpha1.SessionStateExpired {
		verdict.Expired = yes
	}
	verdict.ExpiryStarted = f.Memory.Asked && f.scheduled()
	return verdict
}

// patientProgress is Reconciling while the trouble is young, and Stalled once it was called so: a restart, which forgets
// how old it is, must not bring hope back.
func (f Facts) patientProgress(reason string) Progress {
	stalled := apimeta.FindStatusCondition(f.Session.Status.Conditions, v1alpha1.ConditionStalled)
	wasStalled := stalled != nil && stalled.Status == metav1.ConditionTrue && stalled.Reason == reason
	if wasStalled || f.patienceLeft() <= 0 {
		return Stalled
	}
	return Reconciling
}

// restated is the present verdict for a spec that has changed in nothing that matters to it.
func (f Facts) restated(ready *metav1.Condition) *Verdict {
	verdict := f.verdict(ready.Reason, "")
	verdict.Message = ready.Message
	return verdict
}

// message fills the details into a row's message, where it has a place for them.
func message(row row, details string) string {
	if !strings.Contains(row.message, "%s") {
		return row.message
	}
	return fmt.Sprintf(row.message, details)
}

// quoted puts the provider's words in brackets behind ours.
func quoted(words string) string {
	if words == "" {
		return ""
	}
	return " (" + words + ")"
}
