// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// +kubebuilder:rbac:groups=payments.payops.dev,resources=paymentproviders;clusterpaymentproviders,verbs=patch

const (
	// inUseInterval is how often a deletion that waits for sessions is looked at again, beside the sessions' own events.
	inUseInterval = 30 * time.Second
	// releasedDelay is how soon after the release of a session its provider is looked at again.
	releasedDelay = 500 * time.Millisecond
	// livePage is how many sessions are read at once when looking for one that still needs its provider.
	livePage = 500
)

var (
	definitionKind = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}
	secretKind     = schema.GroupVersionKind{Version: "v1", Kind: "Secret"}
	// definitions are the CustomResourceDefinitions of the providers, by their kind.
	definitions = map[string]string{
		v1alpha1.KindPaymentProvider:        "paymentproviders.payments.payops.dev",
		v1alpha1.KindClusterPaymentProvider: "clusterpaymentproviders.payments.payops.dev",
	}
)

// InUseReconciler lets the providers of one kind, and their Secrets, live as long as sessions need them. The finalizer is put
// on when a provider is first seen: it cannot be added any more once a deletion has begun. It does not come and go with every
// session. There is no watch on Secrets: which ones bear the finalizer because of a provider stands in its status.
type InUseReconciler struct {
	Client     client.Client
	LiveReader client.Reader
	// Providers wakes the provider controller of the kind, InUse this controller.
	Providers *Waker
	InUse     *Waker
	// SecretNamespace is where the Secrets of ClusterPaymentProviders are.
	SecretNamespace string
	// Releasing is held while a Secret is let go: two providers that share one must not leave it to each other.
	Releasing *sync.Mutex
	// Writing is the right to do any of it.
	Writing *Writing
	Now     func() time.Time
	// New makes an empty object of the kind.
	New func() v1alpha1.GenericProvider
}

// Reconcile protects one provider and its Secret, or lets them go.
func (r *InUseReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	if !r.Writing.Held() {
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
		wait, err = r.letGo(ctx, provider)
	}
	if errors.Is(err, errOutdated) {
		return ctrl.Result{RequeueAfter: outdatedDelay}, nil
	}
	return ctrl.Result{RequeueAfter: wait}, err
}

// protect puts the finalizer on the Secret that the spec names, and takes it off the one that it named before. The provider
// remembers first: what then goes wrong with the Secret can be cleaned up by it. A Secret that may not be read is not remembered:
// it could never be let go, and neither could the provider. The provider's status says that it may not be read.
func (r *InUseReconciler) protect(ctx context.Context, provider v1alpha1.GenericProvider) error {
	wanted, status := provider.ProviderSpec().CredentialsSecretRef.Name, provider.ProviderStatus()
	secret, err := r.secret(ctx, r.secretName(provider, wanted))
	if apierrors.IsForbidden(err) {
		return r.bear(ctx, provider)
	}
	if err != nil {
		return err
	}
	if err := r.remember(ctx, provider, wanted); err != nil {
		return err
	}
	if secret != nil && !secret.DeletionTimestamp.IsZero() {
		if err := r.releaseDeleted(ctx, provider, secret); err != nil {
			return err
		}
	}
	added, err := r.addToSecret(ctx, secret)
	if err != nil {
		return err
	}
	for _, held := range slices.Clone(status.HeldSecrets) {
		if held == wanted {
			continue
		}
		if err := r.letGoOfSecret(ctx, provider, held); err != nil {
			return err
		}
	}
	if len(status.HeldSecrets) > 1 {
		if err := r.hold(ctx, provider, []string{wanted}); err != nil {
			return err
		}
	}
	if added {
		r.Providers.Wake(ctrl.Request{NamespacedName: client.ObjectKeyFromObject(provider)}, 0, urgent)
	}
	return nil
}

// remember sees to it that a provider does not go without letting a Secret go: its own, or one that another provider leaves to
// it before it was looked at. A finalizer that nobody remembers would stay for ever.
func (r *InUseReconciler) remember(ctx context.Context, provider v1alpha1.GenericProvider, secret string) error {
	if err := r.bear(ctx, provider); err != nil {
		return err
	}
	held := provider.ProviderStatus().HeldSecrets
	if slices.Contains(held, secret) {
		return nil
	}
	return r.hold(ctx, provider, append(slices.Clone(held), secret))
}

// bear puts the finalizer on a provider.
func (r *InUseReconciler) bear(ctx context.Context, provider v1alpha1.GenericProvider) error {
	if controllerutil.ContainsFinalizer(provider, v1alpha1.InUseFinalizer) {
		return nil
	}
	before := copyOf(provider)
	controllerutil.AddFinalizer(provider, v1alpha1.InUseFinalizer)
	return patchFinalizers(ctx, r.Client, provider, before)
}

// letGo lets a provider that is being deleted go, with its Secrets, when no session needs it any more.
func (r *InUseReconciler) letGo(ctx context.Context, provider v1alpha1.GenericProvider) (time.Duration, error) {
	uninstalling, err := crdGoes(ctx, r.LiveReader, definitions[provider.ProviderKind()])
	if err != nil {
		return 0, err
	}
	if !uninstalling {
		needed, err := r.needed(ctx, provider)
		if err != nil {
			return 0, err
		}
		if needed {
			// Its Secret may be made anew now, to mend what the sessions wait for.
			return inUseInterval, r.protect(ctx, provider)
		}
	}
	r.Releasing.Lock()
	defer r.Releasing.Unlock()
	for _, held := range provider.ProviderStatus().HeldSecrets {
		if err := r.removeFromSecret(ctx, provider, held); err != nil {
			return 0, err
		}
	}
	before := copyOf(provider)
	controllerutil.RemoveFinalizer(provider, v1alpha1.InUseFinalizer)
	return 0, patchFinalizers(ctx, r.Client, provider, before)
}

// needed reports whether any session has unfinished business with a provider: the index is asked first, and a live list before
// a release.
func (r *InUseReconciler) needed(ctx context.Context, provider v1alpha1.GenericProvider) (bool, error) {
	indexed := &v1alpha1.PaymentSessionList{}
	byFinalizer := client.MatchingFields{sessionsByFinalizer: keyOf(provider).String()}
	if err := r.Client.List(ctx, indexed, byFinalizer, client.Limit(1), client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("cannot list the sessions of the provider: %w", err)
	}
	if len(indexed.Items) > 0 {
		return true, nil
	}
	page := ""
	for {
		// A list that is decoded into twice keeps of the first page what the second does not say.
		live := &v1alpha1.PaymentSessionList{}
		err := r.LiveReader.List(ctx, live, client.InNamespace(provider.GetNamespace()), client.Limit(livePage), client.Continue(page),
			client.MatchingFields{"spec.providerRef.kind": provider.ProviderKind(), "spec.providerRef.name": provider.GetName()})
		switch {
		case apierrors.IsNotFound(err):
			return false, nil
		case err != nil:
			return false, fmt.Errorf("cannot list the sessions of the provider: %w", err)
		case slices.ContainsFunc(live.Items, r.unfinished):
			return true, nil
		case live.Continue == "":
			return false, nil
		}
		page = live.Continue
	}
}

func (r *InUseReconciler) unfinished(of v1alpha1.PaymentSession) bool {
	return session.NeedsProvider(&of, r.Now())
}

func (r *InUseReconciler) hold(ctx context.Context, provider v1alpha1.GenericProvider, secrets []string) error {
	before := copyOf(provider)
	provider.ProviderStatus().HeldSecrets = secrets
	return patchStatus(ctx, r.Client, provider, before)
}

// secretName is where a Secret of a provider is.
func (r *InUseReconciler) secretName(provider v1alpha1.GenericProvider, name string) types.NamespacedName {
	return secretOf(provider, name, r.SecretNamespace)
}

// addToSecret puts the finalizer on a Secret, if it is there and not being deleted. It reports whether there is anything new
// for the provider.
func (r *InUseReconciler) addToSecret(ctx context.Context, secret *metav1.PartialObjectMetadata) (bool, error) {
	if secret == nil {
		return false, nil
	}
	if controllerutil.ContainsFinalizer(secret, v1alpha1.InUseFinalizer) || !secret.DeletionTimestamp.IsZero() {
		return true, nil
	}
	before := secret.DeepCopy()
	controllerutil.AddFinalizer(secret, v1alpha1.InUseFinalizer)
	return true, patchFinalizers(ctx, r.Client, secret, before)
}

// releaseDeleted takes the finalizer off a Secret that is being deleted while its provider lives, once no session needs it: neither one
// of the provider nor one of another provider that shares the Secret.
func (r *InUseReconciler) releaseDeleted(ctx context.Context, provider v1alpha1.GenericProvider, secret *metav1.PartialObjectMetadata) error {
	r.Releasing.Lock()
	defer r.Releasing.Unlock()
	sharers, err := r.sharers(ctx, provider, client.ObjectKeyFromObject(secret))
	if err != nil {
		return err
	}
	for _, sharer := range append(sharers, provider) {
		if needed, err := r.needed(ctx, sharer); needed || err != nil {
			return err
		}
	}
	return r.stripSecret(ctx, secret)
}

// stripSecret takes the finalizer off a Secret that bears it.
func (r *InUseReconciler) stripSecret(ctx context.Context, secret *metav1.PartialObjectMetadata) error {
	before := secret.DeepCopy()
	if !controllerutil.RemoveFinalizer(secret, v1alpha1.InUseFinalizer) {
		return nil
	}
	return patchFinalizers(ctx, r.Client, secret, before)
}

func (r *InUseReconciler) letGoOfSecret(ctx context.Context, provider v1alpha1.GenericProvider, name string) error {
	r.Releasing.Lock()
	defer r.Releasing.Unlock()
	return r.removeFromSecret(ctx, provider, name)
}

// removeFromSecret takes the finalizer off a Secret, unless another provider needs it. Releasing is held.
func (r *InUseReconciler) removeFromSecret(ctx context.Context, provider v1alpha1.GenericProvider, name string) error {
	at := r.secretName(provider, name)
	shared, err := r.shared(ctx, provider, at)
	if shared || err != nil {
		return err
	}
	secret, err := r.secret(ctx, at)
	if secret == nil || err != nil {
		return err
	}
	return r.stripSecret(ctx, secret)
}

// shared reports whether another provider needs a Secret. That one remembers it.
func (r *InUseReconciler) shared(ctx context.Context, provider v1alpha1.GenericProvider, at types.NamespacedName) (bool, error) {
	sharers, err := r.sharers(ctx, provider, at)
	if len(sharers) == 0 || err != nil {
		return false, err
	}
	return true, r.remember(ctx, sharers[0], at.Name)
}

// sharers are, live, the other providers that need a Secret.
func (r *InUseReconciler) sharers(ctx context.Context, provider v1alpha1.GenericProvider, at types.NamespacedName) ([]v1alpha1.GenericProvider, error) {
	var sharers []v1alpha1.GenericProvider
	collect := func(other v1alpha1.GenericProvider) {
		if other.GetUID() == provider.GetUID() || !other.GetDeletionTimestamp().IsZero() && !controllerutil.ContainsFinalizer(other, v1alpha1.InUseFinalizer) {
			return
		}
		name := other.ProviderSpec().CredentialsSecretRef.Name
		if secretOf(other, name, r.SecretNamespace) == at ||
			slices.Contains(other.ProviderStatus().HeldSecrets, at.Name) && secretOf(other, at.Name, r.SecretNamespace) == at {
			sharers = append(sharers, other)
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
		return sharers, nil
	}
	cluster := &v1alpha1.ClusterPaymentProviderList{}
	if err := r.LiveReader.List(ctx, cluster); client.IgnoreNotFound(err) != nil {
		return nil, fmt.Errorf("cannot list the cluster providers that share Secret %s: %w", at, err)
	}
	for i := range cluster.Items {
		collect(&cluster.Items[i])
	}
	return sharers, nil
}

// secret reads a Secret's metadata live; nil where there is none.
func (r *InUseReconciler) secret(ctx context.Context, name types.NamespacedName) (*metav1.PartialObjectMetadata, error) {
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(secretKind)
	if err := r.LiveReader.Get(ctx, name, secret); err != nil {
		if apierrors.IsNotFound(err) {
			return nil, nil //nolint:nilnil // A Secret that is not there is no error, and nothing to protect.
		}
		return nil, fmt.Errorf("cannot read Secret %s: %w", name, err)
	}
	return secret, nil
}

func copyOf(provider v1alpha1.GenericProvider) client.Object {
	copied, _ := provider.DeepCopyObject().(client.Object)
	return copied
}

// secretOf is where a provider's Secret of that name is.
func secretOf(provider v1alpha1.GenericProvider, name, clusterNamespace string) types.NamespacedName {
	if provider.GetNamespace() == "" {
		return types.NamespacedName{Namespace: clusterNamespace, Name: name}
	}
	return types.NamespacedName{Namespace: provider.GetNamespace(), Name: name}
}

// SetupWithManager adds the controller to a manager.
func (r *InUseReconciler) SetupWithManager(mgr ctrl.Manager) error {
	// Those of one moment share one look.
	released := handler.Funcs{
		UpdateFunc: func(ctx context.Context, update event.UpdateEvent, queue workqueue.TypedRateLimitingInterface[ctrl.Request]) {
			before, wasSession := update.ObjectOld.(*v1alpha1.PaymentSession)
			after, isSession := update.ObjectNew.(*v1alpha1.PaymentSession)
			if wasSession && isSession && session.HasFinalizer(before) && !session.HasFinalizer(after) {
				r.enqueueWaiting(ctx, after, queue)
			}
		},
		DeleteFunc: func(ctx context.Context, deletion event.DeleteEvent, queue workqueue.TypedRateLimitingInterface[ctrl.Request]) {
			r.enqueueWaiting(ctx, deletion.Object, queue)
		},
	}
	kind := r.New().ProviderKind()
	return ctrl.NewControllerManagedBy(mgr).
		Named("inuse-"+definitions[kind]).
		For(r.New()).
		Watches(&v1alpha1.PaymentSession{}, released).
		WatchesRawSource(r.InUse.source()).
		Complete(r)
}

// enqueueWaiting enqueues the provider of a session that was released, if it is being deleted.
func (r *InUseReconciler) enqueueWaiting(ctx context.Context, object client.Object, queue workqueue.TypedRateLimitingInterface[ctrl.Request]) {
	of, ok := object.(*v1alpha1.PaymentSession)
	if !ok || providerOf(of).kind != r.New().ProviderKind() {
		return
	}
	provider := r.New()
	if err := r.Client.Get(ctx, providerOf(of).NamespacedName, provider); err != nil || provider.GetDeletionTimestamp().IsZero() {
		return
	}
	queue.AddAfter(ctrl.Request{NamespacedName: providerOf(of).NamespacedName}, releasedDelay)
}
