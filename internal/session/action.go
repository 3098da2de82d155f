// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// Action is what to do now.
type Action struct {
	// Call to make; empty for none. One that is queued for another operation is taken back.
	Call v1alpha1.Operation
	// Confirm asks for a live read of the object before the call, because its cause may be gone.
	Confirm bool
	// Verdict to write into the status; nil leaves the status as it is.
	Verdict *Verdict
	// Release takes the finalizer off.
	Release bool
	// Loud says why a release leaves a session that may still be payable; empty where it does not.
	Loud string
	// HandedOver is true where a release leaves the session to another object that wants it active.
	HandedOver bool
	// Delete the object: its time to live is over.
	Delete bool
	// Wait until the next decision, if nothing else happens; 0 for no timer.
	Wait time.Duration
	// Memory for the next decision.
	Memory Memory
}

// Verdict is what to say of the session in its status.
type Verdict struct {
	// Reason of the Ready condition.
	Reason string
	// Message of the Ready condition: ours, stable and bounded.
	Message string
	// Ready is the status of the Ready condition.
	Ready metav1.ConditionStatus
	// Expired is the status of the Expired condition; empty leaves it as it is.
	Expired metav1.ConditionStatus
	// Progress says which of Reconciling and Stalled is True.
	Progress Progress
	// Alarming is true for what a person should look at.
	Alarming bool
	// Reopened is true where a closed session is shown open again.
	Reopened bool
	// Holds is true where the object's deletion waits for what the verdict says. The message then says how to end that.
	Holds bool

	// Result that proves a state; nil where nothing new was proved.
	Result *upstream.Result
	// Recognized is true where the provider has answered an expire call as for a session that it knows.
	Recognized bool
	// Handled is the value of the reconcile-at annotation that this answers; empty for none.
	Handled string
}

// News reports whether a verdict says more to a person than the conditions before it: another reason, that the operator does not go on
// by itself, that a closed session is open again, or that a deletion has begun to wait.
func (v *Verdict) News(before []metav1.Condition) bool {
	ready := apimeta.FindStatusCondition(before, v1alpha1.ConditionReady)
	return v.Reopened || ready == nil || ready.Reason != v.Reason ||
		v.Progress == Stalled && !apimeta.IsStatusConditionTrue(before, v1alpha1.ConditionStalled) ||
		v.Holds && !strings.HasSuffix(ready.Message, waysOut)
}

// Progress says whether the operator is at work or a person must be.
type Progress string

// Values of Progress.
const (
	// Done needs nobody.
	Done Progress = ""
	// Reconciling goes on by itself.
	Reconciling Progress = v1alpha1.ConditionReconciling
	// Stalled needs a person.
	Stalled Progress = v1alpha1.ConditionStalled
)
