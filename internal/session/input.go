// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package session decides what to do about one PaymentSession. It is pure: an input goes in, one action comes out. It
// uses no client, no clock and no context.
package session

import (
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
)

// Input is everything that a decision depends on. The decision does not change it.
type Input struct {
	// Session as the API server has it.
	Session *v1alpha1.PaymentSession
	// Now is the time of the decision.
	Now time.Time
	// Jitter spreads what many sessions would otherwise do at the same moment: a new random number from 0 up to 1 for
	// each decision.
	Jitter float64
	// DryRun forbids every call that changes something at the provider.
	DryRun bool

	// Obstacle is why no call can be made; nil where calls can be made.
	Obstacle *Obstacle
	// InvalidSessionID is true where the session's id does not match the class's pattern.
	InvalidSessionID bool
	// ShowsExpirable is true where a read shows whether a call can end the session. One that no call can end is read
	// again: that may change.
	ShowsExpirable bool
	// SessionIDName is the provider's name for a session's id.
	SessionIDName string
	// PollInterval is the time between two reads of an active session; 0 disables polling.
	PollInterval time.Duration

	// Endpoint identifies the endpoint of the account; empty where there is no account.
	Endpoint string
	// AccountEpoch increases whenever a retry might now succeed: after new credentials, another endpoint, a recovery.
	AccountEpoch int64
	// AccountFound is true once the provider has shown, with the present endpoint and credentials, that it knows a
	// session.
	AccountFound bool
	// MayProbe is true where it is the session's turn to try whether rejected credentials are accepted again.
	MayProbe bool
	// Hold is why the account does not send queued requests at once.
	Hold Hold

	// Ownership is what follows for a session that is not the namespace's own; empty where the account has no rule. Self
	// is the namespace's own word in the rule; empty where it has none.
	Ownership v1alpha1.OwnershipAction
	Self      string
	// ProofSince is the earliest end of a read that allows an expire call, by the account's clock. AccessEpoch increases
	// whenever the account's endpoint or its credentials change.
	ProofSince  time.Time
	AccessEpoch int64
	// ExpireBlocked is true where the account would decline an expire call, because its credentials are rejected.
	ExpireBlocked bool

	// Uninstalling is true while the CRD of PaymentSessions is being deleted. An uninstall must not expire anything.
	Uninstalling bool
	// Duplicate is true where another live object of the same namespace names the same session of the same account,
	// wants it active, and has the finalizer or the policy Retain.
	Duplicate bool

	// Outcome of the last operation, if it has not been handled yet; nil for none.
	Outcome *call.Outcome
	// Memory is what the previous decision returned.
	Memory Memory
}

// Obstacle is something missing or not ready between a session and its provider's account.
type Obstacle struct {
	// Reason is one of the reasons for a provider, class or Secret that is missing or not ready.
	Reason string
	// Message names the object and what to do.
	Message string
}

// Hold is why an account holds queued requests back. It completes a sentence that begins with "The call waits".
type Hold string

// The holds, the most serious last.
const (
	HoldQueue     Hold = "in the queue of the provider object's account"
	HoldRateLimit Hold = "for the rateLimit of the provider object"
	HoldPause     Hold = "because the provider asked for a pause"
	HoldOutage    Hold = "until the provider answers again"
)

// Memory is what earlier decisions learnt and the object does not show. The zero value is right for a new session,
// and for every session after a restart: losing the memory costs a repeated call and never leads to a wrong claim.
// What must not be lost is in the status.
type Memory struct {
	// Desired is the desired state that the rest of the memory belongs to. DesiredSince is when it became so, as far as
	// known.
	Desired      v1alpha1.DesiredState
	DesiredSince time.Time
	// Endpoint that the rest of the memory belongs to.
	Endpoint string
	// Next is the operation that was requested and has not come back. Later decisions request the same one: another one
	// would take its place in the queue.
	Next v1alpha1.Operation
	// PendingSince is when the first of the requests was made that have led to no conclusion yet.
	PendingSince time.Time
	// Expire is how the last expire call ended, until a read settles it.
	Expire Ending
	// Refusal holds the provider's words, where Expire is EndingRefused.
	Refusal string
	// ActedAt is when an expire call was last accepted, or may have taken effect.
	ActedAt time.Time
	// Accepted counts the expire calls that were accepted and changed nothing.
	Accepted int
	// Recognized is true once the provider has answered an expire call as it does for a session that it knows.
	Recognized bool
	// Owned is the last read that has shown the session as the namespace's own, until the expire call that it allows.
	Owned call.Proof
	// ForeignSince is when the first of the reads in a row ended that have shown the session as another's.
	ForeignSince time.Time
	// Self is what Input.Self was at the last outcome.
	Self string
	// Warned is true once a person was told that the session is not the namespace's own, where the rule warns only.
	Warned bool
	// Trouble is the reason that the session has had since TroubleSince.
	Trouble      string
	TroubleSince time.Time
	// Attempts counts the calls in a row that ended in Trouble.
	Attempts int
	// NextCallAt is the earliest time of the next call.
	NextCallAt time.Time
	// AccountEpoch of the last outcome.
	AccountEpoch int64
	// Deleting is true once a decision has seen the deletion.
	Deleting bool
	// MissingSince is when the provider began to answer only that it does not know the session. All of these answers
	// came with one endpoint and one set of credentials, MissingAccess.
	MissingSince  time.Time
	MissingAccess int64
	// Refresh is the value of the reconcile-at annotation that the call under way answers. NextRefreshAt is the earliest
	// time of the next call for the annotation.
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
