// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,verbs=get,resourceNames=paymentsessions.payments.payops.dev;paymentproviders.payments.payops.dev;clusterpaymentproviders.payments.payops.dev

// sessionCRD is the CustomResourceDefinition of PaymentSessions.
const sessionCRD = "paymentsessions.payments.payops.dev"

// ensureFinalizer sees to the finalizer before anything is looked up: it is there before any call, and a session that is released
// whatever its provider says is released at once.
func (r *PaymentSessionReconciler) ensureFinalizer(ctx context.Context, scope *sessionScope) (bool, error) {
	if !scope.deleting() {
		if session.HasFinalizer(scope.session) || !session.WantsFinalizer(scope.session) {
			return true, nil
		}
		before := scope.session.DeepCopy()
		controllerutil.AddFinalizer(scope.session, v1alpha1.ExpireFinalizer)
		err := patchFinalizers(ctx, r.Client, scope.session, before)
		scope.memory.written = scope.session.ResourceVersion
		return true, err
	}
	if !session.HasFinalizer(scope.session) {
		r.forget(scope.request.NamespacedName, scope.memory)
		return false, nil
	}
	// A release that comes a moment later harms nobody.
	uninstalling, err := r.uninstalling.get(ctx, time.Now().Add(-freshness))
	if err != nil {
		return false, err
	}
	if session.ReleasedAtOnce(scope.session, uninstalling) {
		return false, r.release(ctx, scope)
	}
	scope.uninstalling = uninstalling
	if !scope.memory.session.Deleting {
		// The provider reads its Secret again: in a namespace that goes, it may have changed or gone itself.
		r.Providers[scope.memory.provider.kind].Wake(ctrl.Request{NamespacedName: scope.memory.provider.NamespacedName}, rereadDelay, urgent)
	}
	return true, nil
}

// release takes our finalizer off.
func (r *PaymentSessionReconciler) release(ctx context.Context, scope *sessionScope) error {
	before := scope.session.DeepCopy()
	controllerutil.RemoveFinalizer(scope.session, v1alpha1.ExpireFinalizer)
	if err := patchFinalizers(ctx, r.Client, scope.session, before); err != nil {
		return err
	}
	scope.memory.written = scope.session.ResourceVersion
	if rest := leftPayable(scope.session); rest != "" && scope.action.Loud == "" {
		scope.action.Loud = rest
	}
	log := ctrl.LoggerFrom(ctx).WithValues("sessionID", scope.session.Spec.SessionID, "policy", scope.session.Spec.DeletionPolicy)
	if scope.action.Loud != "" {
		releasedPayable.Inc()
		log.Info("a session is released although something may still be payable", "why", scope.action.Loud)
	}
	if !scope.deleting() {
		return nil
	}
	r.withdraw(scope)
	if scope.action.HandedOver {
		handedOver.Inc()
		r.Audit.Info("left a session to another object that wants it active", auditedSession(scope.session)...)
	}
	log.V(1).Info("a session is deleted")
	return nil
}

// leftPayable says what a closed session leaves that can still be paid; empty for nothing.
func leftPayable(of *v1alpha1.PaymentSession) string {
	if !of.Status.State.Closed() || of.Status.Upstream == nil || of.Status.Upstream.StillPayable == "" {
		return ""
	}
	return "the session is closed, and still payable is " + of.Status.Upstream.StillPayable
}

// confirm reads live, just before an expire call, what a stale cache must not decide: that the object is the same one and
// still wants it, and for a deletion that it is not an uninstall and that nobody else wants the session active.
func (r *PaymentSessionReconciler) confirm(scope *sessionScope) func(context.Context) bool {
	asked := confirmation{
		uid: scope.session.UID, request: scope.request, deleting: scope.deleting(), definition: scope.entry.definition, since: time.Now(),
	}
	return func(ctx context.Context) bool {
		confirmed, err := r.confirmed(ctx, asked)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "cannot confirm that a session should be expired; trying again", "session", asked.request.NamespacedName)
		}
		if !confirmed {
			r.Sessions.Wake(asked.request, confirmDelay, 0)
		}
		return confirmed
	}
}

// confirmation is what an expire call needs to be true.
type confirmation struct {
	uid        types.UID
	request    ctrl.Request
	deleting   bool
	definition *upstream.Definition
	// since is since when the call has been waiting.
	since time.Time
}

func (r *PaymentSessionReconciler) confirmed(ctx context.Context, asked confirmation) (bool, error) {
	live := &v1alpha1.PaymentSession{}
	if err := r.LiveReader.Get(ctx, asked.request.NamespacedName, live); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	same := live.UID == asked.uid && asked.deleting != live.DeletionTimestamp.IsZero()
	if !same || live.Spec.Suspend || session.Desired(live, r.Now()) != v1alpha1.DesiredStateExpired {
		return false, nil
	}
	if !asked.deleting {
		return true, nil
	}
	if session.ReleasedAtOnce(live, false) || !session.HasFinalizer(live) {
		// It is to stay as it is at the provider, or nothing waits for its expiry any more.
		return false, nil
	}
	recent := time.Now().Add(-freshness)
	if _, sealed := r.duplicates.sealedAt(ctx, live.Namespace); !sealed && asked.since.After(recent) {
		// An uninstall may have brought this deletion a moment ago. In a namespace that is being deleted the expiry is wanted anyway.
		recent = asked.since
	}
	if uninstalling, err := r.uninstalling.get(ctx, recent); uninstalling || err != nil {
		return false, err
	}
	return r.duplicates.none(ctx, live, asked.definition, recent)
}

// terminating reports whether a namespace is being deleted, so that nothing can be created in it. Where that is not known it is
// taken for true.
func terminating(ctx context.Context, reader client.Reader, name string) bool {
	namespace := &corev1.Namespace{}
	err := reader.Get(ctx, types.NamespacedName{Name: name}, namespace)
	return err != nil || !namespace.DeletionTimestamp.IsZero()
}

// crdGoes reports, live, whether a CustomResourceDefinition is being deleted or gone.
func crdGoes(ctx context.Context, reader client.Reader, name string) (bool, error) {
	definition := &metav1.PartialObjectMetadata{}
	definition.SetGroupVersionKind(definitionKind)
	err := reader.Get(ctx, types.NamespacedName{Name: name}, definition)
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("cannot look whether this is an uninstall: %w", err)
	default:
		return !definition.DeletionTimestamp.IsZero(), nil
	}
}
