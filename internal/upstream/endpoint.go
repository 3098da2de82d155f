// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"net/http"
	"net/url"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
)

// Doer makes an HTTP call; *httpx.Client is the one.
type Doer interface {
	Do(ctx context.Context, request *http.Request) (*httpx.Reply, error)
}

// Endpoint is where and how to reach one account at a provider.
type Endpoint struct {
	Definition  *Definition
	BaseURL     *url.URL
	Credentials Credentials
	Door        Doer
}

// Call makes one call and says what it came to. It blocks until the reply is there or the door's timeout has passed.
func (e *Endpoint) Call(ctx context.Context, operation v1alpha1.Operation, sessionID string) Result {
	request, err := e.Definition.request(ctx, operation, e.BaseURL, sessionID, e.Credentials)
	if err != nil {
		return Result{Outcome: v1alpha1.OutcomeUnexpectedResponse, Message: err.Error()}
	}
	received, err := e.Door.Do(ctx, request)
	return e.Definition.interpret(operation, sessionID, received, err, e.Credentials, time.Now())
}
