// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import "time"

// scheduleProbe starts the timer that offers the next session its turn to probe, unless it runs. The account is
// locked.
func (a *Account) scheduleProbe() {
	if a.probeTimer != nil || a.ended || a.credentials.rejected == "" {
		return
	}
	next, wait := a.credentials.nextProbe(a.now())
	if a.credentials.turn != "" {
		// The session whose turn it is may not use it.
		wait = turnTimeout
	}
	if next.Session != "" || a.credentials.turn != "" {
		a.probeTimer = time.AfterFunc(max(wait, 0), a.offerTurn)
	}
}

// rescheduleProbe restarts the timer, after a change of what it depends on. The account is locked.
func (a *Account) rescheduleProbe() {
	if a.probeTimer != nil {
		a.probeTimer.Stop()
		a.probeTimer = nil
	}
	a.scheduleProbe()
}

// offerTurn requeues the session whose turn it is to probe.
func (a *Account) offerTurn() {
	a.mu.Lock()
	next, again := a.credentials.offerTurn(a.now())
	a.probeTimer = nil
	if again > 0 && !a.ended {
		a.probeTimer = time.AfterFunc(again, a.offerTurn)
	}
	a.mu.Unlock()
	if next.Session != "" {
		next.Requeue()
	}
}

// stopProbes ends the offers of turns.
func (a *Account) stopProbes() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ended = true
	if a.probeTimer != nil {
		a.probeTimer.Stop()
	}
}
