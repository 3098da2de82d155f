// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package call describes what a call to a provider came to. The engine reads it from a reply, the account hands it
// on, and the decision acts on it. It is a leaf: the decision must not import HTTP or CEL to see a result.
package call

import (
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

const (
	// ProbeInterval is the time between two calls that try whether rejected credentials are accepted again.
	ProbeInterval = 10 * time.Minute
	// RefreshInterval is the shortest time between two calls that a person asks for with the reconcile-at annotation.
	RefreshInterval = 10 * time.Second
)

// OperationList reads a page of an account's sessions. It is about no session, and no rule of a class names it.
const OperationList v1alpha1.Operation = "list"

// Result is the meaning of one reply, or of its absence.
type Result struct {
	// Outcome classifies the reply.
	Outcome v1alpha1.Outcome
	// State that the reply proves; empty where it proves none.
	State v1alpha1.SessionState
	// Status is the provider's own word for State.
	Status string
	// StillPayable names what can still be paid elsewhere although State is closed; empty for nothing.
	StillPayable string
	// ExpiredAt is when the session expired, where State is expired and the provider says so.
	ExpiredAt *time.Time
	// RequestID is the provider's id of the call; empty where it gives none.
	RequestID string
	// Message is a short, redacted excerpt of the provider's words on a failure, or ours where there was no reply.
	Message string
	// RetryAfter is the pause that the provider asks for; 0 for none.
	RetryAfter time.Duration
	// MayHaveActed is true where the call may have taken effect although its outcome does not show that.
	MayHaveActed bool
	// Owner is whose session a read shows, by the ownership rule of the account; empty for nobody's. ShowsOwner is true
	// where the reply shows a session and the account has a rule: otherwise Owner says nothing.
	Owner      string
	ShowsOwner bool
	// Unexpirable is true where a read shows an open session that no call can expire.
	Unexpirable bool
}

// Proof is a read that has shown a session as the own one of a namespace. It allows the expire call that follows it.
type Proof struct {
	// At is when the read ended; zero for no proof.
	At time.Time
	// Access is the account's AccessEpoch at that time, and Self the namespace's own word.
	Access int64
	Self   string
}

// Outcome is the end of one operation that a session requested from its account.
type Outcome struct {
	Operation v1alpha1.Operation
	Result    Result
	// Made is false where the account made no call, because it would have been rejected.
	Made bool
	// Refresh is true where the call was made for a person.
	Refresh bool
	// EndedAt is when the call ended. The session may handle the outcome much later.
	EndedAt time.Time
	// AccountEpoch of the account when the call began. The epoch increases whenever a retry might now succeed.
	AccountEpoch int64
	// AccessEpoch increases whenever the account's endpoint or its credentials change.
	AccessEpoch int64
}
