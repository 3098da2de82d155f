// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// foreignMessage is the Event's message where an ownership rule warns only.
const foreignMessage = "The ownership rule of the provider object says that the session is not this namespace's. With " +
	"action: Enforce the operator would not expire it."

// writeStatus writes the verdict into the status if that changes it, and an Event if a person should know.
func (r *PaymentSessionReconciler) writeStatus(ctx context.Context, scope *sessionScope) (bool, error) {
	of, verdict := scope.session, scope.action.Verdict
	if scope.action.Foreign {
		r.Recorder.Eventf(of, nil, "Warning", v1alpha1.ReasonNotOwned, "Observe", "%s", foreignMessage)
	}
	if verdict == nil {
		return true, nil
	}
	before := of.DeepCopy()
	apply(verdict, &of.Status, of.Generation, r.Now())
	if equality.Semantic.DeepEqual(before.Status, of.Status) {
		return true, nil
	}
	if err := patchStatus(ctx, r.Client, of, before); err != nil {
		return false, err
	}
	r.memories.recordWrite(of)
	scope.wroteStatus = true
	if verdict.IsNews(before.Status.Conditions) {
		r.report(ctx, of, verdict)
	}
	return true, nil
}

// report reports a change that a person should know. In a namespace that is being deleted no Event can be created, so
// that a deletion that waits is also a line of the log and a metric.
func (r *PaymentSessionReconciler) report(ctx context.Context, of *v1alpha1.PaymentSession, verdict *session.Verdict) {
	if !verdict.Holds {
		message := verdict.Message
		if verdict.Reopened {
			message = "The provider shows a session as open that was closed before. " + message
		}
		if verdict.Warn && !isDeleting(of) {
			r.Recorder.Eventf(of, nil, "Warning", verdict.Reason, "Expire", "%s", message)
		}
		return
	}
	deletionsHeld.WithLabelValues(verdict.Reason).Inc()
	ctrl.LoggerFrom(ctx).Info("the deletion of a session waits", "reason", verdict.Reason, "message", verdict.Message)
	if !terminating(ctx, r.Client, of.Namespace) {
		r.Recorder.Eventf(of, nil, "Warning", verdict.Reason, "Delete", "%s", verdict.Message)
	}
}

// apply changes a status to what the verdict says.
func apply(verdict *session.Verdict, status *v1alpha1.PaymentSessionStatus, generation int64, at time.Time) {
	now := metav1.NewTime(at).Rfc3339Copy()
	status.ObservedGeneration = generation
	if verdict.Result != nil {
		record(status, verdict.Result, now)
	}
	// A known state includes that the provider recognizes the session.
	status.Recognized = verdict.Recognized && status.State == v1alpha1.SessionStateUnknown
	if verdict.Handled != "" {
		status.LastHandledReconcileAt = verdict.Handled
	}
	list := conditions{&status.Conditions, generation, now.Time}
	list.summarize(summary{
		ready: verdict.Ready, reason: verdict.Reason, message: verdict.Message, progress: verdict.Progress,
	})
	list.set(v1alpha1.ConditionExpired, expiredStatus(verdict, status), verdict.Reason, "")
}

// expiredStatus returns the status of the Expired condition: the verdict's or, if it leaves the condition unchanged,
// the present one.
func expiredStatus(verdict *session.Verdict, status *v1alpha1.PaymentSessionStatus) metav1.ConditionStatus {
	if verdict.Expired != "" {
		return verdict.Expired
	}
	if before := apimeta.FindStatusCondition(status.Conditions, v1alpha1.ConditionExpired); before != nil {
		return before.Status
	}
	return metav1.ConditionUnknown
}

// record records what the provider shows. The request id is that of the call that first showed this state, so that
// another read of the same state changes nothing.
func record(status *v1alpha1.PaymentSessionStatus, result *call.Result, now metav1.Time) {
	known := status.Upstream
	if status.State == result.State && known != nil &&
		known.Status == result.Status && known.StillPayable == result.StillPayable {
		return
	}
	status.State = result.State
	status.Upstream = &v1alpha1.UpstreamStatus{
		Status: result.Status, RequestID: result.RequestID, StillPayable: result.StillPayable,
	}
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
