// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// resolvePatience is how long a session waits silently for a provider that exists and has not been reconciled yet.
const resolvePatience = 10 * time.Second

// load reads the session from the cache, and its memory.
func (r *PaymentSessionReconciler) load(ctx context.Context, scope *sessionScope) (bool, error) {
	object := &v1alpha1.PaymentSession{}
	err := r.Client.Get(ctx, scope.request.NamespacedName, object)
	if client.IgnoreNotFound(err) != nil {
		return false, err
	}
	gone := apierrors.IsNotFound(err)
	remembered, known := r.memories.get(scope.request.NamespacedName)
	if known && (gone || remembered.uid != object.UID) {
		r.forget(scope.request.NamespacedName, remembered)
		remembered, known = memory{}, false
	}
	if gone || remembered.isNewerThan(object) {
		// The watch triggers another reconcile when the cache has caught up.
		return false, nil
	}
	if known && remembered.written != "" {
		r.memories.update(object, func(changed *memory) { changed.written = "" })
	}
	scope.session, scope.remembered, scope.wasClosed = object, remembered, object.Status.State.Closed()
	return true, nil
}

// resolve finds the session's account, or the obstacle in its place.
func (r *PaymentSessionReconciler) resolve(ctx context.Context, scope *sessionScope) (bool, error) {
	key := providerOf(scope.session)
	if session.Finished(scope.session) {
		// An outcome of an earlier refresh, or of another manager's, must not answer the next refresh.
		if account := r.Directory.account(key); account != nil {
			account.Forget(scope.session.UID)
		}
		return true, nil
	}
	found, ok, err := r.resolver().find(ctx, key, scope.session.Namespace)
	if err != nil {
		return false, err
	}
	if !ok {
		return r.unresolved(ctx, scope)
	}
	if !scope.remembered.unresolvedSince.IsZero() {
		r.memories.update(scope.session, func(changed *memory) { changed.unresolvedSince = time.Time{} })
	}
	scope.resolved = found
	return true, nil
}

func (r *PaymentSessionReconciler) resolver() resolver {
	return resolver{cache: r.Client, directory: r.Directory, clusterName: r.ClusterName}
}

// unresolved handles a session whose provider does not exist or has not been reconciled yet. The reconcile of the
// provider requeues its sessions. If that takes long, the session's status says so.
func (r *PaymentSessionReconciler) unresolved(ctx context.Context, scope *sessionScope) (bool, error) {
	key := providerOf(scope.session)
	exists, err := r.resolver().exists(ctx, key)
	if err != nil {
		return false, err
	}
	if !exists {
		scope.obstacle = providerNotFound(key)
		return true, nil
	}
	since := scope.remembered.unresolvedSince
	if since.IsZero() {
		since = r.Now()
		r.memories.update(scope.session, func(changed *memory) { changed.unresolvedSince = since })
	}
	if left := since.Add(resolvePatience).Sub(r.Now()); left > 0 {
		scope.wait = left
		return false, nil
	}
	scope.obstacle = providerNotProtected(key)
	return true, nil
}

// decide collects the input and decides.
func (r *PaymentSessionReconciler) decide(ctx context.Context, scope *sessionScope) (bool, error) {
	in := session.Input{
		Session: scope.session, Now: r.Now(), Jitter: r.Jitter(), DryRun: r.DryRun,
		Uninstalling: scope.uninstalling, Memory: scope.remembered.session,
	}
	scope.outcome = scope.input(&in, scope.session.UID)
	if isDeleting(scope.session) {
		var err error
		if in.Duplicate, err = r.duplicates.exists(ctx, scope.session, scope.entry.definition()); err != nil {
			return false, err
		}
	}
	scope.action = session.Decide(in)
	return true, nil
}
