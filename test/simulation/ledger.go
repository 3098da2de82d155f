// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// ledgerKey names a session at a provider.
type ledgerKey struct{ provider, id string }

// ledger is the truth about one session at a provider.
type ledger struct {
	// had holds every state that the session has had.
	had map[v1alpha1.SessionState]bool
	// reopened is true once the provider has opened it again.
	reopened bool
	variant  string
	// wantedUntil is when an object last wanted the session expired.
	wantedUntil time.Time
}

// ledgers holds the truth about all sessions and objects. Its lock comes after the API server's.
type ledgers struct {
	mu       sync.Mutex
	sessions map[ledgerKey]*ledger
	// protected holds the objects that have ever had the finalizer, and forced those whose finalizers a user removed.
	protected, forced map[types.UID]bool
}

func newLedgers() *ledgers {
	return &ledgers{
		sessions: map[ledgerKey]*ledger{}, protected: map[types.UID]bool{}, forced: map[types.UID]bool{},
	}
}

// update changes the ledger of a session.
func (l *ledgers) update(provider, id string, change func(*ledger)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	key := ledgerKey{provider, id}
	if l.sessions[key] == nil {
		l.sessions[key] = &ledger{had: map[v1alpha1.SessionState]bool{}}
	}
	change(l.sessions[key])
}

// of returns the ledger of a session, and whether the session has ever had a state.
func (l *ledgers) of(provider, id string, state v1alpha1.SessionState) (known ledger, had bool) {
	l.update(provider, id, func(found *ledger) { known, had = *found, found.had[state] })
	known.had = nil
	return known, had
}

// protect records that an object has the finalizer.
func (l *ledgers) protect(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.protected[uid] = true
}

// force records that a user removed the finalizers of an object.
func (l *ledgers) force(uid types.UID) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forced[uid] = true
}

// wasProtected reports whether an object has ever had the finalizer, and whether a user removed it.
func (l *ledgers) wasProtected(uid types.UID) (protected, forced bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.protected[uid], l.forced[uid]
}
