// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// writeStatus writes the verdict into the status, if it says something new, and an Event for what a person should look at.
func (r *PaymentSessionReconciler) writeStatus(ctx context.Context, scope *sessionScope) (bool, error) {
	verdict := scope.action.Verdict
	if verdict == nil {
		return true, nil
	}
	before := scope.session.DeepCopy()
	r.apply(verdict, &scope.session.Status, scope.session.Generation)
	if equality.Semantic.DeepEqual(before.Status, scope.session.Status) {
		return true, nil
	}
	if err := patchStatus(ctx, r.Client, scope.session, before); err != nil {
		return false, err
	}
	scope.memory.written, scope.wrote = scope.session.ResourceVersion, true
	if verdict.News(before.Status.Conditions) {
		r.alarm(ctx, scope, verdict)
	}
	return true, nil
}

// alarm tells what a person should look at, once per change. In a namespace that is being deleted nothing can be created, so
// that a deletion that waits is told by a log line and a metric too.
func (r *PaymentSessionReconciler) alarm(ctx context.Context, scope *sessionScope, verdict *session.Verdict) {
	if !verdict.Holds {
		message := verdict.Message
		if verdict.Reopened {
			message = "The provider shows a session open again that was closed. " + message
		}
		if verdict.Alarming && !scope.deleting() {
			r.Recorder.Eventf(scope.session, nil, "Warning", verdict.Reason, "Expire", "%s", message)
		}
		return
	}
	deletionsHeld.WithLabelValues(verdict.Reason).Inc()
	ctrl.LoggerFrom(ctx).Info("the deletion of a session waits", "reason", verdict.Reason, "message", verdict.Message)
	if !terminating(ctx, r.Client, scope.session.Namespace) {
		r.Recorder.Eventf(scope.session, nil, "Warning", verdict.Reason, "Delete", "%s", verdict.Message)
	}
}

// apply changes a status into one that says the verdict.
func (r *PaymentSessionReconciler) apply(verdict *session.Verdict, status *v1alpha1.PaymentSessionStatus, generation int64) {
	now := metav1.NewTime(r.Now()).Rfc3339Copy()
	status.ObservedGeneration = generation
	if verdict.Result != nil {
		record(status, verdict.Result, now)
	}
	// A state says more: it is not told twice.
	status.Recognized = verdict.Recognized && status.State == v1alpha1.SessionStateUnknown
	if verdict.Handled != "" {
		status.LastHandledReconcileAt = verdict.Handled
	}
	list := conditions{&status.Conditions, generation, now.Time}
	list.summarize(summary{verdict.Ready, verdict.Reason, verdict.Message, verdict.Progress})
	list.set(v1alpha1.ConditionExpired, expiredStatus(verdict, status), verdict.Reason, "")
}

// expiredStatus is the verdict's, or what the condition said before where the verdict leaves it.
func expiredStatus(verdict *session.Verdict, status *v1alpha1.PaymentSessionStatus) metav1.ConditionStatus {
	if verdict.Expired != "" {
		return verdict.Expired
	}
	if before := apimeta.FindStatusCondition(status.Conditions, v1alpha1.ConditionExpired); before != nil {
		return before.Status
	}
	return metav1.ConditionUnknown
}

// record writes what the provider said. The request's id is that of the call that first told this state: one more read
// of the same state changes nothing.
func record(status *v1alpha1.PaymentSessionStatus, result *upstream.Result, now metav1.Time) {
	if of := status.Upstream; status.State == result.State && of != nil && of.Status == result.Status && of.StillPayable == result.StillPayable {
		return
	}
	status.State = result.State
	status.Upstream = &v1alpha1.UpstreamStatus{Status: result.Status, RequestID: result.RequestID, StillPayable: result.StillPayable}
	if result.ExpiredAt != nil {
		at := metav1.NewTime(*result.ExpiredAt).Rfc3339Copy()
		status.Upstream.ExpiredAt = &at
	}
	switch {
	case !result.State.Closed():
		status.ClosedAt = nil
	case status.ClosedAt == nil:
		status.ClosedAt = &now
	}
}
