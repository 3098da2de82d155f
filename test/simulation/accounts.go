// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// The provider objects of a history: one in each namespace, named as its class; a second one in the first namespace,
// which shares the Secret; and one for all namespaces.
const (
	secondProvider = "second"
	sharedProvider = "shared"
)

// pollInterval is how often active sessions are read, unless a history changes it.
const pollInterval = 20 * time.Minute

func (w *world) accountKeys() []objectKey {
	named := func(namespace, name string) objectKey {
		key := objectKey{kind: v1alpha1.KindPaymentProvider}
		key.Namespace, key.Name = namespace, name
		return key
	}
	shared := objectKey{kind: v1alpha1.KindClusterPaymentProvider}
	shared.Name = sharedProvider
	return []objectKey{
		named(namespaces[0], w.provider), named(namespaces[1], w.provider), named(namespaces[0], secondProvider), shared,
	}
}

// account chooses one of the accounts, most often the favourite one of the history: what is spread over all of them
// hardly ever meets.
func (w *world) account(s step) objectKey {
	keys := w.accountKeys()
	if s.roll("favourite", 5) < 3 {
		return keys[w.favourite]
	}
	return choose(s, "account", keys...)
}

// secretOf returns the name of an account's Secret.
func (w *world) secretOf(key objectKey) types.NamespacedName {
	if key.kind == v1alpha1.KindClusterPaymentProvider {
		return types.NamespacedName{Namespace: operatorNamespace, Name: w.provider}
	}
	return types.NamespacedName{Namespace: key.Namespace, Name: w.provider}
}

// newProvider returns a provider object as a user's manifest has it.
func (w *world) newProvider(key objectKey) v1alpha1.GenericProvider {
	options := []gen.ProviderOption{gen.Endpoint(hosts[0] + "/" + w.provider), gen.PollInterval(pollInterval)}
	if w.tight {
		options = append(options, gen.RateLimit(1, 3*time.Second))
	}
	if w.serial {
		options = append(options, func(spec *v1alpha1.PaymentProviderSpec) { spec.MaxConcurrentRequests = 1 })
	}
	if key.kind == v1alpha1.KindClusterPaymentProvider {
		return gen.ClusterPaymentProvider(key.Name, w.provider, &v1alpha1.NamespaceSelector{}, options...)
	}
	provider := gen.Provider(key.Namespace, w.provider, options...)
	provider.Name = key.Name
	return provider
}

// emptyProvider returns an object to read a provider into.
func emptyProvider(key objectKey) v1alpha1.GenericProvider {
	if key.kind == v1alpha1.KindClusterPaymentProvider {
		return &v1alpha1.ClusterPaymentProvider{}
	}
	return &v1alpha1.PaymentProvider{}
}

// createAccounts creates the accounts of a namespace, or the shared one for the operator's.
func (w *world) createAccounts(namespace string) {
	_ = w.server.create(gen.Secret(namespace, w.provider))
	for _, key := range w.accountKeys() {
		if w.secretOf(key).Namespace == namespace {
			_ = w.server.create(w.newProvider(key))
		}
	}
}

// providerAt reads a provider object; nil if there is none.
func (w *world) providerAt(key objectKey) v1alpha1.GenericProvider {
	provider := emptyProvider(key)
	if w.server.get(key.NamespacedName, provider) != nil {
		return nil
	}
	return provider
}

// restoreAccounts gives a namespace its accounts back, as they are at rest. A patient history does not change accounts
// that are as they were: a change would rescue every session that waits for nothing.
func (w *world) restoreAccounts(namespace string, patient bool) {
	interval := pollAtRest
	if patient {
		interval = pollInterval
	}
	secret := &corev1.Secret{}
	if w.server.get(types.NamespacedName{Namespace: namespace, Name: w.provider}, secret) == nil {
		data, err := json.Marshal(simulator.Keys()[w.provider])
		w.must(err)
		w.change(secret, `{"stringData":`+string(data)+`}`)
	}
	w.createAccounts(namespace)
	for _, key := range w.accountKeys() {
		if provider := w.providerAt(key); provider != nil && w.secretOf(key).Namespace == namespace {
			w.change(provider, fmt.Sprintf(`{"spec":{"pollInterval":%q,"maxConcurrentRequests":16,`+
				`"rateLimit":{"requests":10,"per":"1s","burst":20},"credentialsSecretRef":{"name":%q}}}`, interval, w.provider))
			if key.kind == v1alpha1.KindClusterPaymentProvider {
				w.change(provider, allowAll)
			}
		}
	}
}

// allowAll and allowNone change which namespaces may use the shared provider.
const (
	allowAll  = `{"spec":{"allowedNamespaces":{"matchLabels":null}}}`
	allowNone = `{"spec":{"allowedNamespaces":{"matchLabels":{"nobody":"has-this"}}}}`
)

// noteAccount keeps what is known about accounts up to date. The API server is locked.
func (w *world) noteAccount(changed change) {
	object := changed.after
	if object == nil {
		object = changed.before
	}
	switch object := object.(type) {
	case v1alpha1.GenericProvider:
		w.noteProvider(object, changed)
	case *corev1.Secret:
		before, _ := changed.before.(*corev1.Secret)
		w.checkUnprotected(before, changed.after)
		w.checkSecretLetGo(changed)
		if before != nil && changed.after != nil && reflect.DeepEqual(before.Data, object.Data) {
			return
		}
		for _, key := range w.accountKeys() {
			if w.secretOf(key) == client.ObjectKeyFromObject(object) {
				w.resetAccount(key)
				w.ledgers.account(key, func(known *accountFacts) {
					known.lost, known.keyedAt = known.lost || changed.after == nil, time.Now()
				})
			}
		}
	}
}

func (w *world) noteProvider(object v1alpha1.GenericProvider, changed change) {
	before, _ := changed.before.(v1alpha1.GenericProvider)
	gone := time.Time{}
	if changed.after == nil {
		gone = time.Now()
	}
	key := objectKey{object.ProviderKind(), client.ObjectKeyFromObject(object)}
	w.ledgers.account(key, func(known *accountFacts) {
		known.goneAt, known.lost = gone, known.lost || changed.after == nil
		seen := func(of v1alpha1.GenericProvider) bool {
			return of.ProviderStatus().ObservedGeneration == of.GetGeneration()
		}
		if seen(object) && (before == nil || !seen(before)) {
			known.observedAt = time.Now()
		}
	})
	if changed.was != nil && isProtected(changed.was) && (changed.after == nil || !isProtected(changed.after)) {
		w.checkLetGo(key, fmt.Sprintf("%s %s", key.kind, key.NamespacedName))
	}
	if before != nil && changed.after != nil && reflect.DeepEqual(specOf(before), specOf(object)) {
		return
	}
	w.resetAccount(key)
	renamed := before != nil && nameOfSecret(before) != nameOfSecret(object)
	w.ledgers.account(key, func(known *accountFacts) {
		if renamed {
			known.renamedAt = time.Now()
		}
		site := 0
		if strings.HasPrefix(object.ProviderSpec().Endpoint, hosts[1]) {
			site = 1
		}
		if site != known.site {
			known.previous, known.site, known.movedAt = known.site, site, time.Now()
			known.moves = append(known.moves, move{to: site, at: known.movedAt})
		}
	})
}

// checkLetGo refuses to release a provider object, or its Secret, that a session needs. The API server is locked.
func (w *world) checkLetGo(key objectKey, released string) {
	// The operator lists the sessions, and the provider is changed a moment later.
	const moment = 25 * time.Millisecond
	if w.isUninstalling() || len(w.running()) != 1 {
		return
	}
	for _, object := range w.server.objects {
		of, ok := object.(*v1alpha1.PaymentSession)
		if !ok || accountOf(of) != key || time.Since(w.ledgers.object(of.UID, nil).touched) < moment {
			continue
		}
		wanted := !isDeleting(of) && wantsBySpec(of, time.Now()) && wantsBySpec(of, w.clock())
		if !isClosed(of.Status.State) && w.valid(of) && !w.isRefusedForGood(of) && (hasFinalizer(of) || wanted) {
			w.findf("%s is released, and %s needs it", released, nameOf(of))
		}
	}
}

func nameOfSecret(provider v1alpha1.GenericProvider) string {
	return provider.ProviderSpec().CredentialsSecretRef.Name
}

// checkUnprotected refuses that a Secret loses its finalizer while a provider object names it and sessions need that.
// The API server is locked.
func (w *world) checkUnprotected(before *corev1.Secret, after client.Object) {
	// The operator reads the provider, and the Secret is changed a moment later.
	const moment = 20 * time.Millisecond
	if before == nil || after == nil || isDeleting(before) || isProtected(after) || !isProtected(before) {
		return
	}
	for _, key := range w.accountKeys() {
		provider, _ := w.server.objects[key].(v1alpha1.GenericProvider)
		names := provider != nil && !isDeleting(provider) && nameOfSecret(provider) == before.Name
		isRecent := time.Since(w.ledgers.account(key, nil).renamedAt) < moment
		if names && w.secretOf(key).Namespace == before.Namespace && !isRecent {
			w.findf("Secret %s loses its finalizer, and %s %s names it", nameOf(before), key.kind, key.NamespacedName)
		}
	}
}

// checkSecretLetGo refuses to release a Secret that is being deleted and that a session needs. The API server is
// locked.
func (w *world) checkSecretLetGo(changed change) {
	was := changed.was
	if was == nil || !isDeleting(was) || !isProtected(was) || changed.after != nil && isProtected(changed.after) {
		return
	}
	for _, key := range w.accountKeys() {
		provider, _ := w.server.objects[key].(v1alpha1.GenericProvider)
		isRecent := time.Since(w.ledgers.account(key, nil).renamedAt) < stale
		names := provider != nil && nameOfSecret(provider) == was.GetName() && !isRecent
		if names && w.secretOf(key).Namespace == was.GetNamespace() {
			w.checkLetGo(key, "Secret "+client.ObjectKeyFromObject(was).String())
		}
	}
}

func isProtected(object client.Object) bool {
	return slices.Contains(object.GetFinalizers(), v1alpha1.InUseFinalizer)
}

func (w *world) resetAccount(key objectKey) {
	now := time.Now()
	w.ledgers.account(key, func(known *accountFacts) {
		known.troubled = now
	})
	// The outcomes of its calls in flight are dropped.
	w.forgetProofs(func(payment) bool { return true })
}

// foundBy records that the account which made a call has found a session with some credentials.
func (w *world) foundBy(made *exchange, credentials string) {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	accounts := slices.Collect(maps.Keys(made.accounts))
	if len(accounts) == 0 {
		// Its object was gone when the call began.
		accounts = w.accountKeys()
	}
	for _, key := range accounts {
		access := w.accessOf(key, credentials)
		w.ledgers.account(key, func(known *accountFacts) { known.foundWith[access] = true })
	}
}

// accessOf returns what an account is and the credentials that it has used, as one text. The API server is locked.
func (w *world) accessOf(key objectKey, credentials string) string {
	provider, _ := w.server.objects[key].(v1alpha1.GenericProvider)
	if provider == nil {
		return ""
	}
	return string(provider.GetUID()) + credentials
}

// allows reports whether a provider may be used from the tenants' namespaces.
func allows(provider v1alpha1.GenericProvider) bool {
	shared, ok := provider.(*v1alpha1.ClusterPaymentProvider)
	return !ok || shared.Spec.AllowedNamespaces != nil && len(shared.Spec.AllowedNamespaces.MatchLabels) == 0
}

// isUsable reports whether an account can be used without limits, and its credentials are right.
func (w *world) isUsable(key objectKey) bool {
	provider, secret := w.providerAt(key), &corev1.Secret{}
	if provider == nil || isDeleting(provider) || !allows(provider) || w.server.get(w.secretOf(key), secret) != nil {
		return false
	}
	w.mu.Lock()
	down, rotated := w.isDown, w.isRotated
	w.mu.Unlock()
	spec := provider.ProviderSpec()
	right := string(secret.Data["apiKey"]) == simulator.Keys()[w.provider]["apiKey"] &&
		string(secret.Data["secretKey"]) == simulator.Keys()[w.provider]["secretKey"]
	return !down && !rotated && right && !isDeleting(secret) && spec.RateLimit.Requests == 10 &&
		spec.CredentialsSecretRef.Name == w.provider
}

// hasTrouble reports whether other sessions give the account a reason to hold back the calls about one.
func (w *world) hasTrouble(of *v1alpha1.PaymentSession) bool {
	w.server.mu.Lock()
	sibling := w.hasSibling(of)
	w.server.mu.Unlock()
	w.mu.Lock()
	rejected, flooded := len(w.rejected), w.flood != nil
	w.mu.Unlock()
	accepted := w.ledgers.account(accountOf(of), nil).acceptedAt
	return sibling || flooded || rejected > 1 || rejected == 1 && time.Since(accepted) > 8*time.Minute
}
