// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
)

// fake is an upstream whose calls take a fixed time and are recorded. It uses the clock of the synctest bubble.
type fake struct {
	takes  time.Duration
	result func(sessionID string) call.Result

	mu       sync.Mutex
	calls    []string
	at       []time.Time
	inFlight int
	highest  int
}

func (f *fake) Call(_ context.Context, _ v1alpha1.Operation, sessionID string) call.Result {
	f.mu.Lock()
	f.calls, f.at = append(f.calls, sessionID), append(f.at, time.Now())
	f.inFlight++
	f.highest = max(f.highest, f.inFlight)
	f.mu.Unlock()
	pass(f.takes)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.inFlight--
	if result := f.result; result != nil {
		return result(sessionID)
	}
	return call.Result{Outcome: v1alpha1.OutcomeAccepted, State: v1alpha1.SessionStateExpired}
}

// answer sets the result of all later calls, nil for an expired session.
func (f *fake) answer(result func(string) call.Result) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.result = result
}

// madeAt returns the times of the calls, relative to the first.
func (f *fake) madeAt() []time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var since []time.Duration
	for _, at := range f.at {
		since = append(since, at.Sub(f.at[0]).Round(time.Millisecond))
	}
	return since
}

// made returns the session ids of the calls.
func (f *fake) made() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.calls)
}

// rejecting is a result function that rejects the credentials of every call.
func rejecting(string) call.Result {
	return call.Result{Outcome: v1alpha1.OutcomeCredentialsRejected}
}

// rejectingOnly returns a result function that rejects the credentials of the calls of these sessions and accepts all
// others.
func rejectingOnly(sessions ...string) func(string) call.Result {
	return func(id string) call.Result {
		if slices.Contains(sessions, id) {
			return rejecting(id)
		}
		return call.Result{Outcome: v1alpha1.OutcomeAccepted}
	}
}

// outcomes is a result function. The first word of a session's id is the outcome of its calls.
func outcomes(sessionID string) call.Result {
	outcome, _, _ := strings.Cut(sessionID, " ")
	return call.Result{Outcome: v1alpha1.Outcome(outcome), RetryAfter: 0}
}

func config(provider *fake) Config {
	return Config{Upstream: provider, Limits: Limits{Rate: rate.Inf, Burst: 1, Concurrency: 4}}
}

// oneByOne returns a config with one slot, so that the calls have a fixed order.
func oneByOne(provider *fake) Config {
	single := config(provider)
	single.Limits.Concurrency = 1
	return single
}

// run runs an account in a synctest bubble until the test ends.
func run(t *testing.T, config Config, test func(*Account)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		account := New(config)
		ctx, cancel := context.WithCancel(t.Context())
		go account.Run(ctx)
		test(account)
		cancel()
		<-account.Stopped()
	})
}

// pass advances the clock of the synctest bubble.
func pass(duration time.Duration) { <-time.After(duration) }

func requestFor(name string, priority Priority) Request {
	return Request{
		Session: types.UID(name), SessionID: name, Operation: v1alpha1.OperationExpire, Priority: priority,
		Requeue: func() {},
	}
}

// submit acknowledges the previous outcome of a session, submits a request, and waits until nothing else can happen
// without time passing.
func submit(account *Account, request Request) {
	account.Acknowledge(request.Session)
	account.Submit(request)
	synctest.Wait()
}

// probing submits requests of sessions as the controller does: at once when they are requeued, and at an interval of
// their own.
func probing(account *Account, sessions map[string]time.Duration) (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	for name, every := range sessions {
		requeued := make(chan struct{}, 1)
		request := requestFor(name, Expiry)
		request.Requeue = func() { signal(requeued) }
		running.Go(func() {
			account.Submit(request)
			timer := time.NewTicker(every)
			defer timer.Stop()
			for {
				select {
				case <-ctx.Done():
					return
				case <-timer.C:
				case <-requeued:
					if !account.MayProbe(request.Session) {
						account.Acknowledge(request.Session)
						continue
					}
				}
				account.Acknowledge(request.Session)
				account.Submit(request)
			}
		})
	}
	return func() { cancel(); running.Wait() }
}
