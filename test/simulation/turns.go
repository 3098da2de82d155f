// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"slices"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// flood is one tenant's many sessions beside one session of another tenant, in an account that may make few calls.
type flood struct {
	// busy is the namespace of the many. id is the other tenant's payment, and others counts the calls about the many
	// since that one was created.
	busy, id string
	others   int
	many     map[string]bool
}

// mostTurns is how many calls about one tenant's sessions may come before the first about another's. The tenants take
// turns, but a call may already be on its way, and a session may need a read after its expire call.
const mostTurns = 5

// startFlood creates many sessions in one namespace and one in another, at the shared provider with a low limit.
func (w *world) startFlood(s step) {
	shared := w.accountKeys()[3]
	provider := w.providerAt(shared)
	if provider == nil || w.flooded || isDeleting(provider) || !allows(provider) {
		return
	}
	w.flooded = true
	w.sayf("a user lowers the limit of the shared provider to a call in 10 s")
	w.change(provider, slow)
	if !sleep(w.ctx, 3*time.Second) {
		return
	}
	busy := s.roll("namespace", 2)
	many, count := map[string]bool{}, 8+s.roll("many", 8)
	w.sayf("%d sessions are created in %s at once, and a moment later one in %s", count, namespaces[busy], namespaces[1-busy])
	var options []gen.SessionOption
	if s.roll("scheduled", 2) == 0 {
		options = append(options, gen.Active, gen.ExpireAt(time.Now().Add(5*time.Second)))
	}
	for range count {
		many[w.floodWith(namespaces[busy], options...)] = true
	}
	if !sleep(w.ctx, 2*time.Second) {
		return
	}
	if s.roll("moves", 4) == 0 {
		w.sayf("every request to the API server fails for a while")
		w.setTrouble(trouble{requests: 100})
		w.move(shared, provider, true)
		sleep(w.ctx, time.Minute)
		w.setTrouble(trouble{})
		return
	}
	one := w.floodWith(namespaces[1-busy])
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.ids[w.ledgers.fold(one)] != "" {
		w.flood = &flood{busy: namespaces[busy], id: one, many: many}
	}
}

// quietStorm is how long the sessions of a storm are active. The calls of that time are too old then for the account
// to count them.
const quietStorm = 40 * time.Second

// storm creates many sessions in one account and lets the provider fail while they should be expired, so that the
// account stops making calls for a while.
func (w *world) storm(rejected bool, s step) {
	key := w.account(s)
	if provider := w.providerAt(key); provider == nil || w.flooded || isDeleting(provider) {
		return
	}
	w.flooded = true
	count := 11 + s.roll("many", 6)
	if rejected {
		// Each of them soon has its turn to probe.
		count = 2 + s.roll("few", 2)
	}
	w.sayf("%d sessions of %s %s are created, and the provider is down when they are to be expired", count, key.kind, key.Name)
	var created []*v1alpha1.PaymentSession
	for range count {
		created = append(created, w.stormWith(key, choose(s, "namespace", namespaces...)))
	}
	sleep(w.ctx, quietStorm)
	if rejected {
		w.stormOfRejections(created, s)
		return
	}
	w.setOutage(true)
	for i, of := range created {
		if i%3 > 0 {
			w.remove(of)
		}
	}
	sleep(w.ctx, 10*time.Second)
	suspends := s.roll("suspends", 2) == 0
	if suspends {
		w.suspendAll(key, true)
	}
	if s.roll("failing", 2) == 0 {
		w.setTrouble(trouble{requests: 40})
	}
	sleep(w.ctx, choose(s, "down", 5*time.Second, 40*time.Second, 3*time.Minute))
	w.setOutage(false)
	if suspends {
		w.suspendAll(key, false)
	}
}

// stormOfRejections lets the provider reject the credentials for a while, and the calls about one session for ever.
func (w *world) stormOfRejections(created []*v1alpha1.PaymentSession, s step) {
	at, _ := w.paymentOf(created[s.roll("haunted", len(created))])
	w.rejectForEver(at, accountOf(created[0]))
	w.rotateKey(s)
	sleep(w.ctx, choose(s, "rejected", 20*time.Second, 3*time.Minute))
	w.restoreKey(s)
}

// suspendAll suspends or resumes every session of an account, as people do during an outage.
func (w *world) suspendAll(key objectKey, suspend bool) {
	w.sayf("a user sets suspend: %v on all sessions of %s %s", suspend, key.kind, key.Name)
	for _, of := range w.all() {
		if accountOf(of) == key {
			w.change(of, fmt.Sprintf(`{"spec":{"suspend":%v}}`, suspend))
		}
	}
}

// stormWith creates one session of a storm.
func (w *world) stormWith(key objectKey, namespace string) *v1alpha1.PaymentSession {
	id := w.newID()
	w.addUpstream(w.siteOf(key), simulator.Object{ID: id, State: simulator.Open})
	of := w.newSession("storm", namespace, key, id, gen.ExpireAt(time.Now().Add(quietStorm)))
	w.createQuietly(of)
	return of
}

// floodWith creates one session of a flood, and returns its id.
func (w *world) floodWith(namespace string, options ...gen.SessionOption) string {
	id, key := w.newID(), w.accountKeys()[3]
	w.addUpstream(w.siteOf(key), simulator.Object{ID: id, State: simulator.Open})
	of := w.newSession("flood", namespace, key, id, options...)
	w.createQuietly(of)
	w.ledgers.object(of.UID, func(known *facts) { known.disturbed = true })
	return id
}

// Limits of an account.
const (
	slowest = `{"spec":{"rateLimit":{"requests":1,"per":"1m","burst":1}}}`
	slow    = `{"spec":{"rateLimit":{"requests":6,"per":"1m","burst":1}}}`
	fast    = `{"spec":{"rateLimit":{"requests":10,"per":"1s","burst":20}}}`
)

// checkTurn refuses that one tenant's calls keep another's waiting. The API server is locked.
func (w *world) checkTurn(made *exchange) {
	w.mu.Lock()
	running := w.flood
	switch {
	case running == nil:
	case running.many[made.id] && w.isNamedIn(running.busy, made.id):
		running.others++
	default:
		// It may be a turn of the other tenant's.
		running.others = 0
	}
	late := running != nil && running.others > mostTurns
	if running != nil && (made.id == running.id || late) {
		w.flood = nil
	}
	w.mu.Unlock()
	if !late || made.id == running.id {
		return
	}
	for _, of := range w.naming(running.id) {
		if isDeleting(of) || reasonOf(of) != v1alpha1.ReasonExpiring {
			continue
		}
		known := w.ledgers.account(accountOf(of), nil)
		if time.Since(known.troubled) > time.Minute-time.Second && w.calmFor() > time.Minute {
			w.findf("%d calls were made about one tenant's sessions, and none about %s of another", mostTurns+1, nameOf(of))
		}
	}
}

// isNamedIn reports whether a payment is named in a namespace and in no other: a session may have been renamed into
// another one. The API server is locked.
func (w *world) isNamedIn(namespace, id string) bool {
	return !slices.ContainsFunc(w.naming(id), func(of *v1alpha1.PaymentSession) bool { return of.Namespace != namespace })
}

// endFlood gives the shared provider its limit back.
func (w *world) endFlood() {
	w.mu.Lock()
	w.flood = nil
	w.mu.Unlock()
}
