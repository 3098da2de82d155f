// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/account"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/sweep"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// target is a session that a sweep expires. It has an object of its own, which no API server knows: the same decision
// as for a PaymentSession says what to do about it.
type target struct {
	object *v1alpha1.PaymentSession
	memory session.Memory
	// verdict is the last one; nil before the first.
	verdict *session.Verdict
	// seenClosed is true where an earlier target of the same session was closed. If this one is closed as well, the list
	// is wrong about the session.
	seenClosed bool
	// closedAt is when it was seen closed.
	closedAt time.Time
	// due is the time of the next decision; zero for none.
	due time.Time
}

// isUnknown reports whether the last read has shown that the session is somebody else's, or does not exist.
func (t *target) isUnknown() bool {
	return t.verdict != nil &&
		(t.verdict.Reason == v1alpha1.ReasonNotOwned || t.verdict.Reason == v1alpha1.ReasonSessionNotFound)
}

func (r *PaymentSweepReconciler) newTarget(of *v1alpha1.PaymentSweep, listed upstream.Listed) *target {
	object := &v1alpha1.PaymentSession{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: of.Namespace, Name: of.Name, UID: of.UID + types.UID("/"+listed.ID), Generation: 1,
			CreationTimestamp: metav1.NewTime(r.Now()),
		},
		Spec: v1alpha1.PaymentSessionSpec{
			ProviderRef: of.Spec.ProviderRef, SessionID: listed.ID, DesiredState: v1alpha1.DesiredStateExpired,
			DeletionPolicy: v1alpha1.DeletionPolicyRetain,
		},
	}
	object.Status.State = listed.State
	return &target{object: object, due: time.Now()}
}

// drop forgets one session that was to be expired.
func (s *sweepState) drop(id string) {
	if s.account != nil {
		s.account.Forget(s.targets[id].object.UID)
	}
	delete(s.targets, id)
}

// dropTargets forgets the sessions that were to be expired. What allowed their calls counts no more.
func (s *sweepState) dropTargets() {
	for id := range s.targets {
		s.drop(id)
	}
}

// leave drops everything about a sweep at its account.
func (s *sweepState) leave() {
	s.dropTargets()
	if s.lister != nil {
		s.lister.Leave(s.uid)
	}
	s.account, s.lister = nil, nil
}

// advance decides again about each target that has an outcome or whose time has come, and says how far all are. It
// first forgets those that nothing allows any more.
func (r *PaymentSweepReconciler) advance(_ context.Context, scope *sweepScope) (bool, error) {
	state, now := scope.state, time.Now()
	if state.memory.Outdated(scope.sweep, scope.access()) || scope.obstacle != nil || scope.sweep.Spec.Suspend {
		state.dropTargets()
	}
	ready := state.takeReady()
	for id, each := range state.targets {
		if _, has := state.found[folded(id)]; has || scope.retains(id) {
			state.drop(id)
			continue
		}
		if isDue := !each.due.IsZero() && !each.due.After(now); ready[id] || isDue {
			r.decideTarget(scope, id, each)
		}
		if !each.due.IsZero() {
			scope.after(max(time.Millisecond, each.due.Sub(now)))
		}
	}
	scope.progress = state.progress()
	return true, nil
}

// decideTarget decides about one session, and does what follows.
func (r *PaymentSweepReconciler) decideTarget(scope *sweepScope, id string, of *target) {
	state := scope.state
	in := session.Input{
		Session: of.object, Now: r.Now(), Jitter: r.Jitter(), DryRun: r.DryRun, Memory: of.memory,
	}
	outcome := scope.input(&in, of.object.UID)
	if scope.entry.ownership() != nil {
		// Also where the rule warns only: nothing says that somebody wants this session expired but that it is the
		// namespace's own.
		in.Ownership = v1alpha1.OwnershipEnforce
	}
	wasClosed, wasFinal := of.object.Status.State.Closed(), of.verdict != nil && of.verdict.IsFinal()
	action := session.Decide(in)
	of.memory, of.due = action.Memory, time.Time{}
	if latest := r.Now().Add(sweep.MaxHold); !scope.sweep.DeletionTimestamp.IsZero() && action.Wait > sweep.MaxHold {
		// Somebody waits for the deletion.
		action.Wait = sweep.MaxHold
		if of.memory.NextCallAt.After(latest) {
			of.memory.NextCallAt = latest
		}
	}
	if action.Wait > 0 {
		of.due = time.Now().Add(action.Wait)
	}
	if outcome != nil {
		state.account.Acknowledge(of.object.UID)
		state.noteEnd(wasFinal && (action.Verdict == nil || action.Verdict.IsFinal()))
	}
	if action.Verdict != nil {
		before := of.object.Status.DeepCopy()
		apply(action.Verdict, &of.object.Status, of.object.Generation, r.Now())
		of.verdict = action.Verdict
		if !equality.Semantic.DeepEqual(*before, of.object.Status) {
			// As after the write of a status: the next decision has the timer.
			of.due = time.Now().Add(ownWriteDelay)
		}
		r.countTarget(scope, of, wasClosed, before)
	}
	switch {
	case of.object.Status.State.Closed():
		of.due = time.Time{}
		state.account.Withdraw(of.object.UID)
	case action.Operation == "":
		state.account.Withdraw(of.object.UID)
	default:
		state.account.Submit(r.request(scope, id, of, action))
	}
}

// noteEnd records that a call has ended: a pass that was running shows what was before. A read of a session that no
// call can expire takes nothing away from a pass.
func (s *sweepState) noteEnd(isUnsupported bool) {
	if !isUnsupported {
		s.ended = time.Now()
	}
}

// countTarget counts a session that has been expired or cannot be.
func (r *PaymentSweepReconciler) countTarget(
	scope *sweepScope, of *target, wasClosed bool, before *v1alpha1.PaymentSessionStatus,
) {
	class, reached := scope.entry.class, of.object.Status.State
	switch {
	case reached.Closed() && !wasClosed && of.seenClosed:
		of.closedAt = time.Now()
	case reached.Closed() && !wasClosed:
		of.closedAt = time.Now()
		sweptSessions.WithLabelValues(class, string(reached)).Inc()
		if reached == v1alpha1.SessionStateExpired {
			scope.state.expired++
		}
	case of.verdict.IsFinal() && readyReason(before.Conditions) != of.verdict.Reason:
		sweptSessions.WithLabelValues(class, "unsupported").Inc()
		r.Audit.Info("cannot expire a session", append(auditedSession(of.object), "cause", "sweep", "class", class)...)
	}
}

// progress says how far the sessions are that were to be expired.
func (s *sweepState) progress() sweep.Progress {
	made := sweep.Progress{
		Closed: map[string]bool{}, Unsupported: map[string]bool{}, Settled: map[string]bool{}, Expired: s.expired,
		Ended: s.ended,
	}
	for _, id := range slices.Sorted(maps.Keys(s.targets)) {
		each := s.targets[id]
		switch {
		case each.object.Status.State.Closed():
			made.Closed[id], made.Settled[id] = true, each.seenClosed
			if of := each.object.Status.Upstream; of != nil && of.StillPayable != "" {
				made.StillPayable = of.StillPayable
			}
		case each.verdict != nil && each.verdict.IsFinal():
			made.Unsupported[id] = true
		default:
			made.Open++
			if each.verdict == nil || each.verdict.IsActing() {
				made.Acting++
			} else if made.Reason == "" || each.verdict.Progress == session.Stalled && !made.Stalled {
				made.Reason, made.Message = each.verdict.Reason, "Session "+id+": "+each.verdict.Message
				made.Stalled = each.verdict.Progress == session.Stalled
			}
		}
	}
	return made
}

// request returns the account's request for an action about a target.
func (r *PaymentSweepReconciler) request(
	scope *sweepScope, id string, of *target, action session.Action,
) account.Request {
	state := scope.state
	priority := account.Expiry
	switch {
	case !action.Proof.At.IsZero():
		priority = account.Proven
	case !scope.sweep.DeletionTimestamp.IsZero():
		priority = account.Deletion
	}
	request := account.Request{
		Session: of.object.UID, Operation: action.Operation, SessionID: id, Priority: priority,
		Tenant: scope.sweep.Namespace, Proof: action.Proof, NeedsProof: action.NeedsProof,
		Endpoint: scope.entry.settings.access.endpoint,
		OnCall:   reportCall(r.Audit, of.object, action.Operation, scope.entry.class, "sweep"),
		Requeue: func() {
			state.note(id)
			r.Sweeps.Enqueue(scope.request, 0, urgent)
		},
	}
	if action.Operation == v1alpha1.OperationExpire {
		request.Confirm = r.confirm(scope, id)
	}
	return request
}

// liveSweep is what the API server has of a sweep and of the sessions of its namespace.
type liveSweep struct {
	sweep   *v1alpha1.PaymentSweep
	objects map[string]claimedSession
}

// readLive returns the read of what the API server has of a sweep and of the sessions of its namespace.
func (r *PaymentSweepReconciler) readLive(
	name types.NamespacedName,
) func(context.Context) (liveSweep, error) {
	return func(ctx context.Context) (liveSweep, error) {
		live := liveSweep{sweep: &v1alpha1.PaymentSweep{}}
		if err := r.LiveReader.Get(ctx, name, live.sweep); err != nil {
			return liveSweep{}, client.IgnoreNotFound(err)
		}
		var err error
		live.objects, err = r.objectsOf(ctx, name.Namespace)
		return live, err
	}
}

// confirm returns the check that runs right before an expire call: the sweep is the same and still wants it, the
// operator is not being uninstalled, and the session has no object.
func (r *PaymentSweepReconciler) confirm(scope *sweepScope, id string) func(context.Context) bool {
	name, state, since := scope.request, scope.state, time.Now()
	wanted := wantedSweep{scope.sweep.UID, scope.sweep.Generation, !scope.sweep.DeletionTimestamp.IsZero()}
	return func(ctx context.Context) bool {
		recent := time.Now().Add(-freshness)
		if since.After(recent) {
			recent = since
		}
		live, err := state.live.get(ctx, recent)
		confirmed := err == nil && live.sweep != nil && wanted.isWanted(live.sweep) && r.mayExpire(state.provider)
		if confirmed {
			object, has := live.objects[folded(id)]
			if has && object.retains {
				state.retain(id)
			}
			confirmed = !has && !foldedSet(state.retainedWith(live.sweep.Status.Retained))[folded(id)]
		}
		if confirmed {
			confirmed, err = r.isInstalled(ctx, recent)
		}
		if err != nil {
			ctrl.LoggerFrom(ctx).Error(err, "cannot confirm that a session should be expired; trying again", "sweep", name)
		}
		if !confirmed {
			state.change()
			state.note(id)
			r.Sweeps.Enqueue(name, confirmDelay, 0)
		}
		return confirmed
	}
}

// isInstalled reports whether the CRDs of sweeps and of sessions are there to stay: an uninstall expires nothing, and
// takes away the objects that would keep a sweep from their sessions.
func (r *PaymentSweepReconciler) isInstalled(ctx context.Context, notBefore time.Time) (bool, error) {
	for _, deleted := range []*sharedRead[bool]{&r.uninstalling, &r.sessionsGoing} {
		if isDeleted, err := deleted.get(ctx, notBefore); isDeleted || err != nil {
			return false, err
		}
	}
	return true, nil
}

// wantedSweep is a sweep for which a call was decided.
type wantedSweep struct {
	uid        types.UID
	generation int64
	deleting   bool
}

// isWanted reports whether the sweep is the same as when the call was decided, and still wants it.
func (w wantedSweep) isWanted(live *v1alpha1.PaymentSweep) bool {
	isDeleting := !live.DeletionTimestamp.IsZero()
	if live.UID != w.uid || live.Generation != w.generation || live.Spec.Suspend || isDeleting != w.deleting {
		return false
	}
	if isDeleting {
		return sweep.HasFinalizer(live) && live.Spec.DeletionPolicy == v1alpha1.DeletionPolicyExpire
	}
	return live.Spec.DesiredState == v1alpha1.DesiredStateExpired
}

// mayExpire reports whether this manager runs sweeps, and a provider still allows them to expire sessions.
func (r *PaymentSweepReconciler) mayExpire(provider providerKey) bool {
	known, ok := r.Directory.lookUp(provider)
	return ok && known.settings.sweepPolicy == v1alpha1.SweepAllow && r.WriteLease.Held()
}
