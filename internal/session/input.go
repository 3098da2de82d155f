// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package session decides what to do about one PaymentSession. It is pure: facts go in, one action comes out; it holds no
// client, no clock and no context.
package session

import (
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// Facts are all that the decision may look at.
type Facts struct {
	// Session as it is in the API server. It is not changed.
	Session *v1alpha1.PaymentSession
	// Now is the time of the decision.
	Now time.Time
	// Jitter spreads what many sessions would do at the same moment: 0 up to 1, another for each decision.
	Jitter float64
	// DryRun forbids every call that changes something at the provider.
	DryRun bool

	// Obstacle is why no call can be made; nil where one can.
	Obstacle *Obstacle
	// InvalidSessionID is true where the class's pattern refuses the session's id.
	InvalidSessionID bool
	// SessionIDName is what the provider calls a session's id.
	SessionIDName string
	// PollInterval is how often an active session is read again; 0 never.
	PollInterval time.Duration
	// AccountEpoch is another number each time when the account may do better than before: new credentials, another
	// endpoint, a recovery.
	AccountEpoch int64

	// Outage is true while the account holds its calls back because the provider answers none.
	Outage bool

	// Uninstalling is true where the definition of PaymentSessions is being deleted: nobody asked for that to expire anything.
	Uninstalling bool
	// Twin is true where another live object of the same account and session id wants the session active.
	Twin bool

	// Heard is the outcome that has come back and was not acted on yet; nil where there is none.
	Heard *Heard
	// Memory is what the decision before this one left.
	Memory Memory
}

// Obstacle is something missing or not ready between a session and its provider's account.
type Obstacle struct {
	// Reason is one of the reasons for a provider, class or Secret that is missing or not ready.
	Reason string
	// Message names the object and what to do.
	Message string
}

// Heard is the outcome of a call.
type Heard struct {
	Operation v1alpha1.Operation
	Result    upstream.Result
	// AccountEpoch at which the call was made.
	AccountEpoch int64
}

// Memory is what earlier decisions learnt and the object does not hold. Its zero value is right for a session that was never
// looked at, and for every session after a restart: losing it costs a repeated call and never a wrong claim.
type Memory struct {
	// Wish that the rest of the memory belongs to.
	Wish v1alpha1.DesiredState
	// WishedAt is when the wish was first seen.
	WishedAt time.Time
	// Next is the call that was asked for and has not come back. Whatever else wakes the session meanwhile, it asks for the
	// same again: another one would take its place in the queue.
	Next v1alpha1.Operation
	// Asked is true once an expire call was asked for.
	Asked bool
	// Expire is how the newest expire call ended that was not settled by a read since.
	Expire Ending
	// Refusal is the provider's words, where Expire is EndingRefused.
	Refusal string
	// ActedAt is when an expire call was last accepted, or may have had its effect.
	ActedAt time.Time
	// Trouble is the reason that the session has been in since TroubleSince.
	Trouble      string
	TroubleSince time.Time
	// Attempts in a row that ended in Trouble.
	Attempts int
	// NextCallAt is before when no call is made.
	NextCallAt time.Time
	// AccountEpoch at which the credentials were rejected.
	AccountEpoch int64
	// Deleting is true once the deletion was seen.
	Deleting bool
	// MissingSince is when the provider first did not know a session that is being deleted.
	MissingSince time.Time
	// Look is the value of the reconcile-at annotation that the call under way is for.
	Look string
}

// Ending is how an expire call ended.
type Ending string

// The endings that a read must settle.
const (
	EndingNone     Ending = ""
	EndingAccepted Ending = "accepted"
	EndingRefused  Ending = "refused"
)

// Action is what to do now.
type Action struct {
	// Call to make; empty for none. One that is queued for another operation is taken back.
	Call v1alpha1.Operation
	// Probe marks a call that will most likely be rejected as the one before was: an account makes few of them.
	Probe bool
	// Confirm asks for a live read of the object before the call, because its cause may be gone.
	Confirm bool
	// Verdict to write into the status; nil leaves the status as it is.
	Verdict *Verdict
	// Release takes the finalizer off.
	Release bool
	// Loud says why a release leaves a session that may still be payable; empty where it does not.
	Loud string
	// Delete the object: its time to live is over.
	Delete bool
	// Wait until the next decision, if nothing else happens; 0 for no timer.
	Wait time.Duration
	// Memory for the next decision.
	Memory Memory
}

// Verdict is what to tell of the session.
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
	// Holds is true where the object's deletion waits for what the verdict says. The message then says how to end that.
	Holds bool

	// Result that proves a state; nil where nothing new was proved.
	Result *upstream.Result
	// ExpiryStarted is true where expireAt made the operator begin.
	ExpiryStarted bool
	// Handled is the value of the reconcile-at annotation that this answers; empty for none.
	Handled string
}

// News reports whether a verdict tells a person more than the conditions before it: another reason, that the operator does not go on
// by itself, or that a deletion has begun to wait.
func (v *Verdict) News(before []metav1.Condition) bool {
	ready := apimeta.FindStatusCondition(before, v1alpha1.ConditionReady)
	return ready == nil || ready.Reason != v.Reason ||
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
