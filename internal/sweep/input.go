// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sweep

import (
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// Input is everything that a decision depends on. The decision does not change it.
type Input struct {
	// Sweep as the API server has it.
	Sweep *v1alpha1.PaymentSweep
	// Now is the time of the decision, by the clock of the Lister.
	Now time.Time
	// Uninstalling is true while the CRD of PaymentSweeps is being deleted.
	Uninstalling bool
	// Terminating is true where a live read shows that the Namespace is being deleted.
	Terminating bool
	// Obstacle is why nothing can be listed or expired; nil where both can be done.
	Obstacle *session.Obstacle
	// Access increases whenever the account's endpoint, its rule or its credentials change, and AccountEpoch whenever a
	// retry might now succeed.
	Access, AccountEpoch int64
	// Lag is how late a new session may appear in the list.
	Lag time.Duration
	// Scope is what the sweep lists.
	Scope Scope
	// Listing was handed out last; nil for none.
	Listing *Listing
	// Objects are the PaymentSessions of the namespace for the sessions of the Listing, by session id.
	Objects map[string]Object
	// Retained reports whether a session was registered with Retain. Such an id is never swept.
	Retained func(id string) bool
	// Progress is how far the sessions are that were to be expired.
	Progress Progress
	// Memory is what the previous decision returned.
	Memory Memory
}

// Object is what a PaymentSession of the namespace says about a session. The sweep leaves the session to it.
type Object struct {
	Name string
	// Active is true where it wants the session active.
	Active bool
}

// Progress is how far the sessions are that were to be expired.
type Progress struct {
	// Open counts those that are not closed and that a call may still expire. Acting counts those of them whose expiry is
	// under way.
	Open, Acting int
	// Reason and Message are those of a session whose expiry waits; empty for none. Stalled is true where a person has to
	// act.
	Reason, Message string
	Stalled         bool
	// Closed holds the ids of those that were closed, and Unsupported those that no call can expire. Settled holds those
	// that a list has shown as open again, and another read as closed: the list is wrong about them.
	Closed, Unsupported, Settled map[string]bool
	// Expired counts those that were expired.
	Expired int
	// StillPayable names what closed ones leave that can be paid elsewhere; empty for nothing.
	StillPayable string
	// Ended is when the last call ended.
	Ended time.Time
}

// Memory is what earlier decisions learnt. Losing it costs a pass and never leads to a wrong claim.
type Memory struct {
	// Generation of the spec, the deletion and the access that the rest belongs to.
	Generation int64
	Deleting   bool
	Access     int64
	// AccountEpoch is that of the last decision.
	AccountEpoch int64
	// Since is the earliest begin of a pass that counts, and From that of the next one to ask for.
	Since, From time.Time
	// Last is the pass that was handled last; nil for none.
	Last *Listing
	// Empty is the end of the first of the complete passes in a row that have shown nothing to wait for; zero for none.
	Empty time.Time
	// Attempts counts the passes in a row after which a deletion still waited, or that were cut short.
	Attempts int
	// Waiting is true while the sessions of the last pass have not all been expired, and Own is the number of those that
	// have an object.
	Waiting bool
	Own     int
	// Refresh is the value of the reconcile-at annotation that the next complete pass answers which begins at RefreshAt or
	// later. Answers is the one that the last one has answered.
	Refresh, Answers string
	RefreshAt        time.Time
	// Trouble is the reason that the sweep has had since TroubleSince.
	Trouble      string
	TroubleSince time.Time
}

// Outdated reports whether a memory belongs to another spec, to the time before the deletion, or to another access.
// What was listed and read before then allows no call.
func (m Memory) Outdated(of *v1alpha1.PaymentSweep, access int64) bool {
	isMoved := access != 0 && m.Access != access
	return m.Generation != of.Generation || m.Deleting == of.DeletionTimestamp.IsZero() || isMoved
}
