// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Expression is a CEL expression (https://cel.dev). The variables that it
// can use depend on the field.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=4096
type Expression string

// SessionIDFormat describes the provider's ids of sessions.
type SessionIDFormat struct {
	// name is the provider's name for the id, used in messages, such as payment
	// intent id or charge token.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name"`

	// pattern is an RE2 regular expression that the whole id must match. It is
	// checked before every call. An id that does not match is never sent.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +required
	Pattern string `json:"pattern"`

	// caseInsensitive says that ids that differ only in case name the same
	// session, as UUIDs do. An id is sent as it is written in the
	// PaymentSession. Defaults to false.
	//
	// +optional
	CaseInsensitive bool `json:"caseInsensitive,omitempty"`

	// inReply is a CEL expression over code, headers, body and now that returns
	// the id of the session that a reply is about, as a string or an int. A
	// reply about another session than the requested one proves nothing: its
	// outcome is UnexpectedResponse. A reply in which the expression finds no id
	// is taken for a reply about the requested session. Replies with outcome
	// CredentialsRejected, Throttled or Unavailable are not checked.
	//
	// +optional
	InReply Expression `json:"inReply,omitempty"`
}

// Identity says where a session shows the marks that its creator put on it.
type Identity struct {
	// tags is a CEL expression over code, headers, body and now that returns the
	// creator's marks as a map, such as the metadata of a charge.
	//
	// +optional
	Tags Expression `json:"tags,omitempty"`

	// reference is a CEL expression over code, headers, body and now that
	// returns the creator's own reference as a string.
	//
	// +optional
	Reference Expression `json:"reference,omitempty"`
}

// Environment is one deployment of the provider's API, such as production.
type Environment struct {
	// name of the environment, such as production or sandbox.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +required
	Name string `json:"name"`

	// baseURL is the URL to which the paths of the calls are appended. It has a
	// scheme, a host and optionally a port and a path.
	//
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?$`
	// +required
	BaseURL string `json:"baseURL"`

	// tokenURL is the path of this environment's token endpoint, in place of
	// tokenURL of spec.authentication. It may begin with a scheme and a host,
	// where tokens come from another path than the one below the base URL. A
	// provider object's own endpoint replaces the scheme, the host and the path
	// of the base URL: the token's path is then appended to it.
	//
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^(https?://[A-Za-z0-9.:\[\]-]+)?(/[A-Za-z0-9._~-]+)+$`
	// +optional
	TokenURL string `json:"tokenURL,omitempty"`

	// default marks the environment for providers that name none. At most one
	// environment may be the default. Defaults to false.
	//
	// +optional
	Default bool `json:"default,omitempty"`
}

// PaymentProviderClassSpec describes how to use one provider's API.
//
// +kubebuilder:validation:XValidation:rule="self.environments.filter(e, has(e.default) && e.default).size() <= 1",message="at most one environment can be the default"
type PaymentProviderClassSpec struct {
	// sources are the URLs of the provider's documentation that this class is
	// based on.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=512
	// +optional
	Sources []string `json:"sources,omitempty"`

	// sessionID describes the provider's ids of sessions.
	//
	// +required
	SessionID SessionIDFormat `json:"sessionID"`

	// environments are the deployments of the provider's API. A provider object
	// may also set an endpoint of its own.
	//
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	// +required
	Environments []Environment `json:"environments"`

	// credentials are the keys of the Secret of a provider object. The Secret
	// must have each of them that is not optional.
	//
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	// +optional
	Credentials []CredentialKey `json:"credentials,omitempty"`

	// authentication says how every call is authenticated. Several ways may be
	// combined, but two must not write the same place of the request.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +optional
	Authentication []Authentication `json:"authentication,omitempty"`

	// headers are sent with every call, in addition to those of authentication
	// and of the call.
	//
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Headers []Header `json:"headers,omitempty"`

	// expire is the call that makes the provider expire a session. It must be
	// safe to repeat: the operator repeats a call whose effect is unknown.
	//
	// +required
	Expire RequestTemplate `json:"expire"`

	// observe is the call that reads a session. It must not change anything.
	//
	// +required
	Observe RequestTemplate `json:"observe"`

	// code is a CEL expression over code, headers, body and now that returns the
	// code that counts, as an int, for providers that answer HTTP 200 and have
	// the code in the body. If unset, or if it fails on a reply or returns 0, it
	// is the HTTP status, as it always is for 408, 429 and 5xx; and no other
	// HTTP status than 2xx becomes a 2xx. Everywhere else in the class, code is
	// this code.
	//
	// +optional
	Code Expression `json:"code,omitempty"`

	// unknownSession is a CEL condition over code, headers, body and now that
	// recognizes the provider's own "no such session" in a reply with code 404.
	// Any other 404 is an UnexpectedResponse: it comes from a proxy, from a
	// wrong endpoint, or from the same server for a path that does not exist.
	// Because a deletion may be released after a match, the condition must not
	// match the server's "no such route".
	//
	// +required
	UnknownSession Expression `json:"unknownSession"`

	// outcomes are rules that override the engine's reading of the code. They
	// are evaluated in order, and the first match wins. They apply to replies
	// with a JSON body and to empty replies. Without a match the outcome is: 2xx
	// Accepted; 401 CredentialsRejected; 403 NotAllowed; 404 NotFound if
	// unknownSession matches, otherwise UnexpectedResponse; 408 and 5xx
	// Unavailable; 429 Throttled; any other 4xx Refused for expire and
	// UnexpectedResponse for observe; anything else UnexpectedResponse.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Outcomes []OutcomeRule `json:"outcomes,omitempty"`

	// state says how the session's state is read from a reply with outcome
	// Accepted.
	//
	// +required
	State StateMapping `json:"state"`

	// identity says where a reply to observe shows the marks that the creator of
	// the session put on it. Rules of ownership of a provider object use them.
	//
	// +optional
	Identity Identity `json:"identity,omitzero"`

	// list is the call that lists the sessions of an account. Without it a
	// PaymentSweep cannot be used with the class.
	//
	// +optional
	List *ListTemplate `json:"list,omitempty"`

	// expirable is a CEL condition over status, code, headers, body and now, for
	// providers whose sessions say whether a call can end them. It is evaluated
	// for a read with state active. If it is false, no call can expire the
	// session now, as with outcome Unsupported; it is read again as often as
	// pollInterval says, because that may change. An expression that fails on a
	// reply is true.
	//
	// +optional
	Expirable Expression `json:"expirable,omitempty"`

	// expiredAt is a CEL expression over status, code, headers, body and now
	// that returns the time at which the session expired, as a timestamp or an
	// RFC 3339 string. It is evaluated only if the state is expired.
	//
	// +optional
	ExpiredAt Expression `json:"expiredAt,omitempty"`

	// requestID is a CEL expression over code, headers, body and now that
	// returns the provider's id of the call.
	//
	// +optional
	RequestID Expression `json:"requestID,omitempty"`

	// message is a CEL expression over code, headers, body and now that returns
	// the provider's own words about a failed call. Conditions show a short
	// excerpt without credentials.
	//
	// +optional
	Message Expression `json:"message,omitempty"`
}

// PaymentProviderClassStatus is the observed state of a class.
type PaymentProviderClassStatus struct {
	// observedGeneration is the metadata.generation that this status was
	// computed from; -1 until the first reconciliation.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the class. Ready is True when the class is valid: its
	// expressions compile and its references resolve. Otherwise Stalled is True,
	// and the message names the field. Stalled is present only with status True.
	//
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PaymentProviderClass describes how to use one provider's API. Like a
// StorageClass, it is cluster-scoped and written by administrators. Four are
// shipped; docs/writing-a-class.md explains how to add another.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=payclass,categories=payops
// +kubebuilder:printcolumn:name="Session",type=string,JSONPath=`.spec.sessionID.name`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type PaymentProviderClass struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec describes how to use the provider's API.
	//
	// +required
	Spec PaymentProviderClassSpec `json:"spec"`

	// status is the observed state of the class. Only the operator writes it.
	//
	// +kubebuilder:default={observedGeneration:-1}
	// +optional
	Status PaymentProviderClassStatus `json:"status,omitzero"`
}

// PaymentProviderClassList is a list of PaymentProviderClasses.
//
// +kubebuilder:object:root=true
type PaymentProviderClassList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PaymentProviderClass `json:"items"`
}
