// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"maps"
	"net/http"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
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
					known.provenAt = now
				}
			case made.reply.Code == http.StatusUnauthorized:
				// Calls go on for a while with the credentials of before a change.
				recent := now.Sub(known.acceptedAt) < 10*time.Minute &&
					known.acceptedAt.After(known.troubled.Add(2*time.Minute)) && known.acceptedAt.After(process.began)
				known.trusted = recent && (known.trusted || len(known.rejections) == 0)
				known.rejections[w.ledgers.fold(made.id)] = now
			}
		})
	}
}

// mayBeRejected reports whether a session may say that the credentials are rejected: its own call was, or those of two
// sessions, or of one while no other call was accepted. The API server is locked.
func (w *world) mayBeRejected(of *v1alpha1.PaymentSession) bool {
	at, _ := w.paymentOf(of)
	var rejected int
	var own, trusted bool
	w.ledgers.account(accountOf(of), func(known *accountFacts) {
		_, own = known.rejections[w.ledgers.fold(at.id)]
		rejected, trusted = len(known.rejections), known.trusted
	})
	return own || rejected > 1 || !trusted || w.calmFor() < rejectionTime
}

// checkRecovered refuses that a status still says that the credentials are rejected, a while after an accepted call of
// the account has shown that they are not.
func (w *world) checkRecovered(of *v1alpha1.PaymentSession) {
	const grace = 3 * time.Minute
	if reasonOf(of) != v1alpha1.ReasonCredentialsRejected || w.haunted != "" || isDeleting(of) && !hasFinalizer(of) {
		return
	}
	known := w.ledgers.account(accountOf(of), nil)
	isProven := time.Since(known.provenAt) > grace && known.provenAt.After(known.troubled)
	for _, at := range known.rejections {
		isProven = isProven && at.Before(known.provenAt)
	}
	if isProven && w.isAlone() && w.isUsable(accountOf(of)) && !w.holdsBack(of) {
		w.findf("%s says that the credentials are rejected, %s after a call of its account was accepted", nameOf(of),
			time.Since(known.provenAt))
	}
}
