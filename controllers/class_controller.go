// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// +kubebuilder:rbac:groups=payments.payops.dev,resources=paymentproviderclasses,verbs=get;list;watch
// +kubebuilder:rbac:groups=payments.payops.dev,resources=paymentproviderclasses/status,verbs=patch

// Definitions holds the compiled classes. Each generation of a class is compiled once, on first use.
type Definitions struct {
	mu       sync.Mutex
	compiled map[string]compiledClass
}

type compiledClass struct {
	uid        types.UID
	generation int64
	definition *upstream.Definition
	err        error
}

// NewDefinitions returns an empty collection.
func NewDefinitions() *Definitions { return &Definitions{compiled: map[string]compiledClass{}} }

// Of returns a class's definition, or upstream.DefinitionErrors.
func (d *Definitions) Of(class *v1alpha1.PaymentProviderClass) (*upstream.Definition, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if present := d.compiled[class.Name]; present.uid == class.UID && present.generation == class.Generation {
		return present.definition, present.err
	}
	definition, err := upstream.Compile(&class.Spec)
	d.compiled[class.Name] = compiledClass{class.UID, class.Generation, definition, err}
	return definition, err
}

func (d *Definitions) forget(name string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.compiled, name)
}

// PaymentProviderClassReconciler writes into the status of each class whether it compiles.
type PaymentProviderClassReconciler struct {
	Client      client.Client
	Definitions *Definitions
	// WriteLease is the right to write the status.
	WriteLease *WriteLease
	// Classes enqueues classes.
	Classes *Enqueuer
	Now     func() time.Time
	// NewQueue returns the controller's queue; nil for controller-runtime's.
	NewQueue NewQueue
}

// Reconcile compiles a class and writes its status.
func (r *PaymentProviderClassReconciler) Reconcile(ctx context.Context, request ctrl.Request) (ctrl.Result, error) {
	class := &v1alpha1.PaymentProviderClass{}
	if err := r.Client.Get(ctx, request.NamespacedName, class); err != nil {
		if client.IgnoreNotFound(err) == nil {
			r.Definitions.forget(request.Name)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if !r.WriteLease.Held() {
		return ctrl.Result{}, nil
	}
	says := summary{
		ready: metav1.ConditionTrue, reason: v1alpha1.ReasonCompiled, message: "Every expression of the class compiles.",
	}
	if _, err := r.Definitions.Of(class); err != nil {
		says = summary{
			ready: metav1.ConditionFalse, reason: v1alpha1.ReasonInvalidDefinition, message: err.Error(),
			progress: session.Stalled,
		}
	}
	before := class.DeepCopy()
	conditions{&class.Status.Conditions, class.Generation, r.Now()}.summarize(says)
	class.Status.ObservedGeneration = class.Generation
	if equality.Semantic.DeepEqual(before.Status, class.Status) {
		return ctrl.Result{}, nil
	}
	return ctrl.Result{}, patchStatus(ctx, r.Client, class, before)
}

// SetupWithManager adds the controller to a manager.
func (r *PaymentProviderClassReconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.WriteLease.onAcquired = append(r.WriteLease.onAcquired, r.enqueueAll)
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.PaymentProviderClass{}).
		WatchesRawSource(r.Classes.source()).
		WithOptions(controllerOptions(1, r.NewQueue)).
		Complete(r)
}

// enqueueAll requests a reconcile of every class.
func (r *PaymentProviderClassReconciler) enqueueAll(ctx context.Context) {
	if err := r.Classes.enqueueEach(ctx, r.Client, &v1alpha1.PaymentProviderClassList{}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot requeue the classes")
	}
}
