// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Operation is a call that the operator makes to a provider.
//
// +kubebuilder:validation:Enum=expire;observe
type Operation string

const (
	// OperationExpire makes the provider expire the session. It is safe to
	// repeat.
	OperationExpire Operation = "expire"
	// OperationObserve reads the session and changes nothing.
	OperationObserve Operation = "observe"
)

// Outcome is the meaning of a reply for the operator.
//
// +kubebuilder:validation:Enum=Accepted;Refused;Unsupported;NotFound;CredentialsRejected;NotAllowed;Throttled;Unavailable;UnexpectedResponse
type Outcome string

const (
	// OutcomeAccepted is a call that did what was requested. The state in the
	// reply says what it proves.
	OutcomeAccepted Outcome = "Accepted"
	// OutcomeRefused is a call that the provider understood and rejected. The
	// session is then read, and its state decides.
	OutcomeRefused Outcome = "Refused"
	// OutcomeUnsupported is a session that no call can expire, such as a charge
	// with a payment method that cannot be expired.
	OutcomeUnsupported Outcome = "Unsupported"
	// OutcomeNotFound is a session that the provider does not know.
	OutcomeNotFound Outcome = "NotFound"
	// OutcomeCredentialsRejected is a call whose credentials the provider
	// rejected.
	OutcomeCredentialsRejected Outcome = "CredentialsRejected"
	// OutcomeNotAllowed is a call whose credentials the provider accepted, but
	// not for this operation on this session.
	OutcomeNotAllowed Outcome = "NotAllowed"
	// OutcomeThrottled is a call that the provider rejected because there were
	// too many.
	OutcomeThrottled Outcome = "Throttled"
	// OutcomeUnavailable is a provider that cannot be reached or cannot answer.
	// The call may have had its effect.
	OutcomeUnavailable Outcome = "Unavailable"
	// OutcomeUnexpectedResponse is a reply that neither the engine nor the class
	// can interpret. The call may have had its effect.
	OutcomeUnexpectedResponse Outcome = "UnexpectedResponse"
)

// OutcomeRule gives a reply its outcome where the HTTP status is not enough.
type OutcomeRule struct {
	// when is a CEL condition over code (int), headers (map of lower-case names
	// to values), body (the decoded JSON, null if the reply is empty) and now
	// (timestamp). An expression that fails on a reply, for example because a
	// field is missing, does not match.
	//
	// +required
	When Expression `json:"when"`

	// operation limits the rule to replies to expire or to observe. If unset,
	// the rule applies to both; with outcome Unsupported, to expire only.
	//
	// +optional
	Operation Operation `json:"operation,omitempty"`

	// outcome of a reply that matches.
	//
	// +required
	Outcome Outcome `json:"outcome"`

	// status is the provider's status word that a matching reply proves, used in
	// place of state.status. It must be one of state.words, and is used only
	// with outcome Accepted.
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

	// state of the session if the condition holds: active, processing, expired,
	// completed or failed.
	//
	// +kubebuilder:validation:Enum=active;processing;expired;completed;failed
	// +required
	State SessionState `json:"state"`
}

// StateWord is the state that a word of the provider's vocabulary means.
//
// +kubebuilder:validation:Enum=active;processing;expired;completed;failed
type StateWord string

// StillPayable recognizes a closed session that leaves something behind that
// can still be paid.
type StillPayable struct {
	// when is a CEL condition over status (the provider's word), code, headers,
	// body and now. It is evaluated only if the state is closed: expired,
	// completed or failed.
	//
	// +required
	When Expression `json:"when"`

	// what can still be paid, as part of a sentence, such as: the invoice that
	// the payer started.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=120
	// +kubebuilder:validation:Pattern=`^[ -~]+$`
	// +required
	What string `json:"what"`
}

// StateMapping says how a session's state is read from a reply.
type StateMapping struct {
	// status is a CEL expression over code, headers, body and now that returns
	// the provider's own status word, or "" if the reply does not show one. An
	// expression that fails on a reply returns "".
	//
	// +required
	Status Expression `json:"status"`

	// words maps the provider's status words to states: active, processing,
	// expired, completed or failed. What a reply with a word that is not listed,
	// or without one, means depends on the operation, unless an override matches
	// the word. A reply to observe is an UnexpectedResponse. A reply to expire
	// proves no state, and the session is then read.
	//
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=64
	// +required
	Words map[string]StateWord `json:"words"`

	// stillPayable says what can be paid elsewhere although the session is
	// closed. For example, a payment link that was used may leave an invoice
	// behind. The first match wins. The text is shown in
	// status.upstream.stillPayable and in the message of the session's
	// conditions. A deletion that is released in such a state is counted by the
	// metric payops_released_payable_total.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +optional
	StillPayable []StillPayable `json:"stillPayable,omitempty"`

	// overrides are evaluated in order before words, and the first match wins. A
	// reply without a status word matches none.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Overrides []StateOverride `json:"overrides,omitempty"`
}
