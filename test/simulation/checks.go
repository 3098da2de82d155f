// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
)

const (
	// stale is how long after a change a call may still act on what was before: the cache may be behind, and calls take
	// time.
	stale = 20 * time.Second
	// confirmed is how long after a change a call may act on what was before where a live read comes before the call.
	confirmed = 2500 * time.Millisecond
	// othersFinalizer is somebody else's.
	othersFinalizer = "example.com/hold"
)

// checkChange checks each change of an object. The API server is locked meanwhile.
func (w *world) checkChange(changed change) {
	w.noteAccount(changed)
	w.checkOthersFinalizer(changed)
	after, _ := changed.after.(*v1alpha1.PaymentSession)
	before, _ := changed.before.(*v1alpha1.PaymentSession)
	if before == nil && after == nil {
		return
	}
	if before != nil {
		w.noteWanted(before)
	}
	if after != nil {
		w.noteSiblings(after)
		w.noteSession(after)
		w.checkStatus(before, after)
	}
	if was, _ := changed.was.(*v1alpha1.PaymentSession); was != nil && isDeleting(was) {
		w.checkRelease(was, after)
	}
}

// noteWanted records until when a session was wanted expired: the object has just changed.
func (w *world) noteWanted(of *v1alpha1.PaymentSession) {
	now, clock := time.Now(), w.clock()
	at, _ := w.paymentOf(of)
	isWanted := wants(of, now) || wants(of, clock)
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

// noteSiblings records that until now a session was wanted expired by the deletion of another object: this one may have
// taken it over just now. The API server is locked.
func (w *world) noteSiblings(of *v1alpha1.PaymentSession) {
	at, _ := w.paymentOf(of)
	for _, object := range w.server.objects {
		other, ok := object.(*v1alpha1.PaymentSession)
		if ok && w.sameSession(of, other) && wantsByDeletion(other) {
			w.ledgers.payment(at, func(l *ledger) { l.implied = time.Now() })
		}
	}
}

func (w *world) noteSession(of *v1alpha1.PaymentSession) {
	now := time.Now()
	isWanted := wants(of, now)
	w.ledgers.object(of.UID, func(known *facts) {
		known.protected = known.protected || hasFinalizer(of)
		known.seen = known.seen || of.Status.State != ""
		switch {
		case !isWanted:
			known.wantedSince = time.Time{}
		case known.wantedSince.IsZero():
			known.wantedSince = now
		}
	})
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
	moved := time.Since(account.movedAt) < stale && w.ledgers.had(payment{account.previous, at.id}, last.Status.State)
	switch {
	case last.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain, object.forced, w.isUninstalling():
		return
	case !object.protected:
		// It was deleted before the operator saw it, or when nothing protected it.
		return
	case isClosed(last.Status.State), !known.reopened.IsZero(), moved, !w.valid(last):
		return
	case unexpirable(known.variant) && reasonOf(last) == v1alpha1.ReasonExpireUnsupported, known.variant == simulator.Card:
		return
	case !wantsBySpec(last, time.Now()) && w.takenOver(last):
		return
	case isPayable(state) && (len(known.missing) == 0 || object.seen || known.recognized):
		w.findf("%s is gone, and %s is %s (status %q, %s)", nameOf(last), at.id, state, last.Status.State, reasonOf(last))
	case state == "" || isPayable(state):
		w.checkRemovalOfUnknown(last, known, account, object)
	}
}

// checkRemovalOfUnknown refuses to release a session too early, because the provider does not show it.
func (w *world) checkRemovalOfUnknown(last *v1alpha1.PaymentSession, known ledger, account accountFacts, object facts) {
	var lasted time.Duration
	if len(known.missing) > 0 {
		lasted = known.missing[len(known.missing)-1].Sub(known.missing[0])
	}
	switch {
	case object.seen, known.recognized:
		w.findf("%s is gone because the provider does not know it any more, after it did", nameOf(last))
	case len(known.missing) < 2 || lasted < 9*time.Second:
		w.findf("%s is gone after %d replies within %s that it does not exist", nameOf(last), len(known.missing), lasted)
	case account.foundWith != w.accessOf(accountOf(last)) && lasted < 2*time.Minute-time.Second:
		w.findf("%s is gone after %s, and the account has never found a session", nameOf(last), lasted)
	}
}

// unexpirable reports whether the API cannot expire a variant.
func unexpirable(variant string) bool {
	return slices.Contains([]string{simulator.Card, simulator.Authorized, simulator.OtherMerchant}, variant)
}

// takenOver reports whether another object of the namespace keeps the session active. The API server is locked.
func (w *world) takenOver(of *v1alpha1.PaymentSession) bool {
	for _, object := range w.server.objects {
		other, ok := object.(*v1alpha1.PaymentSession)
		if ok && w.sameSession(of, other) && (takesOver(other, time.Now()) || takesOver(other, w.clock())) {
			return true
		}
	}
	return w.wasTakenOver(of)
}

// wasTakenOver reports whether the last other object of the session is one that has changed a moment ago: the operator
// may have decided before.
func (w *world) wasTakenOver(of *v1alpha1.PaymentSession) bool {
	for _, object := range w.server.objects {
		other, ok := object.(*v1alpha1.PaymentSession)
		if ok && w.sameSession(of, other) && time.Since(w.ledgers.object(other.UID, nil).touched) < stale {
			return true
		}
	}
	return false
}

// isUninstalling reports whether the CRD of sessions is or was being deleted.
func (w *world) isUninstalling() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.uninstalled.IsZero()
}

// expiredByCall checks a payment that a call has just expired.
func (w *world) expiredByCall(made *exchange) {
	at := made.payment()
	w.ledgers.payment(at, func(l *ledger) { l.had[v1alpha1.SessionStateExpired] = true })
	if w.dryRun {
		w.findf("a dry run has expired %s", at.id)
		return
	}
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	now, clock := time.Now(), w.clock()
	served := false
	for _, object := range w.server.objects {
		of, ok := object.(*v1alpha1.PaymentSession)
		if !ok || w.ledgers.fold(of.Spec.SessionID) != w.ledgers.fold(at.id) {
			continue
		}
		known := w.ledgers.account(accountOf(of), nil)
		served = served || known.site == at.site || time.Since(known.movedAt) < stale
		spec := !of.Spec.Suspend && (wantsBySpec(of, now) || wantsBySpec(of, clock))
		if spec || !of.Spec.Suspend && wantsByDeletion(of) && !w.keptActive(of) && !w.isUninstallingNow() {
			return
		}
	}
	known := w.ledgers.payment(at, nil)
	switch {
	case time.Since(known.wanted) <= stale, time.Since(known.implied) <= confirmed:
	default:
		w.findf("%s was expired, and no object has wanted that for %s (served: %v)", at.id,
			min(time.Since(known.wanted), time.Since(known.implied)), served)
	}
}

// isUninstallingNow reports whether the CRD was deleted longer ago than a live read may be old.
func (w *world) isUninstallingNow() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return !w.uninstalled.IsZero() && time.Since(w.uninstalled) > confirmed
}

// keptActive reports whether another object has kept a deleted object's session active for a while. The API server is
// locked.
func (w *world) keptActive(of *v1alpha1.PaymentSession) bool {
	namespace, _ := w.server.objects[objectKey{"Namespace", types.NamespacedName{Name: of.Namespace}}].(*corev1.Namespace)
	if namespace == nil || isDeleting(namespace) {
		return false
	}
	for _, object := range w.server.objects {
		other, ok := object.(*v1alpha1.PaymentSession)
		if ok && w.sameSession(of, other) && takesOver(other, time.Now()) && takesOver(other, w.clock()) {
			return true
		}
	}
	return false
}

// checkStart checks a call when a process begins it.
func (w *world) checkStart(process *process, made *exchange) {
	at := made.payment()
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	made.objects = w.objectsNaming(at.id)
	if !process.proved(at) {
		return
	}
	for _, object := range w.server.objects {
		of, ok := object.(*v1alpha1.PaymentSession)
		if !ok || w.ledgers.fold(of.Spec.SessionID) != w.ledgers.fold(at.id) {
			continue
		}
		known := w.ledgers.object(of.UID, nil)
		asked := of.Annotations[v1alpha1.ReconcileAtAnnotation] != of.Status.LastHandledReconcileAt
		if asked || time.Since(known.askedAt) < stale {
			return
		}
	}
	if made.objects != "" && !strings.Contains(made.objects, " ") {
		w.findf("%s is called about %s, whose end a reply to this process has proven", made.operation, at.id)
	}
}

// objectsNaming returns the UIDs of the objects that name an id, as one text. The API server is locked.
func (w *world) objectsNaming(id string) string {
	var found []string
	for _, object := range w.server.objects {
		if of, ok := object.(*v1alpha1.PaymentSession); ok && w.ledgers.fold(of.Spec.SessionID) == w.ledgers.fold(id) {
			found = append(found, string(of.UID))
		}
	}
	slices.Sort(found)
	return strings.Join(found, " ")
}

// checkCall checks a call when it reaches the provider.
func (w *world) checkCall(made *exchange) {
	at := made.payment()
	w.ledgers.payment(at, func(l *ledger) {
		if made.operation == simulator.Expire {
			l.expireCalls++
		} else {
			l.reads++
		}
	})
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	w.checkTurn(made)
	suspended, gone, all := 0, 0, 0
	for _, object := range w.server.objects {
		of, ok := object.(*v1alpha1.PaymentSession)
		if !ok || w.ledgers.fold(of.Spec.SessionID) != w.ledgers.fold(at.id) {
			continue
		}
		all++
		known := w.ledgers.object(of.UID, nil)
		if of.Spec.Suspend && time.Since(known.touched) > stale {
			suspended++
		}
		isEdited := time.Since(known.edited) < stale
		if needsFinalizer(of) && !known.protected && !known.forced && !isEdited && !w.hasSibling(of) {
			w.findf("%s is called about %s, which has no finalizer yet", made.operation, nameOf(of))
		}
		if goneAt := w.ledgers.account(accountOf(of), nil).goneAt; !goneAt.IsZero() && time.Since(goneAt) > stale {
			gone++
		}
		w.checkProtected(of)
	}
	if all > 0 && gone == all {
		w.findf("%s is called about %s, whose provider object is gone", made.operation, at.id)
	}
	if all > 0 && suspended == all {
		w.findf("%s is called about %s, which is suspended", made.operation, at.id)
	}
}

// checkProtected refuses a call before the provider and its Secret have the finalizer. The API server is locked.
func (w *world) checkProtected(of *v1alpha1.PaymentSession) {
	key := accountOf(of)
	account := w.ledgers.account(key, nil)
	if w.hasSibling(of) || time.Since(account.troubled) < stale {
		return
	}
	secret := w.server.objects[objectKey{"Secret", w.secretOf(key)}]
	for _, object := range []client.Object{w.server.objects[key], secret} {
		if object != nil && !isDeleting(object) && !slices.Contains(object.GetFinalizers(), v1alpha1.InUseFinalizer) {
			w.findf("a call is made about %s, and %s is not protected", nameOf(of), nameOf(object))
		}
	}
}

// hasSibling reports whether another object names the same id, at whatever account. The API server is locked.
func (w *world) hasSibling(of *v1alpha1.PaymentSession) bool {
	for _, object := range w.server.objects {
		other, ok := object.(*v1alpha1.PaymentSession)
		if ok && other.UID != of.UID && w.ledgers.fold(other.Spec.SessionID) == w.ledgers.fold(of.Spec.SessionID) {
			return true
		}
	}
	return false
}

// checkOwnDeletion checks the deletion of a session's object by the operator itself, which only ttlAfterClosed causes.
func (w *world) checkOwnDeletion(object client.Object, required *metav1.Preconditions) {
	live := &v1alpha1.PaymentSession{}
	if w.server.get(client.ObjectKeyFromObject(object), live) != nil {
		return
	}
	if required != nil && required.ResourceVersion != nil && *required.ResourceVersion != live.ResourceVersion {
		// The API server refuses it.
		return
	}
	ttl := live.Spec.TTLAfterClosed
	switch {
	case ttl == nil || live.Status.ClosedAt == nil:
		w.findf("the operator deletes %s, which is not closed or has no ttlAfterClosed", nameOf(live))
	case w.clock().Before(live.Status.ClosedAt.Add(ttl.Duration - time.Second)):
		w.findf("the operator deletes %s before its ttlAfterClosed is over", nameOf(live))
	case reasonOf(live) == v1alpha1.ReasonPaymentCompleted:
		w.findf("the operator deletes %s, the trace of an unwanted payment", nameOf(live))
	}
}
