// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"errors"
	"math/rand/v2"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// trouble is how badly a cluster behaves.
type trouble struct {
	// lag is the longest time that a cache is behind, and stalls is true where every cache is at least half of it.
	lag    time.Duration
	stalls bool
	// watches is the share of watch events that come twice or are lost, and requests the share of requests that fail; in
	// percent.
	watches, requests int
	// only is the kind whose requests fail, and whose caches stop; empty for all.
	only string
}

// chaos draws delays and faults. Each request and each event gets a time of its own, so that the order of events
// follows from the seed alone.
type chaos struct {
	mu      sync.Mutex
	random  *rand.Rand
	trouble trouble
}

func newChaos(seed uint64) *chaos { return &chaos{random: rand.New(rand.NewPCG(seed, 0))} }

// set changes how badly the cluster behaves.
func (c *chaos) set(trouble trouble) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trouble = trouble
}

// troubled reports whether the cluster behaves badly.
func (c *chaos) troubled() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trouble != trouble{}
}

// between draws a duration.
func (c *chaos) between(least, most time.Duration) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return least + time.Duration(c.random.Int64N(int64(most-least)+1))
}

// chance is true in some percent of the cases.
func (c *chaos) chance(percent int) bool { return c.random.IntN(100) < percent }

// jitter draws a number from 0 up to 1.
func (c *chaos) jitter() float64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.Float64()
}

// lag draws how late a view is.
func (c *chaos) lag(kind string) time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	most := time.Millisecond
	if c.trouble.lag > 0 && c.chance(20) {
		most = c.trouble.lag
	}
	if c.trouble.stalls && (c.trouble.only == "" || c.trouble.only == kind) {
		return c.trouble.lag/2 + time.Duration(c.random.Int64N(int64(c.trouble.lag)/2))
	}
	return 50*time.Microsecond + time.Duration(c.random.Int64N(int64(most)))
}

type watchFault int

const (
	watchFine watchFault = iota
	watchLost
	watchRepeated
)

// watchFault draws what happens to an event.
func (c *chaos) watchFault() watchFault {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case !c.chance(c.trouble.watches):
		return watchFine
	case c.chance(50):
		return watchLost
	default:
		return watchRepeated
	}
}

var errConnection = errors.New("the connection was lost")

// requestFault draws what happens to a request: an error before it has its effect, or one after it.
func (c *chaos) requestFault(kind string, writes bool) (before, after error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.chance(c.trouble.requests) || c.trouble.only != "" && c.trouble.only != kind {
		return nil, nil
	}
	drawn := c.random.IntN(6)
	if !writes {
		drawn = max(drawn, 1)
		if drawn == 3 {
			drawn = 4
		}
	}
	switch drawn {
	case 0:
		return apierrors.NewConflict(resource(kind), "", errors.New("drawn by the simulation")), nil
	case 1:
		return apierrors.NewTooManyRequests("drawn by the simulation", 1), nil
	case 2:
		return apierrors.NewInternalError(errors.New("drawn by the simulation")), nil
	case 3:
		refusal := apierrors.NewForbidden(resource(kind), "", errors.New("drawn by the simulation"))
		refusal.ErrStatus.Details.Causes = []metav1.StatusCause{{Type: "NamespaceTerminating"}}
		return refusal, nil
	case 4:
		return errConnection, nil
	default:
		return nil, errConnection
	}
}

// permutation draws an order.
func (c *chaos) permutation(n int) []int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.random.Perm(n)
}
