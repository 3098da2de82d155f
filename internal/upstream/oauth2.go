// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/oauth2/clientcredentials"
	"golang.org/x/sync/singleflight"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
)

const (
	// accessToken is the name of the token among the credentials of a call. No key of a Secret has a blank.
	accessToken = "access token"
	// renewBefore is how long before its end a token is renewed, and a tenth of its time where that is shorter.
	renewBefore = time.Minute
	// maxTokenUse is how long a token is used that has no end: some providers answer an ended one with another code than
	// 401.
	maxTokenUse = time.Hour
	// minTokenUse is how long a token is used at least, unless it is rejected: a token that ends at once would double the
	// number of requests.
	minTokenUse = 10 * time.Second
)

// oauth2Authentication is the client credentials grant: https://www.rfc-editor.org/rfc/rfc6749#section-4.4
type oauth2Authentication v1alpha1.OAuth2Authentication

func (a oauth2Authentication) credentials() []string {
	names := []string{a.ClientID, a.ClientSecret}
	for _, parameter := range a.Parameters {
		if parameter.Credential != "" {
			names = append(names, parameter.Credential)
		}
	}
	return names
}

func (oauth2Authentication) places() []place { return []place{headerPlace(authorization, "")} }

func (a oauth2Authentication) apply(request *http.Request, credentials Credentials, _ time.Time) error {
	request.Header.Set(authorization, cmp.Or(a.Scheme, "Bearer")+" "+string(credentials[accessToken]))
	return nil
}

// config returns the token request.
func (a oauth2Authentication) config(tokenURL *url.URL, credentials Credentials) *clientcredentials.Config {
	config := &clientcredentials.Config{
		ClientID: string(credentials[a.ClientID]), ClientSecret: string(credentials[a.ClientSecret]),
		TokenURL: tokenURL.String(), Scopes: a.Scopes, EndpointParams: url.Values{}, AuthStyle: oauth2.AuthStyleInHeader,
	}
	if a.ClientAuthentication == v1alpha1.ClientAuthenticationBody {
		config.AuthStyle = oauth2.AuthStyleInParams
	}
	for _, parameter := range a.Parameters {
		config.EndpointParams.Set(parameter.Name, cmp.Or(parameter.Value, string(credentials[parameter.Credential])))
	}
	return config
}

// tokens keeps the token of one account. The zero value has none.
type tokens struct {
	// requests lets calls that need a token at the same time wait for one request.
	requests singleflight.Group

	mu      sync.Mutex
	value   Secret
	renewAt time.Time
}

// present returns the token; empty where there is none, or it ends soon.
func (t *tokens) present(now time.Time) Secret {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !now.Before(t.renewAt) {
		return ""
	}
	return t.value
}

func (t *tokens) keep(value Secret, renewAt time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.value, t.renewAt = value, renewAt
}

// drop drops a token that the provider has rejected, unless another one has taken its place.
func (t *tokens) drop(rejected Secret) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.value == rejected {
		t.value = ""
	}
}

// token returns a token and whether it was requested just now. The error is a *tokenError.
func (e *Endpoint) token(ctx context.Context) (Secret, bool, error) {
	if present := e.tokens.present(time.Now()); present != "" {
		return present, false, nil
	}
	fetched, err, _ := e.tokens.requests.Do("", func() (any, error) {
		// The request of before may have ended after the token was missed and before this one begins.
		if present := e.tokens.present(time.Now()); present != "" {
			return present, nil
		}
		return e.fetchToken(ctx)
	})
	if err != nil {
		return "", true, err
	}
	return fetched.(Secret), true, nil //nolint:forcetypeassert // It is what fetchToken returns.
}

// fetchToken requests a token and keeps it.
func (e *Endpoint) fetchToken(ctx context.Context) (Secret, error) {
	client := &http.Client{ //nolint:forbidigo // The library wants one. Its transport is the door.
		Transport: doorTransport{e.Door}, //nolint:forbidigo // See above.
		// The secret goes to the address that the class names and to no other.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	requestedAt := time.Now()
	ctx = context.WithValue(ctx, oauth2.HTTPClient, client)
	token, err := e.Definition.oauth2.config(e.TokenURL, e.Credentials).Token(ctx)
	if err != nil {
		return "", e.explainToken(err, time.Now())
	}
	value := Secret(token.AccessToken)
	e.tokens.keep(value, renewAt(requestedAt, endOf(token)))
	return value, nil
}

// endOf returns when a token ends; zero where the reply does not say so. Besides expires_in there is expires_at: Unix
// seconds or milliseconds.
func endOf(token *oauth2.Token) time.Time {
	if !token.Expiry.IsZero() {
		return token.Expiry
	}
	const milliseconds = 1e12
	switch at, _ := token.Extra("expires_at").(float64); {
	case at <= 0:
		return time.Time{}
	case at > milliseconds:
		return time.UnixMilli(int64(at))
	default:
		return time.Unix(int64(at), 0)
	}
}

// renewAt returns when a token is renewed.
func renewAt(requestedAt, end time.Time) time.Time {
	if end.IsZero() {
		return requestedAt.Add(maxTokenUse)
	}
	early := min(renewBefore, end.Sub(requestedAt)/10)
	if earliest := requestedAt.Add(minTokenUse); end.Add(-early).Before(earliest) {
		return earliest
	}
	return end.Add(-early)
}

// doorTransport lets a library send its requests through the one door.
type doorTransport struct{ door Doer }

// RoundTrip implements http.RoundTripper.
func (t doorTransport) RoundTrip(request *http.Request) (*http.Response, error) {
	reply, err := t.door.Do(request.Context(), request.Clone(request.Context()))
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: reply.Code, Status: http.StatusText(reply.Code), Header: withoutLocation(reply.Header), Request: request,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Body: io.NopCloser(bytes.NewReader(reply.Body)), ContentLength: int64(len(reply.Body)),
	}, nil
}

// withoutLocation returns a header without the target of a redirect, which http.Client would parse, and repeat in an
// error.
func withoutLocation(header http.Header) http.Header {
	copied := header.Clone()
	copied.Del("Location")
	return copied
}

// tokenError is a token request that brought no token: the result of every call that needs the token.
type tokenError struct{ result call.Result }

func (e *tokenError) Error() string { return e.result.Message }

// explainToken returns the meaning of a failed token request for a call, which was not made.
func (e *Endpoint) explainToken(failure error, now time.Time) error {
	var answer *oauth2.RetrieveError
	if !errors.As(failure, &answer) {
		return e.explainNoToken(failure)
	}
	result := call.Result{Outcome: tokenOutcome(answer)}
	if call.MeaningOf(result.Outcome).Pauses {
		result.RetryAfter = retryAfter(answer.Response.Header.Get("Retry-After"), now)
	}
	said := cmp.Or(answer.ErrorDescription, answer.ErrorCode, fmt.Sprintf("HTTP %d", answer.Response.StatusCode))
	result.Message = cleaned("the token endpoint: " + e.Credentials.redact(said))
	return &tokenError{result}
}

// explainNoToken returns the meaning of a token request that brought no reply, or one that shows neither a token nor
// an error.
func (e *Endpoint) explainNoToken(failure error) error {
	if transport, ok := errors.AsType[*url.Error](failure); ok {
		result := noReply(transport.Err)
		result.Message, result.MayHaveActed = excerpt("the token endpoint: "+e.Credentials.redact(result.Message), 200), false
		return &tokenError{result}
	}
	return &tokenError{call.Result{
		Outcome: v1alpha1.OutcomeUnexpectedResponse, Message: "the token endpoint: the reply has no access_token",
	}}
}

// tokenOutcome returns the outcome of a token request by its reply. Providers reject a client with 400 as well as
// with 401: https://www.rfc-editor.org/rfc/rfc6749#section-5.2
func tokenOutcome(answer *oauth2.RetrieveError) v1alpha1.Outcome {
	code := answer.Response.StatusCode
	isPage := !strings.Contains(answer.Response.Header.Get(contentType), "json") && answer.ErrorCode == ""
	switch {
	case code == http.StatusTooManyRequests:
		return v1alpha1.OutcomeThrottled
	case code == http.StatusRequestTimeout, code >= http.StatusInternalServerError,
		answer.ErrorCode == "server_error", answer.ErrorCode == "temporarily_unavailable":
		return v1alpha1.OutcomeUnavailable
	case answer.ErrorCode == "invalid_request", answer.ErrorCode == "unsupported_grant_type":
		// The class asks for the token in the wrong way.
		return v1alpha1.OutcomeUnexpectedResponse
	case answer.ErrorCode != "", code == http.StatusUnauthorized, code == http.StatusForbidden && !isPage,
		code == http.StatusBadRequest && !isPage:
		return v1alpha1.OutcomeCredentialsRejected
	default:
		return v1alpha1.OutcomeUnexpectedResponse
	}
}
