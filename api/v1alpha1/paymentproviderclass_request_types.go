// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// CredentialKey is a key of the Secret of a provider object.
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

	// optional says that the Secret need not have the key. Only the class's
	// headers may use an optional credential: without it the header is not sent.
	// Defaults to false.
	//
	// +optional
	Optional bool `json:"optional,omitempty"`

	// pattern is an RE2 regular expression that the whole value must match, such
	// as sk_(test|live)_.* for a secret key. A provider object whose Secret has
	// another value, for example the public key, is not ready, with reason
	// InvalidCredentials, and no call is made with it.
	//
	// +kubebuilder:validation:MaxLength=255
	// +optional
	Pattern string `json:"pattern,omitempty"`
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

// ClientAuthentication is how a token request sends the client's id and secret.
//
// +kubebuilder:validation:Enum=Basic;Body
type ClientAuthentication string

const (
	// ClientAuthenticationBasic sends them by HTTP Basic authentication.
	ClientAuthenticationBasic ClientAuthentication = "Basic"
	// ClientAuthenticationBody sends them as parameters of the body.
	ClientAuthenticationBody ClientAuthentication = "Body"
)

// OAuth2Parameter is a further parameter of a token request. Exactly one of
// value and credential must be set.
//
// +kubebuilder:validation:ExactlyOneOf=value;credential
type OAuth2Parameter struct {
	// name of the parameter.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_-]+$`
	// +required
	Name string `json:"name"`

	// value of the parameter.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[ -~]*$`
	// +optional
	Value string `json:"value,omitempty"`

	// credential is the name of the credential that is sent as the value. It is
	// one of spec.credentials.
	//
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Credential string `json:"credential,omitempty"`
}

// OAuth2Authentication gets a token with the client credentials grant (RFC
// 6749, section 4.4), and sends it in the Authorization header. The token is
// requested once for an account, and again shortly before it ends or after the
// provider has rejected it.
type OAuth2Authentication struct {
	// tokenURL is the path of the token endpoint below the base URL, such as
	// /v1/oauth2/token. An environment may have a tokenURL of its own.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^(/[A-Za-z0-9._~!-]+)+$`
	// +required
	TokenURL string `json:"tokenURL"`

	// clientID is the name of the credential that is sent as the client's id.
	// It is one of spec.credentials.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	ClientID string `json:"clientID"`

	// clientSecret is the name of the credential that is sent as the client's
	// secret. It is one of spec.credentials.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +required
	ClientSecret string `json:"clientSecret"`

	// clientAuthentication is how the token request sends the client's id and
	// secret: Basic (HTTP Basic authentication) or Body (parameters of the
	// body). Defaults to Basic.
	//
	// +optional
	ClientAuthentication ClientAuthentication `json:"clientAuthentication,omitempty"`

	// scopes that the token request asks for. If unset, the provider decides.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=255
	// +optional
	Scopes []string `json:"scopes,omitempty"`

	// parameters are further parameters of the token request.
	//
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=8
	// +optional
	Parameters []OAuth2Parameter `json:"parameters,omitempty"`

	// scheme is the word before the token in the Authorization header. Defaults
	// to Bearer.
	//
	// +kubebuilder:validation:MaxLength=31
	// +kubebuilder:validation:Pattern=`^[A-Za-z][A-Za-z0-9-]*$`
	// +optional
	Scheme string `json:"scheme,omitempty"`
}

// Authentication is one way to authenticate a call. Exactly one field must
// be set. A class may combine several.
//
// +kubebuilder:validation:ExactlyOneOf=basic;bearer;header;queryParameter;oauth2
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

	// oauth2 gets a token with the client credentials grant and sends it.
	//
	// +optional
	OAuth2 *OAuth2Authentication `json:"oauth2,omitempty"`
}

// Header is a header of every call. Exactly one of value and credential must
// be set.
//
// +kubebuilder:validation:ExactlyOneOf=value;credential
type Header struct {
	// name of the header. Authorization, and headers that belong to HTTP itself
	// such as Host, Connection and Content-Length, are not allowed.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9-]+$`
	// +required
	Name string `json:"name"`

	// value of the header. {id} in it is replaced with the session's id.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[ -~]*$`
	// +optional
	Value string `json:"value,omitempty"`

	// credential is the name of the credential that is sent as the value. It is
	// one of spec.credentials. If it is optional and the Secret does not have
	// it, the header is not sent.
	//
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Credential string `json:"credential,omitempty"`
}

// QueryParameter is a parameter in the query of a call's URL.
type QueryParameter struct {
	// name of the parameter.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9._\[\]-]+$`
	// +required
	Name string `json:"name"`

	// value of the parameter. {id} in it is replaced with the session's id. It
	// is escaped.
	//
	// +kubebuilder:validation:MaxLength=255
	// +required
	Value string `json:"value"`
}

// RequestTemplate is the request for one operation. {id} must stand somewhere
// in its path, in the value of a query parameter or of a header, or in its
// body. Each one is replaced with the session's id, escaped for its place.
type RequestTemplate struct {
	// method of the request: GET, POST, PUT, PATCH or DELETE.
	//
	// +kubebuilder:validation:Enum=GET;POST;PUT;PATCH;DELETE
	// +required
	Method string `json:"method"`

	// path of the request below the base URL. {id} in it is replaced with the
	// session's id. A query belongs in query.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^(/([A-Za-z0-9._~!:@-]|\{id\})+)+$`
	// +required
	Path string `json:"path"`

	// query parameters of the request.
	//
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Query []QueryParameter `json:"query,omitempty"`

	// headers are sent with this call, in addition to spec.headers.
	//
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Headers []Header `json:"headers,omitempty"`

	// contentType of the body, such as application/x-www-form-urlencoded, in
	// place of a header. It is sent with an empty body, too. If unset, it is application/json for a
	// request with a body, and none is sent for one without.
	//
	// +kubebuilder:validation:MaxLength=127
	// +kubebuilder:validation:Pattern=`^[a-z]+/[A-Za-z0-9.+-]+(; ?charset=[A-Za-z0-9-]+)?$`
	// +optional
	ContentType string `json:"contentType,omitempty"`

	// body of the request. Empty sends none. {id} in it is replaced with the
	// session's id. With JSON {id} must stand within a string.
	//
	// +kubebuilder:validation:MaxLength=4096
	// +optional
	Body string `json:"body,omitempty"`
}
