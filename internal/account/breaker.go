// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"errors"
	"sync"
	"time"

	"github.com/sony/gobreaker/v2"
)

const (
	// minCallsToOpen is the least number of calls, and unavailableToOpen the share of them that was Unavailable, that
	// opens the breaker.
	minCallsToOpen    = 10
	unavailableToOpen = 0.8
	// breakerWindow is the time in which calls count.
	breakerWindow = 30 * time.Second
	breakerBucket = 3 * time.Second
	// minOpen is how long the breaker stays open the first time. Each failed attempt doubles the time, up to maxOpen.
	minOpen = 5 * time.Second
	maxOpen = 30 * time.Second
)

var (
	errUnavailable = errors.New("the provider was unavailable")
	// errNotMade ends a call that was admitted and then not made.
	errNotMade = errors.New("the call was not made")
)

// breaker holds back the calls to a provider that does not answer. The library counts calls and has the states, but
// its open state has a fixed length. Here it grows.
type breaker struct {
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	// changed is called when the breaker opens or closes, under the lock of circuit. outage is true where an outage
	// begins or ends.
	changed func(outage bool)

	// mu must not be held during a call of circuit, which calls back.
	mu sync.Mutex
	// since is when the breaker first opened, until is when it may close, and opens counts how often it has opened in a
	// row.
	since, until time.Time
	opens        int
}

func newBreaker(changed func(outage bool)) *breaker {
	b := &breaker{changed: changed}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1, Interval: breakerWindow, BucketPeriod: breakerBucket,
		// Slightly less than our own shortest pause, so that the library admits a call when ours is over.
		Timeout: minOpen - time.Millisecond,
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			ended := counts.TotalSuccesses + counts.TotalFailures
			return ended >= minCallsToOpen && float64(counts.TotalFailures) >= unavailableToOpen*float64(ended)
		},
		OnStateChange: func(_ string, from, to gobreaker.State) { b.transition(from, to) },
		IsExcluded:    func(err error) bool { return errors.Is(err, errNotMade) },
	})
	return b
}

func (b *breaker) transition(from, to gobreaker.State) {
	if to == gobreaker.StateHalfOpen {
		return
	}
	now := time.Now()
	b.mu.Lock()
	switch {
	case to == gobreaker.StateClosed:
		b.since, b.until = time.Time{}, time.Time{}
	case from == gobreaker.StateClosed:
		b.since, b.until, b.opens = now, now.Add(minOpen), 1
	default:
		b.until = now.Add(min(minOpen<<b.opens, maxOpen))
		b.opens = min(b.opens+1, 8)
	}
	b.mu.Unlock()
	b.changed(to == gobreaker.StateClosed || from == gobreaker.StateClosed)
}

// admit admits one call, and returns a callback that reports how it ended; ok is false if the call is not admitted.
func (b *breaker) admit() (end func(error), ok bool) {
	end, err := b.circuit.Allow()
	return end, err == nil
}

// pause returns how long no call is admitted.
func (b *breaker) pause() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Until(b.until)
}

// openSince returns when the provider stopped answering; zero while it answers.
func (b *breaker) openSince() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.since
}
