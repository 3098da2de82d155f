// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// outdate lets the call about a session wait for the limit of its account, and takes the cause of the call away
// meanwhile, which the caches do not show before the call is made.
func (w *world) outdate(key objectKey, provider v1alpha1.GenericProvider, s step) {
	scheduled := s.roll("scheduled", 2) == 0
	fails := scheduled && s.roll("fails", 2) == 0
	if fails {
		w.sayf("a user lowers the limit of %s %s to a call in a minute", key.kind, key.Name)
		w.change(provider, slowest)
	} else {
		w.sayf("a user lowers the limit of %s %s to a call in 10 s", key.kind, key.Name)
		w.change(provider, slow)
	}
	sleep(w.ctx, 500*time.Millisecond)
	of := w.openSession("waiting", key, s, gen.Active)
	if scheduled {
		of.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
	}
	w.create(of)
	// The first read leaves no call for the next one.
	sleep(w.ctx, 700*time.Millisecond)
	if scheduled {
		w.sayf("expireAt of %s passes", nameOf(of))
		w.change(of, fmt.Sprintf(`{"spec":{"expireAt":%q}}`, at(0).UTC().Format(time.RFC3339)))
	} else {
		w.sayf("a user deletes %s", nameOf(of))
		w.remove(of)
	}
	if fails {
		// The status says then that the call waits, and no timer is left.
		sleep(w.ctx, 15*time.Second)
		w.sayf("sessions cannot be read, and the limit of %s %s is as before", key.kind, key.Name)
		w.setTrouble(trouble{requests: 100, only: v1alpha1.KindPaymentSession})
		w.change(provider, fast)
		sleep(w.ctx, 200*time.Millisecond)
		w.setTrouble(trouble{})
		return
	}
	sleep(w.ctx, choose(s, "seen", 20*time.Millisecond, time.Second))
	w.stopCaches()
	w.takeCauseAway(of, scheduled, s)
	sleep(w.ctx, 14*time.Second)
	w.change(provider, fast)
}

// requeueBehind lets sessions be reconciled again while the caches do not show what the last reconcile of one has
// written: those of sessions stop, and a change of the provider object requeues its sessions.
func (w *world) requeueBehind(key objectKey, provider v1alpha1.GenericProvider, s step) {
	of := w.openSession("behind", key, s, gen.Active)
	w.create(of)
	// What a reply proves soon after a change of the account may be dropped.
	sleep(w.ctx, stale+time.Second)
	w.sayf("a user sets desiredState: expired on %s", nameOf(of))
	w.change(of, `{"spec":{"desiredState":"expired"}}`)
	sleep(w.ctx, choose(s, "seen", 2*time.Millisecond, 10*time.Millisecond, 30*time.Millisecond))
	w.sayf("the caches of sessions stop for a while")
	w.setTrouble(trouble{lag: 16 * time.Second, stalls: true, only: v1alpha1.KindPaymentSession})
	for _, timeout := range []string{"11s", "12s", "11s"} {
		sleep(w.ctx, choose(s, "gap", 200*time.Millisecond, time.Second, 2*time.Second))
		w.sayf("a user sets the timeout of provider %s %s to %s", key.kind, key.NamespacedName, timeout)
		w.change(provider, fmt.Sprintf(`{"spec":{"timeout":%q}}`, timeout))
	}
}

// takeCauseAway changes what an expiry that waits is made for: a time that has passed, or a deletion.
func (w *world) takeCauseAway(of *v1alpha1.PaymentSession, scheduled bool, s step) {
	takes := s.roll("takes away", 4)
	switch {
	case takes == 0:
		w.sayf("a user suspends %s", nameOf(of))
		w.change(of, `{"spec":{"suspend":true}}`)
	case takes == 1 && scheduled:
		w.sayf("a user removes expireAt of %s", nameOf(of))
		w.change(of, `{"spec":{"expireAt":null}}`)
	case takes == 1:
		w.sayf("a user sets deletionPolicy: Retain on %s", nameOf(of))
		w.change(of, `{"spec":{"deletionPolicy":"Retain"}}`)
	case scheduled:
		w.sayf("a user deletes %s", nameOf(of))
		w.remove(of)
		id := w.newPayment(w.siteOf(accountOf(of)), s)
		again := gen.Session(of.Namespace, of.Name, of.Spec.ProviderRef.Name, id, gen.ExpireAt(at(0).Time))
		again.Spec.ProviderRef = of.Spec.ProviderRef
		w.create(again)
	default:
		namespace := of.Namespace
		if accountOf(of).Namespace == "" && s.roll("elsewhere", 2) == 0 {
			// Namespaces do not decide for each other.
			namespace = choose(s, "namespace of the copy", namespaces...)
		}
		copied := gen.Session(namespace, of.Name+"-again", of.Spec.ProviderRef.Name, of.Spec.SessionID, gen.Active)
		copied.Spec.ProviderRef = of.Spec.ProviderRef
		if !w.policy {
			// Otherwise the operator adds the finalizer when it sees the object.
			copied.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
		}
		w.create(copied)
	}
}

// pauseBefore lets the provider ask an account for a pause, so that a read of one of its sessions waits for minutes,
// and expireAt of that session passes meanwhile.
func (w *world) pauseBefore(of *v1alpha1.PaymentSession, s step) {
	key := accountOf(of)
	if reasonOf(of) != v1alpha1.ReasonObserved || isDeleting(of) {
		return
	}
	at := payment{w.ledgers.account(key, nil).site, w.newID()}
	w.addUpstream(w.sites[at.site], simulator.Object{ID: at.id, State: simulator.Open})
	w.faultNext(at, key, "429 for an hour", 1, throttled(http.StatusTooManyRequests, "3600"))
	w.create(w.newSession("throttled", of.Namespace, key, at.id, gen.Active))
	sleep(w.ctx, 500*time.Millisecond)
	refresh(w, of, s)
	sleep(w.ctx, choose(s, "gap", 100*time.Millisecond, 2*time.Second))
	w.schedule(of, 20*time.Second)
	sleep(w.ctx, 2*time.Minute)
}

// hesitate lets a provider object name a Secret without keys for a moment.
func (w *world) hesitate(key objectKey, provider v1alpha1.GenericProvider, s step) {
	_ = w.server.create(&corev1.Secret{ObjectMeta: metav1.ObjectMeta{
		Namespace: w.secretOf(key).Namespace, Name: emptySecret,
	}})
	stops := false
	switch s.roll("failing", 5) {
	case 0:
		w.setTrouble(trouble{requests: 50})
	case 1:
		w.setTrouble(trouble{requests: 80, lag: 8 * time.Second})
	case 2, 3:
		// What the first change causes is tried again, when the second change has been made and is not seen.
		w.setTrouble(trouble{requests: 60})
		stops = true
	}
	w.sayf("provider %s %s names a Secret without keys for a moment", key.kind, key.NamespacedName)
	for _, name := range []string{emptySecret, w.provider} {
		w.change(provider, fmt.Sprintf(`{"spec":{"credentialsSecretRef":{"name":%q}}}`, name))
		sleep(w.ctx, choose(s, "moment", 5*time.Millisecond, 20*time.Millisecond, 100*time.Millisecond, time.Second))
		if stops {
			w.setTrouble(trouble{requests: 30, lag: 16 * time.Second, stalls: true})
			stops = false
		}
	}
}

// moveAtOnce requests a refresh of a session, or deletes it, and moves its provider while the calls are on their way.
func (w *world) moveAtOnce(of *v1alpha1.PaymentSession, s step) {
	if at, _ := w.paymentOf(of); s.roll("rejected", 2) == 0 && w.stateAt(at) != "" {
		w.faultNext(at, accountOf(of), "401", 1, rejected)
	}
	if s.roll("failing", 3) == 0 {
		w.setTrouble(trouble{requests: 65})
	}
	switch s.roll("deletes", 3) {
	case 0:
		w.sayf("a user deletes %s", nameOf(of))
		w.remove(of)
	case 1:
		at, _ := w.paymentOf(of)
		w.sayf("a user sets desiredState: expired on %s", nameOf(of))
		if w.provider != "helio" && w.stateAt(at) != "" {
			w.sayf("the next call about %s: %s", at.id, acceptedAlone.sentence)
			w.trouble(at, accountOf(of), acceptedAlone.sentence)
			w.sites[at.site].draw(at.id, acceptedAlone, 1)
		}
		if other := w.sites[1-at.site]; other.upstreams.State(w.provider, at.id) == "" && w.stateAt(at) == simulator.Open {
			w.addUpstream(other, simulator.Object{ID: at.id, State: simulator.Open})
		}
		w.change(of, `{"spec":{"desiredState":"expired"}}`)
	default:
		refresh(w, of, s)
	}
	sleep(w.ctx, choose(s, "gap", 5*time.Millisecond, 30*time.Millisecond, 100*time.Millisecond, 200*time.Millisecond,
		2*time.Second, 6*time.Second))
	if provider := w.providerAt(accountOf(of)); provider != nil {
		w.moveProvider(accountOf(of), provider, s)
	}
	if s.roll("waits", 3) == 0 {
		sleep(w.ctx, 75*time.Second)
	}
}

// moveMeanwhile moves a provider object while the outcome of a session's first call is known and cannot be written.
func (w *world) moveMeanwhile(key objectKey, provider v1alpha1.GenericProvider, s step) {
	of := w.createOpen(key, s)
	sleep(w.ctx, choose(s, "gap", 15*time.Millisecond, 30*time.Millisecond, 60*time.Millisecond))
	w.sayf("sessions cannot be read or written")
	w.setTrouble(trouble{requests: 100, only: v1alpha1.KindPaymentSession})
	sleep(w.ctx, 400*time.Millisecond)
	w.moveProvider(key, provider, s)
	sleep(w.ctx, time.Second)
	w.sayf("the API server works again, %s is %s", nameOf(of), of.Spec.SessionID)
	w.setTrouble(trouble{})
}

// moveRejected moves a provider object while a call that its endpoint rejects is on its way.
func (w *world) moveRejected(key objectKey, provider v1alpha1.GenericProvider, s step) {
	of := w.openSession("rejected", key, s, gen.Active)
	w.create(of)
	sleep(w.ctx, time.Second)
	at, _ := w.paymentOf(of)
	w.faultNext(at, key, "401", 1, rejected)
	w.sayf("a user deletes %s", nameOf(of))
	w.remove(of)
	sleep(w.ctx, choose(s, "gap", 20*time.Millisecond, 50*time.Millisecond, 100*time.Millisecond, 150*time.Millisecond))
	w.moveProvider(key, provider, s)
}

// deleteProvider deletes a provider object: some time, during the first call about a session or that of its deletion,
// or while a session exists that does not need it.
func (w *world) deleteProvider(key objectKey, provider v1alpha1.GenericProvider, s step) {
	switch s.roll("first", 4) {
	case 0:
		w.create(w.openSession("needless", key, s, gen.Active, gen.Retained))
		sleep(w.ctx, time.Second)
		defer w.pass(choose(s, "waits", 0, 2*time.Minute))
	case 1, 2:
		of := w.createOpen(key, s)
		if s.roll("deleted", 2) == 0 {
			sleep(w.ctx, 20*time.Millisecond)
			w.remove(of)
		}
		sleep(w.ctx, choose(s, "gap", 0, 5*time.Millisecond, 30*time.Millisecond, 50*time.Millisecond))
	}
	w.sayf("a user deletes provider %s %s", key.kind, key.NamespacedName)
	w.remove(provider)
}

// keepLonger creates a session with a ttlAfterClosed, and takes that away, or replaces the object by another one, when
// it is about to be deleted, which the caches do not show.
func (w *world) keepLonger(key objectKey, _ v1alpha1.GenericProvider, s step) {
	const ttl = 20 * time.Second
	of := w.openSession("kept", key, s, gen.TTLAfterClosed(ttl))
	w.create(of)
	sleep(w.ctx, ttl/2)
	if w.server.get(client.ObjectKeyFromObject(of), of) != nil || of.Status.ClosedAt == nil {
		return
	}
	sleep(w.ctx, time.Until(of.Status.ClosedAt.Add(ttl-500*time.Millisecond)))
	w.stopCaches()
	if s.roll("replaces", 2) == 0 {
		w.sayf("a user removes ttlAfterClosed of %s", nameOf(of))
		w.change(of, `{"spec":{"ttlAfterClosed":null}}`)
	} else {
		w.sayf("a user deletes %s", nameOf(of))
		w.remove(of)
		again := w.newSession("kept", of.Namespace, key, w.newPayment(w.siteOf(key), s))
		again.Name = of.Name
		w.create(again)
	}
	sleep(w.ctx, 3*time.Second)
}

// changeMind lets a session expire in a moment, and takes that back a moment before or after.
func (w *world) changeMind(of *v1alpha1.PaymentSession, s step) {
	w.schedule(of, 3*time.Second)
	sleep(w.ctx, choose(s, "thinks", 50*time.Millisecond, time.Second, 2500*time.Millisecond, 3*time.Second))
	patch := choose(s, "takes back", `{"spec":{"expireAt":null}}`, `{"spec":{"suspend":true}}`,
		`{"spec":{"expireAt":"2030-01-01T00:00:00Z"}}`)
	w.stall(s)
	w.sayf("a user changes %s: %s", nameOf(of), patch)
	w.change(of, patch)
}

// recreate replaces an object of the policy Retain by another one of the same name.
func (w *world) recreate(of *v1alpha1.PaymentSession, s step) {
	patch := `{"spec":{"deletionPolicy":"Retain"}}`
	if s.roll("scheduled", 2) == 0 {
		patch = fmt.Sprintf(`{"spec":{"deletionPolicy":"Retain","expireAt":%q}}`, at(4*time.Second).UTC().Format(time.RFC3339))
	}
	w.sayf("a user changes %s: %s", nameOf(of), patch)
	w.change(of, patch)
	sleep(w.ctx, choose(s, "thinks", 0, 30*time.Millisecond))
	w.stall(s)
	w.sayf("a user deletes %s", nameOf(of))
	w.remove(of)
	again := gen.Session(of.Namespace, of.Name, of.Spec.ProviderRef.Name, of.Spec.SessionID, gen.Active)
	if s.roll("other", 2) == 0 {
		id := w.newPayment(w.siteOf(accountOf(of)), s)
		again = gen.Session(of.Namespace, of.Name, of.Spec.ProviderRef.Name, id, drawOptions(s)...)
	}
	again.Spec.ProviderRef = of.Spec.ProviderRef
	sleep(w.ctx, time.Duration(s.roll("gap", 30))*2*time.Millisecond)
	w.create(again)
}

// stopPolling ends the reads of an account's active sessions, and creates one of which a user wants to know more.
func (w *world) stopPolling(key objectKey, provider v1alpha1.GenericProvider, s step) {
	w.sayf("a user stops the polls of provider %s %s", key.kind, key.NamespacedName)
	w.change(provider, `{"spec":{"pollInterval":"0s"}}`)
	sleep(w.ctx, time.Second)
	of := w.openSession("unread", key, s, gen.Active)
	w.create(of)
	sleep(w.ctx, choose(s, "gap", time.Second, 12*time.Second))
	refresh(w, of, s)
	w.pass(choose(s, "waits", time.Second, 10*time.Minute))
}
