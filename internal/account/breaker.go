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
	// minCallsToOpen and unavailableToOpen are how many calls, and how large a part of them, must have been Unavailable.
	minCallsToOpen    = 10
	unavailableToOpen = 0.8
	// breakerWindow is how far back calls count.
	breakerWindow = 30 * time.Second
	breakerBucket = 3 * time.Second
	// minOpen is how long the breaker stays open the first time; each try in vain doubles it up to maxOpen.
	minOpen = 5 * time.Second
	maxOpen = 30 * time.Second
)

var (
	errUnavailable = errors.New("the provider was unavailable")
	// errNotMade ends a call that was let through and was not made after all.
	errNotMade = errors.New("the call was not made")
)

// breaker holds back the calls to a provider that can answer none of them. The library counts and has the states; what it
// lacks is a pause that grows.
type breaker struct {
	circuit *gobreaker.TwoStepCircuitBreaker[struct{}]
	// moved is told that the breaker has opened or closed; outage is true where an outage has begun or ended with it.
	moved func(outage bool)

	// mu is never held while circuit is called: circuit calls back.
	mu sync.Mutex
	// since is when the breaker first opened, until when it stays so, and opens how often it has done so in a row.
	since, until time.Time
	opens        int
}

func newBreaker(moved func(outage bool)) *breaker {
	b := &breaker{moved: moved}
	b.circuit = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		MaxRequests: 1, Interval: breakerWindow, BucketPeriod: breakerBucket,
		// A moment less than our own shortest pause, so that the library lets a try through when ours is over.
		Timeout: minOpen - time.Millisecond,
		ReadyToTrip: func(counts gobreaker.Counts) bool {
			ended := counts.TotalSuccesses + counts.TotalFailures
			return ended >= minCallsToOpen && float64(counts.TotalFailures) >= unavailableToOpen*float64(ended)
		},
		OnStateChange: func(_ string, from, to gobreaker.State) { b.changed(from, to) },
		IsExcluded:    func(err error) bool { return errors.Is(err, errNotMade) },
	})
	return b
}

func (b *breaker) changed(from, to gobreaker.State) {
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
	b.moved(to == gobreaker.StateClosed || from == gobreaker.StateClosed)
}

// admit asks for one call, and gives what must be told how it ended; ok is false where it is not let through.
func (b *breaker) admit() (end func(error), ok bool) {
	end, err := b.circuit.Allow()
	return end, err == nil
}

// pause is how long no call at all is let through.
func (b *breaker) pause() time.Duration {
	b.mu.Lock()
	defer b.mu.Unlock()
	return time.Until(b.until)
}

// openSince is when the provider ceased to answer; zero while it does.
func (b *breaker) openSince() time.Time {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.since
}
