// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package account stands between the operator and one provider's account: its queue of calls, rate limit, concurrency
// limit and pauses. Calls run here and never in a reconcile worker: a session asks for a call and goes away, and is woken
// when the outcome is there. So no worker waits for the network or for a token, and an account that hangs slows none
// beside it.
package account

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

const (
	// probeInterval is how rarely calls are let through that will most likely be rejected.
	probeInterval = 10 * time.Minute
	// quietTime is after how long without a call an outage is forgotten: no call would ever show that the provider is back. It is
	// longer than the longest pause between two calls of a session that fails.
	quietTime = 10 * time.Minute
)

// Upstream makes calls; *upstream.Endpoint is the one. A call returns within its own timeout.
type Upstream interface {
	Call(ctx context.Context, operation v1alpha1.Operation, sessionID string) upstream.Result
}

// Limits are how gently an account is used.
type Limits struct {
	// Rate and Burst bound the calls in time.
	Rate  rate.Limit
	Burst int
	// Concurrency bounds the calls in flight.
	Concurrency int
}

// Priority of a call in the queue: a higher one goes first.
type Priority int

// The priorities.
const (
	// Poll reads an active session.
	Poll Priority = iota
	// Expiry expires a session, or confirms that it is.
	Expiry
	// Deletion expires a session that is being deleted.
	Deletion
)

// Call is one call that a session asks for.
type Call struct {
	// Session is the UID of the PaymentSession. It has one call at a time.
	Session types.UID
	// Operation and SessionID are what to ask the provider.
	Operation v1alpha1.Operation
	SessionID string
	Priority  Priority
	// Probe marks a call whose like was rejected before, and Asked one that a person asks for: it is made although it will most
	// likely be rejected.
	Probe, Asked bool
	// Confirm is asked just before the call is made, if it is not nil. Where it says no the call is dropped, and Confirm has
	// seen to it that the session is looked at again.
	Confirm func(context.Context) bool
	// Made is told of each call that was made, with the time that it took, if it is not nil.
	Made func(upstream.Result, time.Duration)
	// Wake is told once that the outcome is there.
	Wake func()

	// admitted marks the rare call that is made although the credentials are known to be rejected.
	admitted bool
}

// Outcome of a call.
type Outcome struct {
	Operation v1alpha1.Operation
	Result    upstream.Result
	// Epoch of the account at which the call was made.
	Epoch int64
}

// Config is what an account is made of and may be changed to.
type Config struct {
	Upstream Upstream
	Limits   Limits
	// Refresh reads the credentials again after the provider rejected them, and reports whether it gave the account others.
	Refresh func(context.Context) bool
	// Recovered is told when a call succeeds after the credentials were rejected, and Rejected when they first are, or first do
	// not allow something.
	Recovered func(context.Context)
	Rejected  func(context.Context)
	// Outage is told when the provider ceases to answer, so that its calls are held back, and when that is over.
	Outage func()
}

// Account is one provider object's. It is safe for concurrent use.
type Account struct {
	now func() time.Time
	// work wakes the dispatcher; it holds at most one token.
	work chan struct{}
	// changed ends a wait that other limits, or the end of an outage, may have made too long; it holds at most one token.
	changed chan struct{}
	stopped chan struct{}
	flights sync.WaitGroup
	limiter *rate.Limiter

	mu      sync.Mutex
	config  Config
	breaker *breaker
	epoch   int64
	queue   queue
	// flying are the sessions whose calls are in flight; true for one that was forgotten meanwhile.
	flying   map[types.UID]bool
	outcomes map[types.UID]Outcome
	// pausedUntil is when the provider's Retry-After is over.
	pausedUntil time.Time
	// rejected is the operation for which the credentials are known not to be accepted, empty for none, lastProbe when a call was
	// last let through all the same.
	rejected  v1alpha1.Operation
	lastProbe time.Time
	// lacking is true while the credentials are known not to allow something that was asked for.
	lacking bool
	slots   chan struct{}
}

// epochs gives every account and every change of one a number of its own, so that no session takes another account's
// rejection for its own.
var epochs struct {
	sync.Mutex
	last int64
}

func nextEpoch() int64 {
	epochs.Lock()
	defer epochs.Unlock()
	epochs.last++
	return epochs.last
}

// New makes an account. Run it, or no call is made.
func New(config Config) *Account {
	made := &Account{
		now: time.Now, work: make(chan struct{}, 1), changed: make(chan struct{}, 1), stopped: make(chan struct{}),
		limiter: rate.NewLimiter(config.Limits.Rate, config.Limits.Burst),
		config:  config, epoch: nextEpoch(), queue: newQueue(),
		flying: map[types.UID]bool{}, outcomes: map[types.UID]Outcome{},
		slots: make(chan struct{}, config.Limits.Concurrency),
	}
	made.breaker = newBreaker(made.breakerMoved)
	return made
}

// breakerMoved lets the dispatcher look again, and tells where an outage has begun or ended. The breaker is locked meanwhile.
func (a *Account) breakerMoved(outage bool) {
	signal(a.changed)
	a.mu.Lock()
	tell := a.config.Outage
	a.mu.Unlock()
	if outage && tell != nil {
		a.flights.Go(tell)
	}
}

// forgetOutage ends an outage that nobody has tried to end for long.
func (a *Account) forgetOutage() {
	a.mu.Lock()
	over, tell := !a.breaker.openSince().IsZero() && len(a.flying) == 0, a.config.Outage
	if over {
		a.breaker = newBreaker(a.breakerMoved)
	}
	a.mu.Unlock()
	if over && tell != nil {
		a.flights.Go(tell)
	}
}

// OutageSince is when the provider ceased to answer, so that calls are held back; zero while it answers.
func (a *Account) OutageSince() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.breaker.openSince()
}

// Activity is what an account is doing at a moment.
type Activity struct {
	// Queued and Flying are how many calls wait and how many are in flight.
	Queued, Flying int
	// Rejected is true while the credentials are known not to be accepted, Outage while the provider answers none, Paused while
	// its Retry-After lasts, and Limited while a call waits for the rate limit.
	Rejected, Outage, Paused, Limited bool
}

// Activity tells what the account is doing.
func (a *Account) Activity() Activity {
	a.mu.Lock()
	defer a.mu.Unlock()
	return Activity{
		Queued: len(a.queue.entries), Flying: len(a.flying), Rejected: a.rejected != "", Outage: !a.breaker.openSince().IsZero(),
		Paused: a.now().Before(a.pausedUntil), Limited: !a.queue.empty() && a.limiter.Tokens() < 1,
	}
}

// Epoch is another number each time when the account may do better than before.
func (a *Account) Epoch() int64 {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.epoch
}

// Reconfigure gives the account another endpoint, other credentials or limits. Calls in flight end as they began.
func (a *Account) Reconfigure(config Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limiter.SetLimit(config.Limits.Rate)
	a.limiter.SetBurst(config.Limits.Burst)
	if config.Limits.Concurrency != cap(a.slots) {
		// Calls in flight give their slots back to the channel that they took them from.
		a.slots = make(chan struct{}, config.Limits.Concurrency)
	}
	if config.Upstream != a.config.Upstream {
		// What the endpoint of before did says nothing of this one.
		a.epoch, a.rejected, a.lacking, a.breaker = nextEpoch(), "", false, newBreaker(a.breakerMoved)
	}
	a.config = config
	signal(a.changed)
}

// Submit asks for a call. A call of the session that is still queued is replaced; one in flight, or an outcome that was not
// acknowledged, keeps the new one out: the session is woken for that first.
func (a *Account) Submit(call Call) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, flying := a.flying[call.Session]; flying {
		return
	}
	if _, there := a.outcomes[call.Session]; there {
		return
	}
	if a.rejected != "" || call.Probe {
		if !call.Asked && !a.queue.admitted(call.Session) && !a.probeDue(call.Operation) {
			a.queue.remove(call.Session)
			a.foregone(call)
			call.Wake()
			return
		}
		call.admitted, a.lastProbe = true, a.now()
	}
	a.queue.put(call)
	signal(a.work)
}

// probeDue reports whether a call may be made that will most likely be rejected. One that would prove nothing of what was rejected
// is let through only where nobody has tried that for long.
func (a *Account) probeDue(operation v1alpha1.Operation) bool {
	interval := probeInterval
	if !a.proves(operation) {
		interval = 3 * probeInterval
	}
	return a.now().Sub(a.lastProbe) >= interval
}

// proves reports whether a call shows by its success that what was rejected is accepted now: some providers let everybody read.
func (a *Account) proves(operation v1alpha1.Operation) bool {
	return operation == v1alpha1.OperationExpire || operation == a.rejected || a.rejected == ""
}

// foregone keeps the outcome of a call that need not be made to be known: where the credentials are accepted, a probe is one
// of a call that was not allowed.
func (a *Account) foregone(call Call) {
	result := upstream.Result{Outcome: v1alpha1.OutcomeNotAllowed}
	if a.rejected != "" {
		result.Outcome = v1alpha1.OutcomeCredentialsRejected
	}
	a.outcomes[call.Session] = Outcome{Operation: call.Operation, Result: result, Epoch: a.epoch}
}

// Rejected reports whether the credentials are known not to be accepted.
func (a *Account) Rejected() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rejected != ""
}

// NeedsCredentials reports whether sessions wait for other credentials: these are not accepted, or do not allow something.
func (a *Account) NeedsCredentials() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.rejected != "" || a.lacking
}

// takeBack takes a call out of the queue, and gives a probe that it may have been admitted as to the next one.
func (a *Account) takeBack(session types.UID) {
	if a.queue.admitted(session) {
		a.lastProbe = time.Time{}
	}
	a.queue.remove(session)
}

// Withdraw takes back a session's call that is still queued, because the wish for it is gone.
func (a *Account) Withdraw(session types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.takeBack(session)
}

// Forget drops all that is known of a session that no longer exists.
func (a *Account) Forget(session types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.takeBack(session)
	delete(a.outcomes, session)
	if _, flying := a.flying[session]; flying {
		a.flying[session] = true
	}
}

// Outcome of a session's call, if it is there. It stays until it is acknowledged: an outcome whose status could not be
// written must not be asked for at the provider again.
func (a *Account) Outcome(session types.UID) (Outcome, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	outcome, there := a.outcomes[session]
	return outcome, there
}

// Acknowledge drops an outcome that was acted on.
func (a *Account) Acknowledge(session types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.outcomes, session)
}

func signal(waiting chan struct{}) {
	select {
	case waiting <- struct{}{}:
	default:
	}
}
