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
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/sweep"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// Directory holds an entry for each provider object: its account, or the obstacle in its place. The provider
// controllers write it and the session controller reads it. As a runnable of the manager it runs the accounts.
//
// Its lock comes before a lister's and an account's. It must not be held while a callback of an account runs.
type Directory struct {
	// Drain handles the outcomes that no worker will handle any more. It is called when the last call in flight has
	// ended.
	Drain func(context.Context)

	ctx     context.Context //nolint:containedctx // The accounts live as long as the directory, not as long as a reconcile.
	cancel  context.CancelFunc
	running sync.WaitGroup

	mu      sync.RWMutex
	entries map[providerKey]*entry
	// ending is true once no account is started any more.
	ending bool
}

// Door sends the requests of one account; *httpx.Client implements it.
type Door interface {
	upstream.Doer
	// Close closes idle connections.
	Close()
}

// entry is the state of one provider object.
type entry struct {
	uid types.UID
	// class is the name of the provider's class; empty where the class does not exist.
	class string
	// settings are what the account and the sessions depend on. obstacle is why there is no account; nil where there is
	// one.
	settings settings
	obstacle *session.Obstacle
	// allowed is the parsed form of settings.allowedNamespaces; nil allows no namespace.
	allowed labels.Selector

	// account, lister, endpoint and door exist where there is no obstacle.
	account  *account.Account
	lister   *sweep.Lister
	endpoint *upstream.Endpoint
	door     Door
	stop     context.CancelFunc

	// notReady is the reason that the provider has had since notReadySince. stalls is true where it cannot resolve itself.
	notReady      string
	notReadySince time.Time
	stalls        bool
	// unprotectedSince is when the Secret was first seen without the finalizer that protects it; zero where it has one.
	unprotectedSince time.Time
}

// definition returns the compiled class; nil where there is no account.
func (e *entry) definition() *upstream.Definition {
	if e.endpoint == nil {
		return nil
	}
	return e.endpoint.Definition
}

// ownership returns the compiled ownership rule; nil where there is none.
func (e *entry) ownership() *upstream.Ownership {
	if e.endpoint == nil {
		return nil
	}
	return e.endpoint.Ownership
}

// visible is the part of an entry that sessions depend on, as a comparable value: != decides whether to requeue them.
type visible struct {
	uid      types.UID
	settings settings
	obstacle session.Obstacle
}

func (e *entry) visible() visible {
	seen := visible{uid: e.uid, settings: e.settings}
	if e.obstacle != nil {
		seen.obstacle = *e.obstacle
	}
	return seen
}

// NewDirectory returns an empty directory.
func NewDirectory() *Directory {
	ctx, cancel := context.WithCancel(context.Background())
	return &Directory{ctx: ctx, cancel: cancel, entries: map[providerKey]*entry{}}
}

// Start runs until ctx is done, the last call in flight has ended, and its outcome has been handled.
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

// NeedLeaderElection returns true: only the leader makes calls.
func (d *Directory) NeedLeaderElection() bool { return true }

// lookUp returns a copy of an entry. ok is false where the provider does not exist or has not been reconciled yet.
func (d *Directory) lookUp(key providerKey) (entry, bool) {
	d.mu.RLock()
	defer d.mu.RUnlock()
	found := d.entries[key]
	if found == nil || found.account == nil && found.obstacle == nil {
		return entry{}, false
	}
	return *found, true
}

// account returns a provider's account; nil where it has none.
func (d *Directory) account(key providerKey) *account.Account {
	found, _ := d.lookUp(key)
	return found.account
}

// all returns a copy of every entry.
func (d *Directory) all() map[providerKey]entry {
	d.mu.RLock()
	defer d.mu.RUnlock()
	copies := make(map[providerKey]entry, len(d.entries))
	for key, known := range d.entries {
		copies[key] = *known
	}
	return copies
}

// update changes an entry, and creates it first if it does not exist. change must not call the directory.
func (d *Directory) update(key providerKey, change func(*entry)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.entries[key] == nil {
		d.entries[key] = &entry{}
	}
	change(d.entries[key])
}

// run starts a new account, unless the directory ends. It is called from within update.
func (d *Directory) run(added *account.Account) context.CancelFunc {
	ctx, cancel := context.WithCancel(d.ctx)
	if !d.ending {
		d.running.Go(func() { added.Run(ctx) })
	}
	return cancel
}

// remove drops a provider that no longer exists. Its calls in flight are finished; its queued requests are dropped.
func (d *Directory) remove(key providerKey) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if gone := d.entries[key]; gone != nil {
		gone.close()
		delete(d.entries, key)
	}
}

// close stops the entry's account, if it has one.
func (e *entry) close() {
	if e.stop != nil {
		e.stop()
	}
	if e.door != nil {
		e.door.Close()
	}
	e.account, e.lister, e.endpoint, e.stop, e.door, e.settings.access = nil, nil, nil, nil, nil, access{}
}
