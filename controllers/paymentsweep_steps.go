// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/sweep"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// load reads the sweep from the cache, and its state. For a deletion it reads from the API server what ends it early.
func (r *PaymentSweepReconciler) load(ctx context.Context, scope *sweepScope) (bool, error) {
	object := &v1alpha1.PaymentSweep{}
	err := r.Client.Get(ctx, scope.request.NamespacedName, object)
	if client.IgnoreNotFound(err) != nil {
		return false, err
	}
	if apierrors.IsNotFound(err) || !r.WriteLease.Held() {
		object.UID = ""
	}
	if gone := r.states.drop(scope.request.NamespacedName, object.UID); gone != nil {
		gone.leave()
	}
	if object.UID == "" {
		return false, nil
	}
	state, isNew := r.states.of(object)
	if state.isBehind(object) {
		scope.wait = conflictDelay
		return false, nil
	}
	state.written = ""
	scope.sweep, scope.state = object, state
	if isNew {
		state.live.read = r.readLive(scope.request.NamespacedName)
	}
	if !object.DeletionTimestamp.IsZero() && sweep.HasFinalizer(object) {
		if proceed, err := r.loadDeletion(ctx, scope); !proceed || err != nil {
			return false, err
		}
	}
	if state.recalled {
		return true, nil
	}
	err = r.recall(ctx, scope)
	state.recalled = err == nil
	return err == nil, err
}

// recall remembers what the objects of the namespace retain. It asks the API server: other shards have other objects in
// their caches.
func (r *PaymentSweepReconciler) recall(ctx context.Context, scope *sweepScope) error {
	found, err := r.objectsOf(ctx, scope.sweep.Namespace)
	for _, each := range found {
		if each.retains {
			scope.state.retain(each.id)
		}
	}
	return err
}

// loadDeletion reads whether the Namespace is being deleted, and whether the operator is being uninstalled.
func (r *PaymentSweepReconciler) loadDeletion(ctx context.Context, scope *sweepScope) (bool, error) {
	var err error
	if scope.uninstalling, err = r.uninstalling.get(ctx, time.Now().Add(-freshness)); err != nil {
		return false, fmt.Errorf("cannot read the CRD of sweeps: %w", err)
	}
	if !scope.state.terminating {
		namespace := &corev1.Namespace{}
		if err := r.LiveReader.Get(ctx, types.NamespacedName{Name: scope.sweep.Namespace}, namespace); err != nil {
			return false, fmt.Errorf("cannot read namespace %s: %w", scope.sweep.Namespace, err)
		}
		scope.state.terminating = !namespace.DeletionTimestamp.IsZero()
		provider := scope.state.provider
		r.Providers[provider.kind].Enqueue(ctrl.Request{NamespacedName: provider.NamespacedName}, rereadDelay, urgent)
	}
	scope.terminating = scope.state.terminating
	if !sweep.ReleasedAtOnce(scope.sweep, scope.uninstalling, scope.terminating) {
		return true, nil
	}
	// Nothing else matters then: in an uninstall other kinds may be gone.
	return r.release(ctx, scope, "")
}

// resolve finds the sweep's account and what it lists there, or the obstacle in its place.
func (r *PaymentSweepReconciler) resolve(ctx context.Context, scope *sweepScope) (bool, error) {
	key, state := scope.state.provider, scope.state
	rules := resolver{cache: r.Client, directory: r.Directory, clusterName: r.ClusterName}
	found, ok, err := rules.find(ctx, key, scope.sweep.Namespace)
	if err != nil {
		return false, err
	}
	if !ok {
		exists, err := rules.exists(ctx, key)
		if err != nil {
			return false, err
		}
		if found.obstacle = providerNotFound(key); exists {
			found.obstacle = providerNotProtected(key)
		}
	}
	if exists := ok || found.obstacle.Reason != v1alpha1.ReasonProviderNotFound; !ok && exists {
		if state.unresolvedSince.IsZero() {
			state.unresolvedSince = time.Now()
		}
		if left := time.Until(state.unresolvedSince.Add(resolvePatience)); left > 0 {
			scope.wait = left
			return false, nil
		}
	} else {
		state.unresolvedSince = time.Time{}
	}
	scope.resolved = found
	if scope.obstacle == nil {
		scope.obstacle = r.unfit(scope)
	}
	if state.account != scope.entry.account {
		state.leave()
		state.account, state.lister = scope.entry.account, scope.entry.lister
	}
	return true, nil
}

// unfit returns why a provider that can be used cannot be swept, and sets what the sweep lists.
func (r *PaymentSweepReconciler) unfit(scope *sweepScope) *session.Obstacle {
	of, provider := scope.sweep, scope.state.provider
	rule := scope.entry.settings.ownership
	where, err := upstream.CompileWhere(of.Spec.Where)
	scope.lists = sweep.Scope{
		Generation: of.Generation, Self: scope.self, Exclusive: rule.Exclusive, Where: where,
		Lookback: duration(of.Spec.Lookback, defaultLookback),
		Sessions: int(max(of.Spec.Limits.Sessions, 1)), Pages: int(max(of.Spec.Limits.Pages, 1)),
	}
	obstacle := func(reason, format string, arguments ...any) *session.Obstacle {
		return &session.Obstacle{Reason: reason, Message: fmt.Sprintf(format, arguments...)}
	}
	switch {
	case err != nil:
		return obstacle(v1alpha1.ReasonInvalidWhere, "%s. Fix spec.where.", strings.TrimSuffix(err.Error(), "."))
	case !scope.entry.definition().Lists():
		return obstacle(v1alpha1.ReasonListUnsupported,
			"Class %s has no list of sessions. Register each session as a PaymentSession when it is created.", scope.entry.class)
	case scope.self == "" && !rule.Exclusive:
		return obstacle(v1alpha1.ReasonOwnershipMissing,
			"%s %s has no ownership rule, so that nothing says which sessions are this namespace's. Set spec.ownership there.",
			provider.kind, provider.Name)
	case sweep.WantsExpiry(of) && scope.entry.settings.sweepPolicy != v1alpha1.SweepAllow:
		return obstacle(v1alpha1.ReasonSweepNotAllowed,
			"%s %s does not allow that sweeps expire sessions. Set spec.sweepPolicy: Allow there, or deletionPolicy: Retain and "+
				"desiredState: active here.", provider.kind, provider.Name)
	case len(scope.state.retainedWith(of.Status.Retained)) >= sweep.MaxRetained:
		return obstacle(v1alpha1.ReasonTooManySessions,
			"%d sessions or more of the namespace were registered with deletionPolicy: Retain, and the status has no room for "+
				"others. Nothing is expired. Set deletionPolicy: Retain here, and expire the others in another way.", sweep.MaxRetained)
	default:
		return nil
	}
}

// defaultLookback is how far back sessions are listed where the spec does not say it.
const defaultLookback = 7 * 24 * time.Hour

// findObjects takes the last listing, and finds the objects for its sessions. It asks the API server, once for each
// listing that shows any: other shards have other objects in their caches.
func (r *PaymentSweepReconciler) findObjects(ctx context.Context, scope *sweepScope) (bool, error) {
	state := scope.state
	scope.kept = foldedSet(state.retainedWith(scope.sweep.Status.Retained))
	if state.lister != nil {
		scope.listing = state.lister.Listing(state.uid)
	}
	if scope.listing == nil || len(scope.listing.Open)+len(state.targets) == 0 {
		return true, nil
	}
	isWorking := len(state.targets) > 0 || !scope.sweep.DeletionTimestamp.IsZero()
	if !state.foundFor.Equal(scope.listing.Began) || isWorking && state.takeStale() {
		found, err := r.objectsOf(ctx, scope.sweep.Namespace)
		if err != nil {
			state.change()
			return false, err
		}
		state.found, state.foundFor = found, scope.listing.Began
		for _, each := range found {
			if each.retains {
				state.retain(each.id)
				scope.kept[folded(each.id)] = true
			}
		}
	}
	scope.objects = map[string]sweep.Object{}
	for _, listed := range scope.listing.Open {
		if object, ok := state.found[folded(listed.ID)]; ok {
			scope.objects[listed.ID] = object.object
		}
	}
	return true, nil
}

// objectsOf reads the objects of a namespace from the API server, by their folded session ids.
func (r *PaymentSweepReconciler) objectsOf(ctx context.Context, namespace string) (map[string]claimedSession, error) {
	list := &v1alpha1.PaymentSessionList{}
	if err := r.LiveReader.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return nil, fmt.Errorf("cannot list the sessions of the namespace: %w", err)
	}
	found := make(map[string]claimedSession, len(list.Items))
	for i := range list.Items {
		of := &list.Items[i]
		retains := of.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain
		isActive := retains || !isDeleting(of) && session.DesiredBySpec(of, r.Now()) == v1alpha1.DesiredStateActive
		made := claimedSession{
			id: of.Spec.SessionID, retains: retains, object: sweep.Object{Name: of.Name, Active: isActive},
		}
		if known, has := found[folded(made.id)]; !has || !known.retains {
			found[folded(made.id)] = made
		}
	}
	return found, nil
}

// decide collects the input and decides.
func (r *PaymentSweepReconciler) decide(_ context.Context, scope *sweepScope) (bool, error) {
	in := sweep.Input{
		Sweep: scope.sweep, Now: time.Now(), Uninstalling: scope.uninstalling, Terminating: scope.terminating,
		Obstacle: scope.obstacle, Access: scope.access(), Scope: scope.lists, Listing: scope.listing,
		Objects: scope.objects, Retained: scope.retains, Progress: scope.progress, Memory: scope.state.memory,
	}
	if scope.entry.account != nil {
		in.AccountEpoch, in.Lag = scope.entry.account.Epoch(), scope.entry.definition().Lag()
	}
	scope.action, scope.remembered, scope.decided = sweep.Decide(in), scope.state.memory, true
	scope.state.memory = scope.action.Memory
	scope.after(scope.action.Wait)
	if scope.action.Drop {
		scope.state.dropTargets()
	}
	return true, nil
}
