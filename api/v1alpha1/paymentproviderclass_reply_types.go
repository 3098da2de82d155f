// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Operation is something that the operator asks of a provider.
//
// +kubebuilder:validation:Enum=expire;observe
type Operation string

const (
	// OperationExpire makes the provider expire the session. Repeating it is
	// harmless.
	OperationExpire Operation = "expire"
	// OperationObserve reads the session and changes nothing.
	OperationObserve Operation = "observe"
)

// Outcome is what a reply means to the operator.
//
// +kubebuilder:validation:Enum=Accepted;Refused;Unsupported;NotFound;CredentialsRejected;NotAllowed;Throttled;Unavailable;UnexpectedResponse
type Outcome string

const (
	// OutcomeAccepted is a call that did what was asked. What it proves is said
	// by the state of its reply.
	OutcomeAccepted Outcome = "Accepted"
	// OutcomeRefused is a call that the provider understood and would not do:
	// read the session and decide from its state.
	OutcomeRefused Outcome = "Refused"
	// OutcomeUnsupported is a session that can never be expired by a call, such
	// as a charge of the wrong payment method.
	OutcomeUnsupported Outcome = "Unsupported"
	// OutcomeNotFound is a session that the provider does not know.
	OutcomeNotFound Outcome = "NotFound"
	// OutcomeCredentialsRejected is credentials that the provider does not
	// accept.
	OutcomeCredentialsRejected Outcome = "CredentialsRejected"
	// OutcomeNotAllowed is credentials that the provider accepts but not for
	// this session.
	OutcomeNotAllowed Outcome = "NotAllowed"
	// OutcomeThrottled is one call too many.
	OutcomeThrottled Outcome = "Throttled"
	// OutcomeUnavailable is a provider that is down, or a call of which nobody
	// knows whether it had an effect.
	OutcomeUnavailable Outcome = "Unavailable"
	// OutcomeUnexpectedResponse is a reply that neither the engine nor the class
	// understands.
	OutcomeUnexpectedResponse Outcome = "UnexpectedResponse"
)

// OutcomeRule gives a reply its meaning where HTTP's own is not enough.
type OutcomeRule struct {
	// when is a CEL condition over code (int), headers (map of lower-case names
	// to values), body (the decoded JSON, null where there is none) and now
	// (timestamp). An expression that fails on a reply, because a field is
	// missing, does not match.
	//
	// +required
	When Expression `json:"when"`

	// operation limits the rule to replies to expire or to observe. Left out, it
	// holds for both.
	//
	// +optional
	Operation Operation `json:"operation,omitempty"`

	// outcome that such a reply has.
	//
	// +required
	Outcome Outcome `json:"outcome"`

	// status is the word for the session's state that such a reply proves, where
	// the reply itself holds none. It must be one of state.words.
	//
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Status string `json:"status,omitempty"`
}

// StateOverride gives a reply another state than its status word alone
// would.
type StateOverride struct {
	// when is a CEL condition over status (the provider's word), code, headers,
	// body and now.
	//
	// +required
	When Expression `json:"when"`

	// state that the session then has.
	//
	// +kubebuilder:validation:Enum=active;processing;expired;completed;failed
	// +required
	State SessionState `json:"state"`
}

// StateWord is a word for a state in the provider's vocabulary and what it
// means in ours.
//
// +kubebuilder:validation:Enum=active;processing;expired;completed;failed
type StateWord string

// StillPayable recognizes a closed session that leaves something payable
// behind.
type StillPayable struct {
	// when is a CEL condition over status (the provider's word), code, headers,
	// body and now. It is looked at only where the state is closed.
	//
	// +required
	When Expression `json:"when"`

	// what can still be paid, as part of a sentence: the invoice that the payer
	// started.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=120
	// +kubebuilder:validation:Pattern=`^[ -~]+$`
	// +required
	What string `json:"what"`
}

// StateMapping is how a session's state is read from a reply.
type StateMapping struct {
	// status is a CEL expression over code, headers, body and now that gives the
	// provider's own status word, or "" where the reply proves nothing. An
	// expression that fails on a reply gives "".
	//
	// +required
	Status Expression `json:"status"`

	// words maps the provider's status words to states. A word that is not here
	// is an unexpected response.
	//
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	// +required
	Words map[string]StateWord `json:"words"`

	// stillPayable says what can be paid elsewhere although the session is
	// closed: a payment link that was used may leave an invoice behind. First
	// match wins. The text goes into the session's message, and a deletion that
	// is released in such a state is counted as payable.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +optional
	StillPayable []StillPayable `json:"stillPayable,omitempty"`

	// overrides are looked at in their order, first match wins, before words.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Overrides []StateOverride `json:"overrides,omitempty"`
}
