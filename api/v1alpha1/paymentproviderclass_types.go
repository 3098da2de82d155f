// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Expression is a CEL expression. What it may use depends on the field that
// holds it.
//
// +kubebuilder:validation:MinLength=1
// +kubebuilder:validation:MaxLength=4096
type Expression string

// SessionIDFormat is what the provider calls a session's id and how one
// looks.
type SessionIDFormat struct {
	// name of the id in the provider's words, for messages: payment intent id,
	// charge token.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Name string `json:"name"`

	// pattern that the whole id must match, as an RE2 expression. It is checked
	// before every call, and what fails it is never sent.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +required
	Pattern string `json:"pattern"`

	// caseInsensitive is true where two ids that differ in case name one
	// session, as UUIDs do. An id is sent as it is written.
	//
	// +optional
	CaseInsensitive bool `json:"caseInsensitive,omitempty"`

	// inReply is a CEL expression over code, headers, body and now that gives
	// the id of the session that a reply is about. A reply about another session
	// than the one that was asked for proves nothing, whatever its status: it is
	// an UnexpectedResponse. A reply that names no session is taken for the one
	// that was asked for.
	//
	// +optional
	InReply Expression `json:"inReply,omitempty"`
}

// Environment is one place where the provider's API is served.
type Environment struct {
	// name of the environment, such as production or sandbox.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +required
	Name string `json:"name"`

	// baseURL that the paths of the calls are added to.
	//
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?$`
	// +required
	BaseURL string `json:"baseURL"`

	// default marks the environment of providers that name none. At most one has
	// it.
	//
	// +optional
	Default bool `json:"default,omitempty"`
}

// CredentialKey is a key that a provider's Secret must hold.
type CredentialKey struct {
	// name of the key in the Secret.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	// +required
	Name string `json:"name"`

	// description of what belongs there and where the provider shows it.
	//
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Description string `json:"description,omitempty"`
}

// BasicAuthentication sends HTTP Basic credentials.
type BasicAuthentication struct {
	// username is the credential that is sent as the user name.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Username string `json:"username"`

	// password is the credential that is sent as the password. Left out, the
	// password is empty.
	//
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Password string `json:"password,omitempty"`
}

// BearerAuthentication sends Authorization: Bearer.
type BearerAuthentication struct {
	// credential that is sent as the token.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Credential string `json:"credential"`
}

// NamedAuthentication sends a credential under a name.
type NamedAuthentication struct {
	// name of the header or of the query parameter.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	// +required
	Name string `json:"name"`

	// credential that is sent as the value.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Credential string `json:"credential"`
}

// Authentication is one way in which a call proves who makes it. A class may
// combine several.
//
// +kubebuilder:validation:ExactlyOneOf=basic;bearer;header;queryParameter
type Authentication struct {
	// basic sends HTTP Basic credentials.
	//
	// +optional
	Basic *BasicAuthentication `json:"basic,omitempty"`

	// bearer sends Authorization: Bearer.
	//
	// +optional
	Bearer *BearerAuthentication `json:"bearer,omitempty"`

	// header sends a credential in a header of the given name.
	//
	// +optional
	Header *NamedAuthentication `json:"header,omitempty"`

	// queryParameter sends a credential in the URL's query.
	//
	// +optional
	QueryParameter *NamedAuthentication `json:"queryParameter,omitempty"`
}

// Header is a header that every call carries.
type Header struct {
	// name of the header.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9-]+$`
	// +required
	Name string `json:"name"`

	// value of the header.
	//
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[ -~]*$`
	// +required
	Value string `json:"value"`
}

// Call is how one operation is asked for.
type Call struct {
	// method of the request.
	//
	// +kubebuilder:validation:Enum=GET;POST;PUT;PATCH;DELETE
	// +required
	Method string `json:"method"`

	// path of the request below the base URL. {id} stands for the session's id
	// and must be there once.
	//
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^(/([A-Za-z0-9._~!-]+|\{id\}[A-Za-z0-9._~!-]*))+$`
	// +kubebuilder:validation:XValidation:rule="self.split('{id}').size() == 2",message="path must hold {id} once, for example /v1/charges/{id}/expire"
	// +required
	Path string `json:"path"`

	// body of the request. Content-Type is application/json unless headers says
	// otherwise.
	//
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Body string `json:"body,omitempty"`
}

// PaymentProviderClassSpec is how to talk to one provider's API.
//
// +kubebuilder:validation:XValidation:rule="self.environments.filter(e, has(e.default) && e.default).size() <= 1",message="at most one environment can be the default"
type PaymentProviderClassSpec struct {
	// sources are the pages that this class was made from.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:MaxLength=512
	// +optional
	Sources []string `json:"sources,omitempty"`

	// sessionID is what the provider calls a session's id and how one looks.
	//
	// +required
	SessionID SessionIDFormat `json:"sessionID"`

	// environments where the provider's API is served. A provider may always
	// give an endpoint of its own.
	//
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	// +required
	Environments []Environment `json:"environments"`

	// credentials are the keys that a provider's Secret must hold.
	//
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	// +optional
	Credentials []CredentialKey `json:"credentials,omitempty"`

	// authentication of every call.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +optional
	Authentication []Authentication `json:"authentication,omitempty"`

	// headers of every call.
	//
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Headers []Header `json:"headers,omitempty"`

	// expire makes the provider expire a session.
	//
	// +required
	Expire Call `json:"expire"`

	// observe reads a session.
	//
	// +required
	Observe Call `json:"observe"`

	// unknownSession is a CEL condition over code, headers, body and now that
	// recognizes the provider's own "no such session". A 404 that it does not
	// recognize is an UnexpectedResponse: it comes from a proxy, from a wrong
	// endpoint, or from the same server for a path that it does not have. A
	// deletion is released on the word of this condition, so it must not
	// recognize the server's "no such route".
	//
	// +required
	UnknownSession Expression `json:"unknownSession"`

	// outcomes are looked at in their order, first match wins, before the
	// engine's own reading of the HTTP status: 2xx Accepted, 401
	// CredentialsRejected, 403 NotAllowed, 404 NotFound (where unknownSession
	// matches), 408 and 5xx Unavailable, 429 Throttled, other 4xx to expire Refused,
	// anything else UnexpectedResponse.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Outcomes []OutcomeRule `json:"outcomes,omitempty"`

	// state is how a session's state is read from a reply with outcome Accepted.
	//
	// +required
	State StateMapping `json:"state"`

	// expiredAt is a CEL expression over status, code, headers, body and now
	// that gives the time at which the session expired, as a timestamp or an RFC
	// 3339 string. It is looked at only where the state is expired.
	//
	// +optional
	ExpiredAt Expression `json:"expiredAt,omitempty"`

	// requestID is a CEL expression over code, headers, body and now that gives
	// the provider's id of the call.
	//
	// +optional
	RequestID Expression `json:"requestID,omitempty"`

	// message is a CEL expression over code, headers, body and now that gives
	// the provider's own words on a call that failed. A short, cleaned excerpt
	// of them is shown in conditions.
	//
	// +optional
	Message Expression `json:"message,omitempty"`
}

// PaymentProviderClassStatus is what is known of a class.
type PaymentProviderClassStatus struct {
	// observedGeneration is the generation of the spec that this status speaks
	// of; -1 until the first one does.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// conditions of the class. Ready is True when its expressions compile.
	// Stalled is there only while it is True.
	//
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PaymentProviderClass is how to talk to one provider's API: a page of YAML,
// as a StorageClass is to its driver. Four are shipped;
// docs/writing-a-class.md tells how to add another.
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

	// metadata is the standard object's metadata.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is how to talk to the provider's API.
	//
	// +required
	Spec PaymentProviderClassSpec `json:"spec"`

	// status is what is known of the class. It is written by the operator alone.
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
