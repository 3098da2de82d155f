// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package session decides what to do about one PaymentSession. It is pure: an input goes in, one action comes out; it holds no
// client, no clock and no context.
package session

import (
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// Input is all that the decision may look at. It is not changed.
type Input struct {
	// Session as it is in the API server.
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

	// Endpoint tells the account's endpoints apart; empty where there is no account.
	Endpoint string
	// AccountEpoch changes whenever the account may do better than before: new credentials, another
	// endpoint, a recovery.
	AccountEpoch int64
	// AccountFound is true once the account has found a session with its present endpoint and credentials.
	AccountFound bool
	// MayProbe is true where it is the session's turn to try whether rejected credentials are accepted again.
	MayProbe bool
	// Hold is why the account holds queued calls back.
	Hold Hold

	// Uninstalling is true where the CRD of PaymentSessions is being deleted: nobody asked for that to expire anything.
	Uninstalling bool
	// Duplicate is true where another live object of the same namespace names the same session of the same account, wants it active,
	// and bears the finalizer or retains it.
	Duplicate bool

	// Outcome is the outcome that has come back and was not acted on yet; nil where there is none.
	Outcome *Outcome
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

// Hold is why an account holds queued calls back, as the end of a sentence that begins with "The call waits".
type Hold string

// The holds, the weightiest last.
const (
	HoldQueue     Hold = "in the queue of the provider object's account"
	HoldRateLimit Hold = "for the rateLimit of the provider object"
	HoldPause     Hold = "because the provider asked for a pause"
	HoldOutage    Hold = "until the provider answers again"
)

// Outcome of a call.
type Outcome struct {
	Operation v1alpha1.Operation
	Result    upstream.Result
	// Made is false where no call was made, because it would have been rejected.
	Made bool
	// AccountEpoch at which the call was made.
	AccountEpoch int64
	// Access tells the endpoints and credentials apart with which calls were made.
	Access int64
}

// Memory is what earlier decisions learnt and the object does not hold. Its zero value is right for a session that was never
// looked at, and for every session after a restart: losing it costs a repeated call and never a wrong claim. What must not be lost is in
// the status.
type Memory struct {
	// Desired is the desired state that the rest of the memory belongs to, and DesiredSince since when it is that, as far as is known.
	Desired      v1alpha1.DesiredState
	DesiredSince time.Time
	// Endpoint that the rest of the memory belongs to.
	Endpoint string
	// Next is the call that was asked for and has not come back. Whatever else triggers a decision meanwhile, it asks for the same
	// again: another one would take its place in the queue.
	Next v1alpha1.Operation
	// PendingSince is since when calls have been asked for without a conclusion.
	PendingSince time.Time
	// Expire is how the newest expire call ended that was not settled by a read since.
	Expire Ending
	// Refusal is the provider's words, where Expire is EndingRefused.
	Refusal string
	// ActedAt is when an expire call was last accepted, or may have had its effect.
	ActedAt time.Time
	// Accepted is how many expire calls were accepted in vain.
	Accepted int
	// Recognized is true once the provider has answered an expire call as for a session that it knows.
	Recognized bool
	// Trouble is the reason that the session has been in since TroubleSince.
	Trouble      string
	TroubleSince time.Time
	// Attempts in a row that ended in Trouble.
	Attempts int
	// NextCallAt is before when no call is made.
	NextCallAt time.Time
	// AccountEpoch of the newest outcome.
	AccountEpoch int64
	// Deleting is true once the deletion was seen.
	Deleting bool
	// MissingSince is since when every answer has been that the provider does not know the session, with one endpoint and one set of
	// credentials, MissingAccess.
	MissingSince  time.Time
	MissingAccess int64
	// Refresh is the value of the reconcile-at annotation that the call under way is for, and NextRefreshAt before when no other
	// call is made for the annotation's sake.
	Refresh       string
	NextRefreshAt time.Time
}

// Ending is how an expire call ended.
type Ending string

// The endings that a read must settle.
const (
	EndingNone     Ending = ""
	EndingAccepted Ending = "accepted"
	EndingRefused  Ending = "refused"
)
