// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"errors"
	"net/http"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// authenticator is one way to authenticate a request, compiled from one entry of a class's spec.authentication.
//
// A new way is a field of v1alpha1.Authentication, a type here, and a line in authenticatorOf. A field without that
// line fails TestEveryWayToAuthenticate.
type authenticator interface {
	// credentials returns the names of the credentials that it needs.
	credentials() []string
	// places returns where it writes into the request. No two values may go to the same place, be they of one way or of
	// two: the class is refused then.
	places() []place
	// apply authenticates a request: its path, body and the class's headers are final. Ways are applied in the order of
	// the class. Read the body through request.GetBody, which leaves it unread. now is the time of the call. If apply
	// fails, no call is made; the error must not contain a credential.
	apply(request *http.Request, credentials Credentials, now time.Time) error
}

// place is a part of a request that can hold one value.
type place struct {
	kind, name string
	// field is the path of the class's field that names the place, below the entry; empty where none does.
	field string
}

func (p place) String() string { return p.kind + " " + p.name }

const headerKind = "header"

// headerPlace returns the place of a header.
func headerPlace(name, field string) place {
	return place{headerKind, http.CanonicalHeaderKey(name), field}
}

// queryPlace returns the place of a query parameter.
func queryPlace(name, field string) place { return place{"query parameter", name, field} }

// authenticatorOf returns the authenticator of a class's entry.
func authenticatorOf(way v1alpha1.Authentication) (authenticator, error) {
	switch {
	case way.Basic != nil:
		return basicAuthentication(*way.Basic), nil
	case way.Bearer != nil:
		return bearerAuthentication(*way.Bearer), nil
	case way.Header != nil:
		return headerAuthentication(*way.Header), nil
	case way.QueryParameter != nil:
		return queryAuthentication(*way.QueryParameter), nil
	case way.OAuth2 != nil:
		return oauth2Authentication(*way.OAuth2), nil
	default:
		return nil, errors.New("it names no way to authenticate")
	}
}

const authorization, contentType = "Authorization", "Content-Type"

// basicAuthentication is HTTP Basic: https://www.rfc-editor.org/rfc/rfc7617
type basicAuthentication v1alpha1.BasicAuthentication

func (a basicAuthentication) credentials() []string {
	if a.Password == "" {
		return []string{a.Username}
	}
	return []string{a.Username, a.Password}
}

func (basicAuthentication) places() []place { return []place{headerPlace(authorization, "")} }

func (a basicAuthentication) apply(request *http.Request, credentials Credentials, _ time.Time) error {
	request.SetBasicAuth(string(credentials[a.Username]), string(credentials[a.Password]))
	return nil
}

// bearerAuthentication is a bearer token: https://www.rfc-editor.org/rfc/rfc6750
type bearerAuthentication v1alpha1.BearerAuthentication

func (a bearerAuthentication) credentials() []string { return []string{a.Credential} }

func (bearerAuthentication) places() []place { return []place{headerPlace(authorization, "")} }

func (a bearerAuthentication) apply(request *http.Request, credentials Credentials, _ time.Time) error {
	request.Header.Set(authorization, "Bearer "+string(credentials[a.Credential]))
	return nil
}

// headerAuthentication is a credential in a header of its own.
type headerAuthentication v1alpha1.NamedAuthentication

func (a headerAuthentication) credentials() []string { return []string{a.Credential} }

func (a headerAuthentication) places() []place { return []place{headerPlace(a.Name, ".header.name")} }

func (a headerAuthentication) apply(request *http.Request, credentials Credentials, _ time.Time) error {
	request.Header.Set(a.Name, string(credentials[a.Credential]))
	return nil
}

// queryAuthentication is a credential in a query parameter.
type queryAuthentication v1alpha1.NamedAuthentication

func (a queryAuthentication) credentials() []string { return []string{a.Credential} }

func (a queryAuthentication) places() []place {
	return []place{queryPlace(a.Name, ".queryParameter.name")}
}

func (a queryAuthentication) apply(request *http.Request, credentials Credentials, _ time.Time) error {
	query := request.URL.Query()
	query.Set(a.Name, string(credentials[a.Credential]))
	request.URL.RawQuery = query.Encode()
	return nil
}
