// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"sync"
	"time"
)

// freshness is how old the answer of a shared read may be. It bounds what a flood of deletions costs the API server, and how long ago
// something may have happened that one of them does not know.
const freshness = time.Second

// sharedRead is a live read that many callers need at once. Each says how fresh its answer must be; those that can live with one answer
// get the same one, and no two reads are made at a time.
type sharedRead[T any] struct {
	// read asks the API server.
	read func(context.Context) (T, error)

	mu     sync.Mutex
	flying *answer[T]
	last   *answer[T]
}

// answer is what one read gave.
type answer[T any] struct {
	began time.Time
	done  chan struct{}
	value T
	err   error
}

// get gives the answer of a read that began at a time or later.
func (s *sharedRead[T]) get(ctx context.Context, notBefore time.Time) (T, error) {
	for {
		found, mine := s.find(notBefore)
		if mine {
			s.perform(ctx, found)
		}
		select {
		case <-found.done:
		case <-ctx.Done():
			return found.value, ctx.Err()
		}
		if !found.began.Before(notBefore) && (mine || found.err == nil) {
			return found.value, found.err
		}
		// The read began too early, or failed for a caller whose context may have ended sooner.
	}
}

// find gives the newest answer that is fresh enough, else the one that is on its way, else a new one that is the caller's to get.
func (s *sharedRead[T]) find(notBefore time.Time) (found *answer[T], mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.last != nil && !s.last.began.Before(notBefore):
		return s.last, false
	case s.flying != nil:
		return s.flying, false
	default:
		s.flying = &answer[T]{began: time.Now(), done: make(chan struct{})}
		return s.flying, true
	}
}

func (s *sharedRead[T]) perform(ctx context.Context, flying *answer[T]) {
	flying.value, flying.err = s.read(ctx)
	s.mu.Lock()
	s.flying = nil
	if flying.err == nil {
		s.last = flying
	}
	s.mu.Unlock()
	close(flying.done)
}
