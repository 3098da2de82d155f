// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/payops-dev/payment-session-operator/controllers"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
)

// host is where the simulated providers are. Nothing listens there: a door calls their handlers.
const host = "https://providers.example"

// newDoor returns a door to the simulated providers.
func (p *process) newDoor(options httpx.Options) controllers.Door {
	return &door{process: p, timeout: options.Timeout}
}

// door makes a process's calls to the simulated providers, on the bubble's clock.
type door struct {
	process *process
	timeout time.Duration
}

// Close does nothing.
func (d *door) Close() {}

// Do makes one call. It takes a time of its own, and ends with an error if the process dies meanwhile.
func (d *door) Do(ctx context.Context, request *http.Request) (*httpx.Reply, error) {
	world := d.process.world
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	if !sleep(ctx, world.chaos.between(time.Millisecond, 200*time.Millisecond)) {
		return nil, errors.New("timeout")
	}
	if d.process.dead.Load() {
		return nil, errDead
	}
	recorder := httptest.NewRecorder()
	dropped := world.serve(recorder, request.WithContext(ctx))
	if ctx.Err() != nil {
		return nil, errors.New("timeout")
	}
	if !sleep(ctx, world.chaos.between(time.Millisecond, 100*time.Millisecond)) {
		return nil, errors.New("timeout")
	}
	if d.process.dead.Load() {
		return nil, errDead
	}
	if dropped {
		return nil, errors.New("EOF")
	}
	if recorder.Body.Len() > httpx.MaxBodyBytes {
		return nil, httpx.ErrBodyTooLarge
	}
	return &httpx.Reply{Code: recorder.Code, Header: recorder.Header(), Body: recorder.Body.Bytes()}, nil
}

// serve lets the simulator answer, and reports whether it dropped the connection instead.
func (w *world) serve(recorder *httptest.ResponseRecorder, request *http.Request) (dropped bool) {
	provider, _, _ := strings.Cut(strings.TrimPrefix(request.URL.Path, "/"), "/")
	w.checkCall(provider, request)
	before := w.upstreams.Objects()
	defer func() {
		failure := recover()
		if failure != nil && failure != http.ErrAbortHandler { //nolint:errorlint // The panic value is this error itself.
			panic(failure)
		}
		dropped = failure != nil
		// A dropped call may have had its effect.
		for _, was := range before {
			if was.Provider == provider && isPayable(was.State) && !isPayable(w.upstreams.State(provider, was.ID)) {
				w.expiredByCall(provider, was.ID)
			}
		}
	}()
	w.handler.ServeHTTP(recorder, request)
	return false
}
