// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package sweep finds and judges the sessions that a namespace has open at an account and that have no object. Its
// Lister reads the list of an account for all sweeps of that account. Its decision, which is pure, says what follows
// for one sweep. The sessions themselves are expired by the decision of package session.
package sweep

import (
	"context"
	"fmt"
	"sync"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/account"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

const (
	// listingGap is the time between the begins of two passes on average, and burst the number of passes that may be made
	// without it after a pause. Those of a deletion do not wait.
	listingGap = time.Minute
	burst      = 5
	// pageAttempts is how often a page is read before its failure ends the pass.
	pageAttempts = 3
)

// Pages reads a list, a page at a time; *upstream.Listing implements it.
type Pages interface {
	Next(ctx context.Context) upstream.Page
}

// Source is where a Lister reads the list of its account.
type Source struct {
	// Endpoint identifies where calls go, as in account.Config.
	Endpoint string
	// Open begins a listing of the sessions that were created between two times.
	Open func(since, until time.Time) Pages
	// NewestFirst is true where the list shows the newest sessions first.
	NewestFirst bool
	// OnCall reports each call that was made and its duration.
	OnCall func(call.Result, time.Duration)
}

// Lister reads the list of one account, in one pass at a time for all sweeps of the account: many namespaces cost what
// one costs. It is safe for concurrent use.
//
// Its lock comes after that of controllers.Directory and before the account's. Callbacks run without it.
type Lister struct {
	account *account.Account
	now     func() time.Time

	mu      sync.Mutex
	source  Source
	sweeps  map[types.UID]*member
	running *pass
	// allowed limits the passes.
	allowed *rate.Limiter
	number  int
}

// member is a sweep that takes part in the passes.
type member struct {
	scope Scope
	// from is the earliest begin of the pass that the sweep waits for; zero where it waits for none. urgent is true for
	// a deletion.
	from   time.Time
	urgent bool
	done   func()
	// listing was handed out last; nil for none.
	listing *Listing
}

// pass is one pass over the list.
type pass struct {
	// id of the pass in the account's queue. Each has its own, so that an outcome is never taken for another pass's.
	id    types.UID
	began time.Time
	pages Pages
	// page was read last; nil before the first one.
	page   *upstream.Page
	parts  map[types.UID]*part
	failed int
	// urgent is true while a deletion waits for the pass. isReplacement is true where it has taken the place of another
	// one: it is not given up itself, or the widest pass would never end.
	urgent, isReplacement bool
}

// serves reports whether the pass is one that begins at a time or later. Before its first page it has not begun.
func (p *pass) serves(from time.Time) bool { return p.pages == nil || !p.began.Before(from) }

// NewLister returns the lister of an account.
func NewLister(of *account.Account, source Source) *Lister {
	return &Lister{
		account: of, source: source, now: time.Now, sweeps: map[types.UID]*member{},
		allowed: rate.NewLimiter(rate.Every(listingGap), burst),
	}
}

// Use changes where the list is read. A pass that runs begins again: the credentials or the endpoint are others now.
func (l *Lister) Use(source Source) {
	l.mu.Lock()
	l.source = source
	if l.running != nil {
		l.account.Forget(l.running.id)
		l.running = nil
	}
	l.mu.Unlock()
	l.begin()
}

// Join lets a sweep take part in every pass from now on. done is called whenever a listing was handed out.
func (l *Lister) Join(sweep types.UID, scope Scope, done func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	joined := l.sweeps[sweep]
	if joined == nil {
		joined = &member{}
		l.sweeps[sweep] = joined
	}
	if !joined.scope.isSame(scope) {
		joined.listing = nil
	}
	joined.scope, joined.done = scope, done
}

// Request asks for a pass that begins at a time in the past or later, for a sweep that has joined. It returns how long
// the sweep has to wait before it asks again; 0 where the pass runs or will run.
func (l *Lister) Request(sweep types.UID, from time.Time, urgent bool) time.Duration {
	l.mu.Lock()
	asks := l.sweeps[sweep]
	if asks == nil {
		l.mu.Unlock()
		return 0
	}
	asks.from, asks.urgent = from, urgent
	wait := time.Duration(0)
	if serves := l.running != nil && l.running.serves(from); !serves && !urgent {
		wait = time.Duration(max(0, (1-l.allowed.TokensAt(l.now()))*float64(listingGap)))
	}
	if wait > 0 {
		asks.from = time.Time{}
	}
	l.mu.Unlock()
	l.begin()
	return wait
}

// Listing returns what was handed out to a sweep last; nil for nothing.
func (l *Lister) Listing(sweep types.UID) *Listing {
	l.mu.Lock()
	defer l.mu.Unlock()
	if known := l.sweeps[sweep]; known != nil {
		return known.listing
	}
	return nil
}

// Leave drops everything about a sweep.
func (l *Lister) Leave(sweep types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.sweeps, sweep)
	if l.running != nil {
		delete(l.running.parts, sweep)
	}
}

// begin begins a pass if a sweep waits for one and none runs. A deletion does not wait for the end of a pass that
// others need: it takes its place.
func (l *Lister) begin() {
	l.mu.Lock()
	waits, urgent, unserved := false, false, false
	for _, each := range l.sweeps {
		isUrgent := !each.from.IsZero() && each.urgent
		waits, urgent = waits || !each.from.IsZero(), urgent || isUrgent
		unserved = unserved || isUrgent && l.running != nil && !l.running.serves(each.from)
	}
	isReplaced := unserved && !l.running.urgent && !l.running.isReplacement
	if isReplaced {
		l.account.Forget(l.running.id)
		l.running = nil
	}
	switch {
	case !waits, l.running != nil && (!urgent || l.running.urgent):
		l.mu.Unlock()
		return
	case l.running == nil:
		l.number++
		l.running = &pass{
			id: types.UID(fmt.Sprintf("listing-%d", l.number)), began: l.now(), parts: map[types.UID]*part{},
			isReplacement: isReplaced,
		}
		l.allowed.AllowN(l.running.began, 1)
	}
	l.running.urgent = urgent
	request := l.request(l.running)
	l.mu.Unlock()
	l.account.Submit(request)
}

// request returns the account's request for the next page of a pass. The lister is locked.
func (l *Lister) request(of *pass) account.Request {
	priority := account.Poll
	if of.urgent {
		priority = account.Expiry
	}
	return account.Request{
		Session: of.id, Operation: call.OperationList, Priority: priority, Endpoint: l.source.Endpoint,
		Page:    func(ctx context.Context) call.Result { return l.read(ctx, of) },
		OnCall:  l.source.OnCall,
		Requeue: func() { l.advance(of) },
	}
}

// read reads the next page of a pass. The first one fixes who takes part: sweeps that come together share a pass.
func (l *Lister) read(ctx context.Context, of *pass) call.Result {
	l.mu.Lock()
	if l.running != of {
		l.mu.Unlock()
		return call.Result{Outcome: v1alpha1.OutcomeUnexpectedResponse}
	}
	if of.pages == nil {
		of.began = l.now()
		lookback := time.Duration(0)
		for id, each := range l.sweeps {
			of.parts[id] = newPart(each.scope, of.began)
			lookback = max(lookback, each.scope.Lookback)
		}
		of.pages = l.source.Open(of.began.Add(-lookback), of.began)
	}
	pages := of.pages
	l.mu.Unlock()
	page := pages.Next(ctx)
	l.mu.Lock()
	defer l.mu.Unlock()
	of.page = &page
	return page.Result
}

// advance goes on with a pass: it hands out the parts that are complete, and requests the next page.
func (l *Lister) advance(of *pass) {
	l.mu.Lock()
	if l.running != of {
		l.account.Forget(of.id)
		l.mu.Unlock()
		return
	}
	var done []func()
	if outcome, ok := l.account.Outcome(of.id); ok {
		l.account.Acknowledge(of.id)
		done = l.handle(of, outcome)
	}
	if len(of.parts) == 0 && of.pages != nil {
		l.running = nil
	}
	var request account.Request
	isRunning := l.running != nil
	if isRunning {
		request = l.request(of)
	}
	l.mu.Unlock()
	for _, each := range done {
		each()
	}
	if isRunning {
		l.account.Submit(request)
	} else {
		l.begin()
	}
}

// handle reads the page of an outcome, or its failure. It returns the callbacks of the sweeps whose parts have ended.
// The lister is locked.
func (l *Lister) handle(of *pass, outcome call.Outcome) []func() {
	if !outcome.Made || of.page == nil {
		return l.cutShort(of, outcome.Result)
	}
	page := *of.page
	if page.Outcome != v1alpha1.OutcomeAccepted {
		of.failed++
		meaning := call.MeaningOf(page.Outcome)
		if meaning.Pauses && of.failed < pageAttempts {
			// The account waits for as long as the provider asks for before it makes the call once more.
			return nil
		}
		return l.cutShort(of, page.Result)
	}
	of.failed = 0
	var done []func()
	for id, each := range of.parts {
		if each.read(page, l.source.NewestFirst) {
			done = append(done, l.handOut(of, id, nil)...)
		}
	}
	of.urgent = false
	for id := range of.parts {
		of.urgent = of.urgent || l.sweeps[id] != nil && l.sweeps[id].urgent
	}
	return done
}

// cutShort ends a pass that cannot go on. The lister is locked.
func (l *Lister) cutShort(of *pass, failure call.Result) []func() {
	if of.pages == nil {
		// No call was made. Those who take part are those who wait.
		for id, each := range l.sweeps {
			of.parts[id] = newPart(each.scope, of.began)
		}
	}
	var done []func()
	for id := range of.parts {
		done = append(done, l.handOut(of, id, &failure)...)
	}
	l.running = nil
	return done
}

// handOut ends a sweep's part of a pass. The lister is locked.
func (l *Lister) handOut(of *pass, sweep types.UID, failure *call.Result) []func() {
	listing := of.parts[sweep].end(l.now(), failure)
	delete(of.parts, sweep)
	to := l.sweeps[sweep]
	if to == nil {
		return nil
	}
	to.listing = listing
	if !of.began.Before(to.from) {
		to.from, to.urgent = time.Time{}, false
	}
	if to.done == nil {
		return nil
	}
	return []func(){to.done}
}
