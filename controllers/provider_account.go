// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"golang.org/x/time/rate"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/account"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// deletedSecretDelay is how soon a Secret that is being deleted is looked at; while a namespace is torn down its provider reads it again
// and again.
const deletedSecretDelay = 5 * time.Second

// unready is why a provider has no account. Sessions see it as one of their own reasons.
type unready struct {
	reason        string
	sessionReason string
	message       string
}

func (u *unready) Error() string { return u.message }

func notReady(reason, format string, arguments ...any) error {
	return &unready{reason: reason, sessionReason: v1alpha1.ReasonProviderNotReady, message: fmt.Sprintf(format, arguments...)}
}

func credentialsMissing(format string, arguments ...any) error {
	return &unready{
		reason: v1alpha1.ReasonCredentialsMissing, sessionReason: v1alpha1.ReasonCredentialsMissing,
		message: fmt.Sprintf(format, arguments...),
	}
}

// equip gives the provider's entry of the directory the account that spec, class and Secret make, or the obstacle in its
// place. It reports whether sessions should look again.
func (r *ProviderReconciler) equip(ctx context.Context, provider v1alpha1.GenericProvider) (bool, error) {
	made, err := r.access(ctx, provider)
	if errors.Is(err, errUnprotected) {
		err = r.unprotected(provider)
	}
	var obstacle *unready
	if err != nil && !errors.As(err, &obstacle) {
		return r.leave(provider, made.endpoint), err
	}
	key, changed := keyOf(provider), false
	r.Directory.update(key, func(known *entry) { //nolint:contextcheck // An account outlives the reconcile that makes it.
		if known.uid != provider.GetUID() {
			known.close()
			*known = entry{uid: provider.GetUID()}
			changed = true
		}
		before := *known
		known.allowed, known.class = allowed(provider), provider.ProviderSpec().ClassName
		if obstacle != nil && obstacle.reason == v1alpha1.ReasonClassNotFound {
			// The class is a label of metrics: a name that anybody can make up is none.
			known.class = ""
		}
		known.pollInterval = duration(provider.ProviderSpec().PollInterval, 10*time.Minute)
		if obstacle != nil {
			r.obstruct(known, provider, obstacle)
		} else {
			r.open(known, provider, made)
		}
		changed = changed || differs(before, *known)
	})
	return changed, nil
}

// leave closes the account if the provider now names another endpoint or is another object, and cannot be used yet: the previous
// endpoint no longer concerns it. It reports whether sessions should be requeued.
func (r *ProviderReconciler) leave(provider v1alpha1.GenericProvider, endpoint string) bool {
	left := false
	r.Directory.update(keyOf(provider), func(known *entry) {
		if known.account == nil || known.uid == provider.GetUID() && (endpoint == "" || endpoint == known.endpoint) {
			return
		}
		left = true
		known.close()
		known.obstacle = &session.Obstacle{
			Reason:  v1alpha1.ReasonProviderNotReady,
			Message: fmt.Sprintf("%s %s has changed, and cannot be used yet.", provider.ProviderKind(), provider.GetName()),
		}
	})
	return left
}

// unprotected is errUnprotected while what protects the credentials may still be on its way, and an obstacle after that.
func (r *ProviderReconciler) unprotected(provider v1alpha1.GenericProvider) error {
	var since time.Time
	r.Directory.update(keyOf(provider), func(known *entry) {
		if known.unprotectedSince.IsZero() {
			known.unprotectedSince = r.Now()
		}
		since = known.unprotectedSince
	})
	if r.Now().Sub(since) < session.Patience {
		return errUnprotected
	}
	return notReady(v1alpha1.ReasonCredentialsUnprotected, "the finalizer %s cannot be put on Secret %s, which could be gone before the sessions that need it. Let the operator's ServiceAccount get and patch it; its log says what went wrong.",
		v1alpha1.InUseFinalizer, secretOf(provider, provider.ProviderSpec().CredentialsSecretRef.Name, r.SecretNamespace))
}

// differs reports whether sessions can tell two states of an entry apart.
func differs(before, after entry) bool {
	sameObstacle := before.obstacle == nil && after.obstacle == nil ||
		before.obstacle != nil && after.obstacle != nil && *before.obstacle == *after.obstacle
	sameAllowed := before.allowed == nil && after.allowed == nil ||
		before.allowed != nil && after.allowed != nil && before.allowed.String() == after.allowed.String()
	return !sameObstacle || !sameAllowed || before.fingerprint != after.fingerprint || before.pollInterval != after.pollInterval
}

func (r *ProviderReconciler) obstruct(known *entry, provider v1alpha1.GenericProvider, obstacle *unready) {
	known.close()
	if known.trouble != obstacle.reason {
		known.trouble, known.troubleSince = obstacle.reason, r.Now()
	}
	known.obstacle = &session.Obstacle{
		Reason:  obstacle.sessionReason,
		Message: fmt.Sprintf("%s %s is not ready: %s", provider.ProviderKind(), provider.GetName(), obstacle.message),
	}
}

// open makes the account, or changes the one that is there. The limits may change at any time; another fingerprint means
// another endpoint.
func (r *ProviderReconciler) open(known *entry, provider v1alpha1.GenericProvider, made access) {
	spec, key := provider.ProviderSpec(), keyOf(provider)
	known.obstacle, known.trouble, known.unprotectedSince = nil, "", time.Time{}
	config := account.Config{
		Upstream: made.upstream, Endpoint: made.endpoint,
		Limits: account.Limits{
			Rate:        rate.Every(duration(spec.RateLimit.Per, time.Second) / time.Duration(max(spec.RateLimit.Requests, 1))),
			Burst:       int(max(spec.RateLimit.Burst, 1)),
			Concurrency: int(max(spec.MaxConcurrentRequests, 1)),
		},
		Refresh: r.refresher(key),
		Rejected: func(context.Context) {
			r.Providers.Wake(ctrl.Request{NamespacedName: key.NamespacedName}, 0, urgent)
		},
		Recovered: func(ctx context.Context) { r.tellEveryone(ctx, key) },
		Outage:    func() { r.tellEveryone(r.Directory.ctx, key) },
	}
	if known.fingerprint == made.fingerprint {
		config.Upstream = known.upstream
	} else {
		if known.door != nil {
			known.door.Close()
		}
		known.door = httpx.New(httpx.Options{
			AllowPrivate: r.AllowPrivate, MaxConnections: config.Limits.Concurrency, Timeout: duration(spec.Timeout, 10*time.Second),
		})
		made.upstream.Door = known.door
		known.upstream, known.fingerprint, known.definition = made.upstream, made.fingerprint, made.upstream.Definition
		known.endpoint = made.endpoint
	}
	if known.account == nil {
		known.account = account.New(config)
		known.stop = r.Directory.run(known.account)
		return
	}
	known.account.Reconfigure(config)
}

// access is how a provider's API is reached.
type access struct {
	upstream *upstream.Endpoint
	// endpoint tells endpoints apart, with the class by which replies are read; fingerprint tells apart whatever else went into it.
	endpoint, fingerprint string
}

// access makes the access to the provider's API from its spec, class and Secret. The error is an *unready, unless the API server failed;
// the endpoint is there as soon as it is known.
func (r *ProviderReconciler) access(ctx context.Context, provider v1alpha1.GenericProvider) (access, error) {
	spec := provider.ProviderSpec()
	class := &v1alpha1.PaymentProviderClass{}
	err := r.Client.Get(ctx, types.NamespacedName{Name: spec.ClassName}, class)
	if apierrors.IsNotFound(err) {
		return access{}, notReady(v1alpha1.ReasonClassNotFound, "PaymentProviderClass %s does not exist. Create it, or set className to one that does.", spec.ClassName)
	}
	if err != nil {
		return access{}, err
	}
	definition, err := r.Definitions.Of(class)
	if err != nil {
		return access{}, notReady(v1alpha1.ReasonClassNotReady, "PaymentProviderClass %s is not valid; its own status says where.", class.Name)
	}
	base, err := definition.BaseURL(spec.Environment, spec.Endpoint)
	if err != nil {
		return access{}, notReady(v1alpha1.ReasonInvalidEnvironment, "%s.", err)
	}
	if base.Scheme != "https" && !r.AllowPrivate {
		return access{}, notReady(v1alpha1.ReasonEndpointNotAllowed, "the endpoint is plain http. Use https: the operator sends credentials there.")
	}
	made := access{endpoint: fmt.Sprintln(class.UID, class.Generation, base)}
	at := secretOf(provider, spec.CredentialsSecretRef.Name, r.SecretNamespace)
	secret, err := r.secret(ctx, at)
	if err != nil {
		return made, err
	}
	if !outlives(provider, secret) {
		return made, errUnprotected
	}
	credentials, err := definition.Credentials(secret.Data)
	var missing *upstream.MissingCredentialsError
	switch {
	case errors.As(err, &missing):
		return made, credentialsMissing("Secret %s: %s. Add what class %s wants.", at, missing, class.Name)
	case err != nil:
		return made, notReady(v1alpha1.ReasonInvalidCredentials, "Secret %s: %s.", at, err)
	}
	if !secret.DeletionTimestamp.IsZero() {
		// It goes once no session needs it.
		r.InUse.Wake(ctrl.Request{NamespacedName: client.ObjectKeyFromObject(provider)}, deletedSecretDelay, urgent)
	}
	parts := fmt.Appendln([]byte(made.endpoint), spec.MaxConcurrentRequests, duration(spec.Timeout, 0))
	for _, name := range slices.Sorted(maps.Keys(credentials)) {
		parts = fmt.Appendln(parts, name, []byte(credentials[name]))
	}
	fingerprint := sha256.Sum256(parts)
	made.upstream = &upstream.Endpoint{Definition: definition, BaseURL: base, Credentials: credentials}
	made.fingerprint = string(fingerprint[:])
	return made, nil
}

// errUnprotected is a provider, or a Secret, that could be gone before the sessions that need it.
var errUnprotected = errors.New("the provider or its Secret does not bear the in-use finalizer yet")

// outlives reports whether a provider and its Secret bear the finalizer that lets them live as long as their sessions. One that
// is already being deleted cannot get it any more, and is used as long as it is there.
func outlives(objects ...client.Object) bool {
	for _, object := range objects {
		if object.GetDeletionTimestamp().IsZero() && !controllerutil.ContainsFinalizer(object, v1alpha1.InUseFinalizer) {
			return false
		}
	}
	return true
}

// secret reads a Secret live.
func (r *ProviderReconciler) secret(ctx context.Context, name types.NamespacedName) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := r.SecretReader.Get(ctx, name, secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, credentialsMissing("Secret %s does not exist. Create it with the keys that the class wants.", name)
	case apierrors.IsForbidden(err):
		return nil, credentialsMissing("the operator may not read Secret %s. Give its ServiceAccount the right to get it.", name)
	case err != nil:
		return nil, fmt.Errorf("cannot read Secret %s: %w", name, err)
	}
	return secret, nil
}

// refresher reads the Secret again when the provider has rejected the credentials: they may just have been changed.
func (r *ProviderReconciler) refresher(key providerKey) func(context.Context) bool {
	return func(ctx context.Context) bool {
		provider := r.New()
		if err := r.Client.Get(ctx, key.NamespacedName, provider); err != nil {
			return false
		}
		before, _ := r.Directory.lookUp(key)
		changed, err := r.equip(ctx, provider)
		if err != nil {
			return false
		}
		if changed {
			r.tellEveryone(ctx, key)
		}
		after, _ := r.Directory.lookUp(key)
		return after.account != nil && after.account == before.account && after.fingerprint != before.fingerprint
	}
}

// tellEveryone lets a provider and all of its sessions look again.
func (r *ProviderReconciler) tellEveryone(ctx context.Context, key providerKey) {
	r.Providers.Wake(ctrl.Request{NamespacedName: key.NamespacedName}, 0, urgent)
	if err := r.wakeSessions(ctx, key); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot wake the sessions of a provider that has changed", "provider", key.String())
	}
}

// allowed is the selector of namespaces of a ClusterPaymentProvider. What cannot be parsed allows none.
func allowed(provider v1alpha1.GenericProvider) labels.Selector {
	cluster, ok := provider.(*v1alpha1.ClusterPaymentProvider)
	if !ok || cluster.Spec.AllowedNamespaces == nil {
		return nil
	}
	selector, err := metav1.LabelSelectorAsSelector(cluster.Spec.AllowedNamespaces.LabelSelector())
	if err != nil {
		return nil
	}
	return selector
}

func duration(given *metav1.Duration, otherwise time.Duration) time.Duration {
	if given == nil {
		return otherwise
	}
	return given.Duration
}
