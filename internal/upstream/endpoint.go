// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"net/url"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
)

// Doer sends an HTTP request; *httpx.Client implements it.
type Doer interface {
	Do(ctx context.Context, request *http.Request) (*httpx.Reply, error)
}

// Endpoint makes calls for one account at a provider.
type Endpoint struct {
	Definition *Definition
	BaseURL    *url.URL
	// TokenURL is where the class's oauth2 gets its token; nil without.
	TokenURL    *url.URL
	Credentials Credentials
	// Ownership is the account's rule; nil for none.
	Ownership *Ownership
	Door      Doer
	// Timeout of a call with all of its token requests; 0 for that of the door for each of them.
	Timeout time.Duration

	tokens tokens
}

// Call makes one call and interprets the reply. It blocks until the reply has arrived or the door's timeout has
// passed. A token request comes before, and after a rejection another one with the call once more: a token may end
// before its time, and that does not reject the credentials.
func (e *Endpoint) Call(ctx context.Context, operation v1alpha1.Operation, sessionID string) call.Result {
	return e.authorized(ctx, func(ctx context.Context, credentials Credentials) call.Result {
		return e.call(ctx, operation, sessionID, credentials)
	})
}

// authorized makes a call with the account's credentials, and with a token where the class needs one.
func (e *Endpoint) authorized(ctx context.Context, do func(context.Context, Credentials) call.Result) call.Result {
	if e.Definition.oauth2 == nil {
		return do(ctx, e.Credentials)
	}
	if e.Timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, e.Timeout)
		defer cancel()
	}
	token, fresh, err := e.token(ctx)
	if err != nil {
		return tokenFailure(err)
	}
	result := do(ctx, e.Credentials.with(token))
	if !call.MeaningOf(result.Outcome).RejectsAccount {
		return result
	}
	e.tokens.drop(token)
	if fresh {
		return result
	}
	if token, _, err = e.token(ctx); err != nil {
		return tokenFailure(err)
	}
	return do(ctx, e.Credentials.with(token))
}

func tokenFailure(err error) call.Result {
	if failure, ok := errors.AsType[*tokenError](err); ok {
		return failure.result
	}
	return noReply(err)
}

// with returns the credentials of a call with a token.
func (c Credentials) with(token Secret) Credentials {
	all := maps.Clone(c)
	all[accessToken] = token
	return all
}

// call makes one call with the given credentials.
func (e *Endpoint) call(ctx context.Context, operation v1alpha1.Operation, sessionID string,
	credentials Credentials) call.Result {
	request, err := e.request(ctx, operation, sessionID, credentials, time.Now())
	if err != nil {
		return call.Result{Outcome: v1alpha1.OutcomeUnexpectedResponse, Message: err.Error()}
	}
	reply, err := e.Door.Do(ctx, request)
	return e.interpret(operation, sessionID, credentials, reply, err, time.Now())
}
