// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// memory is what the controller keeps about a session between two reconciles.
type memory struct {
	uid types.UID
	// provider whose account the session submits requests to.
	provider providerKey
	session  session.Memory
	// written is the resourceVersion of the last write, until the cache has caught up.
	written string
	// unresolvedSince is when the provider was first seen without an entry in the directory; zero where it has one.
	unresolvedSince time.Time
	// unreleased is the closed session whose finalizer is still to be removed; nil for none.
	unreleased *v1alpha1.PaymentSession
}

// isNewerThan reports whether the last write is newer than an object from the cache.
func (m memory) isNewerThan(cached *v1alpha1.PaymentSession) bool {
	if m.uid != cached.UID || m.written == "" {
		return false
	}
	order, err := resourceversion.CompareResourceVersion(cached.ResourceVersion, m.written)
	return err == nil && order < 0
}

// caughtUp reports whether a version of the session has the last write, for which a reconcile may wait.
func (m memory) caughtUp(with *v1alpha1.PaymentSession) bool {
	return m.uid == with.UID && m.written != "" && !m.isNewerThan(with)
}

// memories holds the memory of each session. Closed sessions need none.
type memories struct {
	mu     sync.Mutex
	byName map[types.NamespacedName]memory
}

func (m *memories) get(name types.NamespacedName) (memory, bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	found, ok := m.byName[name]
	return found, ok
}

// update changes the memory of a session, and creates it first if it does not exist.
func (m *memories) update(of *v1alpha1.PaymentSession, change func(*memory)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.byName == nil {
		m.byName = map[types.NamespacedName]memory{}
	}
	name := client.ObjectKeyFromObject(of)
	changed := m.byName[name]
	if changed.uid != of.UID {
		changed = memory{uid: of.UID}
	}
	changed.provider = providerOf(of)
	change(&changed)
	m.byName[name] = changed
}

// recordWrite records that the cache is behind until it has this version of a session.
func (m *memories) recordWrite(of *v1alpha1.PaymentSession) {
	m.update(of, func(changed *memory) { changed.written = of.ResourceVersion })
}

func (m *memories) forget(name types.NamespacedName) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.byName, name)
}

// names returns the names of the sessions that have a memory.
func (m *memories) names() []types.NamespacedName {
	m.mu.Lock()
	defer m.mu.Unlock()
	names := make([]types.NamespacedName, 0, len(m.byName))
	for name := range m.byName {
		names = append(names, name)
	}
	return names
}

// desiredSince returns when a session should have been expired, as far as a reconcile has seen that.
func (r *PaymentSessionReconciler) desiredSince(of *v1alpha1.PaymentSession) (time.Time, bool) {
	remembered, known := r.memories.get(client.ObjectKeyFromObject(of))
	known = known && remembered.uid == of.UID && remembered.session.Desired == v1alpha1.DesiredStateExpired
	return remembered.session.DesiredSince, known
}

// forget drops everything about a session that no longer exists.
func (r *PaymentSessionReconciler) forget(name types.NamespacedName, remembered memory) {
	if account := r.Directory.account(remembered.provider); account != nil {
		account.Forget(remembered.uid)
	}
	r.duplicates.forget(remembered.uid)
	r.memories.forget(name)
}
