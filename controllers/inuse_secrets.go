// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// secretOf returns the name of a provider's Secret.
func secretOf(provider v1alpha1.GenericProvider, name, clusterNamespace string) types.NamespacedName {
	if provider.GetNamespace() == "" {
		return types.NamespacedName{Namespace: clusterNamespace, Name: name}
	}
	return types.NamespacedName{Namespace: provider.GetNamespace(), Name: name}
}

// secret reads a Secret's metadata from the API server; nil if the Secret does not exist.
func (r *InUseReconciler) secret(ctx context.Context,
	name types.NamespacedName) (*metav1.PartialObjectMetadata, error) {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	if err := r.LiveReader.Get(ctx, name, secret); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil //nolint:nilnil // A Secret that does not exist is no error. There is nothing to protect.
		}
		return nil, fmt.Errorf("cannot read Secret %s: %w", name, err)
	}
	return secret, nil
}

// protectSecret adds the finalizer to a Secret, if the Secret exists and is not being deleted. It reports whether the
// provider can use the Secret now.
func (r *InUseReconciler) protectSecret(
	ctx context.Context, provider v1alpha1.GenericProvider, secret *metav1.PartialObjectMetadata,
) (bool, error) {
	if secret == nil {
		return false, nil
	}
	if isProtected(secret) {
		return true, nil
	}
	before := secret.DeepCopy()
	controllerutil.AddFinalizer(secret, v1alpha1.InUseFinalizer)
	if err := patchFinalizers(ctx, r.Client, secret, before); err != nil {
		return false, err
	}
	return true, r.checkRecorded(ctx, provider, secret)
}

// checkRecorded takes the finalizer of a Secret back if the provider has nothing to do with the Secret any more. For a
// moment two managers may both believe to be the leader: the other one may have released the Secret before it had the
// finalizer, which changes nothing in the Secret, and nobody would ever release it again.
func (r *InUseReconciler) checkRecorded(
	ctx context.Context, provider v1alpha1.GenericProvider, secret *metav1.PartialObjectMetadata,
) error {
	live := r.New()
	if err := r.LiveReader.Get(ctx, client.ObjectKeyFromObject(provider), live); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("cannot read the provider after its Secret was protected: %w", err)
	}
	if live.GetUID() == provider.GetUID() && r.needsSecret(live, client.ObjectKeyFromObject(secret)) {
		return nil
	}
	if err := r.lockReleases(ctx); err != nil {
		return err
	}
	defer r.unlockReleases()
	if err := r.releaseSecret(ctx, provider, secret.Name); err != nil {
		return err
	}
	return errConflict
}

// lockReleases waits until no other release runs. The error is that of a context that has ended.
func (r *InUseReconciler) lockReleases(ctx context.Context) error {
	select {
	case r.Releasing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (r *InUseReconciler) unlockReleases() { <-r.Releasing }

// releasePreviousSecrets releases the Secrets that the provider has recorded, but for the wanted one. The cache may not
// show yet that the provider names a previous Secret again.
func (r *InUseReconciler) releasePreviousSecrets(ctx context.Context, provider v1alpha1.GenericProvider,
	wanted string) error {
	held := slices.Clone(provider.ProviderStatus().HeldSecrets)
	if len(held) <= 1 {
		return nil
	}
	if err := r.lockReleases(ctx); err != nil {
		return err
	}
	defer r.unlockReleases()
	live := r.New()
	if err := r.LiveReader.Get(ctx, client.ObjectKeyFromObject(provider), live); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("cannot read the provider before its previous Secret is released: %w", err)
	}
	if live.GetResourceVersion() != provider.GetResourceVersion() {
		return errConflict
	}
	for _, name := range held {
		if name == wanted {
			continue
		}
		if err := r.releaseSecret(ctx, provider, name); err != nil {
			return err
		}
	}
	return r.setHeldSecrets(ctx, provider, []string{wanted})
}

// releaseDeletedSecret releases a Secret that is being deleted while its provider is not, once no session needs it:
// none of the provider, and none of another provider that shares the Secret.
func (r *InUseReconciler) releaseDeletedSecret(
	ctx context.Context, provider v1alpha1.GenericProvider, secret *metav1.PartialObjectMetadata,
) error {
	if err := r.lockReleases(ctx); err != nil {
		return err
	}
	defer r.unlockReleases()
	sharers, err := r.sharers(ctx, provider, client.ObjectKeyFromObject(secret))
	if err != nil {
		return err
	}
	for _, sharer := range append(sharers, provider) {
		if needed, err := r.needed(ctx, sharer); needed || err != nil {
			return err
		}
	}
	return r.removeFinalizer(ctx, secret)
}

// releaseSecret releases a Secret, unless another provider needs it. That one then records the Secret. No other
// release may run.
func (r *InUseReconciler) releaseSecret(ctx context.Context, provider v1alpha1.GenericProvider, name string) error {
	at := secretOf(provider, name, r.SecretNamespace)
	sharers, err := r.sharers(ctx, provider, at)
	if err != nil {
		return err
	}
	if len(sharers) > 0 {
		return r.recordSecret(ctx, sharers[0], at.Name)
	}
	secret, err := r.secret(ctx, at)
	if secret == nil || err != nil {
		return err
	}
	return r.removeFinalizer(ctx, secret)
}

func (r *InUseReconciler) removeFinalizer(ctx context.Context, secret *metav1.PartialObjectMetadata) error {
	before := secret.DeepCopy()
	if !controllerutil.RemoveFinalizer(secret, v1alpha1.InUseFinalizer) {
		return nil
	}
	return patchFinalizers(ctx, r.Client, secret, before)
}

// sharers returns the other providers that a Secret can be left to, as the API server has them. One that is being
// deleted and that nothing needs is none: another leader may be about to release it, and to leave the Secret to this
// provider in turn.
func (r *InUseReconciler) sharers(
	ctx context.Context, provider v1alpha1.GenericProvider, at types.NamespacedName,
) ([]v1alpha1.GenericProvider, error) {
	named, err := r.naming(ctx, at)
	if err != nil {
		return nil, err
	}
	var sharers []v1alpha1.GenericProvider
	for _, other := range named {
		if other.GetUID() == provider.GetUID() {
			continue
		}
		needed := other.GetDeletionTimestamp().IsZero()
		if !needed {
			if needed, err = r.needed(ctx, other); err != nil {
				return nil, err
			}
		}
		if needed {
			sharers = append(sharers, other)
		}
	}
	return sharers, nil
}

// naming returns the providers that need a Secret.
func (r *InUseReconciler) naming(ctx context.Context, at types.NamespacedName) ([]v1alpha1.GenericProvider, error) {
	var naming []v1alpha1.GenericProvider
	collect := func(provider v1alpha1.GenericProvider) {
		if r.needsSecret(provider, at) {
			naming = append(naming, provider)
		}
	}
	namespaced := &v1alpha1.PaymentProviderList{}
	if err := r.LiveReader.List(ctx, namespaced, client.InNamespace(at.Namespace)); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("cannot list the providers that share Secret %s: %w", at, err)
	}
	for i := range namespaced.Items {
		collect(&namespaced.Items[i])
	}
	if at.Namespace != r.SecretNamespace {
		return naming, nil
	}
	cluster := &v1alpha1.ClusterPaymentProviderList{}
	if err := r.LiveReader.List(ctx, cluster); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("cannot list the cluster providers that share Secret %s: %w", at, err)
	}
	for i := range cluster.Items {
		collect(&cluster.Items[i])
	}
	return naming, nil
}

// needsSecret reports whether a provider names a Secret or has recorded it, and can still release it.
func (r *InUseReconciler) needsSecret(provider v1alpha1.GenericProvider, at types.NamespacedName) bool {
	if !provider.GetDeletionTimestamp().IsZero() && !controllerutil.ContainsFinalizer(provider, v1alpha1.InUseFinalizer) {
		return false
	}
	named := provider.ProviderSpec().CredentialsSecretRef.Name
	recorded := slices.Contains(provider.ProviderStatus().HeldSecrets, at.Name)
	return secretOf(provider, named, r.SecretNamespace) == at || recorded && secretOf(
		provider, at.Name, r.SecretNamespace,
	) == at
}
