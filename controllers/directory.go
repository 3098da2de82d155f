// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/internal/account"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// Directory holds what is known of each provider object: its account, or what stands in the way of one. The provider
// controllers write it and the session controller reads it. As a runnable of the manager it runs the accounts.
type Directory struct {
	// Drain acts on the outcomes that no worker will come to any more; it is called when the last call in flight has ended.
	Drain func(context.Context)

	ctx     context.Context //nolint:containedctx // The accounts live as long as the directory, not as long as a reconcile.
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.RWMutex
	entries map[providerKey]*entry
	// ending is true once no account is started any more.
	ending bool
}

// entry is one provider object's.
type entry struct {
	uid types.UID
	// class is the name of the provider's class.
	class string
	// account and definition are nil where an obstacle stands.
	account    *account.Account
	definition *upstream.Definition
	obstacle   *session.Obstacle
	// allowed selects namespaces, for the cluster kind; nil allows none.
	allowed      labels.Selector
	pollInterval time.Duration

	// upstream is how the account makes its calls; fingerprint tells whether that must change. endpoint is the part of it that says where
	// calls go and how replies are read.
	upstream    *upstream.Endpoint
	fingerprint string
	endpoint    string
	door        *httpx.Client
	stop        context.CancelFunc
	// trouble is the reason that the provider has not been ready for since troubleSince.
	trouble      string
	troubleSince time.Time
	// unprotectedSince is since when the Secret lacks the finalizer that lets it live as long as its sessions.
	unprotectedSince time.Time
}

// NewDirectory makes an empty directory.
func NewDirectory() *Directory {
	ctx, cancel := context.WithCancel(context.Background())
	return &Directory{ctx: ctx, cancel: cancel, entries: map[providerKey]*entry{}}
}

// Start runs until ctx is done, and then until the last call in flight has ended and its outcome was acted on.
func (d *Directory) Start(ctx context.Context) error {
	<-ctx.Done()
	d.mu.Lock()
	d.ending = true
	d.mu.Unlock()
	d.cancel()
	d.running.Wait()
	if d.Drain != nil {
		d.Drain(context.WithoutCancel(ctx))
	}
	return nil
}

// NeedLeaderElection is true: only the leader makes calls.
func (d *Directory) NeedLeaderElection() bool { return true }

// lookUp gives a copy of an entry. ok is false where the provider does not exist, or nothing is known of it yet.
func (d *Directory) lookUp(key providerKey) (entry, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	found := d.entries[key]
	if found == nil || found.account == nil && found.obstacle == nil {
		return entry{}, false
	}
	return *found, true
}

// all gives a copy of every entry.
func (d *Directory) all() map[providerKey]entry {
	d.mu.RLock()
	defer d.mu.RUnlock()
	copies := make(map[providerKey]entry, len(d.entries))
	for key, known := range d.entries {
		copies[key] = *known
	}
	return copies
}

// update changes an entry, which is made where there is none.
func (d *Directory) update(key providerKey, change func(*entry)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.entries[key] == nil {
		d.entries[key] = &entry{}
	}
	change(d.entries[key])
}

// run starts a new account, unless everything ends. It is called from within update.
func (d *Directory) run(runs *account.Account) context.CancelFunc {
	ctx, cancel := context.WithCancel(d.ctx)
	if !d.ending {
		d.running.Go(func() { runs.Run(ctx) })
	}
	return cancel
}

// remove drops a provider that no longer exists. Its calls in flight end; those that are queued are dropped.
func (d *Directory) remove(key providerKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if gone := d.entries[key]; gone != nil {
		gone.close()
		delete(d.entries, key)
	}
}

// close ends the entry's account, if it has one.
func (e *entry) close() {
	if e.stop != nil {
		e.stop()
	}
	if e.door != nil {
		e.door.Close()
	}
	e.account, e.definition, e.stop, e.door, e.fingerprint = nil, nil, nil, nil, ""
}
