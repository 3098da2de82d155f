// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// Definition is a compiled PaymentProviderClass. It is immutable and safe for concurrent use.
type Definition struct {
	spec           *v1alpha1.PaymentProviderClassSpec
	sessionID      *regexp.Regexp
	credentials    map[string]credentialKey
	authentication []authenticator
	// oauth2 is the one of authentication that needs a token; nil for none.
	oauth2    *oauth2Authentication
	templates map[v1alpha1.Operation]*template

	code           *expression
	inReply        *expression
	unknownSession *expression
	outcomes       []outcomeRule
	status         *expression
	overrides      []stateOverride
	stillPayable   []stillPayable
	list           *list
	tags           *expression
	reference      *expression
	expirable      *expression
	expiredAt      *expression
	requestID      *expression
	message        *expression
}

type credentialKey struct {
	optional bool
	// pattern that the value must match; nil for any value.
	pattern *regexp.Regexp
}

type outcomeRule struct {
	v1alpha1.OutcomeRule
	when *expression
}

type stateOverride struct {
	when  *expression
	state v1alpha1.SessionState
}

type stillPayable struct {
	when *expression
	what string
}

// ShowsExpirable reports whether a read shows whether a call can end the session.
func (d *Definition) ShowsExpirable() bool { return d.expirable != nil }

// SessionIDName returns the provider's name for a session's id.
func (d *Definition) SessionIDName() string { return d.spec.SessionID.Name }

// ValidSessionID reports whether an id may be sent.
func (d *Definition) ValidSessionID(id string) bool {
	// A dot segment would change the path, even if the class's pattern allows it:
	// https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4
	return id != "." && id != ".." && d.sessionID.MatchString(id)
}

// SameSession reports whether two ids name the same session at the provider.
func (d *Definition) SameSession(one, other string) bool {
	return one == other || d.spec.SessionID.CaseInsensitive && strings.EqualFold(one, other)
}

// BaseURL returns the base URL of the API: endpoint if there is one, else that of the named environment, else that of
// the default one.
func (d *Definition) BaseURL(environment, endpoint string) (*url.URL, error) {
	var names []string
	text := ""
	for _, candidate := range d.spec.Environments {
		names = append(names, candidate.Name)
		if candidate.Name == environment || environment == "" && candidate.Default {
			text = candidate.BaseURL
		}
	}
	switch {
	case text == "" && environment != "":
		return nil, fmt.Errorf("the class has no environment %q; it has %s", environment, strings.Join(names, ", "))
	case endpoint != "":
		text = endpoint
	case text == "":
		return nil, fmt.Errorf(
			"the class has no default environment; set environment to one of %s, or set endpoint", strings.Join(names, ", "))
	}
	return parseBase(text)
}

// TokenURL returns where tokens come from, for an environment and the base URL that BaseURL returned for it; nil where
// the class needs none. If a provider object has an endpoint of its own, tokens come from there, too.
func (d *Definition) TokenURL(environment, endpoint string, base *url.URL) *url.URL {
	if d.oauth2 == nil {
		return nil
	}
	text := d.oauth2.TokenURL
	for _, candidate := range d.spec.Environments {
		isMeant := candidate.Name == environment || environment == "" && candidate.Default
		if isMeant && candidate.TokenURL != "" {
			text = candidate.TokenURL
		}
	}
	target, err := url.Parse(text)
	if err == nil && target.Host != "" && endpoint == "" {
		return target
	}
	below := *base
	below.Path += target.Path
	return &below
}
