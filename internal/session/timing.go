// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"math"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// noDelay is the shortest wait: 0 means no timer.
const noDelay = time.Millisecond

// backsOff reports whether the delay grows with each failed attempt in one series.
func (n next) backsOff() bool { return n == backingOff || n == searching }

// untilCall returns the time until the next call; 0 where none is due without a change.
func (d *decision) untilCall(reason string, progress Progress) time.Duration {
	wait := d.byRow(reason, progress)
	if !d.deleting() || table[reason].next == onChange {
		// No call helps while there is an obstacle. The call is made once it is gone.
		return wait
	}
	return soonest(wait, maxHold)
}

// byRow returns the time until the next call of a session that is not being deleted.
func (d *decision) byRow(reason string, progress Progress) time.Duration {
	if d.ShowsExpirable && reason == v1alpha1.ReasonExpireUnsupported && d.PollInterval > 0 {
		return d.spread(d.PollInterval)
	}
	switch table[reason].next {
	case immediately:
		return noDelay
	case searching:
		return d.untilFound(progress)
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

// untilShown returns the time until the next attempt after an expiry was accepted or refused. It ends no later than
// the time in which an accepted call may become visible, because the call is repeated then.
func (d *decision) untilShown(progress Progress) time.Duration {
	wait := d.backoff(d.pollLimit())
	if progress == Stalled || !d.recentlyActed() {
		return wait
	}
	return min(wait, max(d.memory.ActedAt.Add(Patience).Sub(d.Now), minBackoff))
}

// untilFound returns the time until the next attempt to find a session that the provider does not know.
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

// pollLimit returns the provider's pollInterval or, if polling is off, the longest ordinary backoff.
func (d *decision) pollLimit() time.Duration {
	if d.PollInterval > 0 {
		return d.PollInterval
	}
	return maxBackoff
}

// untilRefresh returns the time until the next attempt at a refresh for which no call was made.
func (d *decision) untilRefresh() time.Duration {
	return d.doubled(refreshInterval, probeInterval)
}

// noLaterThanPolled brings forward a call that was scheduled with a longer pollInterval than the present one.
func (d *decision) noLaterThanPolled(at time.Time) time.Time {
	if next := d.row().next; d.PollInterval == 0 || next != polling && next != backingOffToPoll {
		return at
	}
	if at.Sub(d.Now) > d.PollInterval+d.PollInterval/10 {
		return d.Now.Add(d.spread(d.PollInterval))
	}
	return at
}

// backoff doubles from one second to a limit, and is never shorter than the provider's Retry-After.
func (d *decision) backoff(limit time.Duration) time.Duration {
	spread := d.spread(d.doubled(minBackoff, limit))
	if d.Outcome == nil {
		return spread
	}
	return max(spread, d.Outcome.Result.RetryAfter+time.Duration(d.Jitter*float64(minBackoff)))
}

// doubled returns a time that doubles with each attempt, up to a limit.
func (d *decision) doubled(first, limit time.Duration) time.Duration {
	doublings := min(max(d.memory.Attempts-1, 0), 30)
	return time.Duration(min(float64(first)*math.Pow(2, float64(doublings)), float64(limit)))
}

// spread returns a duration plus or minus a tenth.
func (d *decision) spread(wait time.Duration) time.Duration {
	return time.Duration(float64(wait) * (0.9 + 0.2*d.Jitter))
}

// patienceLeft returns the time until the present trouble becomes Stalled.
func (d *decision) patienceLeft() time.Duration {
	return d.memory.TroubleSince.Add(Patience).Sub(d.Now)
}

// untilDecision returns the time until the next decision: the earliest of the next call, expireAt, and the time when
// an obstacle becomes Stalled; for a deletion at most maxHold.
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

// soonest returns the shortest wait that is not 0; 0 where all are.
func soonest(waits ...time.Duration) time.Duration {
	var first time.Duration
	for _, wait := range waits {
		if wait > 0 && (first == 0 || wait < first) {
			first = wait
		}
	}
	return first
}
