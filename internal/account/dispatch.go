// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"context"
	"errors"
	"time"

	"github.com/payops-dev/payment-session-operator/internal/call"
)

// quietTime is the time without a call after which an outage is forgotten: without a call nothing can show that the
// provider is back. It is longer than the longest pause between two calls of a session that fails.
const quietTime = 10 * time.Minute

// Run carries out requests until ctx is done, and returns when the last call in flight has ended. It does not cancel
// calls in flight: nobody would know whether they took effect.
func (a *Account) Run(ctx context.Context) {
	defer close(a.stopped)
	defer a.stopProbes()
	defer a.running.Wait()
	for a.awaitWork(ctx) {
		slots, ok := a.awaitSlot(ctx)
		if !ok {
			return
		}
		end, ok := a.awaitTurn(ctx)
		if !ok {
			return
		}
		next, ok := a.take()
		if !ok {
			end(errNotMade)
			<-slots
			continue
		}
		a.running.Go(func() {
			defer func() { <-slots }()
			err := a.execute(context.WithoutCancel(ctx), next)
			end(err)
			if errors.Is(err, errNotMade) {
				// The next request may try in its place whether the provider is back.
				signal(a.changed)
			}
		})
	}
}

// Stopped returns a channel that is closed when Run has returned.
func (a *Account) Stopped() <-chan struct{} { return a.stopped }

// awaitWork waits until the queue has a request. It returns false if ctx is done.
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

// awaitSlot waits for a slot among the calls in flight, and returns the channel to return it to.
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

// awaitTurn waits until Retry-After, breaker and rate limit allow a call. It returns a callback that reports how the
// call ended.
func (a *Account) awaitTurn(ctx context.Context) (func(error), bool) {
	for ctx.Err() == nil {
		pause, breaker := a.pause()
		if pause > 0 {
			a.sleep(ctx, pause)
			continue
		}
		end, ok := breaker.admit()
		if !ok {
			// The call that tries whether the provider is back is in flight. Its end cuts this short.
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

// awaitToken waits for the rate limit. It returns false if something has changed meanwhile: a new limit applies at
// once.
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

// pause returns how long no call may be made, because of a Retry-After or the breaker, and the breaker to ask next.
func (a *Account) pause() (time.Duration, *breaker) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return max(a.pausedUntil.Sub(a.now()), a.breaker.pause()), a.breaker
}

// sleep waits for a duration. It returns false if the end of ctx or a change of the account cut it short.
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

// dispatched is a request that has left the queue, with the account as it was then.
type dispatched struct {
	Request

	config        Config
	epoch, access int64
}

// outcome returns the outcome of a call that was made.
func (d dispatched) outcome(result call.Result, endedAt time.Time) call.Outcome {
	return call.Outcome{
		Operation: d.Operation, Result: result, Made: true, Refresh: d.Refresh, EndedAt: endedAt,
		AccountEpoch: d.epoch, AccessEpoch: d.access,
	}
}

// take moves the next request from the queue into flight; false if the queue is empty. The choice comes last, so that
// urgent requests which arrived during the wait still go first, and withdrawn ones are not carried out. Requests that
// were queued before the credentials were rejected are declined.
func (a *Account) take() (dispatched, bool) {
	next, declined, ok := a.takeLocked()
	for _, request := range declined {
		request.Requeue()
	}
	return next, ok
}

func (a *Account) takeLocked() (next dispatched, declined []Request, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for {
		request, queued := a.queue.pop()
		if !queued {
			return dispatched{}, declined, false
		}
		if a.outdated(request) {
			a.dropProbe(request)
			declined = append(declined, request)
			continue
		}
		if !a.blocks(request) || request.admitted {
			a.inFlight[request.Session] = false
			return dispatched{Request: request, config: a.config, epoch: a.epoch, access: a.access}, declined, true
		}
		a.credentials.enqueue(request)
		a.decline(request)
		a.scheduleProbe()
		declined = append(declined, request)
	}
}

// outdated reports whether a request was decided for another endpoint, or allowed by a read that counts no more. The
// account is locked.
func (a *Account) outdated(request Request) bool {
	isMoved := request.Endpoint != "" && request.Endpoint != a.config.Endpoint
	proof := request.Proof
	isUnproven := request.NeedsProof && proof.At.IsZero()
	return isMoved || isUnproven || !proof.At.IsZero() && (proof.Access != a.access || proof.At.Before(a.proofSince()))
}

// breakerChanged makes the dispatcher check again, and reports the begin and the end of an outage. It runs under the
// circuit breaker's own lock and so must not wait for the account's.
func (a *Account) breakerChanged(outage bool) {
	signal(a.changed)
	if outage {
		a.running.Go(a.reportOutage)
	}
}

func (a *Account) reportOutage() {
	a.mu.Lock()
	report := a.config.OnOutage
	a.mu.Unlock()
	if report != nil {
		report()
	}
}

// forgetOutage ends an outage that no call has tried to end for a long time.
func (a *Account) forgetOutage() {
	a.mu.Lock()
	over := !a.breaker.openSince().IsZero() && len(a.inFlight) == 0
	if over {
		a.breaker = newBreaker(a.breakerChanged)
	}
	a.mu.Unlock()
	if over {
		a.running.Go(a.reportOutage)
	}
}
