// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
)

const (
	// stale is how long after a change a call may still act on what was before: the cache may be behind, and calls take
	// time.
	stale = 20 * time.Second
	// confirmed is how long after a change a call may act on what was before where a live read comes before the call.
	confirmed = 1500 * time.Millisecond
	// visible is how long after an expire call its effect may still become visible: a bit less than the operator waits.
	visible = 100 * time.Second
	// mostRepeats is how often a status returns to a former message before that is a finding: the words of a provider may
	// change.
	mostRepeats = 8
	// othersFinalizer is somebody else's.
	othersFinalizer = "example.com/hold"
)

// checkChange checks each change of an object. The API server is locked meanwhile.
func (w *world) checkChange(changed change) {
	w.noteSweep(changed)
	w.noteAccount(changed)
	w.checkBurst(changed)
	w.checkOthersFinalizer(changed)
	after, _ := changed.after.(*v1alpha1.PaymentSession)
	before, _ := changed.before.(*v1alpha1.PaymentSession)
	if before == nil && after == nil {
		return
	}
	if after != nil && isOwned(after) || before != nil && isOwned(before) {
		w.noteOwned(changed)
		return
	}
	if before != nil {
		w.noteUntilNow(before)
	}
	if after == nil {
		at, _ := w.paymentOf(before)
		w.ledgers.payment(at, func(l *ledger) { l.objectGone = time.Now() })
	} else {
		w.noteSiblings(before, after)
		w.noteDeletion(before, after)
		w.noteSession(after)
		w.checkStatus(before, after)
	}
	if was, _ := changed.was.(*v1alpha1.PaymentSession); was != nil && isDeleting(was) {
		w.checkRelease(was, after)
	}
}

// noteUntilNow records what an object has wanted until now: it, or the managers' clock, changes.
func (w *world) noteUntilNow(of *v1alpha1.PaymentSession) {
	w.noteWanted(of)
	if takesOver(of, time.Now()) || takesOver(of, w.clock()) {
		w.noteTakeOver(of)
	}
}

// noteWanted records until when a session was wanted expired.
func (w *world) noteWanted(of *v1alpha1.PaymentSession) {
	now, clock := time.Now(), w.clock()
	at, _ := w.paymentOf(of)
	isWanted := !of.Spec.Suspend && (wantsBySpec(of, now) || wantsBySpec(of, clock) || w.wantsByDeletion(of))
	explicit := isWanted && of.Spec.DesiredState == v1alpha1.DesiredStateExpired
	w.ledgers.payment(at, func(l *ledger) {
		if explicit {
			l.wanted = now
		}
		if isWanted {
			l.implied = now
		}
	})
}

// noteDeletion records when an object was deleted.
func (w *world) noteDeletion(before, after *v1alpha1.PaymentSession) {
	if isDeleting(after) && (before == nil || !isDeleting(before)) {
		w.ledgers.object(after.UID, func(known *facts) { known.deletedAt = time.Now() })
	}
}

// wantsByDeletion reports whether an object's own deletion is to expire its session: not if its CRD was deleted before
// it and its namespace, or if another object keeps the session active. The API server is locked.
func (w *world) wantsByDeletion(of *v1alpha1.PaymentSession) bool {
	w.mu.Lock()
	uninstalled := w.uninstalled
	w.mu.Unlock()
	isUninstall := !uninstalled.IsZero() && !w.ledgers.object(of.UID, nil).deletedAt.Before(uninstalled)
	namespace := w.server.objects[objectKey{"Namespace", types.NamespacedName{Name: of.Namespace}}]
	if namespace != nil && isDeleting(namespace) && !namespace.GetDeletionTimestamp().After(uninstalled) {
		isUninstall = false
	}
	return wantsByDeletion(of) && !isUninstall && !w.keptActive(of)
}

// noteSiblings records that until now a session was wanted expired by the deletion of another object, if this one has
// just taken it over. The API server is locked.
func (w *world) noteSiblings(before, of *v1alpha1.PaymentSession) {
	if !takesOver(of, time.Now()) || before != nil && takesOver(before, time.Now()) {
		return
	}
	at, _ := w.paymentOf(of)
	for _, other := range w.naming(of.Spec.SessionID) {
		if w.rivals(of, other) && wantsByDeletion(other) {
			w.ledgers.payment(at, func(l *ledger) { l.implied = time.Now() })
		}
	}
}

func (w *world) noteSession(of *v1alpha1.PaymentSession) {
	now := time.Now()
	isWanted := wants(of, now)
	w.ledgers.object(of.UID, func(known *facts) {
		known.protected = hasFinalizer(of) || known.protected && of.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain
		known.seen = known.seen || of.Status.State != ""
		// A session that finds its account rejected says so, whatever has rejected it.
		known.rejected = known.rejected || reasonOf(of) == v1alpha1.ReasonCredentialsRejected
		switch {
		case !isWanted:
			known.wantedSince = time.Time{}
		case known.wantedSince.IsZero():
			known.wantedSince = now
		}
	})
}

// checkBurst refuses that an object is written again and again: managers that answer each other's writes never end.
func (w *world) checkBurst(changed change) {
	const most, within = 60, 10 * time.Second
	if changed.before == nil {
		return
	}
	known := w.ledgers.object(changed.before.GetUID(), func(known *facts) {
		if time.Since(known.burstAt) > within {
			known.burst, known.burstAt = 0, time.Now()
		}
		known.burst++
	})
	if known.burst == most {
		w.findf("%s %s is written %d times within %s", changed.kind, nameOf(changed.before), most, time.Since(known.burstAt))
	}
}

// checkOthersFinalizer refuses that somebody else's finalizer is lost.
func (w *world) checkOthersFinalizer(changed change) {
	if changed.before == nil || !w.ledgers.object(changed.before.GetUID(), nil).held {
		return
	}
	if changed.after == nil || !slices.Contains(changed.after.GetFinalizers(), othersFinalizer) {
		w.findf("%s %s has lost the finalizer of somebody else", changed.kind, nameOf(changed.before))
	}
}

// checkRelease checks the end of a deletion: when the operator removes its finalizer, or when an object goes that has
// none.
func (w *world) checkRelease(was, after *v1alpha1.PaymentSession) {
	releases := hasFinalizer(was) && (after == nil || !hasFinalizer(after))
	if releases || after == nil && !w.ledgers.object(was.UID, nil).released {
		w.checkRemoval(was)
	}
	if releases {
		w.ledgers.object(was.UID, func(known *facts) { known.released = true })
	}
}

// checkRemoval refuses that an object with the policy Expire is gone while its session can be paid, or before it is
// known that it cannot be.
func (w *world) checkRemoval(last *v1alpha1.PaymentSession) {
	at, account := w.paymentOf(last)
	w.forgetProofs(at.is)
	state, known, object := w.stateAt(at), w.ledgers.payment(at, nil), w.ledgers.object(last.UID, nil)
	before := w.stateAt(payment{account.previous, at.id})
	replies, justMoved := known, time.Since(account.movedAt) < stale
	if of := w.ledgers.payment(payment{account.previous, at.id}, nil); justMoved && of.unknownAt.After(known.unknownAt) {
		// The replies came from the endpoint before.
		replies = of
	}
	switch {
	case last.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain, object.forced, w.isUninstalling():
		return
	case !object.protected:
		// It was deleted before the operator saw it, or when nothing protected it.
		return
	case isClosed(last.Status.State), !known.reopened.IsZero(), !w.valid(last):
		return
	case justMoved && before != "" && !isPayable(before):
		return
	case w.isRefusedForGood(last), known.variant == simulator.Card:
		return
	case (!wantsBySpec(last, time.Now()) || !wantsBySpec(last, w.clock())) && w.takenOver(last):
		return
	case isPayable(state) && (len(replies.missing) == 0 || object.seen || w.isRecognized(last, known)):
		w.findf("%s is gone, and %s is %s (status %q, %s)", nameOf(last), at.id, state, last.Status.State, reasonOf(last))
	case state == "" || isPayable(state):
		w.checkRemovalOfUnknown(last, replies, account, object)
	}
}

// checkRemovalOfUnknown refuses to release a session too early, because the provider does not show it.
func (w *world) checkRemovalOfUnknown(last *v1alpha1.PaymentSession, known ledger, account accountFacts, object facts) {
	var lasted time.Duration
	if len(known.missing) > 0 {
		lasted = known.missing[len(known.missing)-1].Sub(known.missing[0])
	}
	switch {
	case object.seen, w.isRecognized(last, known):
		w.findf("%s is gone because the provider does not know it any more, after it did", nameOf(last))
	case len(known.missing) < 2 || lasted < 9*time.Second:
		w.findf("%s is gone after %d replies within %s that it does not exist", nameOf(last), len(known.missing), lasted)
	case !w.isAlone(3 * time.Minute):
		// Each of two processes counts the replies to its own credentials.
	case !account.foundWith[w.accessOf(accountOf(last), known.missingFor)] && lasted < 2*time.Minute-time.Second:
		w.findf("%s is gone after %s, and the account has never found a session", nameOf(last), lasted)
	}
}

// isRecognized reports whether the operator knows for an object that an expire call was answered as for a session that
// exists. A process that has begun since knows only what the status says, and of several objects only one was told.
func (w *world) isRecognized(last *v1alpha1.PaymentSession, known ledger) bool {
	forgets := func(process *process) bool { return process.began.After(known.recognizedAt) }
	isItsOwn := known.recognizedFor == string(last.UID)
	return last.Status.Recognized || isItsOwn && !slices.ContainsFunc(w.running(), forgets)
}

// unexpirable reports whether the API cannot expire a variant.
func unexpirable(variant string) bool {
	return slices.Contains([]string{simulator.Card, simulator.Authorized, simulator.OtherMerchant}, variant)
}

// isRefusedForGood reports whether a status says rightly that the API cannot expire a session. No call follows that, at
// another endpoint neither.
func (w *world) isRefusedForGood(of *v1alpha1.PaymentSession) bool {
	at, account := w.paymentOf(of)
	before := payment{account.previous, at.id}
	return reasonOf(of) == v1alpha1.ReasonExpireUnsupported &&
		(unexpirable(w.ledgers.payment(at, nil).variant) || unexpirable(w.ledgers.payment(before, nil).variant))
}

// takenOver reports whether another object of the namespace keeps the session active. The API server is locked.
func (w *world) takenOver(of *v1alpha1.PaymentSession) bool {
	for _, other := range w.naming(of.Spec.SessionID) {
		if w.rivals(of, other) && (takesOver(other, time.Now()) || takesOver(other, w.clock())) {
			return true
		}
	}
	return w.wasTakenOver(of)
}

// wasTakenOver reports whether another object kept the session active until a moment ago: the operator may have decided
// before.
func (w *world) wasTakenOver(of *v1alpha1.PaymentSession) bool {
	for _, other := range w.naming(of.Spec.SessionID) {
		if w.rivals(of, other) && (takesOver(other, time.Now().Add(-stale)) ||
			time.Since(w.ledgers.object(other.UID, nil).tookOver) < stale) {
			return true
		}
	}
	// The other object may be gone by now.
	at, _ := w.paymentOf(of)
	by := w.ledgers.payment(at, nil).tookOver[of.Namespace]
	return by.uid != of.UID && time.Since(by.at) < stale
}

// takeOver is when an object of a namespace last kept a session active.
type takeOver struct {
	uid types.UID
	at  time.Time
}

// noteTakeOver records that until now an object kept its session active.
func (w *world) noteTakeOver(of *v1alpha1.PaymentSession) {
	w.ledgers.object(of.UID, func(known *facts) { known.tookOver = time.Now() })
	at, _ := w.paymentOf(of)
	w.ledgers.payment(at, func(l *ledger) {
		taken := maps.Clone(l.tookOver)
		if taken == nil {
			taken = map[string]takeOver{}
		}
		taken[of.Namespace] = takeOver{of.UID, time.Now()}
		l.tookOver = taken
	})
}

// isUninstalling reports whether the CRD of sessions is or was being deleted.
func (w *world) isUninstalling() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.uninstalled.IsZero()
}
