// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"cmp"
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

// checkWanted refuses an expire call that no object wants. The API server is locked.
func (w *world) checkWanted(made *exchange) {
	at := made.payment()
	if made.operation != simulator.Expire {
		return
	}
	if w.dryRun {
		w.findf("a dry run expires %s", at.id)
		return
	}
	now, clock := time.Now(), w.clock()
	served := false
	for _, of := range w.naming(at.id) {
		known := w.ledgers.account(accountOf(of), nil)
		served = served || known.site == at.site || time.Since(known.movedAt) < stale
		spec := !of.Spec.Suspend && (wantsBySpec(of, now) || wantsBySpec(of, clock))
		if spec || !of.Spec.Suspend && w.wantsByDeletion(of) && !w.isUninstallingNow() {
			return
		}
	}
	var wanted, implied time.Time
	for _, site := range w.sites {
		// The call may have begun before the account moved.
		known := w.ledgers.payment(payment{site.number, at.id}, nil)
		wanted, implied = later(wanted, known.wanted), later(implied, known.implied)
	}
	if time.Since(wanted) > stale && time.Since(implied) > confirmed {
		w.findf("%s is to be expired, and no object has wanted that for %s (served: %v)", at.id,
			min(time.Since(wanted), time.Since(implied)), served)
	}
}

// later returns the later of two times.
func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
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
	for _, other := range w.naming(of.Spec.SessionID) {
		if w.rivals(of, other) && takesOver(other, time.Now()) && takesOver(other, w.clock()) {
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
	one := made.objects != "" && !strings.Contains(made.objects, " ")
	proved := process.proved(at)
	w.checkEndpoint(made)
	for _, of := range w.naming(at.id) {
		w.checkProtected(of)
		made.accounts[accountOf(of)] = true
		if one && made.operation == simulator.Expire {
			w.checkPaying(proved, at, of)
			w.checkConfirmed(process, made, of)
			w.checkPatience(proved, made, of)
			// A write that had its effect and an error is not known before the cache shows it.
			since := time.Since(w.ledgers.object(of.UID, nil).reasonSince)
			isKnown := process.hasWritten(of) || w.isAlone(stale) && (w.calmFor() > stale || since > stale)
			if isClosed(of.Status.State) && isKnown && !w.isReplaced(at) {
				w.findf("%s is to be expired, and its status says that it is %s", nameOf(of), of.Status.State)
			}
		}
		known := w.ledgers.object(of.UID, nil)
		isWritten := of.Status.Recognized || of.Status.State != ""
		// The read may have been requested before the operator saw the deletion.
		afterDeletion := isDeleting(of) && (proved.recognizedAt.Sub(known.deletedAt) > stale || !wantsBySpec(of, w.clock()))
		if one && made.operation == simulator.Observe && afterDeletion && !isWritten && proved.recognizedFor == made.objects {
			w.findf("%s is called about %s, and its status does not say that the provider knows it", made.operation, nameOf(of))
		}
		asked := of.Annotations[v1alpha1.ReconcileAtAnnotation] != of.Status.LastHandledReconcileAt
		if asked || time.Since(known.askedAt) < stale {
			proved.ended = false
		}
	}
	w.checkCredentials(made)
	if proved.ended && one {
		w.findf("%s is called about %s, whose end a reply to this process has proven", made.operation, at.id)
	}
}

// checkCredentials refuses a call with credentials that the Secret has not had for a while. The API server is locked.
func (w *world) checkCredentials(made *exchange) {
	const known = 2 * time.Minute
	if w.calmFor() < known || len(made.accounts) == 0 {
		return
	}
	for key := range made.accounts {
		account := w.ledgers.account(key, nil)
		provider, _ := w.server.objects[key].(v1alpha1.GenericProvider)
		secret, _ := w.server.objects[objectKey{"Secret", w.secretOf(key)}].(*corev1.Secret)
		isRecent := time.Since(account.keyedAt) < known || time.Since(account.renamedAt) < known
		if provider == nil || secret == nil || nameOfSecret(provider) != secret.Name || isRecent || made.uses(secret) {
			return
		}
	}
	w.findf("%s is called about %s with credentials that its Secret has not had for %s", made.operation, made.id, known)
}

// isReplaced reports whether a call about a payment may still be about an object that is gone. Its account may have
// moved to another site since.
func (w *world) isReplaced(at payment) bool {
	return slices.ContainsFunc(w.sites, func(site *site) bool {
		return time.Since(w.ledgers.payment(payment{site.number, at.id}, nil).objectGone) < stale
	})
}

// checkEndpoint refuses a call to an endpoint that the provider objects of a session named before. The API server is
// locked.
func (w *world) checkEndpoint(made *exchange) {
	named := w.naming(made.id)
	isServed := slices.ContainsFunc(named, func(of *v1alpha1.PaymentSession) bool {
		known := w.ledgers.account(accountOf(of), nil)
		return known.site == made.site.number || time.Since(known.movedAt) < 2*stale
	})
	if len(named) > 0 && !isServed && !w.isReplaced(made.payment()) {
		w.findf("%s is called about %s at an endpoint that its provider names no more", made.operation, made.id)
	}
}

// checkPatience refuses another expire call about a session before an accepted one can have become visible.
func (w *world) checkPatience(proved proof, made *exchange, of *v1alpha1.PaymentSession) {
	// The outcome of a call that began before an edit may be one of another desired state.
	isEdited := w.ledgers.object(of.UID, nil).edited.After(proved.recognizedAt.Add(-time.Second))
	// For a clock that was set forward, the time is over sooner.
	isExcused := isEdited || w.hasStepped(proved.recognizedAt)
	if since := time.Since(proved.recognizedAt); proved.recognizedFor == made.objects && since < visible && !isExcused {
		w.findf("%s is to be expired again, %s after a call that was accepted", nameOf(of), since)
	}
}

// checkConfirmed refuses to expire a session because of a deletion or expireAt without a read from the API server right
// before, or at another endpoint than the read was for.
func (w *world) checkConfirmed(process *process, made *exchange, of *v1alpha1.PaymentSession) {
	const recent = 2 * time.Second
	read, account := process.readAt(client.ObjectKeyFromObject(of)), w.ledgers.account(accountOf(of), nil)
	switch {
	case of.Spec.DesiredState == v1alpha1.DesiredStateExpired, w.isReplaced(made.payment()):
	case time.Since(read) > recent:
		w.findf("%s is to be expired, and was last read from the API server %s ago", nameOf(of), time.Since(read))
	case made.site.number == account.site && !account.named(account.site, read.Add(-stale), read):
		w.findf("%s is to be expired at an endpoint that its provider named after the last read", nameOf(of))
	}
}

// checkPaying refuses an expire call about a session whose last read has shown that it is being paid. A process that
// has died before it wrote that leaves no trace of it.
func (w *world) checkPaying(proved proof, at payment, of *v1alpha1.PaymentSession) {
	known := w.ledgers.payment(at, nil)
	// Another process may not see yet what this one has written.
	isOld := w.isAlone(stale) || time.Since(w.ledgers.object(of.UID, nil).reasonSince) > stale
	isKnown := proved.isPaying || of.Status.State == v1alpha1.SessionStateProcessing && isOld
	if known.shown == v1alpha1.SessionStateProcessing && isKnown && known.variant == "" && !w.isReplaced(at) {
		w.findf("%s is called to be expired, and the last read has shown a payment in flight", at.id)
	}
}

// naming returns the objects that name an id, in the order of their UIDs. The API server is locked.
func (w *world) naming(id string) []*v1alpha1.PaymentSession {
	var found []*v1alpha1.PaymentSession
	for _, object := range w.server.objects {
		if of, ok := object.(*v1alpha1.PaymentSession); ok && w.ledgers.fold(of.Spec.SessionID) == w.ledgers.fold(id) {
			found = append(found, of)
		}
	}
	slices.SortFunc(found, func(a, b *v1alpha1.PaymentSession) int { return cmp.Compare(a.UID, b.UID) })
	return found
}

// objectsNaming returns the UIDs of the objects that name an id, as one text. The API server is locked.
func (w *world) objectsNaming(id string) string {
	var found []string
	for _, of := range w.naming(id) {
		found = append(found, string(of.UID))
	}
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
	w.checkWanted(made)
	suspended, gone, all := 0, 0, 0
	for _, of := range w.naming(at.id) {
		all++
		known := w.ledgers.object(of.UID, nil)
		if of.Spec.Suspend && time.Since(known.touched) > stale {
			suspended++
		}
		isEdited := time.Since(known.edited) < stale
		isReplaced := w.isReplaced(at)
		if needsFinalizer(of) && !known.protected && !known.forced && !isEdited && !isReplaced && !w.hasSibling(of) {
			w.findf("%s is called about %s, which has no finalizer yet", made.operation, nameOf(of))
		}
		if goneAt := w.ledgers.account(accountOf(of), nil).goneAt; !goneAt.IsZero() && time.Since(goneAt) > stale {
			gone++
		}
	}
	if all > 0 && gone == all {
		w.findf("%s is called about %s, whose provider object is gone", made.operation, at.id)
	}
	if all > 0 && suspended == all && !w.isReplaced(at) {
		w.findf("%s is called about %s, which is suspended", made.operation, at.id)
	}
}

// checkProtected refuses a call before the provider and its Secret have the finalizer. The API server is locked.
func (w *world) checkProtected(of *v1alpha1.PaymentSession) {
	key := accountOf(of)
	account := w.ledgers.account(key, nil)
	// An account whose objects were recreated, or that has named another Secret, goes on until the operator sees that.
	renamed := time.Since(account.renamedAt)
	isRenamed := renamed < stale || renamed < recovery && w.calmFor() < stale
	if w.hasSibling(of) || isRenamed || account.lost && time.Since(account.troubled) < stale {
		return
	}
	provider, secret := w.server.objects[key], w.server.objects[objectKey{"Secret", w.secretOf(key)}]
	if provider != nil && isDeleting(provider) {
		// It may be going, and a session that was created meanwhile comes too late to keep it.
		return
	}
	for _, object := range []client.Object{provider, secret} {
		if object != nil && !isDeleting(object) && !isProtected(object) {
			w.findf("a call is made about %s, and %s is not protected", nameOf(of), nameOf(object))
		}
	}
}

// hasSibling reports whether another object names the same id, at whatever account. The API server is locked.
func (w *world) hasSibling(of *v1alpha1.PaymentSession) bool {
	return slices.ContainsFunc(w.naming(of.Spec.SessionID), func(other *v1alpha1.PaymentSession) bool {
		return other.UID != of.UID
	})
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
