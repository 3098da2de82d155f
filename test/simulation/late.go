// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// checkLate refuses that a status stays silent although its session should be expired, and that a session which nothing
// troubles is not expired.
func (w *world) checkLate() {
	const grace = 40 * time.Second
	w.checkUnneeded()
	if w.calmFor() < 2*grace || w.dryRun || w.isUninstalling() {
		return
	}
	for _, of := range w.all() {
		known := w.ledgers.object(of.UID, nil)
		account := w.ledgers.account(accountOf(of), nil)
		isSettled := time.Since(account.observedAt) > grace && w.isUsable(accountOf(of))
		if reasonOf(of) == v1alpha1.ReasonAwaitingConfirmation && isSettled && !w.wasCalled(of) && !w.hasTrouble(of) {
			w.findf("%s still awaits the confirmation of an expiry, and no call to its endpoint was made", nameOf(of))
		}
		w.checkIneffective(of)
		w.checkSilence(of)
		w.checkRecovered(of)
		w.checkRefreshed(of)
		w.checkOrphan(of)
		if reasonOf(of) == "" && !isDeleting(of) && time.Since(of.CreationTimestamp.Time) > recovery && !w.holdsBack(of) {
			w.findf("%s has no status after %s", nameOf(of), time.Since(of.CreationTimestamp.Time))
		}
		isLate := time.Since(w.wantedSince(of)) > grace && time.Since(known.touched) > grace
		isLate = isLate && wants(of, time.Now().Add(-grace)) && wants(of, w.clock().Add(-grace))
		if !isLate || isClosed(of.Status.State) || isDeleting(of) && !hasFinalizer(of) {
			continue
		}
		ready := conditionOf(of, v1alpha1.ConditionReady)
		if ready == nil || ready.Status != metav1.ConditionFalse {
			w.findf("%s should be expired since %s and says %s", nameOf(of), time.Since(w.wantedSince(of)), reasonOf(of))
			continue
		}
		w.checkStuck(of)
		w.checkExpiring(of)
	}
}

// checkIneffective refuses that nobody is told that several accepted calls have changed nothing.
func (w *world) checkIneffective(of *v1alpha1.PaymentSession) {
	at, _ := w.paymentOf(of)
	stalls := conditionOf(of, v1alpha1.ConditionStalled)
	isTold := stalls != nil && stalls.Status == metav1.ConditionTrue
	if reasonOf(of) != v1alpha1.ReasonAwaitingConfirmation || isTold || !w.isAlone(stale) || w.hasTrouble(of) {
		return
	}
	proved := w.running()[0].proved(at)
	isSettled := time.Since(proved.recognizedAt) > time.Minute && w.isUsable(accountOf(of)) && !w.holdsBack(of)
	edited := w.ledgers.object(of.UID, nil).edited
	if proved.ineffective > 3 && isSettled && time.Since(edited) > time.Duration(proved.ineffective+1)*3*time.Minute {
		w.findf("%s awaits a confirmation after %d accepted calls, and nobody is told", nameOf(of), proved.ineffective)
	}
}

// checkSilence refuses a session without a status in an account whose credentials are rejected.
func (w *world) checkSilence(of *v1alpha1.PaymentSession) {
	const grace = 40 * time.Second
	provider := w.providerAt(accountOf(of))
	isYoung := time.Since(of.CreationTimestamp.Time) < grace
	if provider == nil || reasonOf(of) != "" || isDeleting(of) || isYoung || w.holdsBack(of) {
		return
	}
	ready := apimeta.FindStatusCondition(provider.ProviderStatus().Conditions, v1alpha1.ConditionReady)
	isRejected := ready != nil && ready.Reason == v1alpha1.ReasonCredentialsRejected
	if isRejected && time.Since(ready.LastTransitionTime.Time) > grace {
		w.findf("%s has no status, and the credentials of its account are rejected", nameOf(of))
	}
}

// checkRecovered refuses that a status still says that the credentials are rejected, a while after an accepted call of
// the account has shown that they are not. A session whose own call was rejected may be the only one.
func (w *world) checkRecovered(of *v1alpha1.PaymentSession) {
	const grace = time.Minute
	if reasonOf(of) != v1alpha1.ReasonCredentialsRejected || w.haunted != "" || isDeleting(of) && !hasFinalizer(of) {
		return
	}
	var isProven bool
	provenAt := w.ledgers.account(accountOf(of), func(known *accountFacts) {
		isProven = time.Since(known.provenAt) > grace && known.provenAt.After(known.troubled)
		for id, at := range known.rejections {
			isProven = isProven && at.Before(known.provenAt) && id != w.ledgers.fold(of.Spec.SessionID)
		}
	}).provenAt
	if isProven && w.isAlone(stale) && w.isUsable(accountOf(of)) && !w.holdsBack(of) {
		w.findf("%s says that the credentials are rejected, %s after a call of its account was accepted", nameOf(of),
			time.Since(provenAt))
	}
}

// checkRefreshed refuses that a refresh is ignored.
func (w *world) checkRefreshed(of *v1alpha1.PaymentSession) {
	asked := of.Annotations[v1alpha1.ReconcileAtAnnotation]
	known := w.ledgers.object(of.UID, nil)
	since := time.Since(known.askedAt)
	if known.edited.After(known.askedAt) {
		// A session that was suspended until now has not had the time yet.
		since = time.Since(known.edited)
	}
	isTroubled := w.hasTrouble(of) || w.holdsBack(of) || !w.isUsable(accountOf(of)) || of.Spec.Suspend || !w.valid(of)
	if asked != "" && asked != of.Status.LastHandledReconcileAt && since > recovery && !isTroubled && !isDeleting(of) {
		w.findf("the refresh of %s was not handled for %s (%s)", nameOf(of), since, reasonOf(of))
	}
}

// checkOrphan refuses that a status does not say that the provider object is gone.
func (w *world) checkOrphan(of *v1alpha1.PaymentSession) {
	const grace = time.Minute
	goneAt, known := w.ledgers.account(accountOf(of), nil).goneAt, w.ledgers.object(of.UID, nil)
	isRecent := time.Since(goneAt) < grace || time.Since(known.touched) < grace
	if goneAt.IsZero() || isRecent || w.providerAt(accountOf(of)) != nil {
		return
	}
	isSettled := isClosed(of.Status.State) || of.Spec.Suspend || !w.valid(of) || w.isRefusedForGood(of) || isDeleting(of)
	if !isSettled && reasonOf(of) != v1alpha1.ReasonProviderNotFound {
		w.findf("the provider object of %s is gone for %s, and it says %s", nameOf(of), time.Since(goneAt), reasonOf(of))
	}
}

// wantedSince returns when an object began to want its session expired. That expireAt passes is no change of the
// object.
func (w *world) wantedSince(of *v1alpha1.PaymentSession) time.Time {
	since := w.ledgers.object(of.UID, nil).wantedSince
	if at := of.Spec.ExpireAt; since.IsZero() && at != nil {
		return at.Time
	}
	return since
}

// recovery is how long it may take until sessions have recovered from what troubled them.
const recovery = 6 * time.Minute

// checkExpiring refuses that a status announces a call for a long time where nothing holds calls back.
func (w *world) checkExpiring(of *v1alpha1.PaymentSession) {
	since := w.ledgers.object(of.UID, nil).reasonSince
	if reasonOf(of) == v1alpha1.ReasonExpiring && time.Since(since) > recovery && !w.holdsBack(of) {
		w.findf("%s has said Expiring for %s, and nothing holds its call back", nameOf(of), time.Since(since))
	}
}

// holdsBack reports whether the account of a session may hold its calls back, or has done so until a while ago.
func (w *world) holdsBack(of *v1alpha1.PaymentSession) bool {
	key := accountOf(of)
	provider := w.providerAt(key)
	w.mu.Lock()
	down := w.isDown
	w.mu.Unlock()
	return down || w.calmFor() < recovery || time.Since(w.ledgers.account(key, nil).troubled) < recovery ||
		provider != nil && provider.ProviderSpec().RateLimit.Requests < 10
}

// checkStuck refuses that a session is not expired although nothing has troubled it, its account or the cluster.
func (w *world) checkStuck(of *v1alpha1.PaymentSession) {
	at, account := w.paymentOf(of)
	known := w.ledgers.payment(at, nil)
	usable, patience := w.isUsable(accountOf(of)), recovery
	if reasonOf(of) == v1alpha1.ReasonCredentialsRejected {
		// It takes a probe, or several, to learn that they are accepted again.
		patience = rejectionTime
		if w.haunted != "" {
			// Some of the probes are for nothing.
			patience *= 2
		}
		if time.Since(w.wantedSince(of)) < patience {
			return
		}
	}
	if known.troubled || !usable || time.Since(account.troubled) < patience || w.calmFor() < recovery || !w.valid(of) ||
		time.Since(account.movedAt) < recovery || w.hasTrouble(of) {
		return
	}
	if isPayable(w.stateAt(at)) {
		w.findf("%s is not expired after %s, although nothing troubles it: %s", nameOf(of),
			time.Since(w.wantedSince(of)), reasonOf(of))
	}
}
