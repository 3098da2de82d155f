// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"maps"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

const (
	// probeInterval is how rarely a call is made although the credentials are known to be rejected.
	probeInterval = 10 * time.Minute
	// refreshInterval is how rarely one is made because a person asks for it.
	refreshInterval = 10 * time.Second
	// turnTimeout is how long a session may take to use its turn to probe before the next one gets it.
	turnTimeout = 30 * time.Second
	// trust is for how long an accepted call shows that it is not the account whose credentials are rejected, but one session. It is longer
	// than the default pollInterval with its jitter, or an account that does nothing but poll would be taken for rejected now and then.
	trust = 15 * time.Minute
)

// credentials is what is known of whether the provider accepts the account's credentials. Some providers answer 401 about a session
// that the key may not touch, so that one rejection proves nothing of the account while others are accepted. The account holds its
// mutex while it calls a method.
type credentials struct {
	// rejected is the operation for which the account's credentials are rejected; empty while they are not. readsToo is true where that is
	// the expire call, and reads are rejected as well: some providers let everybody read.
	rejected v1alpha1.Operation
	readsToo bool
	// accepted is when a call of each operation was last accepted.
	accepted map[v1alpha1.Operation]time.Time
	// suspect is the call that was rejected last, where none that would disprove it was accepted since; its Session is empty for none.
	suspect Call
	// line are the calls of the sessions that wait while the account is rejected, in turn.
	line line
	// turn is the session that may probe now; empty for none.
	turn types.UID
	// lastProbe is when a session last had its turn, and lastRefresh, by tenant, when one last had a call because a person asked for it.
	lastProbe   time.Time
	lastRefresh map[string]time.Time
	// needy are the sessions whose last call was rejected or not allowed.
	needy map[types.UID]bool
	// own are the sessions that were rejected while others were accepted: their rejection is their own trouble.
	own map[types.UID]bool
}

func newCredentials() credentials {
	return credentials{
		accepted: map[v1alpha1.Operation]time.Time{}, line: newLine(), lastRefresh: map[string]time.Time{}, needy: map[types.UID]bool{},
		own: map[types.UID]bool{},
	}
}

// change is what a call's outcome changes for the whole account.
type change int

const (
	unchanged change = iota
	// rejection: the account's credentials are rejected from now on, or a first session needs others.
	rejection
	// recovery: the account's credentials are accepted again.
	recovery
)

// learn keeps what a call's outcome says of the credentials.
func (c *credentials) learn(call Call, outcome v1alpha1.Outcome, now time.Time) change {
	wasNeedy := len(c.needy) > 0
	switch {
	case outcome == v1alpha1.OutcomeCredentialsRejected:
		c.needy[call.Session] = true
		if c.reject(call, now) {
			return rejection
		}
	case !conclusive(outcome):
		return unchanged
	default:
		if outcome == v1alpha1.OutcomeNotAllowed {
			c.needy[call.Session] = true
		} else {
			delete(c.needy, call.Session)
		}
		delete(c.own, call.Session)
		if c.accept(call, now) {
			return recovery
		}
	}
	if !wasNeedy && len(c.needy) > 0 {
		return rejection
	}
	return unchanged
}

// reject keeps a rejection, and reports whether the account is rejected from now on: where two sessions were rejected in a row, or one was
// that is not known for it, and nothing was accepted of late.
func (c *credentials) reject(call Call, now time.Time) bool {
	before := c.suspect.Session
	// Two sessions that were rejected before while others were accepted show nothing new.
	inARow := before != "" && before != call.Session && (!c.own[before] || !c.own[call.Session])
	c.suspect = call
	begins := c.rejected == ""
	if begins && !inARow && (c.own[call.Session] || c.trusted(now)) {
		c.own[call.Session] = true
		return false
	}
	if begins {
		c.lastProbe = now
	}
	if c.proves(call.Operation) {
		c.rejected = call.Operation
	} else {
		c.readsToo = true
	}
	c.wait(call)
	return begins
}

// accept keeps an acceptance, and reports whether it ends the account's rejection.
func (c *credentials) accept(call Call, now time.Time) bool {
	c.accepted[call.Operation] = now
	if call.Operation == v1alpha1.OperationExpire || call.Operation == c.suspect.Operation {
		c.suspect = Call{}
	}
	if c.rejected == "" {
		return false
	}
	if !c.proves(call.Operation) {
		c.readsToo = false
		if c.line.first(c.proves) != nil {
			// Somebody waits whose call would tell more.
			return false
		}
	}
	c.rejected, c.readsToo, c.turn, c.line = "", false, "", newLine()
	clear(c.lastRefresh)
	return true
}

// trusted reports whether any call was accepted of late.
func (c *credentials) trusted(now time.Time) bool {
	for _, at := range c.accepted {
		if now.Sub(at) < trust {
			return true
		}
	}
	return false
}

// blocks reports whether a call to an operation would most likely be rejected.
func (c *credentials) blocks(operation v1alpha1.Operation) bool {
	return c.rejected != "" && (c.readsToo || c.proves(operation))
}

// proves reports whether the success of an operation shows that what was rejected is accepted now.
func (c *credentials) proves(operation v1alpha1.Operation) bool {
	return operation == v1alpha1.OperationExpire || operation == c.rejected || c.rejected == ""
}

// admit lets a call be made although the account is rejected, if it is the session's turn or a person asks for it. A call that is not
// admitted lines up for a later turn.
func (c *credentials) admit(call *Call, now time.Time) {
	c.wait(*call)
	next, wait := c.next(now)
	switch {
	case c.turn == call.Session, c.turn == "" && wait <= 0 && next.Session == call.Session:
		c.lastProbe, c.turn = now, ""
		// Its next turn comes after everybody else's.
		c.line.serve(call.Session)
		c.wait(*call)
		call.admitted, call.probe = true, true
	case call.Refresh && now.Sub(c.lastRefresh[call.Tenant]) >= refreshInterval:
		// It takes nobody's turn.
		maps.DeleteFunc(c.lastRefresh, func(_ string, at time.Time) bool { return now.Sub(at) >= refreshInterval })
		c.lastRefresh[call.Tenant] = now
		call.admitted = true
	}
}

// wait puts a session's call in line.
func (c *credentials) wait(call Call) { c.line.put(call, c.needy[call.Session]) }

// pass gives up a session's turn, if it has it: it does not want to call. It reports whether it had it.
func (c *credentials) pass(session types.UID) bool {
	if c.turn != session || session == "" {
		return false
	}
	c.line.serve(session)
	c.turn = ""
	return true
}

// retry lets the next session have its turn at once: a probe was not made after all.
func (c *credentials) retry() { c.lastProbe = time.Time{} }

// next is the call whose turn comes next and how long until then. Its Session is empty where nobody waits. A call that would prove
// nothing of what was rejected has a turn only where nobody else has tried for long.
func (c *credentials) next(now time.Time) (Call, time.Duration) {
	first, wait := c.line.first(c.proves), c.lastProbe.Add(probeInterval).Sub(now)
	if first == nil {
		first, wait = c.line.first(nil), c.lastProbe.Add(3*probeInterval).Sub(now)
	}
	if first == nil {
		return Call{}, 0
	}
	return *first, wait
}

// offer gives the turn to the session that is next in line, if it is time. One that had the turn and did not use it has left the line.
// It returns the session's call, whose Session is empty where nobody gets a turn, and when to offer again; 0 for not at all.
func (c *credentials) offer(now time.Time) (Call, time.Duration) {
	if c.rejected == "" {
		return Call{}, 0
	}
	c.pass(c.turn)
	next, wait := c.next(now)
	switch {
	case next.Session == "":
		return Call{}, 0
	case wait > 0:
		return Call{}, wait
	}
	c.turn = next.Session
	return next, turnTimeout
}

// forget drops what is known of a session.
func (c *credentials) forget(session types.UID) {
	delete(c.needy, session)
	delete(c.own, session)
	c.line.remove(session)
	if c.suspect.Session == session {
		c.suspect = Call{}
	}
}

// needOthers reports whether a session waits for other credentials.
func (c *credentials) needOthers() bool { return c.rejected != "" || len(c.needy) > 0 }

// conclusive reports whether an outcome shows that the provider accepted the credentials.
func conclusive(outcome v1alpha1.Outcome) bool {
	switch outcome {
	case v1alpha1.OutcomeThrottled, v1alpha1.OutcomeUnavailable, v1alpha1.OutcomeUnexpectedResponse:
		return false
	default:
		return true
	}
}
