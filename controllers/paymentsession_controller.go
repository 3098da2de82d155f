// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/crd"
)

// +kubebuilder:rbac:groups=payments.payops.dev,resources=paymentsessions,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=payments.payops.dev,resources=paymentsessions/status,verbs=patch
// +kubebuilder:rbac:groups="",resources=namespaces,verbs=get;list;watch
// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,verbs=get,resourceNames=paymentsessions.payments.payops.dev;paymentproviders.payments.payops.dev;clusterpaymentproviders.payments.payops.dev
// +kubebuilder:rbac:groups=events.k8s.io,resources=events,verbs=create;patch

// PaymentSessionReconciler reconciles PaymentSessions.
type PaymentSessionReconciler struct {
	Client client.Client
	// LiveReader reads from the API server, where a stale answer would be wrong.
	LiveReader client.Reader
	Recorder   events.EventRecorder
	Directory  *Directory
	// Sessions enqueues sessions, and Providers enqueues providers by their kind.
	Sessions  *Enqueuer
	Providers map[string]*Enqueuer
	// DryRun forbids every call that changes something at a provider.
	DryRun bool
	// ClusterName is the name of this cluster in ownership rules; empty where it has none.
	ClusterName string
	Now         func() time.Time
	// Jitter returns a new random number from 0 up to 1.
	Jitter func() float64
	// Audit logs each call that may have changed something at a provider.
	Audit logr.Logger
	// NewQueue returns the controller's queue; nil for controller-runtime's.
	NewQueue NewQueue

	memories   memories
	duplicates duplicates
	// uninstalling reads whether the CRD of PaymentSessions is being deleted.
	uninstalling sharedRead[bool]
}

// ownWriteDelay is the time until a session whose status was written is reconciled again. That decision then has the
// timer.
const ownWriteDelay = time.Millisecond

// sessionStep is one step of a reconcile. It returns false to end the reconcile.
type sessionStep func(context.Context, *sessionScope) (bool, error)

// Reconcile runs the steps for one session, in order, until one of them ends it.
func (r *PaymentSessionReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	scope := &sessionScope{request: request}
	for _, step := range []sessionStep{
		r.load, r.ensureFinalizer, r.resolve, r.decide, r.writeStatus, r.release, r.remember, r.act,
	} {
		proceed, err := step(ctx, scope)
		switch {
		case errors.Is(err, errConflict):
			return ctrl.Result{RequeueAfter: conflictDelay}, nil
		case err != nil:
			return ctrl.Result{}, err
		case !proceed:
			return ctrl.Result{RequeueAfter: scope.wait}, nil
		}
	}
	if scope.wroteStatus {
		// The watch may have shown the write before it was recorded as this manager's own.
		return ctrl.Result{RequeueAfter: ownWriteDelay}, nil
	}
	return ctrl.Result{RequeueAfter: scope.action.Wait}, nil
}

// SetupWithManager adds the controller to a manager.
func (r *PaymentSessionReconciler) SetupWithManager(mgr ctrl.Manager, workers int) error {
	r.duplicates.cache, r.duplicates.live, r.duplicates.now = r.Client, r.LiveReader, r.Now
	r.uninstalling.read = func(ctx context.Context) (bool, error) {
		return crd.Deleted(ctx, r.LiveReader, v1alpha1.KindPaymentSession)
	}
	marked := builder.WithPredicates(
		predicate.Or(predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}))
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.PaymentSession{}, builder.WithPredicates(predicate.Funcs{UpdateFunc: r.isNews})).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.ofNamespace), marked).
		WatchesRawSource(r.Sessions.source()).
		WithOptions(controllerOptions(workers, r.NewQueue)).
		Complete(r)
}

// isNews ignores the updates that change only what a status says about a state, unless they are this manager's own. For
// a moment two managers may both believe to be the leader. If they disagree about an account, each would overwrite the
// other's verdict without a pause. What the other one has learnt is news: the finalizer of a closed session is removed
// then, and a call is no longer needed for a refresh that was answered.
func (r *PaymentSessionReconciler) isNews(update event.UpdateEvent) bool {
	before, wasSession := update.ObjectOld.(*v1alpha1.PaymentSession)
	after, isSession := update.ObjectNew.(*v1alpha1.PaymentSession)
	if !wasSession || !isSession || before.ResourceVersion == after.ResourceVersion {
		// A resync reconciles what it shows once more.
		return true
	}
	if remembered, _ := r.memories.get(client.ObjectKeyFromObject(after)); remembered.caughtUp(after) {
		return true
	}
	hasLearnt := before.Status.State != after.Status.State || before.Status.Recognized != after.Status.Recognized ||
		before.Status.LastHandledReconcileAt != after.Status.LastHandledReconcileAt
	return hasLearnt || before.UID != after.UID || before.Generation != after.Generation ||
		isDeleting(before) != isDeleting(after) || !slices.Equal(before.Finalizers, after.Finalizers) ||
		!maps.Equal(before.Annotations, after.Annotations) || !maps.Equal(before.Labels, after.Labels)
}

// ofNamespace returns the sessions of a namespace that depend on its labels or annotations: a ClusterPaymentProvider
// may allow the namespace by its labels, and an ownership rule may use both.
func (r *PaymentSessionReconciler) ofNamespace(ctx context.Context, namespace client.Object) []ctrl.Request {
	sessions := &v1alpha1.PaymentSessionList{}
	if err := r.Client.List(ctx, sessions, client.InNamespace(namespace.GetName()),
		client.UnsafeDisableDeepCopy); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list the sessions of a namespace", "namespace", namespace.GetName())
		return nil
	}
	var requests []ctrl.Request
	for i := range sessions.Items {
		key := providerOf(&sessions.Items[i])
		known, _ := r.Directory.lookUp(key)
		if key.kind == v1alpha1.KindClusterPaymentProvider || known.ownership() != nil {
			requests = append(requests, ctrl.Request{NamespacedName: client.ObjectKeyFromObject(&sessions.Items[i])})
		}
	}
	return requests
}
