// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"maps"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
)

const (
	probeInterval, refreshInterval = call.ProbeInterval, call.RefreshInterval
	// turnTimeout is how long a session may take to use its turn to probe before the next session gets it.
	turnTimeout = 30 * time.Second
	// trust is how long an accepted call shows that a rejection is one session's and not the account's. It is longer
	// than the default pollInterval with its jitter. Otherwise an account that only polls would count as rejected now
	// and then.
	trust = 15 * time.Minute
)

// credentials keeps whether the provider accepts the account's credentials. Some providers answer 401 for a session
// that the key may not touch, so that one rejection proves nothing about the account while other calls are accepted.
// The account is locked during each method.
type credentials struct {
	// rejected is the operation for which the account's credentials are rejected; empty while they are accepted.
	// readsToo is true where that is the expire call, and reads are rejected as well: some providers let everybody read.
	rejected v1alpha1.Operation
	readsToo bool
	// cause is the outcome of the last call that was rejected. A request that is declined gets the same outcome.
	cause v1alpha1.Outcome
	// accepted is when a call of each operation was last accepted.
	accepted map[v1alpha1.Operation]time.Time
	// suspect is the last request that was rejected, until a call that disproves the rejection is accepted. Its Session
	// is then empty.
	suspect Request
	// waiting holds the requests of the sessions that wait while the account is rejected, in turn.
	waiting probeQueue
	// turn is the session that may probe now; empty for none.
	turn types.UID
	// lastProbe is the time of the last turn, and lastOther that of the last turn of a request that proves nothing.
	// lastRefresh is, by tenant, the time of the last request for a person.
	lastProbe, lastOther time.Time
	lastRefresh          map[string]time.Time
	// needy holds the sessions whose last call was rejected or not allowed. They probe after those that only wait.
	needy map[types.UID]bool
	// tried holds the sessions that have probed since the account was rejected. They probe after those that have not,
	// whatever the outcome was: one that proves nothing must not take every turn.
	tried map[types.UID]bool
	// own holds the sessions that were rejected while others were accepted. Their rejection says nothing about the
	// account.
	own map[types.UID]bool
}

func newCredentials() credentials {
	return credentials{
		accepted: map[v1alpha1.Operation]time.Time{}, waiting: newProbeQueue(), lastRefresh: map[string]time.Time{},
		needy: map[types.UID]bool{}, tried: map[types.UID]bool{}, own: map[types.UID]bool{},
	}
}

// change is what an outcome changes for the whole account.
type change int

const (
	unchanged change = iota
	// rejection: the account is rejected from now on, or the first session needs other credentials.
	rejection
	// recovery: the account is accepted again.
	recovery
)

// record keeps what an outcome says about the credentials.
func (c *credentials) record(request Request, outcome v1alpha1.Outcome, now time.Time) change {
	wasNeedy, meaning := len(c.needy) > 0, call.MeaningOf(outcome)
	switch {
	case meaning.NeedsCredentials, meaning.RejectsAccount:
		c.needy[request.Session] = true
	case meaning.AcceptsCredentials:
		delete(c.needy, request.Session)
	}
	switch {
	case meaning.RejectsAccount:
		if c.reject(request, outcome, now) {
			return rejection
		}
	case meaning.AcceptsCredentials:
		delete(c.own, request.Session)
		if c.accept(request, now) {
			return recovery
		}
	}
	if !wasNeedy && len(c.needy) > 0 {
		return rejection
	}
	return unchanged
}

// reject records a rejection, and reports whether the account is rejected from now on, or for another cause. It is if
// two sessions were rejected in a row, or if one was that is not known for it and no call has been accepted recently.
func (c *credentials) reject(request Request, cause v1alpha1.Outcome, now time.Time) bool {
	before := c.suspect.Session
	// Two objects of one session at the provider are one session. Two sessions that were rejected before, while others
	// were accepted, show nothing new.
	isSame := before != "" && strings.EqualFold(c.suspect.SessionID, request.SessionID)
	if isSame && c.own[before] {
		c.own[request.Session] = true
	}
	inARow := before != "" && !isSame && (!c.own[before] || !c.own[request.Session])
	c.suspect = request
	begins := c.rejected == ""
	if begins && !inARow && (c.own[request.Session] || c.trusted(now)) {
		c.own[request.Session] = true
		return false
	}
	if begins {
		c.lastProbe, c.lastOther = now, now
	}
	if c.proves(request.Operation) {
		c.rejected = request.Operation
	} else {
		c.readsToo = true
	}
	c.enqueue(request)
	changes := begins || c.cause != cause
	c.cause = cause
	return changes
}

// accept records an accepted call, and reports whether it ends the account's rejection.
func (c *credentials) accept(request Request, now time.Time) bool {
	c.accepted[request.Operation] = now
	if request.Operation == v1alpha1.OperationExpire || request.Operation == c.suspect.Operation {
		c.suspect = Request{}
	}
	if c.rejected == "" {
		return false
	}
	if !c.proves(request.Operation) {
		c.readsToo = false
		if c.waiting.first(c.proves) != nil {
			// A session waits whose call would prove more.
			return false
		}
	}
	c.rejected, c.readsToo, c.turn, c.waiting = "", false, "", newProbeQueue()
	clear(c.lastRefresh)
	clear(c.tried)
	return true
}

// trusted reports whether any call has been accepted recently.
func (c *credentials) trusted(now time.Time) bool {
	for _, at := range c.accepted {
		if now.Sub(at) < trust {
			return true
		}
	}
	return false
}

// block reports whether a call of an operation would most likely be rejected.
func (c *credentials) block(operation v1alpha1.Operation) bool {
	return c.rejected != "" && (c.readsToo || c.proves(operation))
}

// proves reports whether the success of an operation shows that what was rejected is accepted now.
func (c *credentials) proves(operation v1alpha1.Operation) bool {
	return operation == v1alpha1.OperationExpire || operation == c.rejected || c.rejected == ""
}

// admit admits a request although the account is rejected, if it is the session's turn or a person waits for it. A
// request that is not admitted waits for a later turn.
func (c *credentials) admit(request *Request, now time.Time) {
	c.enqueue(*request)
	next, wait := c.nextProbe(now)
	switch {
	case c.turn == request.Session, c.turn == "" && wait <= 0 && next.Session == request.Session:
		c.lastProbe, c.turn = now, ""
		if !c.proves(request.Operation) {
			c.lastOther = now
		}
		// Its next turn comes after those of all others.
		c.waiting.serve(request.Session)
		c.tried[request.Session] = true
		c.enqueue(*request)
		request.admitted, request.probe = true, true
	case request.Refresh && now.Sub(c.lastRefresh[request.Tenant]) >= refreshInterval:
		// It uses no session's turn.
		maps.DeleteFunc(c.lastRefresh, func(_ string, at time.Time) bool { return now.Sub(at) >= refreshInterval })
		c.lastRefresh[request.Tenant] = now
		request.admitted = true
	}
}

// enqueue adds a session's request to those that wait for a turn.
func (c *credentials) enqueue(request Request) {
	c.waiting.put(request, c.needy[request.Session] || c.tried[request.Session])
}

// passTurn gives up a session's turn, because the session does not want to make a call. It reports whether the
// session had it.
func (c *credentials) passTurn(session types.UID) bool {
	if c.turn != session || session == "" {
		return false
	}
	c.waiting.serve(session)
	c.turn = ""
	return true
}

// probeAgain gives the next session its turn at once, because a probe was not made after all.
func (c *credentials) probeAgain() { c.lastProbe = time.Time{} }

// nextProbe returns the request whose turn is next, and the time until then. Its Session is empty where no session
// waits. A request that proves nothing about what was rejected gets every third turn: the sessions that could prove it
// may be rejected for ever, and reads may be accepted again.
func (c *credentials) nextProbe(now time.Time) (Request, time.Duration) {
	proving, wait := c.waiting.first(c.proves), c.lastProbe.Add(probeInterval).Sub(now)
	other := c.waiting.first(func(operation v1alpha1.Operation) bool { return !c.proves(operation) })
	otherWait := max(wait, c.lastOther.Add(3*probeInterval).Sub(now))
	switch {
	case other != nil && (proving == nil || otherWait <= wait):
		return *other, otherWait
	case proving != nil:
		return *proving, wait
	default:
		return Request{}, 0
	}
}

// offerTurn gives the turn to the next session, if it is time. A session that had the turn and did not use it no
// longer waits. It returns the request of the session, whose Session is empty if no session gets a turn, and when to
// offer again; 0 for not at all.
func (c *credentials) offerTurn(now time.Time) (Request, time.Duration) {
	if c.rejected == "" {
		return Request{}, 0
	}
	c.passTurn(c.turn)
	next, wait := c.nextProbe(now)
	switch {
	case next.Session == "":
		return Request{}, 0
	case wait > 0:
		return Request{}, wait
	}
	c.turn = next.Session
	return next, turnTimeout
}

// forget drops everything about a session.
func (c *credentials) forget(session types.UID) {
	delete(c.needy, session)
	delete(c.tried, session)
	delete(c.own, session)
	c.waiting.remove(session)
	if c.suspect.Session == session {
		c.suspect = Request{}
	}
}

// needOthers reports whether a session waits for other credentials.
func (c *credentials) needOthers() bool { return c.rejected != "" || len(c.needy) > 0 }
