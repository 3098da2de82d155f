// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
)

// execute makes one call, and a second one if the first was rejected and the credentials turn out to have changed.
// The error is for the breaker.
func (a *Account) execute(ctx context.Context, next dispatched) error {
	if next.Confirm != nil && !next.Confirm(ctx) {
		a.abandon(next)
		return errNotMade
	}
	result := next.call(ctx, a)
	if call.MeaningOf(result.Outcome).RejectsAccount && a.hasNewCredentials(ctx, next) {
		if again, ok := a.again(next); ok {
			next = again
			result = next.call(ctx, a)
		}
	}
	a.record(ctx, next, result)
	a.complete(next, result)
	if call.MeaningOf(result.Outcome).Unavailable {
		return errUnavailable
	}
	return nil
}

// call makes the call and reports it.
func (d dispatched) call(ctx context.Context, a *Account) call.Result {
	begin := a.now()
	var result call.Result
	if d.Page != nil {
		result = d.Page(ctx)
	} else {
		result = d.config.Upstream.Call(ctx, d.Operation, d.SessionID)
	}
	if d.OnCall != nil {
		d.OnCall(result, a.now().Sub(begin))
	}
	return result
}

// hasNewCredentials reports whether the account has other credentials than those that a call was made with.
func (a *Account) hasNewCredentials(ctx context.Context, rejected dispatched) bool {
	reload := rejected.config.ReloadCredentials
	return a.Epoch() != rejected.epoch || reload != nil && reload(ctx)
}

// again returns the same request with the account as it is now. It returns false if the endpoint has changed, or if the
// call needs a proof: with other credentials it would be another call, which nobody has confirmed. A listing begins
// again with other credentials.
func (a *Account) again(first dispatched) (dispatched, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	second := dispatched{Request: first.Request, config: a.config, epoch: a.epoch, access: a.access}
	isSame := second.config.Endpoint == first.config.Endpoint && first.Proof.At.IsZero()
	return second, isSame && first.Page == nil
}

// abandon ends a request that was not confirmed. If it was a probe, the next session gets its turn.
func (a *Account) abandon(request dispatched) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.inFlight, request.Session)
	a.dropProbe(request.Request)
}

// dropProbe gives the next session its turn, if a request that is not carried out was a probe. The account is locked.
func (a *Account) dropProbe(request Request) {
	if request.probe {
		a.credentials.probeAgain()
		a.rescheduleProbe()
	}
}

// complete stores the outcome and requeues the session. The outcome of a call to a previous endpoint is dropped: the
// session submits another request.
func (a *Account) complete(done dispatched, result call.Result) {
	a.mu.Lock()
	if forgotten := a.inFlight[done.Session]; forgotten {
		a.credentials.forget(done.Session)
	} else if done.config.Endpoint == a.config.Endpoint {
		a.outcomes[done.Session] = done.outcome(result, a.now())
	}
	delete(a.inFlight, done.Session)
	a.mu.Unlock()
	done.Requeue()
}

// record keeps what one session's outcome says about the whole account.
func (a *Account) record(ctx context.Context, done dispatched, result call.Result) {
	if report := a.recordLocked(done, result); report != nil {
		report(ctx)
	}
}

// recordLocked returns the callback to run; nil for none.
func (a *Account) recordLocked(done dispatched, result call.Result) func(context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if done.config.Endpoint != a.config.Endpoint {
		return nil
	}
	if until := a.now().Add(result.RetryAfter); result.RetryAfter > 0 && until.After(a.pausedUntil) {
		a.pausedUntil = until
	}
	known := result.State != v1alpha1.SessionStateUnknown || result.Outcome == v1alpha1.OutcomeUnsupported
	a.found = a.found || known && done.access == a.access
	if done.epoch != a.epoch || done.Page != nil {
		// A result of the previous credentials says nothing about the present ones.
		return nil
	}
	switch a.credentials.record(done.Request, result.Outcome, a.now()) {
	case rejection:
		a.scheduleProbe()
		return done.config.OnRejected
	case recovery:
		a.epoch = nextEpoch()
		a.rescheduleProbe()
		return done.config.OnRecovered
	default:
		return nil
	}
}
