// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/crd"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/sweep"
)

// +kubebuilder:rbac:groups=payments.payops.dev,resources=paymentproviders;clusterpaymentproviders,verbs=patch

const (
	// inUseInterval is the time between two checks of a deletion that waits for sessions, besides the sessions' own
	// events.
	inUseInterval = 30 * time.Second
	// releasedDelay is the time between the release of a session and the check of its provider. Releases of one moment
	// share a check.
	releasedDelay = 500 * time.Millisecond
	// livePage is the number of sessions in one page of a live list.
	livePage = 500
)

// InUseReconciler keeps the providers of one kind, and their Secrets, as long as sessions need them. It adds the
// finalizer when it first sees a provider, because Kubernetes allows no new finalizer once a deletion has begun. The
// finalizer does not come and go with each session. Secrets are not watched: the provider's status records which of
// them have the finalizer.
type InUseReconciler struct {
	Client     client.Client
	LiveReader client.Reader
	// Providers enqueues the providers of the kind, InUse their protection: this controller.
	Providers *Enqueuer
	InUse     *Enqueuer
	// SecretNamespace is the namespace of the Secrets of ClusterPaymentProviders.
	SecretNamespace string
	// Releasing has room for one release of a Secret: two providers that share one must not each leave it to the other.
	// It is no mutex, because it is held during requests to the API server and those that wait for it must be able to
	// end.
	Releasing chan struct{}
	// WriteLease is the right to do any of this.
	WriteLease *WriteLease
	Now        func() time.Time
	// New returns an empty object of the kind.
	New func() v1alpha1.GenericProvider
	// NewQueue returns the controller's queue; nil for controller-runtime's.
	NewQueue NewQueue
}

// Reconcile protects one provider and its Secret, or releases them.
func (r *InUseReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	if !r.WriteLease.Held() {
		return ctrl.Result{}, nil
	}
	provider := r.New()
	if err := r.Client.Get(ctx, request.NamespacedName, provider); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	var wait time.Duration
	var err error
	if provider.GetDeletionTimestamp().IsZero() {
		err = r.protect(ctx, provider)
	} else if controllerutil.ContainsFinalizer(provider, v1alpha1.InUseFinalizer) {
		wait, err = r.release(ctx, provider)
	}
	if errors.Is(err, errConflict) {
		return ctrl.Result{RequeueAfter: conflictDelay}, nil
	}
	return ctrl.Result{RequeueAfter: wait}, err
}

// protect adds the finalizer to the Secret that the spec names, and removes it from the one that it named before. The
// provider records the Secret first, so that a failure in between can be cleaned up. A Secret that may not be read is
// not recorded: neither the Secret nor the provider could ever be released. The provider's status says that it may
// not be read.
func (r *InUseReconciler) protect(ctx context.Context, provider v1alpha1.GenericProvider) error {
	wanted := provider.ProviderSpec().CredentialsSecretRef.Name
	secret, err := r.secret(ctx, secretOf(provider, wanted, r.SecretNamespace))
	if apierrors.IsForbidden(err) {
		return r.ensureFinalizer(ctx, provider)
	}
	if err != nil {
		return err
	}
	if err := r.recordSecret(ctx, provider, wanted); err != nil {
		return err
	}
	if secret != nil && !secret.DeletionTimestamp.IsZero() {
		if err := r.releaseDeletedSecret(ctx, provider, secret); err != nil {
			return err
		}
	}
	usable, err := r.protectSecret(ctx, provider, secret)
	if err != nil {
		return err
	}
	if err := r.releasePreviousSecrets(ctx, provider, wanted); err != nil {
		return err
	}
	if usable {
		r.Providers.Enqueue(ctrl.Request{NamespacedName: client.ObjectKeyFromObject(provider)}, 0, urgent)
	}
	return nil
}

// recordSecret makes sure that a provider releases a Secret before it is gone: its own, or one that another provider
// leaves to it. A finalizer that no provider has recorded would stay forever.
func (r *InUseReconciler) recordSecret(ctx context.Context, provider v1alpha1.GenericProvider, secret string) error {
	if err := r.ensureFinalizer(ctx, provider); err != nil {
		return err
	}
	held := provider.ProviderStatus().HeldSecrets
	if slices.Contains(held, secret) {
		return nil
	}
	return r.setHeldSecrets(ctx, provider, append(slices.Clone(held), secret))
}

// ensureFinalizer adds the finalizer to a provider.
func (r *InUseReconciler) ensureFinalizer(ctx context.Context, provider v1alpha1.GenericProvider) error {
	if controllerutil.ContainsFinalizer(provider, v1alpha1.InUseFinalizer) {
		return nil
	}
	before := copyOf(provider)
	controllerutil.AddFinalizer(provider, v1alpha1.InUseFinalizer)
	return patchFinalizers(ctx, r.Client, provider, before)
}

func (r *InUseReconciler) setHeldSecrets(ctx context.Context, provider v1alpha1.GenericProvider,
	secrets []string) error {
	before := copyOf(provider)
	provider.ProviderStatus().HeldSecrets = secrets
	return patchStatus(ctx, r.Client, provider, before)
}

// release releases a provider that is being deleted, with its Secrets, once no session needs it. It returns the time
// until the next check.
func (r *InUseReconciler) release(ctx context.Context, provider v1alpha1.GenericProvider) (time.Duration, error) {
	uninstalling, err := crd.Deleted(ctx, r.LiveReader, provider.ProviderKind())
	if err != nil {
		return 0, err
	}
	if !uninstalling {
		needed, err := r.needed(ctx, provider)
		if err != nil {
			return 0, err
		}
		if needed {
			// Its Secret may have been recreated to fix what the sessions wait for.
			return inUseInterval, r.protect(ctx, provider)
		}
	}
	if err := r.lockReleases(ctx); err != nil {
		return 0, err
	}
	defer r.unlockReleases()
	for _, held := range provider.ProviderStatus().HeldSecrets {
		if err := r.releaseSecret(ctx, provider, held); err != nil {
			return 0, err
		}
	}
	before := copyOf(provider)
	controllerutil.RemoveFinalizer(provider, v1alpha1.InUseFinalizer)
	return 0, patchFinalizers(ctx, r.Client, provider, before)
}

// needed reports whether any session or sweep needs a provider. It asks the index first, and the API server before a
// release.
func (r *InUseReconciler) needed(ctx context.Context, provider v1alpha1.GenericProvider) (bool, error) {
	if swept, err := r.swept(ctx, provider); swept || err != nil {
		return swept, err
	}
	indexed := &v1alpha1.PaymentSessionList{}
	byFinalizer := client.MatchingFields{sessionsByFinalizer: keyOf(provider).String()}
	if err := r.Client.List(ctx, indexed, byFinalizer, client.Limit(1), client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("cannot list the sessions of the provider: %w", err)
	}
	if len(indexed.Items) > 0 {
		return true, nil
	}
	ofProvider := client.MatchingFields{
		v1alpha1.FieldProviderKind: provider.ProviderKind(), v1alpha1.FieldProviderName: provider.GetName(),
	}
	page := ""
	for {
		// Decoding into a reused list keeps stale fields of the previous page.
		live := &v1alpha1.PaymentSessionList{}
		err := r.LiveReader.List(
			ctx, live, client.InNamespace(provider.GetNamespace()), client.Limit(livePage), client.Continue(page), ofProvider)
		switch {
		case apierrors.IsNotFound(err):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("cannot list the sessions of the provider: %w", err)
		case slices.ContainsFunc(live.Items, r.needsProvider):
			return true, nil
		case live.Continue == "":
			return false, nil
		}
		page = live.Continue
	}
}

// swept reports whether a sweep that holds its namespace needs a provider.
func (r *InUseReconciler) swept(ctx context.Context, provider v1alpha1.GenericProvider) (bool, error) {
	live := &v1alpha1.PaymentSweepList{}
	err := r.LiveReader.List(ctx, live, client.InNamespace(provider.GetNamespace()), client.MatchingFields{
		v1alpha1.FieldProviderKind: provider.ProviderKind(), v1alpha1.FieldProviderName: provider.GetName(),
		v1alpha1.FieldDeletionPolicy: string(v1alpha1.DeletionPolicyExpire),
	})
	switch {
	case apierrors.IsNotFound(err):
		return false, nil
	case err != nil:
		return false, fmt.Errorf("cannot list the sweeps of the provider: %w", err)
	}
	return slices.ContainsFunc(live.Items, func(of v1alpha1.PaymentSweep) bool { return sweep.HasFinalizer(&of) }), nil
}

func (r *InUseReconciler) needsProvider(of v1alpha1.PaymentSession) bool {
	return session.NeedsProvider(&of, r.Now())
}

func copyOf(provider v1alpha1.GenericProvider) client.Object {
	copied, _ := provider.DeepCopyObject().(client.Object)
	return copied
}

// SetupWithManager adds the controller to a manager.
func (r *InUseReconciler) SetupWithManager(mgr ctrl.Manager) error {
	released := handler.Funcs{
		UpdateFunc: func(ctx context.Context, update event.UpdateEvent,
			queue workqueue.TypedRateLimitingInterface[ctrl.Request]) {
			if isReleased(update.ObjectOld, update.ObjectNew) {
				r.enqueueDeletedProvider(ctx, update.ObjectNew, queue)
			}
		},
		DeleteFunc: func(ctx context.Context, deletion event.DeleteEvent,
			queue workqueue.TypedRateLimitingInterface[ctrl.Request]) {
			r.enqueueDeletedProvider(ctx, deletion.Object, queue)
		},
	}
	return ctrl.NewControllerManagedBy(mgr).
		Named("inuse-"+v1alpha1.CRDName(r.New().ProviderKind())).
		For(r.New(), builder.WithPredicates(moreThanSummary)).
		Watches(&v1alpha1.PaymentSession{}, released).
		Watches(&v1alpha1.PaymentSweep{}, released).
		WatchesRawSource(r.InUse.source()).
		WithOptions(controllerOptions(1, r.NewQueue)).
		Complete(r)
}

// isReleased reports whether an update removes the finalizer of a session or a sweep.
func isReleased(before, after client.Object) bool {
	return slices.ContainsFunc([]string{v1alpha1.ExpireFinalizer, v1alpha1.SweepFinalizer}, func(name string) bool {
		return controllerutil.ContainsFinalizer(before, name) && !controllerutil.ContainsFinalizer(after, name)
	})
}

// enqueueDeletedProvider requests a reconcile of the provider of a session or a sweep that was released, if the
// provider is being deleted.
func (r *InUseReconciler) enqueueDeletedProvider(
	ctx context.Context, object client.Object, queue workqueue.TypedRateLimitingInterface[ctrl.Request],
) {
	var key providerKey
	switch of := object.(type) {
	case *v1alpha1.PaymentSession:
		key = providerOf(of)
	case *v1alpha1.PaymentSweep:
		key = referenced(of.Spec.ProviderRef, of.Namespace)
	}
	if key.kind != r.New().ProviderKind() {
		return
	}
	provider := r.New()
	if err := r.Client.Get(ctx, key.NamespacedName, provider); err != nil || provider.GetDeletionTimestamp().IsZero() {
		return
	}
	queue.AddAfter(ctrl.Request{NamespacedName: key.NamespacedName}, releasedDelay)
}
