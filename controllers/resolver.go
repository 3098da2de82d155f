// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"cmp"
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/account"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// resolver finds what a provider object is for a namespace.
type resolver struct {
	cache       client.Reader
	directory   *Directory
	clusterName string
}

// resolved is a provider as one namespace may use it.
type resolved struct {
	// entry is the provider's entry, and obstacle is why no call can be made; nil where calls can be made.
	entry    entry
	obstacle *session.Obstacle
	// self is the namespace's own word in the provider's ownership rule; empty without a rule.
	self string
}

// find returns a provider; ok is false where it does not exist or has not been reconciled yet.
func (r resolver) find(ctx context.Context, key providerKey, namespace string) (found resolved, ok bool, err error) {
	known, ok := r.directory.lookUp(key)
	if !ok {
		return resolved{}, false, nil
	}
	found = resolved{entry: known, obstacle: known.obstacle}
	if known.obstacle != nil {
		return found, true, nil
	}
	if key.kind == v1alpha1.KindClusterPaymentProvider {
		permitted, err := r.permitted(ctx, namespace, known.allowed)
		if err != nil {
			return found, false, err
		}
		if !permitted {
			found.obstacle = &session.Obstacle{
				Reason: v1alpha1.ReasonNamespaceNotAllowed,
				Message: fmt.Sprintf(
					"ClusterPaymentProvider %s does not allow namespace %s. Its allowedNamespaces must select the namespace's labels.",
					key.Name, namespace),
			}
		}
	}
	return found, true, r.resolveSelf(ctx, key, namespace, &found)
}

// permitted reports whether a selector matches the labels of a namespace.
func (r resolver) permitted(ctx context.Context, name string, allowed labels.Selector) (bool, error) {
	if allowed == nil {
		return false, nil
	}
	namespace := &corev1.Namespace{}
	if err := r.cache.Get(ctx, types.NamespacedName{Name: name}, namespace); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return allowed.Matches(labels.Set(namespace.Labels)), nil
}

// resolveSelf finds the namespace's own word in the provider's ownership rule, or the obstacle in its place.
func (r resolver) resolveSelf(ctx context.Context, key providerKey, name string, found *resolved) error {
	rule := found.entry.ownership()
	if rule == nil {
		return nil
	}
	namespace := &corev1.Namespace{}
	err := r.cache.Get(ctx, types.NamespacedName{Name: name}, namespace)
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("cannot read namespace %s: %w", name, err)
	}
	if err == nil {
		found.self, err = rule.Self(namespace, r.clusterName)
	}
	if err != nil {
		// It wins over a namespace that is no longer allowed, which does not stop a deletion.
		found.obstacle = &session.Obstacle{
			Reason: v1alpha1.ReasonOwnershipIncomplete,
			Message: fmt.Sprintf("The ownership rule of %s %s gives namespace %s no word of its own: %s. Add the label or the "+
				"annotation that the rule uses to the Namespace, or change the rule.", key.kind, key.Name, name, err),
		}
	}
	return nil
}

// exists reports whether the cache has the provider.
func (r resolver) exists(ctx context.Context, key providerKey) (bool, error) {
	var provider client.Object = &v1alpha1.PaymentProvider{}
	if key.kind == v1alpha1.KindClusterPaymentProvider {
		provider = &v1alpha1.ClusterPaymentProvider{}
	}
	err := r.cache.Get(ctx, key.NamespacedName, provider)
	return err == nil, client.IgnoreNotFound(err)
}

// providerNotFound is the obstacle of a provider that does not exist.
func providerNotFound(key providerKey) *session.Obstacle {
	return &session.Obstacle{
		Reason: v1alpha1.ReasonProviderNotFound,
		Message: fmt.Sprintf(
			"%s %s does not exist. Create it, or recreate this object with another providerRef.", key.kind, key.Name),
	}
}

// providerNotProtected is the obstacle of a provider that exists and cannot be used yet.
func providerNotProtected(key providerKey) *session.Obstacle {
	return &session.Obstacle{
		Reason: v1alpha1.ReasonProviderNotReady,
		Message: fmt.Sprintf(
			"%s %s is not ready: its Secret is not protected by the finalizer %s yet.", key.kind, key.Name, v1alpha1.InUseFinalizer),
	}
}

// input adds the provider and its account to the input of a decision about a session. It returns the outcome that is
// to be handled; nil for none.
func (f resolved) input(in *session.Input, uid types.UID) *call.Outcome {
	in.Obstacle, in.PollInterval = f.obstacle, f.entry.settings.pollInterval
	if definition := f.entry.definition(); definition != nil {
		in.InvalidSessionID = !definition.ValidSessionID(in.Session.Spec.SessionID)
		in.ShowsExpirable = definition.ShowsExpirable()
		in.SessionIDName = definition.SessionIDName()
	}
	if f.entry.ownership() != nil {
		in.Ownership, in.Self = cmp.Or(f.entry.settings.ownership.Action, v1alpha1.OwnershipEnforce), f.self
	}
	account := f.entry.account
	if account == nil {
		return nil
	}
	in.Endpoint, in.AccountEpoch, in.AccountFound = f.entry.settings.access.endpoint, account.Epoch(), account.Found()
	in.ExpireBlocked = account.Blocks(v1alpha1.OperationExpire)
	in.ProofSince, in.AccessEpoch = account.ProofSince(), account.Access()
	in.MayProbe, in.Hold = account.MayProbe(uid), holdOf(account.Activity())
	if outcome, ok := account.Outcome(uid); ok {
		in.Outcome = &outcome
	}
	return in.Outcome
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
