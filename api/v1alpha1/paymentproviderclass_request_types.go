// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// CredentialKey is a key that the Secret of a provider object must have.
type CredentialKey struct {
	// name of the key in the Secret.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	// +required
	Name string `json:"name"`

	// description says which value belongs to the key and where the provider
	// shows it.
	//
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Description string `json:"description,omitempty"`
}

// BasicAuthentication sends credentials by HTTP Basic authentication (RFC
// 7617).
type BasicAuthentication struct {
	// username is the name of the credential that is sent as the user name. It
	// is one of spec.credentials.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Username string `json:"username"`

	// password is the name of the credential that is sent as the password. It is
	// one of spec.credentials. If unset, the password is empty.
	//
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Password string `json:"password,omitempty"`
}

// BearerAuthentication sends a token as Authorization: Bearer (RFC 6750).
type BearerAuthentication struct {
	// credential is the name of the credential that is sent as the token. It is
	// one of spec.credentials.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Credential string `json:"credential"`
}

// NamedAuthentication sends a credential in a header or a query parameter.
type NamedAuthentication struct {
	// name of the header or of the query parameter.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	// +required
	Name string `json:"name"`

	// credential is the name of the credential that is sent as the value. It is
	// one of spec.credentials.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	Credential string `json:"credential"`
}

// Authentication is one way to authenticate a call. Exactly one field must
// be set. A class may combine several.
//
// +kubebuilder:validation:ExactlyOneOf=basic;bearer;header;queryParameter
type Authentication struct {
	// basic sends credentials by HTTP Basic authentication.
	//
	// +optional
	Basic *BasicAuthentication `json:"basic,omitempty"`

	// bearer sends a credential as Authorization: Bearer.
	//
	// +optional
	Bearer *BearerAuthentication `json:"bearer,omitempty"`

	// header sends a credential in a header with the given name.
	//
	// +optional
	Header *NamedAuthentication `json:"header,omitempty"`

	// queryParameter sends a credential in a query parameter of the URL.
	//
	// +optional
	QueryParameter *NamedAuthentication `json:"queryParameter,omitempty"`
}

// Header is a header with a fixed value.
type Header struct {
	// name of the header. Authorization, and headers that belong to HTTP itself
	// such as Host, Connection and Content-Length, are not allowed.
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

// RequestTemplate is the request for one operation.
type RequestTemplate struct {
	// method of the request: GET, POST, PUT, PATCH or DELETE.
	//
	// +kubebuilder:validation:Enum=GET;POST;PUT;PATCH;DELETE
	// +required
	Method string `json:"method"`

	// path of the request below the base URL. It must contain {id} exactly once,
	// which is replaced with the session's id.
	//
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^(/([A-Za-z0-9._~!-]+|\{id\}[A-Za-z0-9._~!-]*))+$`
	// +kubebuilder:validation:XValidation:rule="self.split('{id}').size() == 2",message="path must hold {id} once, for example /v1/charges/{id}/expire"
	// +required
	Path string `json:"path"`

	// body of the request. Empty sends none. Content-Type is application/json
	// unless spec.headers sets another.
	//
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Body string `json:"body,omitempty"`
}
