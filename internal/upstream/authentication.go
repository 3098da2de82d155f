// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"slices"
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

// headerPlace returns the place of a header.
func headerPlace(name, field string) place {
	return place{"header", http.CanonicalHeaderKey(name), field}
}

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
	default:
		return nil, errors.New("it names no way to authenticate")
	}
}

const authorization = "Authorization"

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
	return []place{{"query parameter", a.Name, ".queryParameter.name"}}
}

func (a queryAuthentication) apply(request *http.Request, credentials Credentials, _ time.Time) error {
	query := request.URL.Query()
	query.Set(a.Name, string(credentials[a.Credential]))
	request.URL.RawQuery = query.Encode()
	return nil
}

// ownedByHTTP lists the headers that net/http or the engine sets, or that belong to one connection. A class's own
// value would be lost, sent twice, or break the reply. https://pkg.go.dev/net/http#Request names those that are
// ignored.
var ownedByHTTP = []string{
	"Accept-Encoding", "Connection", "Content-Length", "Cookie", "Expect", "Host", "Http2-Settings", "Keep-Alive",
	"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "" +
		"User-Agent",
}

// engine is the writer of the headers that a class may replace and a credential may not.
const engine = "the engine"

// compileAuthentication compiles spec.authentication. It refuses credentials that the class does not list, and two
// values for one place: the later one would silently replace the earlier one.
func (d *Definition) compileAuthentication() error {
	taken, err := d.checkHeaders()
	if err != nil {
		return err
	}
	for i, entry := range d.spec.Authentication {
		field := fmt.Sprintf("spec.authentication[%d]", i)
		way, err := authenticatorOf(entry)
		if err != nil {
			return &DefinitionError{Field: field, Problem: err.Error()}
		}
		if err := d.checkAuthenticator(field, way, taken); err != nil {
			return err
		}
		d.authentication = append(d.authentication, way)
	}
	return nil
}

// checkAuthenticator checks one way to authenticate against the class's credentials and the places that are taken,
// and takes its own.
func (d *Definition) checkAuthenticator(field string, way authenticator, taken map[string]string) error {
	for _, name := range way.credentials() {
		if !slices.Contains(d.credentialNames, name) {
			return &DefinitionError{Field: field, Problem: fmt.Sprintf("%q is not one of spec.credentials", name)}
		}
	}
	for _, at := range way.places() {
		if at.kind == "header" && slices.Contains(ownedByHTTP, at.name) {
			problem := at.name + " belongs to HTTP itself: the credential would be lost"
			return &DefinitionError{Field: field + at.field, Problem: problem}
		}
		if by, ok := taken[at.String()]; ok {
			return &DefinitionError{Field: field, Problem: fmt.Sprintf("it writes the same %s as %s", at, by)}
		}
		taken[at.String()] = field
	}
	return nil
}

// checkHeaders checks spec.headers, and returns which field writes to which place.
func (d *Definition) checkHeaders() (map[string]string, error) {
	taken := map[string]string{headerPlace("Accept", "").String(): engine, headerPlace("Content-Type", "").String(): engine}
	for i, header := range d.spec.Headers {
		at, field := headerPlace(header.Name, ""), fmt.Sprintf("spec.headers[%d]", i)
		if at.name == authorization || slices.Contains(ownedByHTTP, at.name) {
			problem := header.Name + " cannot be set here: it belongs to HTTP itself, and credentials belong in " +
				"spec.authentication"
			return nil, &DefinitionError{Field: field + ".name", Problem: problem}
		}
		if by := taken[at.String()]; by != "" && by != engine {
			return nil, &DefinitionError{Field: field, Problem: fmt.Sprintf("it writes the same %s as %s", at, by)}
		}
		taken[at.String()] = field
	}
	return taken, nil
}
