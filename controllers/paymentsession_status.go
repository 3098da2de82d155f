// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"

	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// tell writes the verdict into the status, if it says something new, and an Event for what a person should look at.
func (r *PaymentSessionReconciler) tell(ctx context.Context, scope *sessionScope) (bool, error) {
	verdict := scope.action.Verdict
	if verdict == nil {
		return true, nil
	}
	before := scope.session.DeepCopy()
	r.apply(verdict, &scope.session.Status, scope.session.Generation)
	if equality.Semantic.DeepEqual(before.Status, scope.session.Status) {
		scope.memory.written = ""
		return true, nil
	}
	if err := patchStatus(ctx, r.Client, scope.session, before); err != nil {
		return false, err
	}
	scope.memory.written = scope.session.ResourceVersion
	if verdict.Alarming && readyReason(before.Status.Conditions) != verdict.Reason {
		r.Recorder.Eventf(scope.session, nil, "Warning", verdict.Reason, "Expire", "%s", verdict.Message)
	}
	return true, nil
}

// apply changes a status into one that says the verdict.
func (r *PaymentSessionReconciler) apply(verdict *session.Verdict, status *v1alpha1.PaymentSessionStatus, generation int64) {
	now := metav1.NewTime(r.Now()).Rfc3339Copy()
	status.ObservedGeneration = generation
	if verdict.Result != nil {
		record(status, verdict.Result, now)
	}
	if verdict.ExpiryStarted && status.ExpiryStartedAt == nil {
		status.ExpiryStartedAt = &now
	}
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
	if verdict.Result != nil && verdict.Result.State == v1alpha1.SessionStateExpired {
		return metav1.ConditionTrue
	}
	if before := apimeta.FindStatusCondition(status.Conditions, v1alpha1.ConditionExpired); before != nil {
		return before.Status
	}
	return metav1.ConditionUnknown
}

// record writes what the provider said. The request's id is that of the call that first told this state: one more read
// of the same state changes nothing.
func record(status *v1alpha1.PaymentSessionStatus, result *upstream.Result, now metav1.Time) {
	if status.State == result.State && status.Upstream != nil && status.Upstream.Status == result.Status {
		return
	}
	status.State = result.State
	status.Upstream = &v1alpha1.UpstreamStatus{Status: result.Status, RequestID: result.RequestID}
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
