// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
)

// heal ends every fault, and waits until everything can have come to rest.
func (w *world) heal(patient bool) {
	w.sayf("all faults end")
	for _, running := range w.running() {
		running.fuse.Store(0)
	}
	w.setTrouble(trouble{})
	w.endFlood()
	w.setSkew(0)
	w.reinstall()
	w.setKeys(simulator.Keys()[w.provider])
	for _, site := range w.sites {
		site.calm()
		site.upstreams.SetOutage(w.provider, false)
		site.upstreams.ClearFaults()
		if w.haunted != "" {
			w.haunt(payment{site.number, w.haunted})
		}
		for _, object := range site.upstreams.Objects() {
			if object.State == simulator.Pending {
				w.setState(site, object.ID, simulator.Paid)
			}
			if object.HiddenReads > 0 {
				object.State, object.HiddenReads = site.upstreams.State(w.provider, object.ID), 0
				site.upstreams.Add(object)
			}
		}
	}
	w.endOthers()
	w.releaseOthers()
	w.disturbAccounts()
	// What is still being deleted can be created only when it is gone.
	for range 10 {
		w.restoreAll(patient)
		sleep(w.ctx, 3*time.Minute)
		// One that has died may have been replaced only now.
		w.endOthers()
		if !slices.ContainsFunc(w.accountKeys(), w.isIncomplete) {
			break
		}
	}
	if patient {
		w.pass(8 * time.Hour)
		if slices.ContainsFunc(w.accountKeys(), w.isIncomplete) {
			// Sessions that should have been expired much later have kept it until then.
			w.restoreAll(patient)
			sleep(w.ctx, 20*time.Minute)
		}
		return
	}
	for _, key := range w.accountKeys() {
		if provider := w.providerAt(key); provider != nil {
			w.change(provider, `{"spec":{"timeout":"13s"}}`)
		}
	}
	sleep(w.ctx, 20*time.Minute)
}

// endOthers ends all manager processes but the one that was started last.
func (w *world) endOthers() {
	for len(w.running()) > 1 {
		w.end((*process).stop)
	}
}

// restoreAll creates what is missing of all accounts, and sets them as they were.
func (w *world) restoreAll(patient bool) {
	for _, namespace := range append([]string{operatorNamespace}, namespaces...) {
		w.restoreAccounts(namespace, patient)
	}
}

// isIncomplete reports whether an account or its Secret is missing, or is still being deleted, although it could exist.
func (w *world) isIncomplete(key objectKey) bool {
	provider, secret := w.providerAt(key), &corev1.Secret{}
	namespace := &corev1.Namespace{}
	if w.server.get(types.NamespacedName{Name: w.secretOf(key).Namespace}, namespace) != nil || isDeleting(namespace) {
		return false
	}
	return provider == nil || isDeleting(provider) || w.server.get(w.secretOf(key), secret) != nil || isDeleting(secret)
}

// checkAtRest checks what must hold once nothing has happened for a long time.
func (w *world) checkAtRest() {
	for _, of := range w.all() {
		w.checkSessionAtRest(of)
	}
	w.checkAccountsAtRest()
	w.checkAllSecrecy()
	w.checkDeletions()
	w.checkBudget()
}

// excused reports whether a session may stay as it is although all faults have ended.
func (w *world) excused(of *v1alpha1.PaymentSession) bool {
	at, _ := w.paymentOf(of)
	variant := w.ledgers.payment(at, nil).variant
	switch reasonOf(of) {
	case v1alpha1.ReasonSuspended:
		return of.Spec.Suspend
	case v1alpha1.ReasonWouldExpire:
		return w.dryRun
	case v1alpha1.ReasonInvalidSessionID:
		return !w.valid(of)
	case v1alpha1.ReasonSessionNotFound:
		return w.stateAt(at) == ""
	case v1alpha1.ReasonCredentialsRejected:
		return at.id == w.haunted
	case v1alpha1.ReasonExpireUnsupported:
		return w.isRefusedForGood(of)
	case v1alpha1.ReasonNotAllowed, v1alpha1.ReasonExpireRefused, v1alpha1.ReasonPaymentInProgress:
		return unexpirable(variant)
	case v1alpha1.ReasonProviderNotFound, v1alpha1.ReasonCredentialsMissing:
		// In a namespace that is being deleted nobody can create it again.
		return w.isTerminating(of.Namespace)
	default:
		return false
	}
}

func (w *world) isTerminating(name string) bool {
	namespace := &corev1.Namespace{}
	return w.server.get(types.NamespacedName{Name: name}, namespace) == nil && isDeleting(namespace)
}

func (w *world) checkSessionAtRest(of *v1alpha1.PaymentSession) {
	at, _ := w.paymentOf(of)
	state, known, reason := w.stateAt(at), w.ledgers.payment(at, nil), reasonOf(of)
	asked := of.Annotations[v1alpha1.ReconcileAtAnnotation]
	switch {
	case w.excused(of):
		return
	case isDeleting(of) && hasFinalizer(of):
		w.findf("%s still waits to be deleted, with the reason %s; %s is %q", nameOf(of), reason, at.id, state)
		return
	case isDeleting(of):
		return
	case of.Status.ObservedGeneration != of.Generation:
		w.findf("%s has generation %d, and its status is of %d", nameOf(of), of.Generation, of.Status.ObservedGeneration)
	case asked != "" && asked != of.Status.LastHandledReconcileAt:
		w.findf("the refresh of %s was never handled (%s)", nameOf(of), reason)
	}
	closed := isClosed(of.Status.State)
	if closed && (!known.reopened.IsZero() || !w.ledgers.account(accountOf(of), nil).movedAt.IsZero()) {
		// What is closed is not read again, here or at another endpoint.
		return
	}
	isPolled := w.pollsAt(accountOf(of))
	if wants(of, time.Now()) && isPayable(state) {
		w.findf("%s should be expired and %s is %s; status %q, %s", nameOf(of), at.id, state, of.Status.State, reason)
	}
	if shown := w.shownAs(at, state); of.Status.State != shown && isPolled && known.variant != simulator.Authorized {
		w.findf("%s says %q (%s), and %s is %q", nameOf(of), of.Status.State, reason, at.id, state)
	}
}

// pollsAt reports whether an account reads its active sessions.
func (w *world) pollsAt(key objectKey) bool {
	provider := w.providerAt(key)
	return provider != nil && provider.ProviderSpec().PollInterval.Duration > 0
}

// checkAccountsAtRest refuses that an account which can be used is not Ready.
func (w *world) checkAccountsAtRest() {
	for _, key := range w.accountKeys() {
		provider := w.providerAt(key)
		if provider == nil || isDeleting(provider) || w.haunted != "" {
			continue
		}
		ready := apimeta.FindStatusCondition(provider.ProviderStatus().Conditions, v1alpha1.ConditionReady)
		if ready != nil && ready.Reason == v1alpha1.ReasonCredentialsRejected && !w.isCalledFor(key) {
			// Nothing shows that the credentials are accepted again.
			continue
		}
		if ready == nil || ready.Status != metav1.ConditionTrue {
			w.findf("%s %s is not Ready: %v", key.kind, key.NamespacedName, ready)
		}
	}
}

// isCalledFor reports whether an account has a session for which calls are still made.
func (w *world) isCalledFor(key objectKey) bool {
	return slices.ContainsFunc(w.all(), func(of *v1alpha1.PaymentSession) bool {
		isFinal := isClosed(of.Status.State) || !w.valid(of) || w.isRefusedForGood(of)
		return accountOf(of) == key && !isFinal && !of.Spec.Suspend
	})
}

// checkDeletions refuses deletions that wait for nothing, and finalizers that nobody removes.
func (w *world) checkDeletions() {
	for _, key := range w.accountKeys() {
		provider, secret := w.providerAt(key), &corev1.Secret{}
		if w.server.get(w.secretOf(key), secret) != nil {
			secret = nil
		}
		if provider != nil && isDeleting(provider) && !w.isNeeded(key) {
			w.findf("%s %s waits to be deleted, and no session needs it", key.kind, key.NamespacedName)
		}
		if secret != nil && isDeleting(secret) && !w.isSecretNeeded(secret) {
			w.findf("Secret %s waits to be deleted, and no session needs it", nameOf(secret))
		}
		if secret != nil && isProtected(secret) && !w.isSecretUsed(secret) {
			w.findf("Secret %s has the in-use finalizer, and no provider uses it", nameOf(secret))
		}
		empty := types.NamespacedName{Namespace: w.secretOf(key).Namespace, Name: emptySecret}
		if other := (&corev1.Secret{}); w.server.get(empty, other) == nil && len(other.Finalizers) > 0 {
			w.findf("Secret %s has the finalizers %q, and no provider names it", empty, other.Finalizers)
		}
	}
}

// checkUnneeded refuses that the deletion of a provider object goes on waiting when no session needs it any more.
func (w *world) checkUnneeded() {
	const grace = 2 * time.Minute
	for _, key := range w.accountKeys() {
		provider := w.providerAt(key)
		waits := provider != nil && isDeleting(provider) && !w.isNeeded(key)
		known := w.ledgers.account(key, func(known *accountFacts) {
			switch {
			case !waits:
				known.unneededAt = time.Time{}
			case known.unneededAt.IsZero():
				known.unneededAt = time.Now()
			}
		})
		if waits && time.Since(known.unneededAt) > grace && w.calmFor() > grace {
			w.findf("%s %s waits to be deleted, and no session has needed it for %s", key.kind, key.NamespacedName,
				time.Since(known.unneededAt))
		}
	}
}

// isNeeded reports whether a session needs a provider object.
func (w *world) isNeeded(key objectKey) bool {
	return slices.ContainsFunc(w.all(), func(of *v1alpha1.PaymentSession) bool {
		return accountOf(of) == key && (hasFinalizer(of) ||
			!isDeleting(of) && !isClosed(of.Status.State) && (needsFinalizer(of) || wantsBySpec(of, time.Now())))
	})
}

func (w *world) isSecretNeeded(secret *corev1.Secret) bool {
	return slices.ContainsFunc(w.accountKeys(), func(key objectKey) bool {
		return w.secretOf(key) == client.ObjectKeyFromObject(secret) && w.isNeeded(key)
	})
}

func (w *world) isSecretUsed(secret *corev1.Secret) bool {
	return slices.ContainsFunc(w.accountKeys(), func(key objectKey) bool {
		return w.secretOf(key) == client.ObjectKeyFromObject(secret) && w.providerAt(key) != nil
	})
}

// checkAllSecrecy looks for credentials in every object but Secrets.
func (w *world) checkAllSecrecy() {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	for key, object := range w.server.objects {
		if key.kind != "Secret" {
			w.checkSecrecy(object)
		}
	}
}

// checkSecrecy refuses that an object contains a credential.
func (w *world) checkSecrecy(object client.Object) {
	text, err := json.Marshal(object)
	w.must(err)
	for _, value := range simulator.Keys()[w.provider] {
		if strings.Contains(string(text), value) {
			w.findf("%T %s contains a credential", object, nameOf(object))
		}
	}
}

// checkBudget refuses more calls and writes than an expiry needs, where nothing has disturbed it.
func (w *world) checkBudget() {
	reads, writes := 0, 3
	if w.provider == "circle" {
		reads = 1
	}
	if w.policy {
		writes = 2
	}
	for _, of := range w.all() {
		known := w.ledgers.object(of.UID, nil)
		at, account := w.paymentOf(of)
		made := w.ledgers.payment(at, nil)
		isDisturbed := known.disturbed || known.rejected || made.troubled
		if !account.movedAt.IsZero() || !known.fresh || isDisturbed || !isClosed(of.Status.State) {
			continue
		}
		if made.expireCalls != 1 || made.reads > reads || known.writes > writes {
			w.findf("%s took %d expire calls, %d reads and %d writes", nameOf(of), made.expireCalls, made.reads, known.writes)
		}
	}
}

// pollAtRest is how often active sessions are read at the end of a history.
const pollAtRest = 8 * time.Minute

// idleTime is how long nothing happens, to count what that costs.
const idleTime = 20 * time.Minute

// checkIdle refuses calls and writes about closed sessions, and more calls about others than polls and retries need.
func (w *world) checkIdle() {
	before, calls := map[types.UID]*v1alpha1.PaymentSession{}, w.callsByID()
	wereClosed := map[string]bool{}
	for _, of := range w.all() {
		before[of.UID], wereClosed[w.ledgers.fold(of.Spec.SessionID)] = of, w.isClosedEverywhere(of.Spec.SessionID)
	}
	sleep(w.ctx, idleTime)
	for id, count := range w.callsByID() {
		made, objects := count-calls[id], w.objectsOf(id)
		if wereClosed[id] && made > 0 || made > objects*int(idleTime/pollAtRest+2)+12 {
			w.findf("%d calls about %s while nothing happens (closed: %v)", made, id, wereClosed[id])
		}
	}
	for _, of := range w.all() {
		was := before[of.UID]
		if was == nil || isDeleting(of) || reasonOf(was) != reasonOf(of) || was.Status.State != of.Status.State {
			continue
		}
		isQuiet := isClosed(of.Status.State) || reasonOf(of) == v1alpha1.ReasonObserved
		if isQuiet && was.ResourceVersion != of.ResourceVersion {
			w.findf("%s is written while nothing happens (%s)", nameOf(of), reasonOf(of))
		}
	}
}

// callsByID counts the calls so far.
func (w *world) callsByID() map[string]int {
	counts := map[string]int{}
	for _, site := range w.sites {
		for _, call := range site.upstreams.Calls() {
			counts[w.ledgers.fold(call.ID)]++
		}
	}
	return counts
}

// isClosedEverywhere reports whether every object of an id is closed.
func (w *world) isClosedEverywhere(id string) bool {
	return !slices.ContainsFunc(w.all(), func(of *v1alpha1.PaymentSession) bool {
		return w.ledgers.fold(of.Spec.SessionID) == w.ledgers.fold(id) && !isClosed(of.Status.State)
	})
}

// objectsOf counts the objects of an id. A deletion that waits is tried again every 5 minutes, and counts as four.
func (w *world) objectsOf(id string) int {
	count := 0
	for _, of := range w.all() {
		switch {
		case w.ledgers.fold(of.Spec.SessionID) != id:
		case isDeleting(of):
			count += 4
		default:
			count++
		}
	}
	return max(count, 1)
}
