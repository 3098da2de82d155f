// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
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
	Definition  *Definition
	BaseURL     *url.URL
	Credentials Credentials
	Door        Doer
}

// Call makes one call and interprets the reply. It blocks until the reply has arrived or the door's timeout has
// passed.
func (e *Endpoint) Call(ctx context.Context, operation v1alpha1.Operation, sessionID string) call.Result {
	request, err := e.request(ctx, operation, sessionID, time.Now())
	if err != nil {
		return call.Result{Outcome: v1alpha1.OutcomeUnexpectedResponse, Message: err.Error()}
	}
	reply, err := e.Door.Do(ctx, request)
	return e.interpret(operation, sessionID, reply, err, time.Now())
}
