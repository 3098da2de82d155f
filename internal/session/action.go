// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
)

// Action is what to do now.
type Action struct {
	// Operation to request from the account; empty for none. A queued request for another operation is withdrawn.
	Operation v1alpha1.Operation
	// Confirm asks for a live read of the object right before the call, because its cause may be gone by then.
	Confirm bool
	// Proof is the read that allows the call. NeedsProof is true for a call that must not be made without one.
	Proof      call.Proof
	NeedsProof bool
	// Foreign is true where a person should get an Event because the session is not the namespace's own, and the rule
	// warns only.
	Foreign bool
	// Verdict to write into the status; nil leaves the status unchanged.
	Verdict *Verdict
	// Release removes the finalizer.
	Release bool
	// LeavesPayable is why the release may leave a session payable; empty where it does not.
	LeavesPayable string
	// HandedOver is true where the release leaves the session to another object that wants it active.
	HandedOver bool
	// Delete the object, because its time to live is over.
	Delete bool
	// Wait is the time until the next decision unless something happens before; 0 for no timer.
	Wait time.Duration
	// Memory for the next decision.
	Memory Memory
}

// Verdict is what the status should say.
type Verdict struct {
	// Reason of the Ready condition.
	Reason string
	// Message of the Ready condition: our own words, stable and bounded.
	Message string
	// Ready is the status of the Ready condition.
	Ready metav1.ConditionStatus
	// Expired is the status of the Expired condition; empty leaves it unchanged.
	Expired metav1.ConditionStatus
	// Progress selects the condition that is True, Reconciling or Stalled, or neither.
	Progress Progress
	// Warn is true where a person should get an Event.
	Warn bool
	// Reopened is true where a closed session is open again.
	Reopened bool
	// Holds is true where the deletion of the object waits for the cause that the verdict names. The message then says
	// how to end that.
	Holds bool

	// Result that proves a state; nil where nothing new was proved.
	Result *call.Result
	// Recognized is true once the provider has answered an expire call as it does for a session that it knows.
	Recognized bool
	// Handled is the value of the reconcile-at annotation that this answers; empty for none.
	Handled string
}

// IsActing reports whether the verdict belongs to an expiry that is under way without trouble.
func (v *Verdict) IsActing() bool { return table[v.Reason].acting && v.Progress == Reconciling }

// IsFinal reports whether no further call follows although the session is not closed: none can expire it.
func (v *Verdict) IsFinal() bool { return table[v.Reason].final }

// IsNews reports whether a verdict gives a person a reason to look again: another reason, an operator that is stuck,
// a closed session that is open again, or a deletion that has begun to wait.
func (v *Verdict) IsNews(before []metav1.Condition) bool {
	ready := apimeta.FindStatusCondition(before, v1alpha1.ConditionReady)
	return v.Reopened || ready == nil || ready.Reason != v.Reason ||
		v.Progress == Stalled && !apimeta.IsStatusConditionTrue(before, v1alpha1.ConditionStalled) ||
		v.Holds && !strings.HasSuffix(ready.Message, waysOut)
}

// Progress says who has to act next.
type Progress string

// Values of Progress.
const (
	// Done: nobody has to act.
	Done Progress = ""
	// Reconciling: the operator continues without help.
	Reconciling Progress = v1alpha1.ConditionReconciling
	// Stalled: a person has to act.
	Stalled Progress = v1alpha1.ConditionStalled
)
