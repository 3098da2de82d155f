// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// The indexes of the cache.
const (
	// sessionsByProvider finds the PaymentSessions of a providerKey that are not finished.
	sessionsByProvider = "sessionsByProvider"
	// sessionsByFinalizer finds the PaymentSessions of a providerKey that have our finalizer, or should have it.
	sessionsByFinalizer = "sessionsByFinalizer"
	// sessionsByClaim finds the PaymentSessions of a claimKey that may want the session active. Several objects may name
	// one session.
	sessionsByClaim = "sessionsByClaim"
	// sweepsByProvider finds the PaymentSweeps of a providerKey.
	sweepsByProvider = "sweepsByProvider"
	// providersByClass finds the providers of both kinds by the name of their class.
	providersByClass = "providersByClass"
)

// providerKey names a provider of either kind; the namespace of a ClusterPaymentProvider is empty.
type providerKey struct {
	kind string
	types.NamespacedName
}

func (k providerKey) String() string { return fmt.Sprintf("%s/%s", k.kind, k.NamespacedName) }

// providerOf returns the key of the provider that a session names.
func providerOf(of *v1alpha1.PaymentSession) providerKey {
	return referenced(of.Spec.ProviderRef, of.Namespace)
}

// referenced returns the key of the provider that an object of a namespace names.
func referenced(reference v1alpha1.ProviderReference, namespace string) providerKey {
	key := providerKey{kind: reference.Kind}
	key.Name = reference.Name
	if key.kind != v1alpha1.KindClusterPaymentProvider {
		key.kind, key.Namespace = v1alpha1.KindPaymentProvider, namespace
	}
	return key
}

func keyOf(provider v1alpha1.GenericProvider) providerKey {
	return providerKey{kind: provider.ProviderKind(), NamespacedName: client.ObjectKeyFromObject(provider)}
}

// setupIndexes adds the indexes to the manager's cache. It must run before the controllers are set up.
func setupIndexes(ctx context.Context, mgr ctrl.Manager) error {
	for name, keys := range map[string]func(*v1alpha1.PaymentSession) []string{
		sessionsByProvider: func(of *v1alpha1.PaymentSession) []string {
			if session.Finished(of) {
				return nil
			}
			return []string{providerOf(of).String()}
		},
		sessionsByFinalizer: func(of *v1alpha1.PaymentSession) []string {
			if !session.HasFinalizer(of) && (!session.WantsFinalizer(of) || !of.DeletionTimestamp.IsZero()) {
				return nil
			}
			return []string{providerOf(of).String()}
		},
		sessionsByClaim: func(of *v1alpha1.PaymentSession) []string {
			if of.Spec.DesiredState == v1alpha1.DesiredStateExpired || !of.DeletionTimestamp.IsZero() {
				return nil
			}
			return []string{claimKey(of)}
		},
	} {
		extract := func(object client.Object) []string {
			if of, ok := object.(*v1alpha1.PaymentSession); ok {
				return keys(of)
			}
			return nil
		}
		if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.PaymentSession{}, name, extract); err != nil {
			return fmt.Errorf("cannot index sessions: %w", err)
		}
	}
	byProvider := func(object client.Object) []string {
		of, ok := object.(*v1alpha1.PaymentSweep)
		if !ok {
			return nil
		}
		return []string{referenced(of.Spec.ProviderRef, of.Namespace).String()}
	}
	if err := mgr.GetFieldIndexer().IndexField(ctx, &v1alpha1.PaymentSweep{}, sweepsByProvider, byProvider); err != nil {
		return fmt.Errorf("cannot index sweeps: %w", err)
	}
	byClass := func(object client.Object) []string {
		provider, ok := object.(v1alpha1.GenericProvider)
		if !ok {
			return nil
		}
		return []string{provider.ProviderSpec().ClassName}
	}
	for _, provider := range []client.Object{&v1alpha1.PaymentProvider{}, &v1alpha1.ClusterPaymentProvider{}} {
		if err := mgr.GetFieldIndexer().IndexField(ctx, provider, providersByClass, byClass); err != nil {
			return fmt.Errorf("cannot index providers by class: %w", err)
		}
	}
	return nil
}
