// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"encoding/json"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// accountActions are what the owners of accounts do.
var accountActions = map[string]action{
	"delete provider": {2, onAccount((*world).deleteProvider)},
	"delete Secret": {2, onAccount(func(w *world, key objectKey, _ v1alpha1.GenericProvider, _ step) {
		secret := &corev1.Secret{}
		if w.server.get(w.secretOf(key), secret) == nil {
			w.sayf("a user deletes Secret %s", w.secretOf(key))
			w.remove(secret)
		}
	})},
	"recreate account": {3, func(w *world, s step) {
		namespace := choose(s, "namespace", append([]string{operatorNamespace}, namespaces...)...)
		w.sayf("a user applies the accounts of %s again", namespace)
		w.createAccounts(namespace)
	}},
	"change provider": {3, onAccount(func(w *world, key objectKey, provider v1alpha1.GenericProvider, s step) {
		patch := choose(s, "patch", providerPatches...)
		w.sayf("a user changes provider %s %s: %s", key.kind, key.NamespacedName, patch)
		w.change(provider, patch)
	})},
	"stop polling":   {1, onAccount((*world).stopPolling)},
	"move provider":  {2, onAccount((*world).moveProvider)},
	"move at once":   {2, onSession((*world).moveAtOnce)},
	"move meanwhile": {1, onAccount((*world).moveMeanwhile)},
	"move rejected":  {1, onAccount((*world).moveRejected)},
	"keep longer":    {1, onAccount((*world).keepLonger)},
	"outdate":        {2, onAccount((*world).outdate)},
	"requeue behind": {1, onAccount((*world).requeueBehind)},
	"hesitate":       {2, onAccount((*world).hesitate)},
	"fix account":    {2, onAccount((*world).fixAccount)},
	"exchange key":   {1, (*world).exchangeKey},
	"allow": {2, func(w *world, s step) {
		if provider := w.providerAt(w.accountKeys()[3]); provider != nil {
			patch := choose(s, "allowed", allowNone, allowAll)
			w.sayf("a user changes which namespaces may use the shared provider: %s", patch)
			w.change(provider, patch)
		}
	}},
	"wrong Secret": {2, onSecret("a user puts a wrong key into Secret %s", "%.0swrong-key-1234")},
	"right Secret": {3, onSecret("a user puts the right key into Secret %s", "%s")},
	"bad Secret":   {1, onSecret("a user puts a line after the key into Secret %s", "%s\nof which nobody knew")},
}

var providerPatches = []string{
	`{"spec":{"timeout":"11s"}}`, `{"spec":{"timeout":"12s"}}`, `{"spec":{"rateLimit":{"requests":2,"per":"1m","burst":1}}}`,
	fast, `{"spec":{"pollInterval":"1m"}}`,
	`{"spec":{"pollInterval":"0s"}}`, `{"spec":{"pollInterval":"0s"}}`, `{"spec":{"maxConcurrentRequests":1}}`,
}

// moveProvider gives a provider object the other endpoint.
func (w *world) moveProvider(key objectKey, provider v1alpha1.GenericProvider, s step) {
	w.move(key, provider, s.roll("not yet", 4) > 0)
}

func (w *world) move(key objectKey, provider v1alpha1.GenericProvider, usable bool) {
	endpoint := hosts[1-w.ledgers.account(key, nil).site] + "/" + w.provider
	w.sayf("a user moves provider %s %s to %s", key.kind, key.NamespacedName, endpoint)
	patch := map[string]any{"endpoint": endpoint}
	if !usable {
		// It cannot be used there yet.
		patch["credentialsSecretRef"] = map[string]any{"name": "to-come"}
	}
	text, err := json.Marshal(map[string]any{"spec": patch})
	w.must(err)
	w.change(provider, string(text))
}

// emptySecret is the name of a Secret without keys, of which no call can be made.
const emptySecret = "empty"

// openSession adds an open payment, and returns a session object for it, which is not created yet.
func (w *world) openSession(
	prefix string, key objectKey, s step, options ...gen.SessionOption,
) *v1alpha1.PaymentSession {
	id := w.newID()
	w.addUpstream(w.siteOf(key), simulator.Object{ID: id, State: simulator.Open})
	return w.newSession(prefix, choose(s, "namespace", namespaces...), key, id, options...)
}

// createOpen creates a session of an open payment, which should be expired.
func (w *world) createOpen(key objectKey, s step) *v1alpha1.PaymentSession {
	of := w.openSession("open", key, s)
	of.Spec.DeletionPolicy = choose(s, "policy", v1alpha1.DeletionPolicyRetain, v1alpha1.DeletionPolicyExpire)
	w.create(of)
	return of
}

// fixAccount creates a session that the provider does not know and deletes it, and then names another endpoint or key.
func (w *world) fixAccount(key objectKey, provider v1alpha1.GenericProvider, s step) {
	of := w.newSession("unknown", choose(s, "namespace", namespaces...), key, w.newID())
	w.create(of)
	sleep(w.ctx, choose(s, "gap", time.Second, 12*time.Second))
	w.sayf("a user deletes %s", nameOf(of))
	w.remove(of)
	sleep(w.ctx, choose(s, "second gap", 4*time.Second, 15*time.Second, 70*time.Second))
	if s.roll("move", 2) == 0 {
		w.moveProvider(key, provider, s)
	} else {
		w.exchangeKey(s)
	}
}

// exchangeKey gives every account another key, which is that of another merchant.
func (w *world) exchangeKey(step) {
	w.sayf("all Secrets get the key of another merchant")
	keys := map[string]string{}
	for name := range simulator.Keys()[w.provider] {
		keys[name] = "of-another-merchant"
	}
	w.disturbAccounts()
	w.setKeys(keys)
	text, err := json.Marshal(map[string]any{"stringData": keys})
	w.must(err)
	for _, key := range w.accountKeys() {
		secret := &corev1.Secret{}
		if w.server.get(w.secretOf(key), secret) == nil {
			w.change(secret, string(text))
		}
	}
}

// onAccount makes an action of what is done to one provider object.
func onAccount(do func(w *world, key objectKey, provider v1alpha1.GenericProvider, s step)) func(*world, step) {
	return func(w *world, s step) {
		key := w.account(s)
		if provider := w.providerAt(key); provider != nil {
			w.disturbOpen(key)
			do(w, key, provider, s)
			w.disturbOpen(key)
		}
	}
}

// disturbOpen records that an account changes. An account that is closed for a moment forgets what its calls in flight
// have shown, and the sessions that wait for that are called once more.
func (w *world) disturbOpen(key objectKey) {
	for _, of := range w.all() {
		if accountOf(of) == key && !isClosed(of.Status.State) {
			w.ledgers.object(of.UID, func(known *facts) { known.disturbed = true })
		}
	}
}

// onSecret makes an action of another value of every credential in a Secret, which is made of the right one.
func onSecret(sentence, format string) func(*world, step) {
	return onAccount(func(w *world, key objectKey, _ v1alpha1.GenericProvider, _ step) {
		secret := &corev1.Secret{}
		if w.server.get(w.secretOf(key), secret) != nil {
			return
		}
		w.sayf(sentence, w.secretOf(key))
		data := map[string]string{}
		for name, right := range simulator.Keys()[w.provider] {
			data[name] = fmt.Sprintf(format, right)
		}
		text, err := json.Marshal(map[string]any{"stringData": data})
		w.must(err)
		w.change(secret, string(text))
	})
}
