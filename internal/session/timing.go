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
func (d *decision) untilCall(reason string, progress Progress) time.Duration {
	wait := d.byRow(reason, progress)
	if !d.deleting() || table[reason].next == onChange || reason == v1alpha1.ReasonSuspended {
		// Where something else than the provider is in the way there is no time to wait for: the call is made once that has gone.
		return wait
	}
	return soonest(wait, maxHold)
}

// byRow is the time until the next call of a session that is not being deleted.
func (d *decision) byRow(reason string, progress Progress) time.Duration {
	row := table[reason]
	if row.patient && row.next == backingOff {
		return d.untilFound(progress)
	}
	switch row.next {
	case immediately:
		return atOnce
	case backingOff:
		return d.backoff(maxBackoff)
	case backingOffToPoll:
		return d.untilShown(progress)
	case backingOffPatiently:
		return d.backoff(patientBackoff)
	case probing:
		return d.spread(probeInterval)
	case polling:
		if d.PollInterval > 0 && !d.stateAfter().Closed() {
			return d.spread(d.PollInterval)
		}
	}
	return 0
}

// untilShown is the time until the next try of what was accepted or refused. While an accepted call may still become visible, it is not
// longer than that: the call is repeated then.
func (d *decision) untilShown(progress Progress) time.Duration {
	wait := d.backoff(d.pollLimit())
	if progress == Stalled || !d.recentlyActed() {
		return wait
	}
	return min(wait, max(d.memory.ActedAt.Add(Patience).Sub(d.Now), minBackoff))
}

// untilFound is the time until a session that the provider does not know is looked for again.
func (d *decision) untilFound(progress Progress) time.Duration {
	switch {
	case progress != Stalled:
		return min(d.backoff(maxBackoff), max(d.patienceLeft(), minBackoff))
	case d.seen():
		return d.backoff(d.pollLimit())
	default:
		return d.backoff(patientBackoff)
	}
}

// pollLimit is the provider's pollInterval; where it has none, the longest ordinary backoff.
func (d *decision) pollLimit() time.Duration {
	if d.PollInterval > 0 {
		return d.PollInterval
	}
	return maxBackoff
}

// untilRefresh is the time until a look that a person asked for is tried again, where no call was made.
func (d *decision) untilRefresh() time.Duration {
	return d.doubled(refreshInterval, probeInterval)
}

// noLaterThanPolled brings a call nearer that was set for a longer pollInterval than there is now.
func (d *decision) noLaterThanPolled(at time.Time) time.Time {
	if next := d.row().next; d.PollInterval == 0 || next != polling && next != backingOffToPoll {
		return at
	}
	if at.Sub(d.Now) > d.PollInterval+d.PollInterval/10 {
		return d.Now.Add(d.spread(d.PollInterval))
	}
	return at
}

// backoff doubles from one second to a limit, and is never shorter than what the provider asked for.
func (d *decision) backoff(limit time.Duration) time.Duration {
	spread := d.spread(d.doubled(minBackoff, limit))
	if d.Outcome == nil {
		return spread
	}
	return max(spread, d.Outcome.Result.RetryAfter+time.Duration(d.Jitter*float64(minBackoff)))
}

// doubled is a time that doubles with each attempt up to a limit.
func (d *decision) doubled(first, limit time.Duration) time.Duration {
	doublings := min(max(d.memory.Attempts-1, 0), 30)
	return time.Duration(min(float64(first)*math.Pow(2, float64(doublings)), float64(limit)))
}

// spread is a duration give or take a tenth.
func (d *decision) spread(wait time.Duration) time.Duration {
	return time.Duration(float64(wait) * (0.9 + 0.2*d.Jitter))
}

// patienceLeft is how long the present trouble may last until it is called Stalled.
func (d *decision) patienceLeft() time.Duration {
	return d.memory.TroubleSince.Add(Patience).Sub(d.Now)
}

// untilDecision is the time until the next decision: until the next call, until expireAt, until an obstacle is called Stalled, and
// for a deletion never longer than maxHold.
func (d *decision) untilDecision(reason string, progress Progress, call time.Duration) time.Duration {
	waits := []time.Duration{call}
	if d.deleting() {
		waits = append(waits, maxHold)
	}
	if table[reason].next == onChange && progress == Reconciling {
		waits = append(waits, d.patienceLeft())
	}
	expireAt := d.Session.Spec.ExpireAt
	if expireAt != nil && !d.shouldExpire() && !d.stateAfter().Closed() {
		waits = append(waits, expireAt.Sub(d.Now))
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
