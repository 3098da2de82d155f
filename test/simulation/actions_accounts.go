// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"encoding/json"

	corev1 "k8s.io/api/core/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
)

// accountActions are what the owners of accounts do.
var accountActions = map[string]action{
	"delete provider": {2, onAccount(func(w *world, key objectKey, provider v1alpha1.GenericProvider, _ step) {
		w.sayf("a user deletes provider %s %s", key.kind, key.NamespacedName)
		w.remove(provider)
	})},
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
	"move provider": {2, onAccount(func(w *world, key objectKey, provider v1alpha1.GenericProvider, s step) {
		endpoint := hosts[1-w.ledgers.account(key, nil).site] + "/" + w.provider
		w.sayf("a user moves provider %s %s to %s", key.kind, key.NamespacedName, endpoint)
		patch := map[string]any{"endpoint": endpoint}
		if s.roll("not yet", 4) == 0 {
			// It cannot be used there yet.
			patch["credentialsSecretRef"] = map[string]any{"name": "to-come"}
		}
		text, err := json.Marshal(map[string]any{"spec": patch})
		w.must(err)
		w.change(provider, string(text))
	})},
	"allow": {2, func(w *world, s step) {
		if provider := w.providerAt(w.accountKeys()[3]); provider != nil {
			patch := choose(s, "allowed", allowNone, allowAll)
			w.sayf("a user changes which namespaces may use the shared provider: %s", patch)
			w.change(provider, patch)
		}
	}},
	"wrong Secret": {2, onSecret("a user puts a wrong key into Secret %s", "wrong-key-1234")},
	"right Secret": {3, onSecret("a user puts the right key into Secret %s", "")},
	"bad Secret":   {1, onSecret("a user puts a value that cannot be sent into Secret %s", "line\nbreak")},
}

var providerPatches = []string{
	`{"spec":{"timeout":"11s"}}`, `{"spec":{"timeout":"12s"}}`, `{"spec":{"rateLimit":{"requests":2,"per":"1m","burst":1}}}`,
	`{"spec":{"rateLimit":{"requests":10,"per":"1s","burst":20}}}`, `{"spec":{"pollInterval":"1m"}}`,
	`{"spec":{"pollInterval":"0s"}}`, `{"spec":{"pollInterval":"0s"}}`, `{"spec":{"maxConcurrentRequests":1}}`,
}

// onAccount makes an action of what is done to one provider object.
func onAccount(do func(w *world, key objectKey, provider v1alpha1.GenericProvider, s step)) func(*world, step) {
	return func(w *world, s step) {
		key := w.account(s)
		if provider := w.providerAt(key); provider != nil {
			do(w, key, provider, s)
		}
	}
}

// onSecret makes an action of another value of every credential in a Secret; empty for the right ones.
func onSecret(sentence, value string) func(*world, step) {
	return onAccount(func(w *world, key objectKey, _ v1alpha1.GenericProvider, _ step) {
		secret := &corev1.Secret{}
		if w.server.get(w.secretOf(key), secret) != nil {
			return
		}
		w.sayf(sentence, w.secretOf(key))
		data := map[string]string{}
		for name, right := range simulator.Keys()[w.provider] {
			data[name] = right
			if value != "" {
				data[name] = value
			}
		}
		text, err := json.Marshal(map[string]any{"stringData": data})
		w.must(err)
		w.change(secret, string(text))
	})
}
