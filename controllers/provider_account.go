// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/account"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/sweep"
)

// syncAccount updates the provider's entry in the directory: the account that follows from spec, class and Secret, or
// the obstacle in its place. It reports whether the sessions have to be requeued.
func (r *ProviderReconciler) syncAccount(ctx context.Context, provider v1alpha1.GenericProvider) (bool, error) {
	wanted, err := r.connect(ctx, provider)
	if errors.Is(err, errUnprotected) {
		// The in-use controller requeues this provider when the Secret is protected. Nothing else tells it that a Secret
		// was recreated, because Secrets are not watched.
		r.InUse.Enqueue(ctrl.Request{NamespacedName: keyOf(provider).NamespacedName}, 0, urgent)
		err = r.unprotected(provider)
	}
	var obstacle *unready
	if err != nil && !errors.As(err, &obstacle) {
		return r.closeIfMoved(provider, wanted.settings.access.endpoint), err
	}
	key, changed := keyOf(provider), false
	r.Directory.update(key, func(known *entry) { //nolint:contextcheck // An account outlives the reconcile that opens it.
		before := known.visible()
		if known.uid != provider.GetUID() {
			known.close()
			*known = entry{uid: provider.GetUID()}
		}
		known.class, known.allowed = provider.ProviderSpec().ClassName, allowedNamespaces(provider)
		if obstacle != nil {
			r.closeAccount(known, provider, wanted.settings, obstacle)
		} else {
			r.openAccount(known, key, wanted)
		}
		changed = before != known.visible()
	})
	return changed, nil
}

// closeIfMoved closes the account if the provider names another endpoint by now, or is another object, and cannot be
// used yet. Calls must not go to the previous endpoint any more. It reports whether the sessions have to be requeued.
func (r *ProviderReconciler) closeIfMoved(provider v1alpha1.GenericProvider, endpoint string) bool {
	moved := false
	r.Directory.update(keyOf(provider), func(known *entry) {
		same := known.uid == provider.GetUID() && (endpoint == "" || endpoint == known.settings.access.endpoint)
		if known.account == nil || same {
			return
		}
		moved = true
		known.close()
		known.obstacle = &session.Obstacle{
			Reason:  v1alpha1.ReasonProviderNotReady,
			Message: fmt.Sprintf("%s %s has changed and cannot be used yet.", provider.ProviderKind(), provider.GetName()),
		}
	})
	return moved
}

// unprotected returns errUnprotected while the finalizer may still be added, and later an obstacle.
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
	return notReady(v1alpha1.ReasonCredentialsUnprotected,
		"the operator cannot add the finalizer %s to Secret %s, which could be deleted before the sessions that need it. "+
			"Allow the operator's "+
			"ServiceAccount to get and patch the Secret; its log says what went wrong.",
		v1alpha1.InUseFinalizer, secretOf(provider, provider.ProviderSpec().CredentialsSecretRef.Name, r.SecretNamespace))
}

// closeAccount puts an obstacle in the place of the account.
func (r *ProviderReconciler) closeAccount(known *entry, provider v1alpha1.GenericProvider, wanted settings,
	obstacle *unready) {
	known.close()
	wanted.access = access{}
	known.settings = wanted
	if obstacle.reason != v1alpha1.ReasonCredentialsUnprotected {
		known.unprotectedSince = time.Time{}
	}
	if obstacle.reason == v1alpha1.ReasonClassNotFound {
		// The class is a label of metrics. The name of a class that does not exist could be anything.
		known.class = ""
	}
	if known.notReady != obstacle.reason {
		known.notReady, known.notReadySince = obstacle.reason, r.Now()
	}
	known.stalls = obstacle.stalls
	known.obstacle = &session.Obstacle{
		Reason:  obstacle.sessionReason,
		Message: fmt.Sprintf("%s %s is not ready: %s", provider.ProviderKind(), provider.GetName(), obstacle.message),
	}
}

// openAccount opens the account, or reconfigures the one that is open.
func (r *ProviderReconciler) openAccount(known *entry, key providerKey, wanted connection) {
	moved := known.settings.access != wanted.settings.access
	if moved {
		if known.door != nil {
			known.door.Close()
		}
		known.door = r.NewDoor(httpx.Options{
			AllowPrivate:   r.AllowPrivate,
			MaxConnections: wanted.settings.access.connections,
			Timeout:        wanted.settings.access.timeout,
		})
		known.endpoint = wanted.endpoint
		known.endpoint.Door, known.endpoint.Timeout = known.door, wanted.settings.access.timeout
	}
	known.settings, known.obstacle, known.notReady, known.unprotectedSince = wanted.settings, nil, "", time.Time{}
	config := account.Config{
		Upstream: known.endpoint, Endpoint: known.settings.access.endpoint, Limits: known.settings.limits,
		ReloadCredentials: r.reloadCredentials(key),
		OnRejected: func(context.Context) {
			r.Providers.Enqueue(ctrl.Request{NamespacedName: key.NamespacedName}, 0, urgent)
		},
		OnRecovered: func(ctx context.Context) { r.enqueueWithSessions(ctx, key) },
		OnOutage:    func() { r.enqueueWithSessions(r.Directory.ctx, key) },
	}
	if known.account == nil {
		known.account = account.New(config)
		known.lister = sweep.NewLister(known.account, listOf(known))
		known.stop = r.Directory.run(known.account)
		return
	}
	known.account.Reconfigure(config)
	if moved {
		known.lister.Use(listOf(known))
	}
}

// listOf returns where the list of an account is read.
func listOf(known *entry) sweep.Source {
	endpoint := known.endpoint
	return sweep.Source{
		Endpoint: known.settings.access.endpoint, NewestFirst: endpoint.Definition.ListsNewestFirst(),
		Open:   func(since, until time.Time) sweep.Pages { return endpoint.List(since, until) },
		OnCall: countCall(known.class, call.OperationList),
	}
}

// reloadCredentials returns the callback for credentials that the provider has rejected: the Secret may just have
// been changed.
func (r *ProviderReconciler) reloadCredentials(key providerKey) func(context.Context) bool {
	return func(ctx context.Context) bool {
		provider := r.New()
		if err := r.Client.Get(ctx, key.NamespacedName, provider); err != nil {
			return false
		}
		before, _ := r.Directory.lookUp(key)
		changed, err := r.syncAccount(ctx, provider)
		if err != nil {
			return false
		}
		if changed {
			r.enqueueWithSessions(ctx, key)
		}
		after, _ := r.Directory.lookUp(key)
		return after.account != nil && after.account == before.account && after.settings.access != before.settings.access
	}
}

// enqueueWithSessions requests a reconcile of a provider and of all of its sessions.
func (r *ProviderReconciler) enqueueWithSessions(ctx context.Context, key providerKey) {
	r.Providers.Enqueue(ctrl.Request{NamespacedName: key.NamespacedName}, 0, urgent)
	if err := r.enqueueSessions(ctx, key); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot requeue the sessions of a provider that has changed", "provider",
			key.String())
	}
}
