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

// Priority of a call in the queue. Expiries and deletions go before polls; within one tenant, deletions go before expiries.
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
	// Tenant shares the account with other tenants. Tenants take turns: one rotation for deletions and expiries, one for polls.
	Tenant string
	// Refresh marks a call that a person asks for. Where the account is rejected it is made out of turn, rarely.
	Refresh bool
	// Confirm is asked just before the call is made, if it is not nil. Where it says no the call is dropped, and Confirm has
	// seen to it that the session is looked at again.
	Confirm func(context.Context) bool
	// Made is told of each call that was made, with the time that it took, if it is not nil.
	Made func(upstream.Result, time.Duration)
	// Wake lets the session look: its outcome is there, its call must be asked for again, or it is its turn to probe. It must not call the
	// account back before it returns.
	Wake func()

	// admitted marks the rare call that is made although the credentials are known to be rejected, and probe one whose turn it is.
	admitted, probe bool
}

// Outcome of a call.
type Outcome struct {
	Operation v1alpha1.Operation
	Result    upstream.Result
	// Made is false where no call was made, because it would have been rejected.
	Made bool
	// Epoch of the account at which the call was made.
	Epoch int64
	// Access is another number for each endpoint and each set of credentials.
	Access int64
}

// Config is what an account is made of and may be changed to.
type Config struct {
	Upstream Upstream
	// Endpoint tells endpoints apart: where calls go and how replies are read. The outcome of a call to another endpoint than the
	// present one says nothing, and is dropped.
	Endpoint string
	Limits   Limits
	// Refresh reads the credentials again after the provider rejected them, and reports whether it gave the account others.
	Refresh func(context.Context) bool
	// Recovered is told when a call succeeds after the account was rejected, and Rejected when it first is, or a first session needs
	// other credentials.
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
	// access numbers the endpoints and credentials; found is true once a session was found with the present ones.
	access int64
	found  bool
	queue  queue
	// flying are the sessions whose calls are in flight; true for one that was forgotten meanwhile.
	flying   map[types.UID]bool
	outcomes map[types.UID]Outcome
	// pausedUntil is when the provider's Retry-After is over.
	pausedUntil time.Time
	credentials credentials
	// offering lets the next session probe when it is time; nil where nobody waits.
	offering *time.Timer
	// ended is true once no call is made any more.
	ended bool
	slots chan struct{}
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
		config:  config, epoch: nextEpoch(), access: nextEpoch(), queue: newQueue(), credentials: newCredentials(),
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
		Queued: a.queue.len(), Flying: len(a.flying), Rejected: a.credentials.rejected != "", Outage: !a.breaker.openSince().IsZero(),
		Paused: a.now().Before(a.pausedUntil), Limited: a.queue.len() > 0 && a.limiter.Tokens() < 1,
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
		// What the provider said of the endpoint and the credentials of before says nothing of these.
		a.epoch, a.access, a.found = nextEpoch(), nextEpoch(), false
		a.credentials, a.breaker = newCredentials(), newBreaker(a.breakerMoved)
		a.reschedule()
	}
	if config.Endpoint != a.config.Endpoint {
		clear(a.outcomes)
		a.pausedUntil = time.Time{}
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
	call.admitted, call.probe = a.queue.admitted(call.Session)
	if a.credentials.blocks(call.Operation) && !call.admitted {
		a.credentials.admit(&call, a.now())
		a.schedule()
	}
	if a.credentials.blocks(call.Operation) && !call.admitted {
		a.queue.remove(call.Session)
		a.decline(call)
		call.Wake()
		return
	}
	a.queue.put(call)
	signal(a.work)
}

// decline keeps the outcome of a call that need not be made to be known.
func (a *Account) decline(call Call) {
	a.outcomes[call.Session] = Outcome{
		Operation: call.Operation, Result: upstream.Result{Outcome: v1alpha1.OutcomeCredentialsRejected}, Epoch: a.epoch, Access: a.access,
	}
}

// schedule sees to it that the next session gets its turn to probe in time.
func (a *Account) schedule() {
	if a.offering != nil || a.ended || a.credentials.rejected == "" {
		return
	}
	next, wait := a.credentials.next(a.now())
	if a.credentials.turn != "" {
		// Somebody may not use the turn.
		wait = turnTimeout
	}
	if next.Session != "" || a.credentials.turn != "" {
		a.offering = time.AfterFunc(max(wait, 0), a.offerTurn)
	}
}

// reschedule starts the offers anew, after something has changed that they depend on.
func (a *Account) reschedule() {
	if a.offering != nil {
		a.offering.Stop()
		a.offering = nil
	}
	a.schedule()
}

// offerTurn lets the session whose turn it is know, and looks again when that may have changed.
func (a *Account) offerTurn() {
	a.mu.Lock()
	next, again := a.credentials.offer(a.now())
	a.offering = nil
	if again > 0 && !a.ended {
		a.offering = time.AfterFunc(again, a.offerTurn)
	}
	a.mu.Unlock()
	if next.Session != "" {
		next.Wake()
	}
}

// MayProbe reports whether it is a session's turn to try whether the credentials are accepted again.
func (a *Account) MayProbe(session types.UID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.credentials.turn == session && session != ""
}

// Found reports whether the provider has shown that it knows a session of this account, since its endpoint or its credentials changed.
func (a *Account) Found() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.found
}

// Rejected reports whether the credentials are known not to be accepted.
func (a *Account) Rejected() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.credentials.rejected != ""
}

// NeedsCredentials reports whether sessions wait for other credentials: these are not accepted, or do not allow something.
func (a *Account) NeedsCredentials() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.credentials.needOthers()
}

// takeBack takes a call out of the queue, and gives a probe that it may have been admitted as to the next one.
func (a *Account) takeBack(session types.UID) {
	if _, probe := a.queue.admitted(session); probe {
		a.credentials.retry()
		a.reschedule()
	}
	if a.credentials.pass(session) {
		a.reschedule()
	}
	a.queue.remove(session)
}

// Withdraw takes back a session's call that is still queued, because nobody wants it any more.
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
	a.credentials.forget(session)
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
