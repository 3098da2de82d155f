// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// Activity is what an account does at a moment.
type Activity struct {
	// Queued counts the requests in the queue, and InFlight the calls in flight.
	Queued, InFlight int
	// Rejected is true while the credentials are known to be rejected.
	Rejected bool
	// Outage is true while the provider does not answer.
	Outage bool
	// Paused is true until the provider's Retry-After has passed.
	Paused bool
	// Limited is true while a request waits for the rate limit.
	Limited bool
}

// Activity returns what the account does now.
func (a *Account) Activity() Activity {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Activity{
		Queued: a.queue.len(), InFlight: len(a.inFlight), Rejected: a.credentials.rejected != "",
		Outage: !a.breaker.openSince().IsZero(), Paused: a.now().Before(a.pausedUntil),
		Limited: a.queue.len() > 0 && a.limiter.Tokens() < 1,
	}
}

// OutageSince returns when the provider stopped answering, so that requests are held back; zero while it answers.
func (a *Account) OutageSince() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.breaker.openSince()
}

// Epoch returns a number that increases whenever a retry might now succeed.
func (a *Account) Epoch() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.epoch
}

// MayProbe reports whether it is a session's turn to try whether the credentials are accepted again.
func (a *Account) MayProbe(session types.UID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.credentials.turn == session && session != ""
}

// Found reports whether the provider has shown that it knows a session of this account, since the endpoint or the
// credentials changed.
func (a *Account) Found() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.found
}

// proofAge is the least time for which a read allows the expire call that follows it: a little longer than the longest
// pause that a provider can ask for. Otherwise one that does so after each read would never get the call.
const proofAge = 6 * time.Minute

// ProofSince returns the earliest end of a read that still allows the expire call which follows it. That call goes
// first in the queue, so that it waits for a token and for what is ahead of it.
func (a *Account) ProofSince() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.proofSince()
}

// proofSince does the same. The account is locked.
func (a *Account) proofSince() time.Time {
	const tokens = 3
	wait := time.Duration(tokens / float64(a.config.Limits.Rate) * float64(time.Second))
	return a.now().Add(-max(proofAge, wait))
}

// Blocks reports whether a call of an operation would be declined, because the credentials are rejected.
func (a *Account) Blocks(operation v1alpha1.Operation) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.credentials.block(operation)
}

// Access returns a number that increases whenever the endpoint or the credentials change.
func (a *Account) Access() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.access
}

// Rejected reports whether the credentials are known to be rejected.
func (a *Account) Rejected() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.credentials.rejected != ""
}

// Rejection returns the outcome for which the account is rejected; empty while it is not.
func (a *Account) Rejection() v1alpha1.Outcome {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.credentials.rejected == "" {
		return ""
	}
	return a.credentials.cause
}

// NeedsCredentials reports whether sessions wait for other credentials, because these are rejected or lack a
// permission.
func (a *Account) NeedsCredentials() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.credentials.needOthers()
}
