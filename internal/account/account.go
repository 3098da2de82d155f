// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package account stands between the operator and one account at a provider. It has the account's queue of requests,
// rate limit, concurrency limit and circuit breaker. Calls run here and never in a reconcile worker: a reconcile
// submits a request and returns, and the session is requeued when the outcome is there. No worker waits for the
// network or for a token, and an account that hangs slows no other one.
//
// Words: a session submits a request for an operation. The account turns the request into a call to the provider, and
// the call into an outcome.
//
// Locks are taken in the order controllers.Directory, Account, breaker. Callbacks of a Request or a Config run
// without any of them, so that they may call the account back; TestCallbacksMayCallBack keeps it so.
package account

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
)

// Upstream makes calls; *upstream.Endpoint implements it. A call returns within its own timeout.
type Upstream interface {
	Call(ctx context.Context, operation v1alpha1.Operation, sessionID string) call.Result
}

// Limits bound the calls of an account.
type Limits struct {
	// Rate and Burst bound the calls in time.
	Rate  rate.Limit
	Burst int
	// Concurrency bounds the calls in flight.
	Concurrency int
}

// Priority of a request in the queue. Expiries and deletions go before polls. Within one tenant, deletions go before
// expiries.
type Priority int

// The priorities.
const (
	// Poll reads an active session.
	Poll Priority = iota
	// Expiry expires a session, or confirms that it is expired.
	Expiry
	// Deletion expires a session that is being deleted.
	Deletion
	// Proven expires a session that a read has just shown as the namespace's own. It goes before everything else, because
	// the proof gets old.
	Proven
)

// Request asks the account for one operation on one session.
type Request struct {
	// Session is the UID of the PaymentSession. A session has at most one request at a time.
	Session types.UID
	// Operation to carry out on the provider's session SessionID.
	Operation v1alpha1.Operation
	SessionID string
	Priority  Priority
	// Tenant shares the account with other tenants. Tenants take turns: one rotation for deletions and expiries, one for
	// polls.
	Tenant string
	// Refresh marks a request made for a person. While the account is rejected it does not wait for its turn, but is
	// limited in its rate.
	Refresh bool
	// Confirm runs right before the call. If it returns false, no call is made, and Confirm has requeued the session.
	// nil confirms.
	Confirm func(context.Context) bool
	// Endpoint that the request was decided for, as in Config; empty for any. If the account has another one when the
	// call's turn comes, no call is made, and the session is requeued.
	Endpoint string
	// Proof is the read that allows the call; zero for a call that needs none. If it is too old when the call's turn
	// comes, or was made with other credentials, no call is made, and the session is requeued.
	Proof call.Proof
	// NeedsProof forbids the call without a Proof.
	NeedsProof bool
	// Page reads a page of a list, in place of an operation on one session; nil for such an operation. Session is then
	// the id of the listing. The credentials are not judged by it: a key may be made for sessions and not for lists.
	Page func(context.Context) call.Result
	// OnCall reports each call that was made and its duration. May be nil.
	OnCall func(call.Result, time.Duration)
	// Requeue requeues the session, because the outcome is there, the request has to be submitted again, or it is its
	// turn to probe.
	Requeue func()

	// admitted marks a request that is carried out although the credentials are known to be rejected, and probe one
	// whose turn it is.
	admitted, probe bool
}

// Config is the part of an account that may change while it runs.
type Config struct {
	Upstream Upstream
	// Endpoint identifies where calls go and how replies are read. The outcome of a call to a previous endpoint is
	// dropped.
	Endpoint string
	Limits   Limits
	// ReloadCredentials reads the credentials again after the provider has rejected them, and reports whether the
	// account has new ones.
	ReloadCredentials func(context.Context) bool
	// OnRecovered is called on the first success after a rejection.
	OnRecovered func(context.Context)
	// OnRejected is called when the account becomes rejected, or rejected for another cause, or when the first session
	// needs other credentials.
	OnRejected func(context.Context)
	// OnOutage is called when the provider stops answering, so that requests are held back, and when it answers again.
	OnOutage func()
}

// Account belongs to one provider object. It is safe for concurrent use.
type Account struct {
	now func() time.Time
	// work wakes the dispatcher. It holds at most one token.
	work chan struct{}
	// changed ends a wait early, after a change of the limits or of an outage. It holds at most one token.
	changed chan struct{}
	stopped chan struct{}
	running sync.WaitGroup
	limiter *rate.Limiter

	mu      sync.Mutex
	config  Config
	breaker *breaker
	// epoch increases whenever a retry might now succeed, and access whenever the endpoint or the credentials change.
	epoch, access int64
	// found is true once the provider has shown that it knows a session, with the present endpoint and credentials.
	found bool
	queue queue
	// inFlight holds the sessions whose calls are in flight; true for one that was forgotten meanwhile.
	inFlight map[types.UID]bool
	outcomes map[types.UID]call.Outcome
	// pausedUntil is the end of the provider's Retry-After.
	pausedUntil time.Time
	credentials credentials
	// probeTimer offers the next session its turn to probe; nil where no session waits.
	probeTimer *time.Timer
	// ended is true once the account makes no calls any more.
	ended bool
	slots chan struct{}
}

// epochs are unique across accounts, so that no session takes another account's rejection for its own.
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

// New returns an account. It makes calls while Run runs.
func New(config Config) *Account {
	a := &Account{
		now: time.Now, work: make(chan struct{}, 1), changed: make(chan struct{}, 1), stopped: make(chan struct{}),
		limiter: rate.NewLimiter(config.Limits.Rate, config.Limits.Burst),
		config:  config, epoch: nextEpoch(), access: nextEpoch(), queue: newQueue(), credentials: newCredentials(),
		inFlight: map[types.UID]bool{}, outcomes: map[types.UID]call.Outcome{},
		slots: make(chan struct{}, config.Limits.Concurrency),
	}
	a.breaker = newBreaker(a.breakerChanged)
	return a
}

// Reconfigure changes the endpoint, the credentials or the limits. Calls in flight are finished as they began.
func (a *Account) Reconfigure(config Config) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.limiter.SetLimit(config.Limits.Rate)
	a.limiter.SetBurst(config.Limits.Burst)
	if config.Limits.Concurrency != cap(a.slots) {
		// Calls in flight return their slots to the channel that they took them from.
		a.slots = make(chan struct{}, config.Limits.Concurrency)
	}
	if config.Upstream != a.config.Upstream {
		// What is known about the previous endpoint and credentials does not apply to the new ones.
		a.epoch, a.access, a.found = nextEpoch(), nextEpoch(), false
		a.credentials, a.breaker = newCredentials(), newBreaker(a.breakerChanged)
		a.rescheduleProbe()
	}
	if config.Endpoint != a.config.Endpoint {
		clear(a.outcomes)
		a.pausedUntil = time.Time{}
	}
	a.config = config
	signal(a.changed)
}

// Submit submits a request. It replaces a request of the same session that is still queued. It does nothing while a
// call of the session is in flight or an outcome is not acknowledged: that outcome requeues the session first.
func (a *Account) Submit(request Request) {
	if !a.enqueue(request) {
		request.Requeue()
	}
}

// enqueue returns false where the session has to be requeued, because an outcome is there without a call.
func (a *Account) enqueue(request Request) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if _, ok := a.inFlight[request.Session]; ok {
		return true
	}
	if _, ok := a.outcomes[request.Session]; ok {
		return true
	}
	request.admitted, request.probe = a.queue.admitted(request.Session)
	isBlocked := a.blocks(request)
	if isBlocked && !request.admitted {
		a.credentials.admit(&request, a.now())
		a.scheduleProbe()
	}
	if isBlocked && !request.admitted {
		a.queue.remove(request.Session)
		a.decline(request)
		return false
	}
	a.queue.put(request)
	signal(a.work)
	return true
}

// blocks reports whether a request would most likely be rejected. A page of a list is read all the same: nothing else
// may call, and its sweep asks seldom. The account is locked.
func (a *Account) blocks(request Request) bool {
	return request.Page == nil && a.credentials.block(request.Operation)
}

// decline stores the outcome of a request that need not be carried out, because its outcome is known.
func (a *Account) decline(request Request) {
	a.outcomes[request.Session] = call.Outcome{
		Operation: request.Operation, Result: call.Result{Outcome: a.credentials.cause}, Refresh: request.Refresh,
		AccountEpoch: a.epoch, AccessEpoch: a.access,
	}
}

// Withdraw removes a session's request from the queue, because the session no longer needs it.
func (a *Account) Withdraw(session types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.withdraw(session)
}

// withdraw passes on the turn to probe that the request may have had.
func (a *Account) withdraw(session types.UID) {
	if _, probe := a.queue.admitted(session); probe {
		a.credentials.probeAgain()
		a.rescheduleProbe()
	}
	if a.credentials.passTurn(session) {
		a.rescheduleProbe()
	}
	a.queue.remove(session)
}

// Forget drops everything about a session that no longer exists.
func (a *Account) Forget(session types.UID) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.withdraw(session)
	a.credentials.forget(session)
	delete(a.outcomes, session)
	if _, ok := a.inFlight[session]; ok {
		a.inFlight[session] = true
	}
}

// Outcome returns the outcome of a session's request, if there is one. It stays until it is acknowledged: if the
// status cannot be written, the call must not be repeated.
func (a *Account) Outcome(session types.UID) (call.Outcome, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	outcome, ok := a.outcomes[session]
	return outcome, ok
}

// Acknowledge drops an outcome that has been handled.
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
