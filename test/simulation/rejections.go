// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"maps"
	"net/http"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// rejectionTime is how long a rejection explains what a status says: until a probe of the account shows otherwise.
const rejectionTime = 25 * time.Minute

// noteRejection records what a reply says about the credentials of the account that made the call. Where several may
// have made it, a rejection counts for each.
func (w *world) noteRejection(process *process, made *exchange) {
	now := time.Now()
	for key := range made.accounts {
		w.ledgers.account(key, func(known *accountFacts) {
			maps.DeleteFunc(known.rejections, func(_ string, at time.Time) bool { return now.Sub(at) > rejectionTime })
			switch {
			case made.plain && made.reply.Code < 300 && len(made.accounts) == 1:
				known.acceptedAt = now
				if made.operation == simulator.Expire {
					known.provenAt, known.blocked = now, false
				}
			case made.reply.Code == http.StatusUnauthorized:
				// Calls go on for a while with the credentials of before a change.
				recent := now.Sub(known.acceptedAt) < 10*time.Minute &&
					known.acceptedAt.After(known.troubled.Add(2*time.Minute)) && known.acceptedAt.After(process.began)
				known.trusted = recent && (known.trusted || len(known.rejections) == 0)
				known.rejections[w.ledgers.fold(made.id)] = now
				known.blocked = known.blocked || len(known.rejections) > 1 || !known.trusted
			}
		})
	}
}

// rejectTogether lets the provider reject the credentials when the requests of several sessions are in the queue of an
// account, which makes one call at a time.
func (w *world) rejectTogether(key objectKey, provider v1alpha1.GenericProvider, s step) {
	w.sayf("a user lets provider %s %s make one call at a time", key.kind, key.NamespacedName)
	w.change(provider, `{"spec":{"maxConcurrentRequests":1}}`)
	sleep(w.ctx, time.Second)
	w.rotateKey(s)
	for range 4 + s.roll("many", 5) {
		w.create(w.openSession("queued", key, s, gen.Active))
	}
	// Each waits for its turn to probe, or for a person.
	w.pass(choose(s, "waits", 0, 9*time.Minute))
}

// mayBeRejected reports whether a session may say that the credentials are rejected: its own call was, or the account
// is known as rejected, or lately two sessions were, or one while no other call was accepted. The API server is locked.
func (w *world) mayBeRejected(of *v1alpha1.PaymentSession) bool {
	at, _ := w.paymentOf(of)
	var own, blocked bool
	w.ledgers.account(accountOf(of), func(known *accountFacts) {
		_, own = known.rejections[w.ledgers.fold(at.id)]
		blocked = known.blocked || len(known.rejections) > 1 || !known.trusted
	})
	return own || blocked || w.calmFor() < rejectionTime
}
