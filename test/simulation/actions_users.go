// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// userActions are what the owners of sessions do.
var userActions = map[string]action{
	"create":        {10, (*world).createSession},
	"create a copy": {2, onSession((*world).createCopy)},
	"rename":        {3, onSession((*world).rename)},
	"undo rename":   {2, onSession((*world).undoRename)},
	"expire":        {5, edit("sets desiredState: expired on %s", `{"spec":{"desiredState":"expired"}}`)},
	"suspend":       {2, edit("suspends %s", `{"spec":{"suspend":true}}`)},
	"resume":        {2, edit("resumes %s", `{"spec":{"suspend":false}}`)},
	"retain":        {1, edit("sets deletionPolicy: Retain on %s", `{"spec":{"deletionPolicy":"Retain"}}`)},
	"unretain":      {1, edit("sets deletionPolicy: Expire on %s", `{"spec":{"deletionPolicy":"Expire"}}`)},
	"unschedule":    {2, edit("removes expireAt of %s", `{"spec":{"expireAt":null}}`)},
	"schedule": {3, onSession(func(w *world, of *v1alpha1.PaymentSession, s step) {
		w.schedule(of, choose(s, "when", 0, time.Second, 3*time.Second, 5*time.Second, time.Minute, time.Hour))
	})},
	"refresh":     {4, onSession(refresh)},
	"pause":       {2, onSession((*world).pauseBefore)},
	"change mind": {3, onSession((*world).changeMind)},
	"replace":     {2, onSession((*world).replaceManifest)},
	"delete": {6, onSession(func(w *world, of *v1alpha1.PaymentSession, _ step) {
		w.sayf("a user deletes %s", nameOf(of))
		w.remove(of)
	})},
	"recreate": {2, onSession((*world).recreate)},
	"hold": {2, onSession(func(w *world, of *v1alpha1.PaymentSession, s step) {
		w.holdLater(of.UID, client.ObjectKeyFromObject(of), time.Duration(s.roll("when", 30))*time.Millisecond)
	})},
	"delete namespace": {2, func(w *world, s step) { w.deleteNamespace(choose(s, "namespace", namespaces...)) }},
	"create namespace": {2, func(w *world, s step) {
		name := choose(s, "namespace", namespaces...)
		if w.server.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}) == nil {
			w.sayf("a user creates namespace %s with its accounts", name)
			w.createAccounts(name)
		}
	}},
	"flood":        {1, (*world).startFlood},
	"storm":        {1, func(w *world, s step) { w.storm(false, s) }},
	"reject storm": {1, func(w *world, s step) { w.storm(true, s) }},
}

// refresh requests a read of a session.
func refresh(w *world, of *v1alpha1.PaymentSession, _ step) {
	w.sayf("a user asks for a refresh of %s", nameOf(of))
	w.ledgers.object(of.UID, func(known *facts) { known.askedAt = time.Now() })
	value := time.Now().UTC().Format(time.RFC3339Nano)
	w.change(of, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.ReconcileAtAnnotation, value))
}

// schedule sets expireAt to a time from now on.
func (w *world) schedule(of *v1alpha1.PaymentSession, from time.Duration) {
	at := at(from).UTC().Format(time.RFC3339)
	w.sayf("a user sets expireAt of %s to %s", nameOf(of), at)
	w.change(of, fmt.Sprintf(`{"spec":{"expireAt":%q}}`, at))
}

// edit makes an action of a patch to a session.
func edit(sentence, patch string) func(*world, step) {
	return onSession(func(w *world, of *v1alpha1.PaymentSession, _ step) {
		w.sayf("a user "+sentence, nameOf(of))
		w.change(of, patch)
	})
}

// variants are the variants of a provider's payments, of which some cannot be expired.
var variants = map[string][]string{
	"circle": {"", simulator.Continuous, simulator.MintPreview},
	"helio":  {"", simulator.OtherMerchant},
	"omise":  {"", simulator.Card, simulator.Authorized, simulator.OfficialErrors},
	"txn":    {"", simulator.Legacy},
}

// ended are the states in which a payment may have ended before anybody wrote an object for it.
var ended = map[string][]simulator.State{
	"circle": {simulator.Paid, simulator.Expired, simulator.Failed, simulator.Refunded},
	"helio":  {simulator.Paid, simulator.Expired},
	"omise":  {simulator.Paid, simulator.Expired, simulator.Failed, simulator.Refunded},
	"txn":    {simulator.Paid, simulator.Expired},
}

// newID returns an id that no payment has.
func (w *world) newID() string {
	w.sessions++
	id := gen.ID(w.provider, w.sessions)
	w.register(id)
	return id
}

// newSession returns an object for a payment at an account: in the account's namespace, or in the given one where it
// has none.
func (w *world) newSession(
	prefix, namespace string, key objectKey, id string, options ...gen.SessionOption,
) *v1alpha1.PaymentSession {
	if key.Namespace != "" {
		namespace = key.Namespace
	}
	of := gen.Session(namespace, fmt.Sprintf("%s-%d", prefix, w.sessions), w.provider, id, options...)
	of.Spec.ProviderRef = v1alpha1.ProviderReference{Kind: key.kind, Name: key.Name}
	return of
}

// newPayment draws a payment, most often an open one, and returns its id.
func (w *world) newPayment(site *site, s step) string {
	id := w.newID()
	object := simulator.Object{ID: id, State: simulator.Open}
	switch s.roll("payment", 15) {
	case 6:
		object.HiddenReads = choose(s, "hidden reads", 1, 2, 4, 9)
	case 7:
		object.State = choose(s, "state", ended[w.provider]...)
	case 8:
		object.Variant = choose(s, "variant", variants[w.provider]...)
		if object.Variant == simulator.Authorized && s.roll("voided", 2) == 0 {
			object.State = simulator.Refunded
		}
	case 5:
		w.ledgers.payment(payment{site.number, id}, func(l *ledger) { l.isOld, l.troubled = true, true })
	case 9:
		object.State = choose(s, "state", simulator.Open, simulator.Paid)
		w.ledgers.payment(payment{site.number, id}, func(l *ledger) { l.endsTwice, l.troubled = true, true })
	case 10:
		// The provider shows it a while after the object exists.
		w.ledgers.payment(payment{site.number, id}, func(l *ledger) { l.troubled = true })
		delay := choose(s, "delay", 5*time.Millisecond, 150*time.Millisecond, time.Second, 5*time.Second, 40*time.Second)
		w.background.Go(func() {
			if sleep(w.ctx, delay) {
				w.sayf("the provider creates %s", id)
				w.addUpstream(site, object)
			}
		})
		return id
	case 11:
		w.ledgers.payment(payment{site.number, id}, func(l *ledger) { l.troubled = true })
		return id
	default:
	}
	w.addUpstream(site, object)
	if s.roll("elsewhere", 5) == 0 {
		// Another environment has a payment with the same id.
		w.addUpstream(w.sites[1-site.number], object)
	}
	return id
}

// createSession creates a session of a new payment.
func (w *world) createSession(s step) {
	key := w.account(s)
	id := w.newPayment(w.siteOf(key), s)
	at := payment{w.ledgers.account(key, nil).site, id}
	switch s.roll("trouble", 15) {
	case 0:
		id = "invalid " + id
	case 1, 2, 3, 4, 5:
		if w.stateAt(at) != "" {
			w.drawTwist(at, key, s)
		}
	}
	of := w.newSession("session", choose(s, "namespace", namespaces...), key, id, drawOptions(s)...)
	w.create(of)
	w.ledgers.object(of.UID, func(known *facts) { known.fresh = of.Spec.DesiredState == v1alpha1.DesiredStateExpired })
	if s.roll("hold", 6) == 0 {
		w.holdLater(of.UID, client.ObjectKeyFromObject(of), time.Duration(s.roll("when", 30))*300*time.Microsecond)
	}
}

// drawOptions draws what a session's spec says.
func drawOptions(s step) []gen.SessionOption {
	options := []gen.SessionOption{}
	if s.roll("active", 2) == 0 {
		options = append(options, gen.Active)
	}
	if s.roll("expireAt", 6) == 0 {
		options = append(options, gen.ExpireAt(time.Now().Add(time.Duration(s.roll("when", 30))*time.Second)))
	}
	if s.roll("ttl", 8) == 0 {
		options = append(options, gen.TTLAfterClosed(time.Duration(s.roll("minutes", 30))*time.Minute))
	}
	if s.roll("retained", 9) == 0 {
		options = append(options, gen.Retained)
	}
	return options
}

// create creates a session object, and says so.
func (w *world) create(of *v1alpha1.PaymentSession) {
	at, _ := w.paymentOf(of)
	desired := string(of.Spec.DesiredState)
	if of.Spec.ExpireAt != nil {
		desired += " until " + of.Spec.ExpireAt.UTC().Format(time.TimeOnly)
	}
	w.sayf("a user creates %s for %s (%s) at %s %s: %s, %s", nameOf(of), of.Spec.SessionID, w.stateAt(at), of.Spec.ProviderRef.Kind,
		of.Spec.ProviderRef.Name, desired, of.Spec.DeletionPolicy)
	w.createQuietly(of)
}

func (w *world) createQuietly(of *v1alpha1.PaymentSession) {
	if err := w.server.create(of); !ignoreGone(err) {
		panic(err)
	}
	at, account := w.paymentOf(of)
	w.forgetProofs(at.is)
	for _, other := range w.all() {
		if w.sameSession(of, other) {
			w.touch(other)
		}
	}
	uneasy := w.calmFor() < time.Minute || time.Since(account.troubled) < recovery || w.hasTrouble(of) ||
		!w.isUsable(accountOf(of))
	w.ledgers.object(of.UID, func(known *facts) { known.touched, known.disturbed = time.Now(), known.disturbed || uneasy })
}

// createCopy creates another object of a session, as a second environment or a second team does, or by mistake with the
// id in another case.
func (w *world) createCopy(of *v1alpha1.PaymentSession, s step) {
	w.sessions++
	namespace, id := of.Namespace, of.Spec.SessionID
	if accountOf(of).Namespace == "" {
		namespace = choose(s, "namespace", namespaces...)
	}
	if s.roll("case", 2) == 0 && w.provider != "omise" && w.valid(of) {
		id = strings.ToUpper(id)
	}
	copied := gen.Session(namespace, fmt.Sprintf("copy-%d", w.sessions), w.provider, id, drawOptions(s)...)
	copied.Spec.ProviderRef = of.Spec.ProviderRef
	w.create(copied)
}

// rename creates another object of the same session and deletes the old one, as GitOps tools do.
func (w *world) rename(of *v1alpha1.PaymentSession, s step) {
	namespace := of.Namespace
	if accountOf(of).Namespace == "" {
		namespace = choose(s, "namespace", namespaces...)
	}
	renamed := gen.Session(namespace, of.Name+"-renamed", of.Spec.ProviderRef.Name, of.Spec.SessionID)
	renamed.Spec = *of.Spec.DeepCopy()
	if s.roll("case", 3) == 0 && w.provider != "omise" && w.valid(of) {
		renamed.Spec.SessionID = strings.ToUpper(of.Spec.SessionID)
	}
	w.sayf("a user renames %s to %s", nameOf(of), nameOf(renamed))
	before := s.roll("order", 3) > 0
	if before {
		w.create(renamed)
		sleep(w.ctx, choose(s, "gap", 0, 2*time.Millisecond, 15*time.Millisecond, time.Second))
	}
	w.remove(of)
	if !before {
		w.stall(s)
		w.create(renamed)
	}
}

// undoRename renames a session and deletes the new object at once.
func (w *world) undoRename(of *v1alpha1.PaymentSession, s step) {
	renamed := gen.Session(of.Namespace, of.Name+"-undone", of.Spec.ProviderRef.Name, of.Spec.SessionID)
	renamed.Spec = *of.Spec.DeepCopy()
	if s.roll("failing", 2) == 0 {
		w.setTrouble(trouble{requests: 40})
	}
	w.create(renamed)
	sleep(w.ctx, choose(s, "gap", 0, time.Millisecond, 2*time.Millisecond, 4*time.Millisecond))
	w.sayf("a user deletes %s, and then %s", nameOf(of), nameOf(renamed))
	w.remove(of)
	sleep(w.ctx, choose(s, "second gap", time.Millisecond, 3*time.Millisecond, 6*time.Millisecond, 12*time.Millisecond))
	w.remove(renamed)
}

// replaceManifest replaces a session by its manifest, which has no finalizers and no status.
func (w *world) replaceManifest(of *v1alpha1.PaymentSession, _ step) {
	w.sayf("a user replaces %s by its manifest", nameOf(of))
	manifest := gen.Session(of.Namespace, of.Name, of.Spec.ProviderRef.Name, of.Spec.SessionID)
	manifest.Spec = *of.Spec.DeepCopy()
	w.ledgers.object(of.UID, func(known *facts) {
		// Without the policy there is a moment in which a deletion goes through. A deletion that waits always does.
		known.forced, known.held = known.forced || !w.policy || isDeleting(of), false
	})
	w.touch(of)
	if err := w.server.update(manifest); !ignoreGone(err) {
		panic(err)
	}
	if w.policy {
		return
	}
	w.background.Go(func() {
		// The operator restores the finalizer soon.
		if sleep(w.ctx, stale+time.Second) && w.calmFor() > stale+time.Second && w.hasRestored(of) {
			w.ledgers.object(of.UID, func(known *facts) { known.forced = false })
		}
	})
}

// hasRestored reports whether a session has its finalizer again, and finds that it has not where it must.
func (w *world) hasRestored(of *v1alpha1.PaymentSession) bool {
	live := &v1alpha1.PaymentSession{}
	if w.server.get(client.ObjectKeyFromObject(of), live) != nil || live.UID != of.UID || !needsFinalizer(live) ||
		w.isUninstalling() {
		return false
	}
	if !hasFinalizer(live) {
		w.findf("%s has no finalizer %s after a user has removed it", nameOf(of), stale)
	}
	return true
}

// holdLater adds somebody else's finalizer to an object a moment later, and removes it a while after that.
func (w *world) holdLater(uid types.UID, name types.NamespacedName, delay time.Duration) {
	w.background.Go(func() {
		if !sleep(w.ctx, delay) || !w.setHold(uid, name, true) {
			return
		}
		sleep(w.ctx, 3*time.Minute)
		w.setHold(uid, name, false)
	})
}

// setHold adds or removes somebody else's finalizer.
func (w *world) setHold(uid types.UID, name types.NamespacedName, hold bool) bool {
	of := &v1alpha1.PaymentSession{}
	if w.server.get(name, of) != nil || of.UID != uid || hold && isDeleting(of) {
		return false
	}
	finalizers := slices.DeleteFunc(of.Finalizers, func(each string) bool { return each == othersFinalizer })
	if hold {
		finalizers = append(finalizers, othersFinalizer)
	}
	of.Finalizers = finalizers
	w.sayf("somebody else holds %s: %v", nameOf(of), hold)
	w.ledgers.object(uid, func(known *facts) { known.disturbed, known.held = true, known.held && hold })
	if err := w.server.update(of); err != nil {
		return false
	}
	w.ledgers.object(uid, func(known *facts) { known.held = hold })
	return true
}

// releaseOthers removes somebody else's finalizers.
func (w *world) releaseOthers() {
	for _, of := range w.all() {
		if slices.Contains(of.Finalizers, othersFinalizer) {
			w.setHold(of.UID, client.ObjectKeyFromObject(of), false)
		}
	}
}

// valid reports whether the class accepts a session's id.
func (w *world) valid(of *v1alpha1.PaymentSession) bool {
	return !strings.HasPrefix(of.Spec.SessionID, "invalid")
}
