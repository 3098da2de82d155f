// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// confirmDelay is the time until a session whose expiry was not confirmed is reconciled again.
const confirmDelay = time.Second

// expiry is the expire call that a live read has to confirm.
type expiry struct {
	uid        types.UID
	name       types.NamespacedName
	deleting   bool
	definition *upstream.Definition
	// since is when the request was submitted.
	since time.Time
}

// confirm returns the check that runs right before an expire call. A stale cache must not expire a payment: the check
// reads from the API server that the object is the same and still has to be expired and, for a deletion, that this is
// no uninstall and that no other object wants the session active.
func (r *PaymentSessionReconciler) confirm(of *v1alpha1.PaymentSession,
	definition *upstream.Definition) func(context.Context) bool {
	wanted := expiry{
		uid: of.UID, name: client.ObjectKeyFromObject(of), deleting: isDeleting(of), definition: definition,
		since: time.Now(),
	}
	return func(ctx context.Context) bool {
		confirmed, err := r.confirmed(ctx, wanted)
		if err != nil {
			log := ctrl.LoggerFrom(ctx)
			log.Error(err, "cannot confirm that a session should be expired; trying again", "session", wanted.name)
		}
		if !confirmed {
			r.Sessions.Enqueue(ctrl.Request{NamespacedName: wanted.name}, confirmDelay, 0)
		}
		return confirmed
	}
}

func (r *PaymentSessionReconciler) confirmed(ctx context.Context, wanted expiry) (bool, error) {
	live := &v1alpha1.PaymentSession{}
	if err := r.LiveReader.Get(ctx, wanted.name, live); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	same := live.UID == wanted.uid && wanted.deleting == isDeleting(live)
	if !same || live.Spec.Suspend || session.Desired(live, r.Now()) != v1alpha1.DesiredStateExpired {
		return false, nil
	}
	if !wanted.deleting {
		return true, nil
	}
	if session.ReleasedAtOnce(live, false) || !session.HasFinalizer(live) {
		// The session is retained, or nothing waits for its expiry any more.
		return false, nil
	}
	recent := time.Now().Add(-freshness)
	if _, terminating := r.duplicates.terminatingSince(ctx, live.Namespace); !terminating && wanted.since.After(recent) {
		// An uninstall may have deleted the object a moment ago. In a namespace that is being deleted the expiry is wanted
		// anyway.
		recent = wanted.since
	}
	if uninstalling, err := r.uninstalling.get(ctx, recent); uninstalling || err != nil {
		return false, err
	}
	return r.duplicates.none(ctx, live, wanted.definition, recent)
}

// terminating reports whether a namespace is being deleted, so that nothing can be created in it. It returns true
// where that is not known.
func terminating(ctx context.Context, reader client.Reader, name string) bool {
	namespace := &corev1.Namespace{}
	err := reader.Get(ctx, types.NamespacedName{Name: name}, namespace)
	return err != nil || !namespace.DeletionTimestamp.IsZero()
}
