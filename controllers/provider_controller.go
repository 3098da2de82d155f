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
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// +kubebuilder:rbac:groups=payments.payops.dev,resources=paymentproviders;clusterpaymentproviders,verbs=get;list;watch
// +kubebuilder:rbac:groups=payments.payops.dev,resources=paymentproviders/status;clusterpaymentproviders/status,verbs=patch

const (
	// secretInterval is how often a provider reads its Secret again: there is no watch on Secrets.
	secretInterval = time.Minute
	// hurriedSecretInterval is the same while sessions wait for credentials.
	hurriedSecretInterval = 20 * time.Second
)

// ProviderReconciler keeps the accounts of one of the two kinds of provider. Both run the same body.
type ProviderReconciler struct {
	Client client.Client
	// SecretReader reads Secrets live: the operator may get them, and neither list nor watch them.
	SecretReader client.Reader
	Recorder     events.EventRecorder
	Directory    *Directory
	Definitions  *Definitions
	// Sessions wakes sessions, Providers the providers of this kind, InUse what protects them.
	Sessions  *Waker
	Providers *Waker
	InUse     *Waker
	// SecretNamespace is where the Secrets of ClusterPaymentProviders are.
	SecretNamespace string
	// AllowPrivate permits http and private addresses.
	AllowPrivate bool
	// Writing is the right to write the status. Who lacks it keeps accounts all the same.
	Writing *Writing
	Now     func() time.Time

	// New makes an empty object of the kind.
	New func() v1alpha1.GenericProvider
	// NewList makes an empty list of the kind.
	NewList func() client.ObjectList
}

// Reconcile looks at one provider, keeps its account as the spec, the class and the Secret say, and writes its status.
func (r *ProviderReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	provider := r.New()
	key := providerKey{kind: provider.ProviderKind(), NamespacedName: request.NamespacedName}
	if err := r.Client.Get(ctx, request.NamespacedName, provider); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.Directory.remove(key)
			return ctrl.Result{}, r.wakeSessions(ctx, key)
		}
		return ctrl.Result{}, err
	}
	changed, err := r.equip(ctx, provider)
	if changed && err != nil {
		err = errors.Join(err, r.wakeSessions(ctx, key))
	}
	if errors.Is(err, errUnprotected) {
		// Calls wait until the Secret outlives them; what protects it wakes this provider then.
		r.InUse.Wake(request, 0, urgent)
		return ctrl.Result{RequeueAfter: hurriedSecretInterval}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	if changed {
		if err := r.wakeSessions(ctx, key); err != nil {
			return ctrl.Result{}, err
		}
	}
	known, _ := r.Directory.lookUp(key)
	says, wait := r.summary(known)
	err = r.tell(ctx, provider, says, outage(known))
	if errors.Is(err, errOutdated) {
		return ctrl.Result{RequeueAfter: outdatedDelay}, nil
	}
	if err != nil {
		return ctrl.Result{}, err
	}
	return ctrl.Result{RequeueAfter: wait}, nil
}

// summary is what the provider's conditions should say, and when to look at it again.
func (r *ProviderReconciler) summary(known entry) (summary, time.Duration) {
	switch {
	case known.obstacle != nil:
		says := summary{ready: metav1.ConditionFalse, reason: known.trouble, message: known.obstacle.Message, progress: session.Reconciling}
		if r.Now().Sub(known.troubleSince) >= session.Patience {
			says.progress = session.Stalled
		}
		return says, hurriedSecretInterval
	case known.account != nil && known.account.Rejected():
		return summary{
			ready: metav1.ConditionFalse, reason: v1alpha1.ReasonCredentialsRejected, progress: session.Stalled,
			message: "The provider does not accept the credentials of the Secret. Correct the Secret; a change is noticed by itself.",
		}, hurriedSecretInterval
	case known.account != nil && !known.account.OutageSince().IsZero():
		return summary{
			ready: metav1.ConditionFalse, reason: v1alpha1.ReasonProviderUnavailable, progress: session.Reconciling,
			message: "The provider answers hardly any call; status.outageSince says since when. Calls wait until one that tries is answered.",
		}, secretInterval
	default:
		says, wait := summary{ready: metav1.ConditionTrue, reason: v1alpha1.ReasonAccountReady, message: "Calls can be made with the account."}, secretInterval
		if known.account != nil && known.account.NeedsCredentials() {
			wait = hurriedSecretInterval
		}
		return says, wait
	}
}

// tell writes the status, if it says something new and is this manager's to write, and an Event for what a person should look at.
func (r *ProviderReconciler) tell(ctx context.Context, provider v1alpha1.GenericProvider, says summary, outageSince *metav1.Time) error {
	before, ok := provider.DeepCopyObject().(v1alpha1.GenericProvider)
	if !ok {
		return fmt.Errorf("a copy of %s is not a provider", keyOf(provider))
	}
	status := provider.ProviderStatus()
	conditions{&status.Conditions, provider.GetGeneration(), r.Now()}.summarize(says)
	status.ObservedGeneration = provider.GetGeneration()
	// Each manager has its own time of the same outage; the first one stays.
	if outageSince == nil || status.OutageSince == nil {
		status.OutageSince = outageSince
	}
	if !r.Writing.Held() || equality.Semantic.DeepEqual(before.ProviderStatus(), status) {
		return nil
	}
	if err := patchStatus(ctx, r.Client, provider, before); err != nil {
		return err
	}
	alarming := says.reason == v1alpha1.ReasonCredentialsRejected || says.reason == v1alpha1.ReasonProviderUnavailable
	news := alarming && readyReason(before.ProviderStatus().Conditions) != says.reason
	if news && (provider.GetNamespace() == "" || !terminating(ctx, r.Client, provider.GetNamespace())) {
		r.Recorder.Eventf(provider, nil, "Warning", says.reason, "Call", "%s", says.message)
	}
	return nil
}

// outage is when the account's provider ceased to answer; nil while it does.
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

// wakeSessions lets every session of a provider look at it again.
func (r *ProviderReconciler) wakeSessions(ctx context.Context, key providerKey) error {
	return r.Sessions.wakeEach(ctx, r.Client, &v1alpha1.PaymentSessionList{}, client.MatchingFields{sessionsByProvider: key.String()})
}

// wakeAll lets every provider of the kind, and what protects it, be looked at again.
func (r *ProviderReconciler) wakeAll(ctx context.Context) {
	for _, waker := range []*Waker{r.Providers, r.InUse} {
		if err := waker.wakeEach(ctx, r.Client, r.NewList()); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "cannot look at the providers again")
		}
	}
}

// SetupWithManager adds the controller to a manager.
func (r *ProviderReconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.Writing.begun = append(r.Writing.begun, r.wakeAll)
	return ctrl.NewControllerManagedBy(mgr).
		For(r.New()).
		Watches(&v1alpha1.PaymentProviderClass{}, handler.EnqueueRequestsFromMapFunc(r.ofClass)).
		WatchesRawSource(r.Providers.source()).
		Complete(r)
}

// ofClass finds the providers of a class.
func (r *ProviderReconciler) ofClass(ctx context.Context, class client.Object) []ctrl.Request {
	requests, err := requestsFor(ctx, r.Client, r.NewList(), client.MatchingFields{providersByClass: class.GetName()})
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot find the providers of a class", "class", class.GetName())
	}
	return requests
}
