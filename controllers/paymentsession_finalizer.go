// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// rereadDelay is the time until a provider reads its Secret again because of a deletion. Deletions of one moment
// share the read.
const rereadDelay = time.Second

// ensureFinalizer adds the finalizer before the first call, and releases a session at once where its provider does
// not matter.
func (r *PaymentSessionReconciler) ensureFinalizer(ctx context.Context, scope *sessionScope) (bool, error) {
	of := scope.session
	if !isDeleting(of) {
		if session.HasFinalizer(of) || !session.WantsFinalizer(of) {
			return true, nil
		}
		return true, r.addFinalizer(ctx, of)
	}
	if !session.HasFinalizer(of) {
		r.forget(scope.request.NamespacedName, scope.remembered)
		return false, nil
	}
	// An answer that is a moment old is recent enough: it can only delay the release.
	uninstalling, err := r.uninstalling.get(ctx, time.Now().Add(-freshness))
	if err != nil {
		return false, err
	}
	if session.ReleasedAtOnce(of, uninstalling) {
		return false, r.releaseFinalizer(ctx, of, "")
	}
	scope.uninstalling = uninstalling
	if !scope.remembered.session.Deleting {
		// In a namespace that is being deleted, the Secret may have changed or be gone.
		provider := providerOf(of)
		r.Providers[provider.kind].Enqueue(ctrl.Request{NamespacedName: provider.NamespacedName}, rereadDelay, urgent)
	}
	return true, nil
}

func (r *PaymentSessionReconciler) addFinalizer(ctx context.Context, of *v1alpha1.PaymentSession) error {
	before := of.DeepCopy()
	controllerutil.AddFinalizer(of, v1alpha1.ExpireFinalizer)
	if err := patchFinalizers(ctx, r.Client, of, before); err != nil {
		return err
	}
	r.memories.recordWrite(of)
	return nil
}

// release removes the finalizer where the action says so.
func (r *PaymentSessionReconciler) release(ctx context.Context, scope *sessionScope) (bool, error) {
	if !scope.action.Release {
		return true, nil
	}
	if err := r.releaseFinalizer(ctx, scope.session, scope.action.LeavesPayable); err != nil {
		return false, err
	}
	if scope.action.HandedOver {
		handedOver.Inc()
		r.Audit.Info("left a session to another object that wants it active", auditedSession(scope.session)...)
	}
	return true, nil
}

// releaseFinalizer removes our finalizer from a session. leavesPayable is why the session may stay payable; empty
// where it does not.
func (r *PaymentSessionReconciler) releaseFinalizer(ctx context.Context, of *v1alpha1.PaymentSession,
	leavesPayable string) error {
	before := of.DeepCopy()
	controllerutil.RemoveFinalizer(of, v1alpha1.ExpireFinalizer)
	if err := patchFinalizers(ctx, r.Client, of, before); err != nil {
		return err
	}
	r.memories.recordWrite(of)
	if upstream := of.Status.Upstream; upstream != nil && of.Status.State.Closed() && leavesPayable == "" {
		leavesPayable = session.LeavesPayable(upstream.StillPayable)
	}
	log := ctrl.LoggerFrom(ctx).WithValues("sessionID", of.Spec.SessionID, "policy", of.Spec.DeletionPolicy)
	if leavesPayable != "" {
		releasedPayable.Inc()
		log.Info("a session is released although something may still be payable", "why", leavesPayable)
	}
	if isDeleting(of) {
		r.withdraw(of)
		log.V(1).Info("a session is deleted")
	}
	return nil
}
