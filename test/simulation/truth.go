// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"slices"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
)

// The rules in this file say the same as functions of the operator, on purpose: a check that asked the operator would
// agree with its mistakes.

// isDeleting reports whether an object is being deleted.
func isDeleting(object metav1.Object) bool { return !object.GetDeletionTimestamp().IsZero() }

// wantsBySpec reports whether the spec alone wants the session expired at a time.
func wantsBySpec(of *v1alpha1.PaymentSession, now time.Time) bool {
	scheduled := of.Spec.ExpireAt != nil && !now.Before(of.Spec.ExpireAt.Time)
	return of.Spec.DesiredState == v1alpha1.DesiredStateExpired || scheduled
}

// wantsByDeletion reports whether the deletion of an object is to expire its session.
func wantsByDeletion(of *v1alpha1.PaymentSession) bool {
	return isDeleting(of) && of.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain
}

// wants reports whether an object wants its session expired at a time.
func wants(of *v1alpha1.PaymentSession, now time.Time) bool {
	return !of.Spec.Suspend && (wantsBySpec(of, now) || wantsByDeletion(of))
}

// hasFinalizer reports whether a session has the operator's finalizer.
func hasFinalizer(of *v1alpha1.PaymentSession) bool {
	return slices.Contains(of.Finalizers, v1alpha1.ExpireFinalizer)
}

// needsFinalizer reports whether a session must have the finalizer before a call is made about it.
func needsFinalizer(of *v1alpha1.PaymentSession) bool {
	return !isDeleting(of) && of.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain && !isClosed(of.Status.State)
}

// takesOver reports whether an object keeps its session active although another object of it is deleted.
func takesOver(of *v1alpha1.PaymentSession, now time.Time) bool {
	kept := hasFinalizer(of) || of.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain
	return !isDeleting(of) && !wantsBySpec(of, now) && kept
}

// isClosed reports whether a session in a state can no longer be paid.
func isClosed(state v1alpha1.SessionState) bool {
	return slices.Contains([]v1alpha1.SessionState{
		v1alpha1.SessionStateExpired, v1alpha1.SessionStateCompleted, v1alpha1.SessionStateFailed,
	}, state)
}

// isPayable reports whether a session in a state of the books can be paid.
func isPayable(state simulator.State) bool {
	return state == simulator.Open || state == simulator.Pending
}

// shownAs returns the operator's word for a payment in a state of the books. A continuous one stays open for the next
// payment while one is in flight.
func (w *world) shownAs(at payment, state simulator.State) v1alpha1.SessionState {
	if state == simulator.Pending && w.ledgers.payment(at, nil).variant == simulator.Continuous {
		return v1alpha1.SessionStateActive
	}
	return stateOf(w.provider, state)
}

// stateOf returns the operator's word for a state in the books, as far as the provider shows it.
func stateOf(provider string, state simulator.State) v1alpha1.SessionState {
	switch state {
	case simulator.Open:
		return v1alpha1.SessionStateActive
	case simulator.Pending:
		if provider == "omise" || provider == "txn" {
			// They do not show that a payment has begun.
			return v1alpha1.SessionStateActive
		}
		return v1alpha1.SessionStateProcessing
	case simulator.Refunded:
		if provider == "omise" {
			// An authorization that was voided: nothing was paid.
			return v1alpha1.SessionStateFailed
		}
		return v1alpha1.SessionStateCompleted
	case simulator.Paid:
		return v1alpha1.SessionStateCompleted
	case simulator.Expired:
		return v1alpha1.SessionStateExpired
	case simulator.Failed:
		return v1alpha1.SessionStateFailed
	default:
		return v1alpha1.SessionStateUnknown
	}
}

// verdict is what the conditions say with a reason, as the design's table has it.
type verdict struct {
	ready metav1.ConditionStatus
	// expired is empty where it depends on what is known.
	expired metav1.ConditionStatus
	// progress are the conditions of which one is True; none where both may be absent.
	progress []string
	// states are those that the status may show; none for every one.
	states []v1alpha1.SessionState
}

var (
	reconciling = []string{v1alpha1.ConditionReconciling}
	stalled     = []string{v1alpha1.ConditionStalled}
	either      = []string{v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled}
)

// verdicts has a row for each reason of a session.
var verdicts = map[string]verdict{
	v1alpha1.ReasonExpired:              {ready: "True", expired: "True", states: states("expired")},
	v1alpha1.ReasonClosed:               {ready: "True", expired: "False", states: states("failed")},
	v1alpha1.ReasonObserved:             {ready: "True"},
	v1alpha1.ReasonScheduled:            {ready: "True", expired: "False", states: states("active processing")},
	v1alpha1.ReasonExpiring:             {ready: "False", progress: reconciling, states: append(states("active processing"), "")},
	v1alpha1.ReasonAwaitingConfirmation: {ready: "False", expired: "False", progress: either},
	v1alpha1.ReasonPaymentInProgress: {
		ready: "False", expired: "False", progress: reconciling, states: states("processing"),
	},
	v1alpha1.ReasonPaymentCompleted:    {ready: "False", expired: "False", progress: stalled, states: states("completed")},
	v1alpha1.ReasonExpireRefused:       {ready: "False", expired: "False", progress: stalled, states: states("active")},
	v1alpha1.ReasonExpireUnsupported:   {ready: "False", expired: "False", progress: stalled},
	v1alpha1.ReasonSessionNotFound:     {ready: "False", expired: "Unknown", progress: either},
	v1alpha1.ReasonCredentialsRejected: {ready: "False", expired: "Unknown", progress: stalled},
	v1alpha1.ReasonNotAllowed:          {ready: "False", expired: "Unknown", progress: stalled},
	v1alpha1.ReasonNotOwned:            {ready: "False", expired: "Unknown", progress: stalled},
	v1alpha1.ReasonOwnershipIncomplete: {ready: "False", expired: "Unknown", progress: stalled},
	v1alpha1.ReasonInvalidSessionID:    {ready: "False", expired: "Unknown", progress: stalled},
	v1alpha1.ReasonThrottled:           {ready: "False", expired: "Unknown", progress: reconciling},
	v1alpha1.ReasonProviderUnavailable: {ready: "False", expired: "Unknown", progress: reconciling},
	v1alpha1.ReasonUnexpectedResponse:  {ready: "False", expired: "Unknown", progress: reconciling},
	v1alpha1.ReasonProviderNotFound:    {ready: "False", expired: "Unknown", progress: either},
	v1alpha1.ReasonProviderNotReady:    {ready: "False", expired: "Unknown", progress: either},
	v1alpha1.ReasonCredentialsMissing:  {ready: "False", expired: "Unknown", progress: either},
	v1alpha1.ReasonNamespaceNotAllowed: {ready: "False", expired: "Unknown", progress: either},
	v1alpha1.ReasonSuspended:           {ready: "Unknown"},
	v1alpha1.ReasonWouldExpire:         {ready: "False", expired: "False", progress: reconciling},
}

func states(words string) []v1alpha1.SessionState {
	var found []v1alpha1.SessionState
	for word := range strings.FieldsSeq(words) {
		found = append(found, v1alpha1.SessionState(word))
	}
	return found
}

// conditionOf returns a condition; nil where there is none.
func conditionOf(of *v1alpha1.PaymentSession, kind string) *metav1.Condition {
	for i := range of.Status.Conditions {
		if of.Status.Conditions[i].Type == kind {
			return &of.Status.Conditions[i]
		}
	}
	return nil
}

// reasonOf returns the reason of the Ready condition.
func reasonOf(of *v1alpha1.PaymentSession) string {
	if ready := conditionOf(of, v1alpha1.ConditionReady); ready != nil {
		return ready.Reason
	}
	return ""
}

// messageOf returns the message of a session's Ready condition; empty where it has none.
func messageOf(of *v1alpha1.PaymentSession) string {
	if ready := conditionOf(of, v1alpha1.ConditionReady); ready != nil {
		return ready.Message
	}
	return ""
}
