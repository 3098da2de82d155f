// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"sync"
	"time"
)

// freshness is the age that the answer of a shared read may have. It bounds the load of many deletions on the API
// server, and how old a change can be that one of them does not see.
const freshness = time.Second

// sharedRead is a live read that many callers need at the same time. Each caller says how recent its answer must be.
// Callers for whom one answer is recent enough share it, and at most one read runs at a time.
type sharedRead[T any] struct {
	// read asks the API server.
	read func(context.Context) (T, error)

	mu      sync.Mutex
	pending *answer[T]
	last    *answer[T]
}

// answer is the result of one read.
type answer[T any] struct {
	began time.Time
	done  chan struct{}
	value T
	err   error
}

// get returns the answer of a read that began at notBefore or later.
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
		// The read began too early, or failed for a caller whose context may have ended.
	}
}

// find returns the last answer if it is recent enough, else the pending one, else a new one that the caller has to
// fill (mine).
func (s *sharedRead[T]) find(notBefore time.Time) (found *answer[T], mine bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.last != nil && !s.last.began.Before(notBefore):
		return s.last, false
	case s.pending != nil:
		return s.pending, false
	default:
		s.pending = &answer[T]{began: time.Now(), done: make(chan struct{})}
		return s.pending, true
	}
}

func (s *sharedRead[T]) perform(ctx context.Context, pending *answer[T]) {
	pending.value, pending.err = s.read(ctx)
	s.mu.Lock()
	s.pending = nil
	if pending.err == nil {
		s.last = pending
	}
	s.mu.Unlock()
	close(pending.done)
}
