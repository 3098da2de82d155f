// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/account"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// load reads the session and what is remembered of it.
func (r *PaymentSessionReconciler) load(ctx context.Context, scope *sessionScope) (bool, error) {
	object := &v1alpha1.PaymentSession{}
	remembered, known := r.memories.get(scope.request.NamespacedName)
	gone, err := r.read(ctx, scope.request, object)
	if err != nil {
		return false, err
	}
	if known && (gone || remembered.uid != object.UID) {
		r.forget(scope.request.NamespacedName, remembered)
		remembered = memory{}
	}
	if gone || remembered.behind(object) {
		// The write that the cache does not know yet brings another reconcile when it does.
		return false, nil
	}
	remembered.written = ""
	scope.session, scope.memory, scope.wasClosed = object, remembered, object.Status.State.Closed()
	scope.memory.uid, scope.memory.provider = object.UID, providerOf(object)
	return true, nil
}

// read reads the session from the cache, and reports whether it is gone.
func (r *PaymentSessionReconciler) read(ctx context.Context, request ctrl.Request, object *v1alpha1.PaymentSession) (bool, error) {
	err := r.Client.Get(ctx, request.NamespacedName, object)
	return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
}

// forget drops what is known of a session that no longer exists.
func (r *PaymentSessionReconciler) forget(name types.NamespacedName, remembered memory) {
	if known, _ := r.Directory.lookUp(remembered.provider); known.account != nil {
		known.account.Forget(remembered.uid)
	}
	r.duplicates.forget(remembered.uid)
	r.memories.forget(name)
}

// resolve finds the session's account, or what stands in the way of it.
func (r *PaymentSessionReconciler) resolve(ctx context.Context, scope *sessionScope) (bool, error) {
	if session.AtRest(scope.session) {
		// What another manager, or a look that nobody asks for any more, has left there must not answer the next look.
		if known, _ := r.Directory.lookUp(scope.memory.provider); known.account != nil {
			known.account.Forget(scope.session.UID)
		}
		return true, nil
	}
	key := scope.memory.provider
	known, looked := r.Directory.lookUp(key)
	if !looked {
		return r.unresolved(ctx, scope)
	}
	scope.memory.unresolvedSince = time.Time{}
	scope.entry, scope.obstacle = known, known.obstacle
	if known.obstacle != nil {
		return true, nil
	}
	if key.kind != v1alpha1.KindClusterPaymentProvider {
		return true, nil
	}
	permitted, err := r.permitted(ctx, scope.session.Namespace, known.allowed)
	if err != nil {
		return false, err
	}
	if !permitted {
		scope.obstacle = &session.Obstacle{
			Reason:  v1alpha1.ReasonNamespaceNotAllowed,
			Message: fmt.Sprintf("ClusterPaymentProvider %s does not allow namespace %s. Its allowedNamespaces must select the namespace's labels.", key.Name, scope.session.Namespace),
		}
	}
	return true, nil
}

// unresolved handles a session whose provider is missing or not yet reconciled. Reconciling the provider requeues its sessions;
// if that takes long, the session's status says so.
func (r *PaymentSessionReconciler) unresolved(ctx context.Context, scope *sessionScope) (bool, error) {
	key := scope.memory.provider
	exists, err := r.exists(ctx, key)
	if err != nil {
		return false, err
	}
	if !exists {
		scope.obstacle = &session.Obstacle{
			Reason:  v1alpha1.ReasonProviderNotFound,
			Message: fmt.Sprintf("%s %s does not exist. Create it, or create this session again with another providerRef.", key.kind, key.Name),
		}
		return true, nil
	}
	if scope.memory.unresolvedSince.IsZero() {
		scope.memory.unresolvedSince = r.Now()
	}
	if left := scope.memory.unresolvedSince.Add(lookUpPatience).Sub(r.Now()); left > 0 {
		scope.wait = left
		r.memories.put(scope.request.NamespacedName, scope.memory)
		return false, nil
	}
	scope.obstacle = &session.Obstacle{
		Reason:  v1alpha1.ReasonProviderNotReady,
		Message: fmt.Sprintf("%s %s is not ready: its Secret is not protected by the finalizer %s yet.", key.kind, key.Name, v1alpha1.InUseFinalizer),
	}
	return true, nil
}

// exists reports whether the cache has the provider.
func (r *PaymentSessionReconciler) exists(ctx context.Context, key providerKey) (bool, error) {
	var provider client.Object = &v1alpha1.PaymentProvider{}
	if key.kind == v1alpha1.KindClusterPaymentProvider {
		provider = &v1alpha1.ClusterPaymentProvider{}
	}
	err := r.Client.Get(ctx, key.NamespacedName, provider)
	return err == nil, client.IgnoreNotFound(err)
}

// permitted reports whether a namespace's labels are selected.
func (r *PaymentSessionReconciler) permitted(ctx context.Context, name string, allowed labels.Selector) (bool, error) {
	if allowed == nil {
		return false, nil
	}
	namespace := &corev1.Namespace{}
	if err := r.Client.Get(ctx, types.NamespacedName{Name: name}, namespace); err != nil {
		return false, client.IgnoreNotFound(err)
	}
	return allowed.Matches(labels.Set(namespace.Labels)), nil
}

// decide gathers the input and decides.
func (r *PaymentSessionReconciler) decide(ctx context.Context, scope *sessionScope) (bool, error) {
	in := session.Input{
		Session: scope.session, Now: r.Now(), Jitter: r.Jitter(), DryRun: r.DryRun,
		Uninstalling: scope.uninstalling, Obstacle: scope.obstacle, PollInterval: scope.entry.pollInterval, Memory: scope.memory.session,
	}
	if definition := scope.entry.definition; definition != nil {
		in.InvalidSessionID = !definition.ValidSessionID(scope.session.Spec.SessionID)
		in.SessionIDName = definition.SessionIDName()
	}
	if runs := scope.entry.account; runs != nil {
		in.Endpoint, in.AccountEpoch, in.AccountFound = scope.entry.endpoint, runs.Epoch(), runs.Found()
		in.MayProbe, in.Hold = runs.MayProbe(scope.session.UID), holdOf(runs.Activity())
		if outcome, there := runs.Outcome(scope.session.UID); there {
			scope.outcome = &outcome
			in.Outcome = &session.Outcome{
				Operation: outcome.Operation, Result: outcome.Result, Made: outcome.Made, AccountEpoch: outcome.Epoch, Access: outcome.Access,
			}
		}
	}
	if scope.deleting() {
		var err error
		if in.Duplicate, err = r.duplicates.exists(ctx, scope.session, scope.entry.definition); err != nil {
			return false, err
		}
	}
	scope.action = session.Decide(in)
	return true, nil
}

// holdOf is the weightiest cause for which an account holds queued calls back.
func holdOf(activity account.Activity) session.Hold {
	switch {
	case activity.Outage:
		return session.HoldOutage
	case activity.Paused:
		return session.HoldPause
	case activity.Limited:
		return session.HoldRateLimit
	default:
		return session.HoldQueue
	}
}

// act does what was decided: it releases the finalizer, hands a call to the account, or takes one back, or deletes the object.
func (r *PaymentSessionReconciler) act(ctx context.Context, scope *sessionScope) (bool, error) {
	if scope.action.Release {
		if err := r.release(ctx, scope); err != nil {
			return false, err
		}
	}
	// Only now that its outcome stands in the status, or was acted on, may a call be forgotten.
	if scope.outcome != nil {
		scope.entry.account.Acknowledge(scope.session.UID)
		r.measure(scope)
	}
	r.remember(scope)
	switch {
	case scope.action.Release:
		return false, nil
	case scope.action.Delete:
		return false, r.delete(ctx, scope.session)
	case scope.action.Call == "":
		r.withdraw(scope)
	default:
		scope.entry.account.Submit(r.call(scope))
	}
	return true, nil
}

// remember keeps what the next reconcile needs to know. A session that is closed and at rest needs nothing.
func (r *PaymentSessionReconciler) remember(scope *sessionScope) {
	of := scope.session
	// Ready comes first: where the status was just written nobody waits for the finalizer, and the reconcile that this write brings
	// takes it off, behind the outcomes of other sessions in the queue.
	scope.memory.finished = nil
	if scope.wrote && !scope.deleting() && session.HasFinalizer(of) && !session.WantsFinalizer(of) {
		scope.memory.finished = of
	}
	scope.memory.session = scope.action.Memory
	looked := scope.action.Memory.NextRefreshAt.After(r.Now())
	if scope.action.Call == "" && of.Status.State.Closed() && scope.memory.written == "" && !looked {
		r.memories.forget(scope.request.NamespacedName)
	} else {
		r.memories.put(scope.request.NamespacedName, scope.memory)
	}
}

// measure counts how long it took from the desired state to the end, where the outcome has shown that.
func (r *PaymentSessionReconciler) measure(scope *sessionScope) {
	if !scope.wasClosed && scope.outcome.Result.State.Closed() && scope.action.Memory.Desired == v1alpha1.DesiredStateExpired {
		closingSeconds.WithLabelValues(scope.entry.class).Observe(r.Now().Sub(scope.action.Memory.DesiredSince).Seconds())
	}
}

// withdraw takes back a call that is still queued.
func (r *PaymentSessionReconciler) withdraw(scope *sessionScope) {
	if known, _ := r.Directory.lookUp(scope.memory.provider); known.account != nil {
		known.account.Withdraw(scope.session.UID)
	}
}

// call makes the account's call from the action.
func (r *PaymentSessionReconciler) call(scope *sessionScope) account.Call {
	request, priority, cause := scope.request, account.Poll, "observation"
	switch {
	case scope.deleting():
		priority, cause = account.Deletion, "deletion"
	case scope.session.Spec.DesiredState == v1alpha1.DesiredStateExpired:
		priority, cause = account.Expiry, "desiredState"
	case session.Desired(scope.session, r.Now()) == v1alpha1.DesiredStateExpired:
		priority, cause = account.Expiry, "expireAt"
	}
	call := account.Call{
		Session: scope.session.UID, Operation: scope.action.Call, SessionID: scope.session.Spec.SessionID, Priority: priority,
		Tenant: scope.session.Namespace, Refresh: scope.action.Memory.Refresh != "", Wake: func() { r.Sessions.Wake(request, 0, urgent*int(priority)) },
		Made: r.auditor(scope, scope.action.Call, cause),
	}
	if scope.action.Confirm {
		call.Confirm = r.confirm(scope)
	}
	return call
}

// delete deletes a session whose time to live is over, if it is still the one that was read.
func (r *PaymentSessionReconciler) delete(ctx context.Context, expired *v1alpha1.PaymentSession) error {
	same := client.Preconditions{UID: new(expired.UID), ResourceVersion: new(expired.ResourceVersion)}
	if err := r.Client.Delete(ctx, expired, same); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("cannot delete the session, whose time to live is over: %w", err)
	}
	return nil
}
