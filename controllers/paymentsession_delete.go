// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// +kubebuilder:rbac:groups=apiextensions.k8s.io,resources=customresourcedefinitions,verbs=get,resourceNames=paymentsessions.payments.payops.dev;paymentproviders.payments.payops.dev;clusterpaymentproviders.payments.payops.dev

// sessionDefinition is the CustomResourceDefinition of PaymentSessions.
const sessionDefinition = "paymentsessions.payments.payops.dev"

// guard sees to the finalizer before anything is looked up: it is there before any call, and a session that is let go whatever
// its provider says is let go at once.
func (r *PaymentSessionReconciler) guard(ctx context.Context, scope *sessionScope) (bool, error) {
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
	uninstalling, err := definitionGoes(ctx, r.LiveReader, sessionDefinition)
	if err != nil {
		return false, err
	}
	if session.ReleasedAtOnce(scope.session, uninstalling) {
		return false, r.release(ctx, scope)
	}
	scope.uninstalling = uninstalling
	if !scope.memory.session.Deleting {
		// The provider reads its Secret again: in a namespace that goes, it may have changed or gone itself.
		r.Providers[scope.memory.provider.kind].Wake(ctrl.Request{NamespacedName: scope.memory.provider.NamespacedName}, 0, urgent)
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
	if !scope.deleting() {
		return nil
	}
	r.withdraw(scope)
	log := ctrl.LoggerFrom(ctx).WithValues("sessionID", scope.session.Spec.SessionID, "policy", scope.session.Spec.DeletionPolicy)
	if scope.action.Loud != "" {
		releasedPayable.Inc()
		log.Info("a session is deleted although it may still be payable", "why", scope.action.Loud)
		return nil
	}
	log.V(1).Info("a session is deleted")
	return nil
}

// confirm reads live, just before an expire call, what a stale cache must not decide: that the object is the same one and
// still wants it, and for a deletion that it is not an uninstall and that nobody else wants the session active.
func (r *PaymentSessionReconciler) confirm(scope *sessionScope) func(context.Context) bool {
	uid, request, deleting := scope.session.UID, scope.request, scope.deleting()
	return func(ctx context.Context) bool {
		confirmed, err := r.confirmed(ctx, uid, request, deleting)
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "cannot confirm that a session should be expired; trying again", "session", request.NamespacedName)
		}
		if !confirmed {
			r.Sessions.Wake(request, confirmDelay, 0)
		}
		return confirmed
	}
}

func (r *PaymentSessionReconciler) confirmed(ctx context.Context, uid types.UID, request ctrl.Request, deleting bool) (bool, error) {
	live := &v1alpha1.PaymentSession{}
	if err := r.LiveReader.Get(ctx, request.NamespacedName, live); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	same := live.UID == uid && deleting != live.DeletionTimestamp.IsZero()
	if !same || live.Spec.Suspend || session.Wish(live, r.Now()) != v1alpha1.DesiredStateExpired {
		return false, nil
	}
	if !deleting {
		return true, nil
	}
	if uninstalling, err := definitionGoes(ctx, r.LiveReader, sessionDefinition); uninstalling || err != nil {
		return false, err
	}
	twin, err := r.liveTwin(ctx, live)
	return !twin && err == nil, err
}

// hasTwin asks the API server where the cache, or a live read before, has found a twin: the cache may be limited to a part of the
// sessions, or behind, and a session that is let go because of a twin is not expired.
func (r *PaymentSessionReconciler) hasTwin(ctx context.Context, scope *sessionScope) (bool, error) {
	if _, found := r.twins.Load(scope.session.UID); !found {
		found, err := r.twin(ctx, r.Client, scope.session, client.MatchingFields{sessionsByIdentity: identityOf(scope.session)})
		if !found || err != nil {
			return false, err
		}
	}
	return r.liveTwin(ctx, scope.session)
}

// liveTwin asks the API server, and remembers what it says.
func (r *PaymentSessionReconciler) liveTwin(ctx context.Context, of *v1alpha1.PaymentSession) (bool, error) {
	twin, err := r.twin(ctx, r.LiveReader, of, liveIdentity(of))
	switch {
	case err != nil:
	case twin:
		r.twins.Store(of.UID, true)
	default:
		r.twins.Delete(of.UID)
	}
	return twin, err
}

// liveIdentity selects the objects of the same session at the API server.
func liveIdentity(of *v1alpha1.PaymentSession) client.MatchingFields {
	return client.MatchingFields{
		"spec.providerRef.kind": of.Spec.ProviderRef.Kind, "spec.providerRef.name": of.Spec.ProviderRef.Name,
		"spec.sessionID": of.Spec.SessionID,
	}
}

// twin reports whether another live object of the same account and session id wants the session active: a session that was
// renamed or moved in Git is not to be expired by the deletion of what it was. One that the account does not serve cannot take the
// session over: anybody could make such an object and so keep a session payable.
func (r *PaymentSessionReconciler) twin(ctx context.Context, reader client.Reader, of *v1alpha1.PaymentSession, fields client.MatchingFields) (bool, error) {
	sessions := &v1alpha1.PaymentSessionList{}
	options := []client.ListOption{fields}
	if namespace := providerOf(of).Namespace; namespace != "" {
		options = append(options, client.InNamespace(namespace))
	}
	if err := reader.List(ctx, sessions, options...); err != nil {
		return false, fmt.Errorf("cannot look for another object of the session: %w", err)
	}
	for i := range sessions.Items {
		other := &sessions.Items[i]
		if other.UID == of.UID || !other.DeletionTimestamp.IsZero() || session.Wish(other, r.Now()) != v1alpha1.DesiredStateActive {
			continue
		}
		if served, err := r.served(ctx, other); served || err != nil {
			return served, err
		}
	}
	return false, nil
}

// served reports whether an account works for a session: it did before, or its provider allows the namespace.
func (r *PaymentSessionReconciler) served(ctx context.Context, of *v1alpha1.PaymentSession) (bool, error) {
	key := providerOf(of)
	if key.kind != v1alpha1.KindClusterPaymentProvider || of.Status.State != v1alpha1.SessionStateUnknown {
		return true, nil
	}
	known, _ := r.Directory.lookUp(key)
	return r.permitted(ctx, of.Namespace, known.allowed)
}

// terminating reports whether a namespace is being deleted, so that nothing can be created in it. Where that is not known it is
// taken for true.
func terminating(ctx context.Context, reader client.Reader, name string) bool {
	namespace := &corev1.Namespace{}
	err := reader.Get(ctx, types.NamespacedName{Name: name}, namespace)
	return err != nil || !namespace.DeletionTimestamp.IsZero()
}

// definitionGoes reports, live, whether a CustomResourceDefinition is being deleted or gone.
func definitionGoes(ctx context.Context, reader client.Reader, name string) (bool, error) {
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
