// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
)

// RenewDeadline is how long a manager tries to renew a lease before it takes it for lost; Kubernetes' convention.
const RenewDeadline = 10 * time.Second

const (
	leaseDuration = 15 * time.Second
	retryPeriod   = 2 * time.Second
)

// Writing is the right to write what every shard needs and none owns: the status of providers and classes, and the finalizers
// that protect providers and Secrets. Of the managers that see the same objects one has it. The others read what it writes, and
// make calls of their own.
type Writing struct {
	// lock is nil for a manager that is alone with its objects: it always has the right.
	lock resourcelock.Interface
	// begun are called each time that the right was won: what was left to the manager before is looked at again.
	begun []func(context.Context)
	// lost is a channel that is closed when the right that was won is lost; nil before the first time.
	lost atomic.Pointer[<-chan struct{}]
}

// NewWriting makes the right that goes with a lock; nil for a manager that is alone.
func NewWriting(lock resourcelock.Interface) *Writing { return &Writing{lock: lock} }

// Held reports whether this manager writes.
func (w *Writing) Held() bool {
	if w.lock == nil {
		return true
	}
	lost := w.lost.Load()
	if lost == nil {
		return false
	}
	select {
	case <-*lost:
		return false
	default:
		return true
	}
}

// Start competes for the right until ctx is done. A manager that loses it, because the API server was away, goes on with its
// sessions and tries again.
func (w *Writing) Start(ctx context.Context) error {
	if w.lock == nil {
		return nil
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: w.lock, LeaseDuration: leaseDuration, RenewDeadline: RenewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true, Name: w.lock.Describe(),
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: w.win, OnStoppedLeading: func() {}},
	})
	if err != nil {
		return fmt.Errorf("cannot compete for the lease %s: %w", w.lock.Describe(), err)
	}
	wait.UntilWithContext(ctx, elector.Run, retryPeriod)
	return nil
}

// win is called with a context that ends when the lease is lost.
func (w *Writing) win(ctx context.Context) {
	w.lost.Store(new(ctx.Done()))
	ctrl.LoggerFrom(ctx).Info("this manager writes the status of providers and classes", "lease", w.lock.Describe())
	for _, begun := range w.begun {
		begun(ctx)
	}
}

// NeedLeaderElection is true: the leader of a shard competes, not those that wait to be it.
func (w *Writing) NeedLeaderElection() bool { return true }
