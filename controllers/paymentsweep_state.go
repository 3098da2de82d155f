// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/account"
	"github.com/payops-dev/payment-session-operator/internal/sweep"
)

// sweepScope is one reconcile of one sweep. Steps read what earlier steps have set.
type sweepScope struct {
	request ctrl.Request
	// sweep is the object, and state what earlier reconciles have left; set by load.
	sweep *v1alpha1.PaymentSweep
	state *sweepState
	// terminating is true where a live read shows that the Namespace is being deleted, and uninstalling while the CRD of
	// PaymentSweeps is; set by load, for deletions alone.
	terminating, uninstalling bool
	// resolved is the provider as the namespace may use it, and scope what the sweep lists; set by resolve.
	resolved

	lists sweep.Scope
	// listing was handed out last, and objects are those of its sessions that have one; set by findObjects.
	listing *sweep.Listing
	objects map[string]sweep.Object
	// progress is how far the sessions are that were to be expired; set by advance.
	progress sweep.Progress
	// action is what to do, decided is true once it is set, and remembered is the memory of before; set by decide.
	action     sweep.Action
	decided    bool
	remembered sweep.Memory
	// kept holds the ids that were registered with Retain; set by findObjects.
	kept map[string]bool
	// wait is the time until the next reconcile; 0 for no timer.
	wait time.Duration
}

// after reconciles the sweep again after a time at the latest.
func (s *sweepScope) after(pause time.Duration) {
	if pause > 0 && (s.wait == 0 || pause < s.wait) {
		s.wait = pause
	}
}

// access returns the account's number of the present endpoint, rule and credentials; 0 where there is no account.
func (s *sweepScope) access() int64 {
	if s.entry.account == nil {
		return 0
	}
	return s.entry.account.Access()
}

// retains reports whether a session was registered with Retain.
func (s *sweepScope) retains(id string) bool { return s.kept[folded(id)] }

// folded returns the one form of ids that differ in case only: they may be of the same session.
func folded(id string) string { return strings.ToLower(id) }

// foldedSet returns ids as a set.
func foldedSet(ids []string) map[string]bool {
	set := make(map[string]bool, len(ids))
	for _, id := range ids {
		set[folded(id)] = true
	}
	return set
}

// sweepState is what the controller keeps about a sweep between two reconciles. Only the reconciles of the sweep use
// it, which never run at the same time, but for what the mutex guards.
type sweepState struct {
	uid      types.UID
	provider providerKey
	// account and lister are those that the sweep has used last; nil for none.
	account *account.Account
	lister  *sweep.Lister
	memory  sweep.Memory
	// written is the resourceVersion of the last write, until the cache has caught up.
	written string
	// recalled is true once the state has what the objects of the namespace retain.
	recalled bool
	// unresolvedSince is when the provider was first seen without an entry in the directory; zero where it has one.
	unresolvedSince time.Time
	// terminating is true once a live read has shown that the Namespace is being deleted.
	terminating bool
	// targets are the sessions to expire, by id.
	targets map[string]*target
	// expired counts those that were expired, and ended is when the last call ended.
	expired int
	ended   time.Time
	// found holds the objects of the namespace by their folded session ids, as of the pass foundFor.
	found    map[string]claimedSession
	foundFor time.Time
	// live reads what must still hold right before an expire call.
	live sharedRead[liveSweep]

	mu sync.Mutex
	// ready holds the ids of the targets that have to be decided again.
	ready map[string]bool
	// retained holds the ids that people have registered with Retain, as far as the status does not name them.
	retained map[string]bool
	// stale is true once the objects of the namespace have changed.
	stale bool
}

// claimedSession is an object of the namespace for a session. Whatever provider object it names, it keeps the sweep
// away from the session: two provider objects may be of one account.
type claimedSession struct {
	id      string
	object  sweep.Object
	retains bool
}

// sweepStates holds the state of each sweep.
type sweepStates struct {
	mu     sync.Mutex
	byName map[types.NamespacedName]*sweepState
}

// of returns the state of a sweep, a new one for a new object. isNew is true for that.
func (s *sweepStates) of(sweep *v1alpha1.PaymentSweep) (state *sweepState, isNew bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	name := client.ObjectKeyFromObject(sweep)
	if known := s.byName[name]; known != nil && known.uid == sweep.UID {
		return known, false
	}
	if s.byName == nil {
		s.byName = map[types.NamespacedName]*sweepState{}
	}
	s.byName[name] = &sweepState{
		uid: sweep.UID, provider: referenced(sweep.Spec.ProviderRef, sweep.Namespace), targets: map[string]*target{},
		ready: map[string]bool{}, retained: map[string]bool{}, expired: int(sweep.Status.Expired),
	}
	return s.byName[name], true
}

// drop removes and returns the state that has a name, if it is of another object than the given one; nil for none.
func (s *sweepStates) drop(name types.NamespacedName, except types.UID) *sweepState {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.byName[name]
	if known == nil || known.uid == except {
		return nil
	}
	delete(s.byName, name)
	return known
}

// inNamespace returns the names and states of the sweeps of a namespace.
func (s *sweepStates) inNamespace(namespace string) map[types.NamespacedName]*sweepState {
	s.mu.Lock()
	defer s.mu.Unlock()
	found := map[types.NamespacedName]*sweepState{}
	for name, state := range s.byName {
		if name.Namespace == namespace {
			found[name] = state
		}
	}
	return found
}

// isBehind reports whether the cache does not have the last write of a sweep yet.
func (s *sweepState) isBehind(cached *v1alpha1.PaymentSweep) bool {
	if s.written == "" {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(cached.ResourceVersion, s.written)
	return err == nil && order < 0
}

// note marks a target to be decided again.
func (s *sweepState) note(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ready[id] = true
}

// takeReady returns the ids of the targets to decide again.
func (s *sweepState) takeReady() map[string]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	taken := s.ready
	s.ready = map[string]bool{}
	return taken
}

// retain remembers that a session was registered with Retain.
func (s *sweepState) retain(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.retained[id] = true
}

// retainedWith returns the ids of a status and those that were seen since, sorted.
func (s *sweepState) retainedWith(status []string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := make(map[string]bool, len(status))
	for _, id := range status {
		known[id] = true
		delete(s.retained, id)
	}
	maps.Copy(known, s.retained)
	return slices.Sorted(maps.Keys(known))
}

// change marks the objects of the namespace as changed.
func (s *sweepState) change() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stale = true
}

// takeStale reports whether the objects of the namespace have changed since the last call.
func (s *sweepState) takeStale() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	was := s.stale
	s.stale = false
	return was
}

// sweepQueue is the queue of the controller.
type sweepQueue = workqueue.TypedRateLimitingInterface[ctrl.Request]

func (r *PaymentSweepReconciler) sessionCreated(_ context.Context, event event.CreateEvent, queue sweepQueue) {
	r.sessionChanged(event.Object, queue, true)
}

func (r *PaymentSweepReconciler) sessionUpdated(_ context.Context, event event.UpdateEvent, queue sweepQueue) {
	r.sessionChanged(event.ObjectOld, queue, false)
	isNews := event.ObjectOld.GetGeneration() != event.ObjectNew.GetGeneration() ||
		!slices.Equal(event.ObjectOld.GetFinalizers(), event.ObjectNew.GetFinalizers())
	r.sessionChanged(event.ObjectNew, queue, isNews)
}

func (r *PaymentSweepReconciler) sessionDeleted(_ context.Context, event event.DeleteEvent, queue sweepQueue) {
	r.sessionChanged(event.Object, queue, true)
}

// sessionChanged remembers what was registered with Retain, before the object is gone, and requeues the sweeps that
// leave the session to its object.
func (r *PaymentSweepReconciler) sessionChanged(object client.Object, queue sweepQueue, isNews bool) {
	of, ok := object.(*v1alpha1.PaymentSession)
	retains := ok && of.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain
	if !ok || !retains && !isNews {
		// Most updates are of a status.
		return
	}
	for name, state := range r.states.inNamespace(of.Namespace) {
		if retains {
			state.retain(of.Spec.SessionID)
		}
		if isNews {
			state.change()
			queue.Add(ctrl.Request{NamespacedName: name})
		}
	}
}

// finalizersChanged selects the updates that change the finalizers.
var finalizersChanged = predicate.Funcs{UpdateFunc: func(update event.UpdateEvent) bool {
	return !slices.Equal(update.ObjectOld.GetFinalizers(), update.ObjectNew.GetFinalizers())
}}
