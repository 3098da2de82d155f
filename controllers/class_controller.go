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

// Definitions are the compiled classes. Each generation of a class is compiled once, by whoever asks first.
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

// NewDefinitions makes an empty collection.
func NewDefinitions() *Definitions { return &Definitions{compiled: map[string]compiledClass{}} }

// Of gives a class's definition, or the *upstream.DefinitionError that says what is wrong with it.
func (d *Definitions) Of(class *v1alpha1.PaymentProviderClass) (*upstream.Definition, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if there := d.compiled[class.Name]; there.uid == class.UID && there.generation == class.Generation {
		return there.definition, there.err
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

// PaymentProviderClassReconciler says of each class whether it compiles.
type PaymentProviderClassReconciler struct {
	Client      client.Client
	Definitions *Definitions
	// Writing is the right to write the status.
	Writing *Writing
	// Classes wakes this controller.
	Classes *Waker
	Now     func() time.Time
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
	if !r.Writing.Held() {
		return ctrl.Result{}, nil
	}
	says := summary{ready: metav1.ConditionTrue, reason: v1alpha1.ReasonCompiled, message: "Every expression of the class compiles."}
	if _, err := r.Definitions.Of(class); err != nil {
		says = summary{ready: metav1.ConditionFalse, reason: v1alpha1.ReasonInvalidDefinition, message: err.Error(), progress: session.Stalled}
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
	r.Writing.begun = append(r.Writing.begun, r.wakeAll)
	return ctrl.NewControllerManagedBy(mgr).For(&v1alpha1.PaymentProviderClass{}).WatchesRawSource(r.Classes.source()).Complete(r)
}

// wakeAll lets every class be looked at again.
func (r *PaymentProviderClassReconciler) wakeAll(ctx context.Context) {
	if err := r.Classes.wakeEach(ctx, r.Client, &v1alpha1.PaymentProviderClassList{}); err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "cannot look at the classes again")
	}
}
