// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// +kubebuilder:rbac:groups=payments.payops.dev,resources=paymentsessions,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=payments.payops.dev,resources=paymentsessions/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

const (
	// drainTimeout bounds what is written after the last call in flight has ended, on shutdown.
	drainTimeout = 10 * time.Second
	// rereadDelay is how soon a provider reads its Secret again for a deletion; those of one moment share one reading.
	rereadDelay = time.Second
	// lookUpPatience is how long a session waits silently for a provider that is there and was not looked at yet.
	lookUpPatience = 10 * time.Second
	// confirmDelay is until a session whose expiry was not confirmed is looked at again.
	confirmDelay = time.Second

	minRetry = 200 * time.Millisecond
	maxRetry = time.Minute
)

// PaymentSessionReconciler makes sessions what their specs want.
type PaymentSessionReconciler struct {
	Client client.Client
	// LiveReader reads past the cache, for what a stale answer must not decide.
	LiveReader client.Reader
	Recorder   events.EventRecorder
	Directory  *Directory
	Sessions   *Waker
	// Providers wakes providers, by their kind.
	Providers map[string]*Waker
	// DryRun forbids every call that changes something at a provider.
	DryRun bool
	Now    func() time.Time
	// Jitter gives a number from 0 up to 1, another each time.
	Jitter func() float64
	// Audit is where each call is written that may have changed something at a provider.
	Audit logr.Logger

	memories   memories
	duplicates duplicates
	// uninstalling reads whether the CRD of PaymentSessions is being deleted.
	uninstalling sharedRead[bool]
}

// sessionStep is one step of a reconcile. It returns false where there is nothing more to do.
type sessionStep func(context.Context, *sessionScope) (bool, error)

// Reconcile runs the steps for one session, in their order, until one ends it.
func (r *PaymentSessionReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	scope := &sessionScope{request: request}
	for _, step := range []sessionStep{r.load, r.ensureFinalizer, r.resolve, r.decide, r.writeStatus, r.act} {
		goOn, err := step(ctx, scope)
		switch {
		case errors.Is(err, errOutdated):
			return ctrl.Result{RequeueAfter: outdatedDelay}, nil
		case err != nil:
			return ctrl.Result{}, err
		case !goOn:
			return ctrl.Result{RequeueAfter: scope.wait}, nil
		}
	}
	return ctrl.Result{RequeueAfter: scope.action.Wait}, nil
}

// Drain acts on the outcomes of the calls that were in flight at a shutdown: the workers are gone by then.
func (r *PaymentSessionReconciler) Drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	for _, name := range r.memories.names() {
		if err := r.drain(ctx, name); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "cannot finish a session before the shutdown; it is done after it", "session", name)
		}
	}
}

// drain acts on the outcome of a session's call, if there is one, and takes the finalizer off a session that is finished.
func (r *PaymentSessionReconciler) drain(ctx context.Context, name types.NamespacedName) error {
	remembered, _ := r.memories.get(name)
	if known, _ := r.Directory.lookUp(remembered.provider); known.account != nil {
		if _, there := known.account.Outcome(remembered.uid); there {
			if _, err := r.Reconcile(ctx, ctrl.Request{NamespacedName: name}); err != nil {
				return err
			}
			remembered, _ = r.memories.get(name)
		}
	}
	if remembered.finished == nil {
		return nil
	}
	// A worker that has just remembered it may still read it.
	err := r.release(ctx, &sessionScope{session: remembered.finished.DeepCopy()})
	if errors.Is(err, errOutdated) {
		// A worker was quicker.
		return nil
	}
	return err
}

// SetupWithManager adds the controller to a manager.
func (r *PaymentSessionReconciler) SetupWithManager(mgr ctrl.Manager, workers int) error {
	r.duplicates.cache, r.duplicates.live, r.duplicates.now = r.Client, r.LiveReader, r.Now
	r.uninstalling.read = func(ctx context.Context) (bool, error) { return crdGoes(ctx, r.LiveReader, sessionCRD) }
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.PaymentSession{}).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.ofNamespace), builder.WithPredicates(predicate.LabelChangedPredicate{})).
		WatchesRawSource(r.Sessions.source()).
		WithOptions(controller.Options{
			MaxConcurrentReconciles: workers,
			RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](minRetry, maxRetry),
		}).
		Complete(r)
}

// ofNamespace finds the sessions whose ClusterPaymentProvider may allow a namespace by its labels.
func (r *PaymentSessionReconciler) ofNamespace(ctx context.Context, namespace client.Object) []ctrl.Request {
	sessions := &v1alpha1.PaymentSessionList{}
	if err := r.Client.List(ctx, sessions, client.InNamespace(namespace.GetName()), client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list the sessions of a namespace", "namespace", namespace.GetName())
		return nil
	}
	var requests []ctrl.Request
	for i := range sessions.Items {
		if sessions.Items[i].Spec.ProviderRef.Kind == v1alpha1.KindClusterPaymentProvider {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&sessions.Items[i])})
		}
	}
	return requests
}
