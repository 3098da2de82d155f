// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/account"
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
	known, ok := r.Directory.lookUp(key)
	if !ok {
		return r.unresolved(ctx, scope)
	}
	if !scope.remembered.unresolvedSince.IsZero() {
		r.memories.update(scope.session, func(changed *memory) { changed.unresolvedSince = time.Time{} })
	}
	scope.entry, scope.obstacle = known, known.obstacle
	if known.obstacle != nil {
		return true, nil
	}
	if key.kind != v1alpha1.KindClusterPaymentProvider {
		return true, r.resolveSelf(ctx, scope)
	}
	permitted, err := r.permitted(ctx, scope.session.Namespace, known.allowed)
	if err != nil {
		return false, err
	}
	if !permitted {
		scope.obstacle = &session.Obstacle{
			Reason: v1alpha1.ReasonNamespaceNotAllowed,
			Message: fmt.Sprintf(
				"ClusterPaymentProvider %s does not allow namespace %s. Its allowedNamespaces must select the namespace's labels.",
				key.Name, scope.session.Namespace),
		}
	}
	return true, r.resolveSelf(ctx, scope)
}

// resolveSelf finds the namespace's own word in the provider's ownership rule, or the obstacle in its place.
func (r *PaymentSessionReconciler) resolveSelf(ctx context.Context, scope *sessionScope) error {
	rule := scope.entry.ownership()
	if rule == nil {
		return nil
	}
	namespace := &corev1.Namespace{}
	err := r.Client.Get(ctx, types.NamespacedName{Name: scope.session.Namespace}, namespace)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("cannot read namespace %s: %w", scope.session.Namespace, err)
	}
	if err == nil {
		scope.self, err = rule.Self(namespace, r.ClusterName)
	}
	if err != nil {
		// It wins over a namespace that is no longer allowed, which does not stop a deletion.
		scope.obstacle = &session.Obstacle{
			Reason: v1alpha1.ReasonOwnershipIncomplete,
			Message: fmt.Sprintf("The ownership rule of %s %s gives namespace %s no word of its own: %s. Add the label or the "+
				"annotation that the rule uses to the Namespace, or change the rule.", providerOf(scope.session).kind,
				providerOf(scope.session).Name, scope.session.Namespace, err),
		}
	}
	return nil
}

// unresolved handles a session whose provider does not exist or has not been reconciled yet. The reconcile of the
// provider requeues its sessions. If that takes long, the session's status says so.
func (r *PaymentSessionReconciler) unresolved(ctx context.Context, scope *sessionScope) (bool, error) {
	key := providerOf(scope.session)
	exists, err := r.exists(ctx, key)
	if err != nil {
		return false, err
	}
	if !exists {
		scope.obstacle = &session.Obstacle{
			Reason: v1alpha1.ReasonProviderNotFound,
			Message: fmt.Sprintf(
				"%s %s does not exist. Create it, or recreate this session with another providerRef.", key.kind, key.Name),
		}
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
	scope.obstacle = &session.Obstacle{
		Reason: v1alpha1.ReasonProviderNotReady,
		Message: fmt.Sprintf(
			"%s %s is not ready: its Secret is not protected by the finalizer %s yet.", key.kind, key.Name, v1alpha1.InUseFinalizer),
	}
	return true, nil
}

// exists reports whether the cache has the provider.
func (r *PaymentSessionReconciler) exists(ctx context.Context, key providerKey) (bool, error) {
	var provider client.Object = &v1alpha1.PaymentProvider{}
	if key.kind == v1alpha1.KindClusterPaymentProvider {
		provider = &v1alpha1.ClusterPaymentProvider{}
	}
	err := r.Client.Get(ctx, key.NamespacedName, provider)
	return err == nil, client.IgnoreNotFound(err)
}

// permitted reports whether a selector matches the labels of a namespace.
func (r *PaymentSessionReconciler) permitted(ctx context.Context, name string, allowed labels.Selector) (bool, error) {
	if allowed == nil {
		return false, nil
	}
	namespace := &corev1.Namespace{}
	if err := r.Client.Get(ctx, types.NamespacedName{Name: name}, namespace); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return allowed.Matches(labels.Set(namespace.Labels)), nil
}

// decide collects the input and decides.
func (r *PaymentSessionReconciler) decide(ctx context.Context, scope *sessionScope) (bool, error) {
	in := session.Input{
		Session: scope.session, Now: r.Now(), Jitter: r.Jitter(), DryRun: r.DryRun,
		Uninstalling: scope.uninstalling, Obstacle: scope.obstacle, PollInterval: scope.entry.settings.pollInterval,
		Memory: scope.remembered.session,
	}
	definition := scope.entry.definition()
	if definition != nil {
		in.InvalidSessionID = !definition.ValidSessionID(scope.session.Spec.SessionID)
		in.ShowsExpirable = definition.ShowsExpirable()
		in.SessionIDName = definition.SessionIDName()
	}
	if scope.entry.ownership() != nil {
		in.Ownership, in.Self = cmp.Or(scope.entry.settings.ownership.Action, v1alpha1.OwnershipEnforce), scope.self
	}
	if account := scope.entry.account; account != nil {
		in.Endpoint, in.AccountEpoch, in.AccountFound = scope.entry.settings.access.endpoint, account.Epoch(), account.Found()
		in.ExpireBlocked = account.Blocks(v1alpha1.OperationExpire)
		in.ProofSince, in.AccessEpoch = account.ProofSince(), account.Access()
		in.MayProbe, in.Hold = account.MayProbe(scope.session.UID), holdOf(account.Activity())
		if outcome, ok := account.Outcome(scope.session.UID); ok {
			scope.outcome, in.Outcome = &outcome, &outcome
		}
	}
	if isDeleting(scope.session) {
		var err error
		if in.Duplicate, err = r.duplicates.exists(ctx, scope.session, definition); err != nil {
			return false, err
		}
	}
	scope.action = session.Decide(in)
	return true, nil
}

// holdOf returns the most serious cause for which an account holds requests back.
func holdOf(activity account.Activity) session.Hold {
	switch {
	case activity.Outage:
		return session.HoldOutage
	case activity.Paused:
		return session.HoldPause
	case activity.Limited:
		return session.HoldRateLimit
	default:
		return session.HoldQueue
	}
}
