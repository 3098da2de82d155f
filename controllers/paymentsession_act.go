// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/account"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// drainTimeout bounds the writes after the last call in flight has ended, on shutdown.
const drainTimeout = 10 * time.Second

// remember commits the decision: it acknowledges the outcome, which is in the status by now, and stores what the next
// decision needs.
func (r *PaymentSessionReconciler) remember(_ context.Context, scope *sessionScope) (bool, error) {
	of, action := scope.session, scope.action
	if scope.outcome != nil {
		scope.entry.account.Acknowledge(of.UID)
		if !scope.wasClosed && of.Status.State.Closed() && action.Memory.Desired == v1alpha1.DesiredStateExpired {
			closingSeconds.WithLabelValues(scope.entry.class).Observe(r.Now().Sub(action.Memory.DesiredSince).Seconds())
		}
	}
	// Readiness first, finalizer second: nobody waits for the release, so that it comes with the reconcile that the
	// status write triggers, after the outcomes of other sessions in the queue.
	var unreleased *v1alpha1.PaymentSession
	if scope.wroteStatus && !isDeleting(of) && session.HasFinalizer(of) && !session.WantsFinalizer(of) {
		unreleased = of
	}
	before, _ := r.memories.get(scope.request.NamespacedName)
	refreshed := action.Memory.NextRefreshAt.After(r.Now())
	if action.Operation == "" && of.Status.State.Closed() && before.written == "" && !refreshed {
		// The account as well: nothing else tells it that the object is gone.
		r.forget(scope.request.NamespacedName, memory{uid: of.UID, provider: providerOf(of)})
		return true, nil
	}
	r.memories.update(of, func(changed *memory) { changed.session, changed.unreleased = action.Memory, unreleased })
	return true, nil
}

// act submits a request to the account, withdraws the one that is queued, or deletes the object.
func (r *PaymentSessionReconciler) act(ctx context.Context, scope *sessionScope) (bool, error) {
	action := scope.action
	if action.Operation == "" {
		// Also before a release: the next reconcile, which the release triggers, may come after the call.
		r.withdraw(scope.session)
	}
	switch {
	case action.Release:
		return false, nil
	case action.Delete:
		return false, r.delete(ctx, scope.session)
	case action.Operation != "":
		scope.entry.account.Submit(r.request(scope.session, action, scope.entry))
	}
	return true, nil
}

// withdraw withdraws a session's queued request.
func (r *PaymentSessionReconciler) withdraw(of *v1alpha1.PaymentSession) {
	if account := r.Directory.account(providerOf(of)); account != nil {
		account.Withdraw(of.UID)
	}
}

// request returns the account's request for an action.
func (r *PaymentSessionReconciler) request(of *v1alpha1.PaymentSession, action session.Action,
	provider entry) account.Request {
	priority, cause := account.Poll, "observation"
	switch {
	case isDeleting(of):
		priority, cause = account.Deletion, "deletion"
	case of.Spec.DesiredState == v1alpha1.DesiredStateExpired:
		priority, cause = account.Expiry, "desiredState"
	case session.Desired(of, r.Now()) == v1alpha1.DesiredStateExpired:
		priority, cause = account.Expiry, "expireAt"
	}
	if !action.Proof.At.IsZero() {
		priority = account.Proven
	}
	name := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(of)}
	request := account.Request{
		Session: of.UID, Operation: action.Operation, SessionID: of.Spec.SessionID, Priority: priority, Tenant: of.Namespace,
		Refresh: action.Memory.Refresh != "", Proof: action.Proof, NeedsProof: action.NeedsProof,
		Endpoint: provider.settings.access.endpoint,
		OnCall:   reportCall(r.Audit, of, action.Operation, provider.class, cause),
		Requeue:  func() { r.Sessions.Enqueue(name, 0, urgent*int(priority)) },
	}
	if action.Confirm {
		request.Confirm = r.confirm(of, provider.definition())
	}
	return request
}

// delete deletes a session whose time to live is over, if it has not changed since it was read.
func (r *PaymentSessionReconciler) delete(ctx context.Context, of *v1alpha1.PaymentSession) error {
	unchanged := client.Preconditions{UID: new(of.UID), ResourceVersion: new(of.ResourceVersion)}
	if err := r.Client.Delete(ctx, of, unchanged); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("cannot delete the session, whose ttlAfterClosed is over: %w", err)
	}
	return nil
}

// Drain handles the outcomes of the calls that were in flight at a shutdown, when the workers have stopped.
func (r *PaymentSessionReconciler) Drain(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, drainTimeout)
	defer cancel()
	for _, name := range r.memories.names() {
		if err := r.drain(ctx, name); err != nil {
			log := ctrl.LoggerFrom(ctx)
			log.Error(err, "cannot finish a session before the shutdown; the next manager does", "session", name)
		}
	}
}

// drain handles the outcome of a session's call, if there is one, and removes the finalizer of a closed session.
func (r *PaymentSessionReconciler) drain(ctx context.Context, name types.NamespacedName) error {
	remembered, _ := r.memories.get(name)
	if account := r.Directory.account(remembered.provider); account != nil {
		if _, ok := account.Outcome(remembered.uid); ok {
			if _, err := r.Reconcile(ctx, ctrl.Request{NamespacedName: name}); err != nil {
				return err
			}
			remembered, _ = r.memories.get(name)
		}
	}
	if remembered.unreleased == nil {
		return nil
	}
	// Copy the object: the worker that stored it may still read it.
	err := r.releaseFinalizer(ctx, remembered.unreleased.DeepCopy(), "")
	if errors.Is(err, errConflict) {
		// A worker has released it meanwhile.
		return nil
	}
	return err
}
