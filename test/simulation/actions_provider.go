// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"slices"
	"strings"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
)

// providerActions are what payers and the provider do.
var providerActions = map[string]action{
	"pay":          {4, payer("%s is paid", simulator.Paid, simulator.Open, simulator.Pending)},
	"begin to pay": {3, payer("a payment of %s begins", simulator.Pending, simulator.Open)},
	"fail to pay":  {2, payer("the payment of %s fails, and it is open again", simulator.Open, simulator.Pending)},
	"fail": {1, func(w *world, s step) {
		// The others have no word for it: a failed payment leaves their sessions open.
		if w.provider == "circle" || w.provider == "omise" {
			payer("%s fails for good", simulator.Failed, simulator.Open, simulator.Pending)(w, s)
		}
	}},
	"void":    {1, (*world).voidAuthorization},
	"forget":  {1, onAccount((*world).forget)},
	"run out": {2, payer("%s runs out at the provider", simulator.Expired, simulator.Open)},
	"reopen":  {2, onSession((*world).reopen)},
	"outage": {2, func(w *world, _ step) {
		w.sayf("the provider is down")
		w.setOutage(true)
	}},
	"outage ends": {3, func(w *world, _ step) {
		w.sayf("the provider is back")
		w.setOutage(false)
	}},
	"rotate key":      {2, (*world).rotateKey},
	"restore key":     {3, (*world).restoreKey},
	"reject together": {1, onAccount((*world).rejectTogether)},
	"twist":           {12, onSession((*world).twist)},
	"ignore":          {2, onAccount((*world).ignore)},
	"haunt": {1, onSession(func(w *world, of *v1alpha1.PaymentSession, s step) {
		if at, _ := w.paymentOf(of); w.stateAt(at) != "" {
			w.rejectForEver(at, accountOf(of))
		}
		if s.roll("key", 2) == 0 {
			w.rotateKey(s)
		}
	})},

	"drop":             {2, fault("the connection is dropped", simulator.Fault{Drop: true})},
	"drop after all":   {3, fault("the connection is dropped after the effect", simulator.Fault{Drop: true, Effect: true})},
	"500 after all":    {2, fault("500 after the effect", simulator.Fault{Effect: true, Reply: simulator.Reply{Code: 500}})},
	"hang":             {1, fault("no reply", simulator.Fault{Hang: true})},
	"huge":             {1, fault("a reply of 2 MiB", simulator.Fault{Huge: true})},
	"page":             {1, fault("a page", simulator.Fault{Reply: simulator.Reply{Code: 404, Body: "<html>not found</html>"}})},
	"throttle":         {2, fault("429", throttled(429, "30"))},
	"throttle by 503":  {1, fault("503", throttled(503, "45"))},
	"throttle by hour": {1, fault("429 for an hour", throttled(429, "3600"))},
	"refuse": {2, fault("refused", simulator.Fault{
		Operation: simulator.Expire, Reply: simulator.Reply{Code: 400, Body: map[string]any{"message": "no"}},
	})},
	"reject": {3, fault("401", rejected)},
	"forbid": {1, fault("403", simulator.Fault{Reply: simulator.Reply{Code: 403, Body: map[string]any{"message": "no"}}})},
}

// rotateKey lets the provider reject the credentials that all Secrets have.
func (w *world) rotateKey(step) {
	w.sayf("the provider rejects the credentials")
	rotated := map[string]string{}
	for name := range simulator.Keys()[w.provider] {
		rotated[name] = "rotated-away"
	}
	w.disturbAccounts()
	w.setKeys(rotated)
}

// restoreKey lets the provider accept the credentials again.
func (w *world) restoreKey(s step) {
	w.sayf("the provider accepts the credentials again")
	w.disturbAccounts()
	w.setKeys(simulator.Keys()[w.provider])
	if s.roll("waits", 3) == 0 {
		// Somebody waits for the next probe, and for what follows.
		w.pass(13 * time.Minute)
	}
}

// rejectForEver lets the provider reject every call about one payment of a history.
func (w *world) rejectForEver(at payment, key objectKey) {
	if w.haunted != "" {
		return
	}
	w.sayf("every call about %s: 401, for ever", at.id)
	w.haunted = at.id
	for _, site := range w.sites {
		// Its account may move to the other one.
		w.trouble(payment{site.number, at.id}, key, "401")
	}
	w.haunt(at)
}

// haunt lets the provider reject every call about a payment.
func (w *world) haunt(at payment) {
	for _, site := range w.sites {
		site.upstreams.Script(w.provider, at.id, simulator.Fault{
			Times: simulator.Forever, Reply: simulator.Reply{Code: 401, Body: map[string]any{"message": "no"}},
		})
	}
}

func throttled(code int, retryAfter string) simulator.Fault {
	return simulator.Fault{Reply: simulator.Reply{Code: code, Header: map[string]string{"Retry-After": retryAfter}}}
}

// payer makes an action of a change at the provider, from some states.
func payer(sentence string, to simulator.State, from ...simulator.State) func(*world, step) {
	return onSession(func(w *world, of *v1alpha1.PaymentSession, _ step) {
		at, _ := w.paymentOf(of)
		if slices.Contains(from, w.stateAt(at)) {
			w.sayf(sentence, at.id)
			w.setState(w.sites[at.site], at.id, to)
		}
	})
}

// reopen opens an expired payment again.
func (w *world) reopen(of *v1alpha1.PaymentSession, _ step) {
	at, _ := w.paymentOf(of)
	if w.stateAt(at) != simulator.Expired {
		return
	}
	w.sayf("the provider opens %s again", at.id)
	w.ledgers.payment(at, func(l *ledger) { l.reopened, l.troubled = time.Now(), true })
	w.forgetProofs(at.is)
	w.setState(w.sites[at.site], at.id, simulator.Open)
}

func (w *world) setOutage(outage bool) {
	w.disturbAccounts()
	w.mu.Lock()
	w.isDown = outage
	w.mu.Unlock()
	for _, site := range w.sites {
		site.upstreams.SetOutage(w.provider, outage)
	}
}

// fault makes an action of faults of the next calls about a session.
func fault(sentence string, faults ...simulator.Fault) func(*world, step) {
	return onSession(func(w *world, of *v1alpha1.PaymentSession, s step) {
		at, _ := w.paymentOf(of)
		if w.stateAt(at) == "" {
			// A provider answers about a session that it does not know as it always does: another reply would prove that it
			// knows it.
			return
		}
		w.faultNext(at, accountOf(of), sentence, choose(s, "times", 1, 1, 2, 3, 4), faults...)
		if faults[0].Effect && s.roll("late view", 2) == 0 {
			w.showLate(at, choose(s, "hidden reads", 1, 2, 4))
		}
	})
}

// showLate lets the next reads after an expiry show an open payment as it was before.
func (w *world) showLate(at payment, reads int) {
	if w.stateAt(at) == simulator.Open {
		w.sayf("an expiry of %s becomes visible after %d reads", at.id, reads)
		variant := w.ledgers.payment(at, nil).variant
		w.addUpstream(w.sites[at.site], simulator.Object{
			ID: at.id, State: simulator.Open, Variant: variant, HiddenReads: reads,
		})
	}
}

// rejected is the fault of a call whose credentials are rejected.
var rejected = simulator.Fault{Reply: simulator.Reply{Code: 401, Body: map[string]any{"message": "no"}}}

// faultNext lets the next calls about a payment fail.
func (w *world) faultNext(at payment, key objectKey, sentence string, times int, faults ...simulator.Fault) {
	w.sayf("the next %d calls about %s: %s", times, at.id, sentence)
	w.trouble(at, key, sentence)
	for _, each := range faults {
		each.Times = times
		w.sites[at.site].upstreams.Script(w.provider, at.id, each)
	}
}

// trouble records that calls about a payment do not have to succeed, and that those of its whole account may not.
func (w *world) trouble(at payment, key objectKey, sentence string) {
	w.ledgers.payment(at, func(l *ledger) { l.troubled = true })
	if sentence == "401" {
		w.mu.Lock()
		w.rejected[at.id] = true
		w.mu.Unlock()
	}
	if strings.HasPrefix(sentence, "429") || strings.HasPrefix(sentence, "503") {
		w.ledgers.account(key, func(known *accountFacts) { known.troubled = time.Now().Add(10 * time.Minute) })
		// The next calls about its other sessions wait too, and their statuses say so.
		for _, of := range w.all() {
			if accountOf(of) == key {
				w.ledgers.object(of.UID, func(known *facts) { known.disturbed = true })
			}
		}
	}
}

// ignore lets the provider accept the expire calls about a session and change nothing.
func (w *world) ignore(key objectKey, _ v1alpha1.GenericProvider, s step) {
	if w.provider == "helio" {
		return
	}
	at := payment{w.ledgers.account(key, nil).site, w.newID()}
	w.addUpstream(w.sites[at.site], simulator.Object{ID: at.id, State: simulator.Open})
	w.sayf("the next calls about %s: %s", at.id, acceptedAlone.sentence)
	w.trouble(at, key, acceptedAlone.sentence)
	w.sites[at.site].draw(at.id, acceptedAlone, 9)
	w.create(w.newSession("ignored", choose(s, "namespace", namespaces...), key, at.id))
	sleep(w.ctx, choose(s, "waits", time.Minute, 18*time.Minute))
}

// voidAuthorization creates a session of a card that was authorized, and voids that, which Omise calls reversed.
func (w *world) voidAuthorization(s step) {
	if w.provider != "omise" {
		return
	}
	key, id := w.account(s), w.newID()
	site := w.siteOf(key)
	w.addUpstream(site, simulator.Object{ID: id, State: simulator.Open, Variant: simulator.Authorized})
	w.create(w.newSession("authorized", choose(s, "namespace", namespaces...), key, id, drawOptions(s)...))
	sleep(w.ctx, choose(s, "gap", 0, 50*time.Millisecond, time.Second))
	w.sayf("the authorization of %s is voided", id)
	w.setState(site, id, simulator.Refunded)
}

// forget lets the provider refuse to expire a session, and then not know it for a while, and deletes its object.
func (w *world) forget(key objectKey, _ v1alpha1.GenericProvider, s step) {
	at := payment{w.ledgers.account(key, nil).site, w.newID()}
	w.addUpstream(w.sites[at.site], simulator.Object{ID: at.id, State: simulator.Open})
	w.sayf("the first call to expire %s: %s, and then: %s", at.id, refusal.sentence, unknown.sentence)
	w.trouble(at, key, refusal.sentence)
	w.sites[at.site].draw(at.id, refusal, 1)
	w.sites[at.site].draw(at.id, unknown, 5)
	of := w.newSession("forgotten", choose(s, "namespace", namespaces...), key, at.id)
	w.create(of)
	sleep(w.ctx, choose(s, "gap", time.Second, 12*time.Second))
	w.sayf("a user deletes %s", nameOf(of))
	w.remove(of)
}

// twist draws a twist for the next calls about a session.
func (w *world) twist(of *v1alpha1.PaymentSession, s step) {
	at, _ := w.paymentOf(of)
	if w.stateAt(at) != "" {
		w.drawTwist(at, accountOf(of), s)
	}
}

// drawTwist draws one of the twists that the provider can have.
func (w *world) drawTwist(at payment, key objectKey, s step) {
	var possible []twist
	for _, each := range twists {
		if each.providers == "" || slices.Contains(strings.Fields(each.providers), w.provider) {
			possible = append(possible, each)
		}
	}
	chosen, count := choose(s, "twist", possible...), choose(s, "times", 1, 1, 2, 3, 5)
	w.sayf("the next %d calls about %s: %s", count, at.id, chosen.sentence)
	w.trouble(at, key, chosen.sentence)
	w.sites[at.site].draw(at.id, chosen, count)
}
