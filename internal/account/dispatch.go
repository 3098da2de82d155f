// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"errors"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// Run makes the calls that are asked for until ctx is done, and returns when the last one in flight has ended. Calls in
// flight are not cut off: nobody would know whether they had their effect.
func (a *Account) Run(ctx context.Context) {
	defer close(a.stopped)
	defer a.stopOffering()
	defer a.flights.Wait()
	for a.awaitWork(ctx) {
		slots, ok := a.awaitSlot(ctx)
		if !ok {
			return
		}
		end, ok := a.awaitTurn(ctx)
		if !ok {
			return
		}
		call, config, epoch, access, ok := a.take()
		if !ok {
			end(errNotMade)
			<-slots
			continue
		}
		a.flights.Go(func() {
			defer func() { <-slots }()
			err := a.fly(context.WithoutCancel(ctx), call, config, epoch, access)
			end(err)
			if errors.Is(err, errNotMade) {
				// The next call may try in its place whether the provider is back.
				signal(a.changed)
			}
		})
	}
}

// stopOffering ends the offers of turns to probe.
func (a *Account) stopOffering() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	if a.offering != nil {
		a.offering.Stop()
	}
}

// Stopped is closed when Run has returned.
func (a *Account) Stopped() <-chan struct{} { return a.stopped }

// awaitWork waits until there is a call in the queue; false where ctx is done.
func (a *Account) awaitWork(ctx context.Context) bool {
	for {
		a.mu.Lock()
		empty := a.queue.len() == 0
		a.mu.Unlock()
		if !empty {
			return ctx.Err() == nil
		}
		select {
		case <-ctx.Done():
			return false
		case <-a.work:
		case <-time.After(quietTime):
			a.forgetOutage()
		}
	}
}

// awaitSlot waits for a place among the calls in flight, and gives the channel to give it back to.
func (a *Account) awaitSlot(ctx context.Context) (chan struct{}, bool) {
	a.mu.Lock()
	slots := a.slots
	a.mu.Unlock()
	select {
	case <-ctx.Done():
		return nil, false
	case slots <- struct{}{}:
		return slots, true
	}
}

// awaitTurn waits for the end of a pause that the provider asked for, for the breaker and for the rate limit. It gives what
// must be told how the call ended.
func (a *Account) awaitTurn(ctx context.Context) (func(error), bool) {
	for ctx.Err() == nil {
		pause, breaker := a.pause()
		if pause > 0 {
			a.sleep(ctx, pause)
			continue
		}
		end, ok := breaker.admit()
		if !ok {
			// The one call that tries whether the provider is back is in flight; its end cuts this short.
			a.sleep(ctx, maxOpen)
			continue
		}
		if a.awaitToken(ctx) && ctx.Err() == nil {
			return end, true
		}
		end(errNotMade)
	}
	return nil, false
}

// awaitToken waits for the rate limit. It is false where something has changed meanwhile: another limit counts at once.
func (a *Account) awaitToken(ctx context.Context) bool {
	token := a.limiter.Reserve()
	wait := token.Delay()
	if wait <= 0 {
		return true
	}
	if a.sleep(ctx, wait) {
		pause, _ := a.pause()
		return pause <= 0
	}
	token.Cancel()
	return false
}

// pause is how long no call is made, because the provider asked for that or does not answer, and the breaker to ask after it.
func (a *Account) pause() (time.Duration, *breaker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return max(a.pausedUntil.Sub(a.now()), a.breaker.pause()), a.breaker
}

// sleep waits for a time, and reports whether that has passed: the end of ctx and a change of the account cut it short.
func (a *Account) sleep(ctx context.Context, duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-a.changed:
	case <-ctx.Done():
	}
	return false
}

// take moves the most urgent call from the queue into flight. The choice is made last, so that what came while the account
// waited can still go ahead, and what was withdrawn is not made.
//
// What was queued before the credentials were rejected is not sent after it.
func (a *Account) take() (call Call, config Config, epoch, access int64, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		call, ok = a.queue.pop()
		if ok && a.credentials.blocks(call.Operation) && !call.admitted {
			a.credentials.wait(call)
			a.decline(call)
			a.schedule()
			call.Wake()
			continue
		}
		if ok {
			a.flying[call.Session] = false
		}
		return call, a.config, a.epoch, a.access, ok
	}
}

// fly makes one call, and a second one where the first was rejected and the credentials turn out to have changed. It returns
// what the breaker should know of it.
func (a *Account) fly(ctx context.Context, call Call, config Config, epoch, access int64) error {
	if call.Confirm != nil && !call.Confirm(ctx) {
		a.ground(call)
		return errNotMade
	}
	result := a.perform(ctx, call, config)
	if result.Outcome == v1alpha1.OutcomeCredentialsRejected && (a.Epoch() != epoch || config.Refresh != nil && config.Refresh(ctx)) {
		a.mu.Lock()
		// At another endpoint the call would be another one, which nobody has confirmed.
		same := a.config.Endpoint == config.Endpoint
		if same {
			config, epoch, access = a.config, a.epoch, a.access
		}
		a.mu.Unlock()
		if same {
			result = a.perform(ctx, call, config)
		}
	}
	a.learn(ctx, call, result, config, epoch, access)
	a.land(call, Outcome{Operation: call.Operation, Result: result, Made: true, Epoch: epoch, Access: access}, config.Endpoint)
	if result.Outcome == v1alpha1.OutcomeUnavailable {
		return errUnavailable
	}
	return nil
}

// ground ends a call that was not confirmed, and so not made. Where it was a probe, the next session has its turn.
func (a *Account) ground(call Call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.flying, call.Session)
	if call.probe {
		a.credentials.retry()
		a.reschedule()
	}
}

// perform makes a call, and tells of it.
func (a *Account) perform(ctx context.Context, call Call, config Config) upstream.Result {
	begun := a.now()
	result := config.Upstream.Call(ctx, call.Operation, call.SessionID)
	if call.Made != nil {
		call.Made(result, a.now().Sub(begun))
	}
	return result
}

// land keeps the outcome for the session and wakes it. A call to an endpoint that the account no longer uses has none: the session
// asks again.
func (a *Account) land(call Call, outcome Outcome, endpoint string) {
	a.mu.Lock()
	if forgotten := a.flying[call.Session]; forgotten {
		a.credentials.forget(call.Session)
	} else if endpoint == a.config.Endpoint {
		a.outcomes[call.Session] = outcome
	}
	delete(a.flying, call.Session)
	a.mu.Unlock()
	call.Wake()
}

// learn keeps what one session's outcome says of the whole account.
func (a *Account) learn(ctx context.Context, call Call, result upstream.Result, config Config, epoch, access int64) {
	if tell := a.tellOf(call, result, config, epoch, access); tell != nil {
		tell(ctx)
	}
}

// tellOf keeps what an outcome says, and gives who must be told of it; nil for nobody.
func (a *Account) tellOf(call Call, result upstream.Result, config Config, epoch, access int64) func(context.Context) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if config.Endpoint != a.config.Endpoint {
		return nil
	}
	if until := a.now().Add(result.RetryAfter); result.RetryAfter > 0 && until.After(a.pausedUntil) {
		a.pausedUntil = until
	}
	a.found = a.found || access == a.access && (result.State != v1alpha1.SessionStateUnknown || result.Outcome == v1alpha1.OutcomeUnsupported)
	if epoch != a.epoch {
		// What the credentials of before came to says nothing of the present ones.
		return nil
	}
	switch a.credentials.learn(call, result.Outcome, a.now()) {
	case rejection:
		a.schedule()
		return config.Rejected
	case recovery:
		a.epoch = nextEpoch()
		a.reschedule()
		return config.Recovered
	default:
		return nil
	}
}
