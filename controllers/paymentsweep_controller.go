// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/crd"
)

// +kubebuilder:rbac:groups=payments.payops.dev,resources=paymentsweeps,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=payments.payops.dev,resources=paymentsweeps/status,verbs=patch
// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,verbs=get,resourceNames=paymentsweeps.payments.payops.dev

// PaymentSweepReconciler reconciles PaymentSweeps.
type PaymentSweepReconciler struct {
	Client client.Client
	// LiveReader reads from the API server, where a stale answer would be wrong.
	LiveReader client.Reader
	Recorder   events.EventRecorder
	Directory  *Directory
	// Sweeps enqueues sweeps, and Providers enqueues providers by their kind.
	Sweeps    *Enqueuer
	Providers map[string]*Enqueuer
	// DryRun forbids every call that changes something at a provider.
	DryRun bool
	// ClusterName is the name of this cluster in ownership rules; empty where it has none.
	ClusterName string
	// WriteLease is the right to do any of this: shards by label see the same sweeps.
	WriteLease *WriteLease
	Now        func() time.Time
	// Jitter returns a new random number from 0 up to 1.
	Jitter func() float64
	// Audit logs each call that may have changed something at a provider.
	Audit logr.Logger
	// NewQueue returns the controller's queue; nil for controller-runtime's.
	NewQueue NewQueue

	states sweepStates
	// uninstalling reads whether the CRD of PaymentSweeps is being deleted, and sessionsGoing whether that of
	// PaymentSessions is.
	uninstalling, sessionsGoing sharedRead[bool]
}

// sweepStep is one step of a reconcile. It returns false to end the reconcile.
type sweepStep func(context.Context, *sweepScope) (bool, error)

// Reconcile runs the steps for one sweep, in order, until one of them ends it.
func (r *PaymentSweepReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	scope := &sweepScope{request: request}
	for _, step := range []sweepStep{
		r.load, r.resolve, r.findObjects, r.advance, r.decide, r.addFinalizer, r.writeStatus, r.finish, r.act,
	} {
		proceed, err := step(ctx, scope)
		if err != nil && scope.decided {
			// What was decided has not been done.
			scope.state.memory = scope.remembered
		}
		switch {
		case errors.Is(err, errConflict):
			return ctrl.Result{RequeueAfter: conflictDelay}, nil
		case err != nil:
			return ctrl.Result{}, err
		case !proceed:
			return ctrl.Result{RequeueAfter: scope.wait}, nil
		}
	}
	return ctrl.Result{RequeueAfter: scope.wait}, nil
}

// SetupWithManager adds the controller to a manager.
func (r *PaymentSweepReconciler) SetupWithManager(mgr ctrl.Manager, workers int) error {
	r.uninstalling.read = func(ctx context.Context) (bool, error) {
		return crd.Deleted(ctx, r.LiveReader, v1alpha1.KindPaymentSweep)
	}
	r.sessionsGoing.read = func(ctx context.Context) (bool, error) {
		return crd.Deleted(ctx, r.LiveReader, v1alpha1.KindPaymentSession)
	}
	r.WriteLease.onAcquired = append(r.WriteLease.onAcquired, func(ctx context.Context) {
		if err := r.Sweeps.enqueueEach(ctx, r.Client, &v1alpha1.PaymentSweepList{}); err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "cannot requeue the sweeps")
		}
	})
	marked := builder.WithPredicates(
		predicate.Or(predicate.LabelChangedPredicate{}, predicate.AnnotationChangedPredicate{}))
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.PaymentSweep{}, builder.WithPredicates(moreThanStatus)).
		Watches(&v1alpha1.PaymentSession{}, handler.Funcs{
			CreateFunc: r.sessionCreated, UpdateFunc: r.sessionUpdated, DeleteFunc: r.sessionDeleted,
		}).
		Watches(&corev1.Namespace{}, handler.EnqueueRequestsFromMapFunc(r.ofNamespace), marked).
		WatchesRawSource(r.Sweeps.source()).
		WithOptions(controllerOptions(workers, r.NewQueue)).
		Complete(r)
}

// moreThanStatus ignores the updates of a status alone: for a moment two managers may both believe to be the leader,
// and each would overwrite the other's verdict without a pause.
var moreThanStatus = predicate.Or(
	predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, finalizersChanged,
)

// ofNamespace returns the sweeps of a namespace, which may depend on its labels and annotations.
func (r *PaymentSweepReconciler) ofNamespace(ctx context.Context, namespace client.Object) []ctrl.Request {
	requests, err := requestsFor(ctx, r.Client, &v1alpha1.PaymentSweepList{}, client.InNamespace(namespace.GetName()))
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot list the sweeps of a namespace", "namespace", namespace.GetName())
	}
	return requests
}
