// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package call

import "github.com/payops-dev/payment-session-operator/api/v1alpha1"

// Meaning is what follows from an outcome for the account, the engine and the provider's health. What follows for the
// session is in the table of internal/session.
type Meaning struct {
	// AboutSession outcomes say something about the session. In a reply about another session they prove nothing.
	AboutSession bool
	// AcceptsCredentials outcomes show that the provider accepts the account's credentials.
	AcceptsCredentials bool
	// RejectsAccount outcomes say that the provider takes no calls with the account as it is. Once they are not one
	// session's alone, the account holds its sessions back, and these probe in turn.
	RejectsAccount bool
	// NeedsCredentials outcomes may be resolved by other credentials. The Secret is read more often meanwhile.
	NeedsCredentials bool
	// Unavailable outcomes open the account's breaker.
	Unavailable bool
	// Pauses outcomes may come with a Retry-After, which then counts for the whole account.
	Pauses bool
	// MayHaveActed outcomes leave open whether the call has taken effect.
	MayHaveActed bool
}

// meanings has a row for each outcome; TestEveryOutcomeHasAMeaning keeps it complete.
var meanings = map[v1alpha1.Outcome]Meaning{
	v1alpha1.OutcomeAccepted:            {AboutSession: true, AcceptsCredentials: true},
	v1alpha1.OutcomeRefused:             {AboutSession: true, AcceptsCredentials: true},
	v1alpha1.OutcomeUnsupported:         {AboutSession: true, AcceptsCredentials: true},
	v1alpha1.OutcomeNotFound:            {AboutSession: true, AcceptsCredentials: true},
	v1alpha1.OutcomeNotAllowed:          {AboutSession: true, AcceptsCredentials: true, NeedsCredentials: true},
	v1alpha1.OutcomeCredentialsRejected: {RejectsAccount: true, NeedsCredentials: true},
	v1alpha1.OutcomeThrottled:           {Pauses: true},
	v1alpha1.OutcomeUnavailable:         {Unavailable: true, Pauses: true, MayHaveActed: true},
	v1alpha1.OutcomeUnexpectedResponse:  {MayHaveActed: true},
}

// MeaningOf returns the meaning of an outcome.
func MeaningOf(outcome v1alpha1.Outcome) Meaning { return meanings[outcome] }
