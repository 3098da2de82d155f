// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"time"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// sessionScope is one reconcile of one session. Steps read what earlier steps have set. Helpers take the parts that
// they need, not the scope.
type sessionScope struct {
	request ctrl.Request
	// session is the object, set by load. Only ensureFinalizer and release change its finalizers, and only writeStatus
	// its status.
	session *v1alpha1.PaymentSession
	// wasClosed is true where the session was closed before this reconcile; set by load.
	wasClosed bool
	// remembered is what the previous reconciles left; set by load. Later steps change the memory in the store, not
	// here.
	remembered memory
	// uninstalling is true while the CRD of PaymentSessions is being deleted; set by ensureFinalizer, for deletions
	// alone.
	uninstalling bool
	// resolved is the provider as the namespace may use it; set by resolve.
	resolved
	// outcome has not been handled yet; set by decide, nil for none.
	outcome *call.Outcome
	// action is what to do; set by decide.
	action session.Action
	// wroteStatus is true where this reconcile has changed the status; set by writeStatus.
	wroteStatus bool
	// wait is the time until the next reconcile where a step ends this one; 0 for no timer.
	wait time.Duration
}

// isDeleting reports whether an object is being deleted.
func isDeleting(of *v1alpha1.PaymentSession) bool { return !of.DeletionTimestamp.IsZero() }
