// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"math"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// atOnce is the shortest wait that there is: 0 is none.
const atOnce = time.Millisecond

// untilCall is the time until the next call; 0 where none is due by itself.
func (f Facts) untilCall(reason string, progress Progress) time.Duration {
	wait := f.byRow(reason, progress)
	if !f.deleting() || table[reason].next == onChange || reason == v1alpha1.ReasonSuspended {
		// Where something else than the provider is in the way there is no time to wait for: the call is made once that has gone.
		return wait
	}
	return soonest(wait, maxHold)
}

// byRow is the time until the next call of a session that is not being deleted.
func (f Facts) byRow(reason string, progress Progress) time.Duration {
	row := table[reason]
	switch {
	case row.patient && progress == Stalled:
		return 0
	case row.next == backingOff && row.patient:
		return min(f.backoff(maxBackoff), max(f.patienceLeft(), minBackoff))
	case row.next == backingOff:
		return f.backoff(maxBackoff)
	case row.next == backingOffToPoll && f.PollInterval > 0:
		return f.backoff(f.PollInterval)
	case row.next == backingOffToPoll:
		return f.backoff(maxBackoff)
	case row.next == probing:
		return f.spread(probeInterval)
	case row.next == polling && f.PollInterval > 0 && !f.stateAfter().Closed():
		return f.spread(f.PollInterval)
	default:
		return 0
	}
}

// noLaterThanPolled brings a call nearer that was set for a longer pollInterval than there is now.
func (f Facts) noLaterThanPolled(at time.Time) time.Time {
	ready := f.ready()
	if ready == nil || f.PollInterval == 0 || table[ready.Reason].next != polling && table[ready.Reason].next != backingOffToPoll {
		return at
	}
	if at.Sub(f.Now) > f.PollInterval+f.PollInterval/10 {
		return f.Now.Add(f.spread(f.PollInterval))
	}
	return at
}

// backoff doubles from one second to a limit, and is never shorter than what the provider asked for.
func (f Facts) backoff(limit time.Duration) time.Duration {
	doublings := min(max(f.Memory.Attempts-1, 0), 30)
	wait := min(float64(minBackoff)*math.Pow(2, float64(doublings)), float64(limit))
	spread := f.spread(time.Duration(wait))
	if f.Heard == nil {
		return spread
	}
	return max(spread, f.Heard.Result.RetryAfter+time.Duration(f.Jitter*float64(minBackoff)))
}

// spread is a duration give or take a tenth.
func (f Facts) spread(wait time.Duration) time.Duration {
	return time.Duration(float64(wait) * (0.9 + 0.2*f.Jitter))
}

// patienceLeft is how long the present trouble may last until it is called Stalled.
func (f Facts) patienceLeft() time.Duration {
	return f.Memory.TroubleSince.Add(Patience).Sub(f.Now)
}

// untilLook is the time until the next decision: until the next call, until expireAt, until an obstacle is called Stalled, and
// for a deletion never longer than maxHold.
func (f Facts) untilLook(reason string, progress Progress, call time.Duration) time.Duration {
	waits := []time.Duration{call}
	if f.deleting() {
		waits = append(waits, maxHold)
	}
	if table[reason].next == onChange && progress == Reconciling {
		waits = append(waits, f.patienceLeft())
	}
	expireAt := f.Session.Spec.ExpireAt
	if expireAt != nil && f.Memory.Wish == v1alpha1.DesiredStateActive && !f.stateAfter().Closed() {
		waits = append(waits, expireAt.Sub(f.Now))
	}
	return soonest(waits...)
}

// soonest is the shortest of the waits that there are; 0 where there is none.
func soonest(waits ...time.Duration) time.Duration {
	var first time.Duration
	for _, wait := range waits {
		if wait > 0 && (first == 0 || wait < first) {
			first = wait
		}
	}
	return first
}
