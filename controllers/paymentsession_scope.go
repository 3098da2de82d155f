// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/account"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// sessionScope is one reconcile of one session.
type sessionScope struct {
	request ctrl.Request
	// session is the object as it was read. Only its status is changed, in writeStatus.
	session *v1alpha1.PaymentSession
	// wasClosed is true where the session was known to be closed before this reconcile.
	wasClosed bool
	// memory is what the passes before this one left.
	memory memory
	// uninstalling is true where the CRD of PaymentSessions is being deleted; set by ensureFinalizer, for deletions alone.
	uninstalling bool
	// entry is the provider's; set by resolve, empty where obstacle says why.
	entry entry
	// obstacle is what stands between the session and its account; set by resolve.
	obstacle *session.Obstacle
	// outcome of a call; set by decide, nil where none has come back.
	outcome *account.Outcome
	// action is what to do; set by decide.
	action session.Action
	// wrote is true where the status was written in this reconcile; set by writeStatus.
	wrote bool
	// wait is when to look again where a step has ended the reconcile; 0 for no timer.
	wait time.Duration
}

// deleting reports whether the session is being deleted.
func (s *sessionScope) deleting() bool { return !s.session.DeletionTimestamp.IsZero() }

// memory is what the controller remembers of a session between two passes.
type memory struct {
	uid     types.UID
	session session.Memory
	// written is the resourceVersion of the last write, until the cache knows it.
	written string
	// provider that the session's calls were handed to.
	provider providerKey
	// unresolvedSince is since when the provider is there and was not looked at yet; zero where it was.
	unresolvedSince time.Time
	// finished is the session as its status was last written, where its finalizer is still to be taken off; nil elsewhere.
	finished *v1alpha1.PaymentSession
}

// behind reports whether an object that was read is older than what was written before.
func (m memory) behind(read *v1alpha1.PaymentSession) bool {
	if m.uid != read.UID || m.written == "" {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(read.ResourceVersion, m.written)
	return err == nil && order < 0
}

// memories are those of all sessions. Closed sessions have none: nothing needs to be known of them.
type memories struct {
	mu sync.Mutex
	of map[types.NamespacedName]memory
}

func (m *memories) get(name types.NamespacedName) (memory, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, ok := m.of[name]
	return found, ok
}

func (m *memories) put(name types.NamespacedName, remembered memory) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.of == nil {
		m.of = map[types.NamespacedName]memory{}
	}
	m.of[name] = remembered
}

// desiredSince is since when a session should be expired, as far as a reconcile has seen that.
func (r *PaymentSessionReconciler) desiredSince(of *v1alpha1.PaymentSession) (time.Time, bool) {
	remembered, known := r.memories.get(types.NamespacedName{Namespace: of.Namespace, Name: of.Name})
	known = known && remembered.uid == of.UID && remembered.session.Desired == v1alpha1.DesiredStateExpired
	return remembered.session.DesiredSince, known
}

func (m *memories) forget(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.of, name)
}

// names of the sessions that are remembered.
func (m *memories) names() []types.NamespacedName {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]types.NamespacedName, 0, len(m.of))
	for name := range m.of {
		names = append(names, name)
	}
	return names
}
