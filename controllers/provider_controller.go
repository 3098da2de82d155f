// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// +kubebuilder:rbac:groups=payments.payops.dev,resources=paymentproviders;clusterpaymentproviders,verbs=get;list;watch
// +kubebuilder:rbac:groups=payments.payops.dev,resources=paymentproviders/status;clusterpaymentproviders/status,verbs=patch

const (
	// secretInterval is how often a provider reads its Secret again. The operator has no right to watch Secrets.
	secretInterval = time.Minute
	// urgentSecretInterval is the same while sessions wait for credentials.
	urgentSecretInterval = 20 * time.Second
)

// ProviderReconciler manages the accounts of one of the two kinds of provider. Both kinds run the same code.
type ProviderReconciler struct {
	Client client.Client
	// SecretReader reads Secrets from the API server: the operator may get them, but neither list nor watch them.
	SecretReader client.Reader
	Recorder     events.EventRecorder
	Directory    *Directory
	Definitions  *Definitions
	// Sessions, Sweeps, Providers and InUse enqueue sessions, sweeps, providers of this kind, and their protection.
	Sessions  *Enqueuer
	Sweeps    *Enqueuer
	Providers *Enqueuer
	InUse     *Enqueuer
	// SecretNamespace is the namespace of the Secrets of ClusterPaymentProviders.
	SecretNamespace string
	// ClusterName is the name of this cluster in ownership rules; empty where it has none.
	ClusterName string
	// AllowPrivate permits http and private addresses.
	AllowPrivate bool
	// WriteLease is the right to write the status. A manager without it manages accounts all the same.
	WriteLease *WriteLease
	Now        func() time.Time

	// New returns an empty object of the kind.
	New func() v1alpha1.GenericProvider
	// NewList returns an empty list of the kind.
	NewList func() client.ObjectList
	// NewDoor opens the connection to a provider.
	NewDoor func(httpx.Options) Door
	// NewQueue returns the controller's queue; nil for controller-runtime's.
	NewQueue NewQueue
}

// Reconcile updates a provider's account after its spec, class and Secret, and writes its status.
func (r *ProviderReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	provider := r.New()
	key := providerKey{kind: provider.ProviderKind(), NamespacedName: request.NamespacedName}
	if err := r.Client.Get(ctx, request.NamespacedName, provider); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.Directory.remove(key)
			return ctrl.Result{}, r.enqueueSessions(ctx, key)
		}
		return ctrl.Result{}, err
	}
	changed, err := r.syncAccount(ctx, provider)
	if changed && err != nil {
		err = errors.Join(err, r.enqueueSessions(ctx, key))
	}
	if errors.Is(err, errUnprotected) {
		// Make no calls before the Secret is protected.
		return ctrl.Result{RequeueAfter: urgentSecretInterval}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if changed {
		if err := r.enqueueSessions(ctx, key); err != nil {
			return ctrl.Result{}, err
		}
	}
	known, _ := r.Directory.lookUp(key)
	says, wait := r.summary(known)
	err = r.writeStatus(ctx, provider, says, outage(known))
	if errors.Is(err, errConflict) {
		return ctrl.Result{RequeueAfter: conflictDelay}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: wait}, nil
}

// summary returns what the provider's conditions should say, and the time until the next reconcile.
func (r *ProviderReconciler) summary(known entry) (summary, time.Duration) {
	switch {
	case known.obstacle != nil:
		says := summary{
			ready: metav1.ConditionFalse, reason: known.notReady, message: known.obstacle.Message, progress: session.Reconciling,
		}
		if known.stalls || r.Now().Sub(known.notReadySince) >= session.Patience {
			says.progress = session.Stalled
		}
		return says, urgentSecretInterval
	case known.account != nil && known.account.Rejected():
		reason, message := session.Explain(known.account.Rejection())
		return summary{
			ready: metav1.ConditionFalse, reason: reason, message: message, progress: session.Stalled, warn: true,
		}, urgentSecretInterval
	case known.account != nil && !known.account.OutageSince().IsZero():
		return summary{
			ready: metav1.ConditionFalse, reason: v1alpha1.ReasonProviderUnavailable, progress: session.Reconciling, warn: true,
			message: "The provider does not answer; see status.outageSince. The operator holds calls back until a test call " +
				"is answered.",
		}, secretInterval
	default:
		says := summary{
			ready: metav1.ConditionTrue, reason: v1alpha1.ReasonAccountReady, message: "The operator can make calls with the " +
				"account.",
		}
		if known.account != nil && known.account.NeedsCredentials() {
			return says, urgentSecretInterval
		}
		return says, secretInterval
	}
}

// writeStatus writes the status if it has changed and this manager may write it, and an Event if a person should act.
func (r *ProviderReconciler) writeStatus(
	ctx context.Context, provider v1alpha1.GenericProvider, says summary, outageSince *metav1.Time,
) error {
	before, ok := provider.DeepCopyObject().(v1alpha1.GenericProvider)
	if !ok {
		return fmt.Errorf("a copy of %s is not a provider", keyOf(provider))
	}
	status := provider.ProviderStatus()
	conditions{&status.Conditions, provider.GetGeneration(), r.Now()}.summarize(says)
	status.ObservedGeneration = provider.GetGeneration()
	// Each manager sees the outage begin at another time. Keep the first one.
	if outageSince == nil || status.OutageSince == nil {
		status.OutageSince = outageSince
	}
	if !r.WriteLease.Held() || equality.Semantic.DeepEqual(before.ProviderStatus(), status) {
		return nil
	}
	if err := patchStatus(ctx, r.Client, provider, before); err != nil {
		return err
	}
	isNews := says.warn && readyReason(before.ProviderStatus().Conditions) != says.reason
	if isNews && (provider.GetNamespace() == "" || !terminating(ctx, r.Client, provider.GetNamespace())) {
		r.Recorder.Eventf(provider, nil, "Warning", says.reason, "Call", "%s", says.message)
	}
	return nil
}

// outage returns when the account's provider stopped answering; nil while it answers.
func outage(known entry) *metav1.Time {
	if known.account == nil {
		return nil
	}
	since := known.account.OutageSince()
	if since.IsZero() {
		return nil
	}
	at := metav1.NewTime(since).Rfc3339Copy()
	return &at
}

// enqueueSessions requests a reconcile of every session and every sweep of a provider.
func (r *ProviderReconciler) enqueueSessions(ctx context.Context, key providerKey) error {
	return errors.Join(
		r.Sessions.enqueueEach(ctx, r.Client, &v1alpha1.PaymentSessionList{},
			client.MatchingFields{sessionsByProvider: key.String()}),
		r.Sweeps.enqueueEach(ctx, r.Client, &v1alpha1.PaymentSweepList{},
			client.MatchingFields{sweepsByProvider: key.String()}),
	)
}

// enqueueAll requests a reconcile of every provider of the kind, and of its protection.
func (r *ProviderReconciler) enqueueAll(ctx context.Context) {
	for _, enqueuer := range []*Enqueuer{r.Providers, r.InUse} {
		if err := enqueuer.enqueueEach(ctx, r.Client, r.NewList()); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "cannot requeue the providers")
		}
	}
}

// SetupWithManager adds the controller to a manager.
func (r *ProviderReconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.WriteLease.onAcquired = append(r.WriteLease.onAcquired, r.enqueueAll)
	return ctrl.NewControllerManagedBy(mgr).
		For(r.New(), builder.WithPredicates(moreThanSummary)).
		Watches(&v1alpha1.PaymentProviderClass{}, handler.EnqueueRequestsFromMapFunc(r.ofClass)).
		WatchesRawSource(r.Providers.source()).
		WithOptions(controllerOptions(1, r.NewQueue)).
		Complete(r)
}

// moreThanSummary ignores the updates that change only what this controller writes. For a moment two managers may both
// believe to be the leader. If they disagree about an account, each would overwrite the other's status without a pause.
var moreThanSummary = predicate.Funcs{UpdateFunc: func(update event.UpdateEvent) bool {
	return !equality.Semantic.DeepEqual(withoutSummary(update.ObjectOld), withoutSummary(update.ObjectNew))
}}

// withoutSummary returns a copy of a provider without the fields that change with each summary of its account.
func withoutSummary(object client.Object) client.Object {
	provider, ok := object.DeepCopyObject().(v1alpha1.GenericProvider)
	if !ok {
		return object
	}
	status := provider.ProviderStatus()
	status.ObservedGeneration, status.Conditions, status.OutageSince = 0, nil, nil
	provider.SetResourceVersion("")
	provider.SetManagedFields(nil)
	return provider
}

// ofClass returns the providers of a class.
func (r *ProviderReconciler) ofClass(ctx context.Context, class client.Object) []ctrl.Request {
	requests, err := requestsFor(ctx, r.Client, r.NewList(), client.MatchingFields{providersByClass: class.GetName()})
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot requeue the providers of a class", "class", class.GetName())
	}
	return requests
}
