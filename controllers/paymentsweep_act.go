// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/sweep"
)

// addFinalizer adds the finalizer where the action says so.
func (r *PaymentSweepReconciler) addFinalizer(ctx context.Context, scope *sweepScope) (bool, error) {
	if !scope.action.AddFinalizer {
		return true, nil
	}
	before := scope.sweep.DeepCopy()
	controllerutil.AddFinalizer(scope.sweep, v1alpha1.SweepFinalizer)
	return true, r.wrote(scope, patchFinalizers(ctx, r.Client, scope.sweep, before))
}

// wrote records that the cache is behind until it has this version of the sweep.
func (r *PaymentSweepReconciler) wrote(scope *sweepScope, err error) error {
	if err == nil {
		scope.state.written = scope.sweep.ResourceVersion
	}
	return err
}

// writeStatus writes the verdict into the status if that changes it, and an Event if a person should know.
func (r *PaymentSweepReconciler) writeStatus(ctx context.Context, scope *sweepScope) (bool, error) {
	of, verdict := scope.sweep, scope.action.Verdict
	before := of.DeepCopy()
	retained := scope.state.retainedWith(of.Status.Retained)
	of.Status.Retained = retained[:min(len(retained), sweep.MaxRetained)]
	if verdict != nil {
		verdict.Apply(&of.Status)
		of.Status.ObservedGeneration = of.Generation
		list := conditions{&of.Status.Conditions, of.Generation, r.Now()}
		list.summarize(summary{
			ready: verdict.Ready, reason: verdict.Reason, message: verdict.Message, progress: verdict.Progress,
		})
		list.set(v1alpha1.ConditionExpired, verdict.Expired, verdict.Reason, "")
	}
	if equality.Semantic.DeepEqual(before.Status, of.Status) {
		return true, nil
	}
	if err := r.wrote(scope, patchStatus(ctx, r.Client, of, before)); err != nil {
		return false, err
	}
	if verdict != nil && verdict.IsNews(before.Status.Conditions) {
		r.report(ctx, of, verdict)
	}
	return true, nil
}

// report reports a change that a person should know. In a namespace that is being deleted no Event can be created, so
// that a deletion that waits is a line of the log and a metric.
func (r *PaymentSweepReconciler) report(ctx context.Context, of *v1alpha1.PaymentSweep, verdict *sweep.Verdict) {
	if verdict.Holds {
		deletionsHeld.WithLabelValues(verdict.Reason).Inc()
		ctrl.LoggerFrom(ctx).Info("the deletion of a namespace waits for its sessions", "reason", verdict.Reason, "message",
			verdict.Message)
		return
	}
	if verdict.Warn {
		r.Recorder.Eventf(of, nil, "Warning", verdict.Reason, "Sweep", "%s", verdict.Message)
	}
}

// finish removes the finalizer where the action says so.
func (r *PaymentSweepReconciler) finish(ctx context.Context, scope *sweepScope) (bool, error) {
	if !scope.action.Release {
		return true, nil
	}
	return r.release(ctx, scope, scope.action.LeavesPayable)
}

// release removes the finalizer. leavesPayable is why sessions may stay payable; empty where none does. It returns
// false for a sweep that is being deleted, because nothing is left to do.
func (r *PaymentSweepReconciler) release(
	ctx context.Context, scope *sweepScope, leavesPayable string,
) (bool, error) {
	of, before := scope.sweep, scope.sweep.DeepCopy()
	controllerutil.RemoveFinalizer(of, v1alpha1.SweepFinalizer)
	if err := r.wrote(scope, patchFinalizers(ctx, r.Client, of, before)); err != nil {
		return false, err
	}
	if of.DeletionTimestamp.IsZero() {
		return true, nil
	}
	log := ctrl.LoggerFrom(ctx).WithValues("policy", of.Spec.DeletionPolicy, "expired", scope.state.expired)
	if plan := of.Status.Plan; plan != nil {
		log = log.WithValues("openAtLastPass", plan.Open)
	}
	if leavesPayable != "" {
		releasedPayable.Inc()
		log.Info("a sweep is released although sessions of its namespace may still be payable", "why", leavesPayable)
	} else {
		log.Info("a sweep is deleted")
	}
	scope.state.leave()
	return false, nil
}

// act takes part in the passes of the account, asks for one, and begins to expire sessions.
func (r *PaymentSweepReconciler) act(_ context.Context, scope *sweepScope) (bool, error) {
	state, action := scope.state, scope.action
	if state.lister == nil {
		return true, nil
	}
	if !action.Join {
		state.lister.Leave(state.uid)
		return true, nil
	}
	name, urgency := scope.request, 0
	isDeleting := !scope.sweep.DeletionTimestamp.IsZero()
	if isDeleting {
		urgency = urgent
	}
	state.lister.Join(state.uid, scope.lists, func() { r.Sweeps.Enqueue(name, 0, urgency) })
	if action.List {
		scope.after(state.lister.Request(state.uid, action.Memory.From, isDeleting))
	}
	if action.Expire == nil {
		return true, nil
	}
	if !isDeleting && scope.progress.Open == 0 {
		state.expired = 0
	}
	r.aim(scope)
	return true, nil
}

// aim makes targets of the sessions to expire, and forgets those that are done, or that the list does not show any more
// and of which nothing is left to know. A list may show for a while what has just been closed.
func (r *PaymentSweepReconciler) aim(scope *sweepScope) {
	state, lag, shown := scope.state, scope.entry.definition().Lag(), map[string]bool{}
	for _, listed := range scope.listing.Open {
		shown[listed.ID] = true
	}
	for _, listed := range scope.action.Expire {
		known := state.targets[listed.ID]
		isClosed := known != nil && known.object.Status.State.Closed()
		if known != nil && (!isClosed || known.seenClosed || scope.listing.Began.Before(known.closedAt.Add(lag))) {
			continue
		}
		if known != nil {
			state.drop(listed.ID)
		}
		state.targets[listed.ID] = r.newTarget(scope.sweep, listed)
		state.targets[listed.ID].seenClosed = isClosed
		scope.after(time.Millisecond)
	}
	for id, each := range state.targets {
		if scope.listing.Excluded[id] {
			state.drop(id)
			continue
		}
		isDone := each.object.Status.State.Closed() && scope.sweep.DeletionTimestamp.IsZero()
		if !shown[id] && (isDone || each.isUnknown()) {
			state.drop(id)
		}
	}
}
