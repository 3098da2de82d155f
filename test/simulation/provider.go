// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/controllers"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// hosts are the endpoints of the simulated providers. Nothing listens there: a door calls their handlers.
var hosts = []string{"https://providers.example", "https://elsewhere.example"}

// site is one endpoint of the provider, with books of its own.
type site struct {
	number    int
	upstreams *simulator.Simulator
	handler   http.Handler
	// empty answers as the provider does about a session that it does not know.
	empty http.Handler

	mu sync.Mutex
	// twists change the next replies about a payment, by its id.
	twists map[string][]*twist
}

func newSite(number int) *site {
	upstreams := simulator.New()
	return &site{number: number, upstreams: upstreams, handler: upstreams.Handler(), twists: map[string][]*twist{}}
}

// exchange is one call, as a site sees it.
type exchange struct {
	site      *site
	provider  string
	id        string
	operation string
	request   *http.Request
	reply     *httptest.ResponseRecorder
	// dropped is true where the connection was closed instead of a reply.
	dropped bool
	// accounts are the accounts of the objects that named it when the call began: one of them makes the call.
	accounts map[objectKey]bool
	// objects are the UIDs of the objects that named it when the call began.
	objects string
	// unknown is true where the provider does not know the session.
	unknown bool
	// plain is true where the reply is what the provider says as it normally does, and shown is the state in it.
	plain bool
	shown v1alpha1.SessionState
	// wasPayable is true where the session could be paid before the call.
	wasPayable bool
}

// newDoor returns a door to the simulated providers.
func (p *process) newDoor(options httpx.Options) controllers.Door {
	return &door{process: p, timeout: options.Timeout}
}

// door makes a process's calls to the simulated providers, on the bubble's clock.
type door struct {
	process *process
	timeout time.Duration

	mu sync.Mutex
	// paused is from when on the provider has asked for no calls, and until the end of that pause.
	paused, until time.Time
}

// pause keeps the pause that a reply asks for.
func (d *door) pause(reply *httptest.ResponseRecorder) {
	seconds, err := strconv.Atoi(reply.Header().Get("Retry-After"))
	if err != nil || reply.Code != http.StatusTooManyRequests && reply.Code != http.StatusServiceUnavailable {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	if until := now.Add(min(time.Duration(seconds)*time.Second, upstream.MaxRetryAfter)); until.After(d.until) {
		d.paused, d.until = now, until
	}
}

// checkPause refuses a call of an account during a pause that the provider has asked for. A call may have been on its
// way to the door when the pause began.
func (d *door) checkPause(made *exchange) {
	d.mu.Lock()
	paused, until := d.paused, d.until
	d.mu.Unlock()
	if world := d.process.world; time.Now().Before(until) && time.Since(paused) > time.Second && world.calmFor() > stale {
		world.findf("%s is called about %s, and the provider has asked for a pause until %s later", made.operation, made.id,
			time.Until(until))
	}
}

// Close does nothing.
func (d *door) Close() {}

var errTimeout = errors.New("timeout")

// Do makes one call. It takes a time of its own, and ends with an error if the process dies meanwhile.
func (d *door) Do(ctx context.Context, request *http.Request) (*httpx.Reply, error) {
	world := d.process.world
	ctx, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	made := world.exchangeOf(request.WithContext(ctx))
	isStray := world.isStray(made)
	if !isStray {
		d.checkPause(made)
		world.checkStart(d.process, made)
	}
	if !sleep(ctx, world.chaos.between(time.Millisecond, 200*time.Millisecond)) {
		return nil, errTimeout
	}
	if d.process.dead.Load() {
		return nil, errDead
	}
	if isStray {
		reply, err := d.serveStray(made)
		if d.process.burn() {
			return nil, errDead
		}
		return reply, err
	}
	world.serve(made)
	if d.process.burn() {
		return nil, errDead
	}
	if ctx.Err() != nil || !sleep(ctx, world.chaos.between(time.Millisecond, 100*time.Millisecond)) {
		world.handleSilence(d.process, made)
		return nil, errTimeout
	}
	switch {
	case d.process.dead.Load():
		return nil, errDead
	case made.dropped:
		world.handleSilence(d.process, made)
		return nil, errors.New("EOF")
	case made.reply.Body.Len() > httpx.MaxBodyBytes:
		world.handleSilence(d.process, made)
		return nil, httpx.ErrBodyTooLarge
	}
	d.pause(made.reply)
	world.handleReply(d.process, made)
	world.noteRejection(d.process, made)
	world.detailf("%s %s at %s: %d", made.operation, made.id, request.URL.Host, made.reply.Code)
	return &httpx.Reply{Code: made.reply.Code, Header: made.reply.Header(), Body: made.reply.Body.Bytes()}, nil
}

// exchangeOf returns what a request is about.
func (w *world) exchangeOf(request *http.Request) *exchange {
	made := &exchange{
		site: w.sites[0], request: request, operation: simulator.Observe, accounts: map[objectKey]bool{},
	}
	for i, host := range hosts {
		if strings.HasSuffix(host, "//"+request.URL.Host) {
			made.site = w.sites[i]
		}
	}
	if request.Method == http.MethodPost {
		made.operation = simulator.Expire
	}
	segments := strings.Split(request.URL.Path, "/")
	made.provider = segments[1]
	for i, segment := range segments {
		if id, ok := w.idOf(segment); ok {
			made.id, segments[i] = id, id
		}
	}
	// A provider may accept ids in either case; its simulator knows one form.
	made.request = request.Clone(request.Context())
	made.request.URL.Path = strings.Join(segments, "/")
	return made
}

// serve lets the site answer, with what was drawn for the payment.
func (w *world) serve(made *exchange) {
	w.checkCall(made)
	before := made.site.upstreams.State(made.provider, made.id)
	made.wasPayable = isPayable(before)
	if twist := made.site.nextTwist(made); twist != nil {
		twist.apply(w, made)
	} else {
		made.plain, made.unknown = true, before == ""
		made.answer(made.site.handler, made.request)
	}
	made.shown = w.shownAs(made.payment(), w.stateAt(made.payment()))
	w.dress(made)
	if made.request.Context().Err() != nil {
		// It hung meanwhile, and others may have expired the payment.
		return
	}
	if isPayable(before) && made.site.upstreams.State(made.provider, made.id) == simulator.Expired {
		shown := w.shownAs(made.payment(), before)
		w.ledgers.payment(made.payment(), func(l *ledger) {
			l.had[v1alpha1.SessionStateExpired], l.left[shown] = true, time.Now()
		})
	}
}

// answer lets a handler answer a request. A handler that closes the connection panics.
func (e *exchange) answer(handler http.Handler, request *http.Request) {
	e.reply = httptest.NewRecorder()
	defer func() {
		failure := recover()
		if failure != nil && failure != http.ErrAbortHandler { //nolint:errorlint // The panic value is this error itself.
			panic(failure)
		}
		e.dropped = failure != nil
	}()
	handler.ServeHTTP(e.reply, request)
}

// payment names what the call is about.
func (e *exchange) payment() payment { return payment{e.site.number, e.id} }

// handleSilence records that a call had no reply.
func (w *world) handleSilence(process *process, made *exchange) {
	w.noteLoss(process, made)
	w.detailf("%s %s at %s: no reply", made.operation, made.id, made.request.URL.Host)
	w.ledgers.payment(made.payment(), func(l *ledger) { l.lastEnd, l.missing = time.Now(), nil })
}

// handleReply records what a reply shows to the process.
func (w *world) handleReply(process *process, made *exchange) {
	now, code := time.Now(), made.reply.Code
	// Replies to other credentials are those of another account.
	access := made.request.URL.Host + made.request.Header.Get("Authorization") + made.request.URL.RawQuery
	unknown := made.unknown && code == http.StatusNotFound
	isShared := strings.Contains(made.objects, " ")
	if made.operation == simulator.Observe {
		isPaying := made.plain && code < 300 && made.shown == v1alpha1.SessionStateProcessing
		process.prove(made.payment(), func(proved *proof) { proved.isPaying = isPaying })
	}
	w.ledgers.payment(made.payment(), func(l *ledger) {
		l.lastEnd = now
		// The replies about a session that several objects name are in a row for each object alone. One to the previous
		// credentials may arrive when the operator has dropped that account: it is in no row of the present one.
		if isSame := l.missingFor == access; !unknown && !isShared && isSame || unknown && !isSame {
			l.missing = nil
		}
		if made.operation == simulator.Observe {
			l.shown = ""
			if made.plain && code < 300 {
				l.shown = made.shown
			}
		}
		if unknown {
			l.unknownAt = now
			l.missing, l.missingFor = append(l.missing, now), access
		}
		// Any other reply to an expire call shows that the provider knows the session.
		proves := code < 300 || code == 400 || code == 409 || code == 422
		if made.plain && proves && made.operation == simulator.Expire {
			l.recognizedAt, l.recognizedFor = now, made.objects
		}
	})
	switch {
	case code == http.StatusTooManyRequests, code >= http.StatusInternalServerError:
		// The account may pause.
		w.noteFailure(made)
		w.noteLoss(process, made)
	case code < 300:
		w.foundBy(made, access)
		w.prove(process, made)
	case code == http.StatusUnprocessableEntity:
		w.foundBy(made, access)
	}
}

// noteLoss records that a call has expired a session, and that its reply did not say so.
func (w *world) noteLoss(process *process, made *exchange) {
	if made.operation == simulator.Expire && made.wasPayable && made.shown == v1alpha1.SessionStateExpired {
		process.prove(made.payment(), func(proved *proof) { proved.lostAt = time.Now() })
	}
}

// noteFailure records that the accounts of a call may make no other for a while.
func (w *world) noteFailure(made *exchange) {
	now := time.Now()
	for key := range made.accounts {
		w.ledgers.account(key, func(known *accountFacts) {
			if known.troubled.Before(now) {
				known.troubled = now
			}
		})
	}
}

// prove records what an accepted call has proven.
func (w *world) prove(process *process, made *exchange) {
	for key := range made.accounts {
		if time.Since(w.ledgers.account(key, nil).troubled) < stale {
			// The operator may still see that the account has changed, and drops the replies that came before.
			return
		}
	}
	if !made.plain {
		return
	}
	if made.operation == simulator.Expire {
		process.prove(made.payment(), func(proved *proof) {
			proved.recognizedFor, proved.recognizedAt = made.objects, time.Now()
			if proved.ineffective++; made.shown != v1alpha1.SessionStateActive {
				proved.ineffective = 0
			}
		})
	}
	hidden := made.provider == "circle" && made.operation == simulator.Expire ||
		w.ledgers.payment(made.payment(), nil).troubled
	w.server.mu.Lock()
	same := w.objectsNaming(made.id) == made.objects
	w.server.mu.Unlock()
	// A call may have been made for an object that is gone since. Its outcome proves nothing to the others.
	same = same && !strings.Contains(made.objects, " ") && !w.isReplaced(made.payment())
	if isClosed(made.shown) && !hidden && same {
		process.prove(made.payment(), func(proved *proof) { proved.ended = true })
	}
}
