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

// RenewDeadline is how long a manager tries to renew a lease before it gives up. Kubernetes components use the same.
const RenewDeadline = 10 * time.Second

const (
	leaseDuration = 15 * time.Second
	retryPeriod   = 2 * time.Second
)

// WriteLease is the right to write what all shards share: the status of providers and classes, and the finalizers
// that protect providers and Secrets. One of the managers that see the same objects holds it. The others read what it
// writes, and make calls of their own.
type WriteLease struct {
	// lock is nil for a manager that shares its objects with no other. It always holds the lease.
	lock resourcelock.Interface
	// onAcquired is called each time the lease is acquired, to reconcile what the previous holder has left.
	onAcquired []func(context.Context)
	// lost is closed when the lease is lost; nil before the lease was first acquired.
	lost atomic.Pointer[<-chan struct{}]
}

// NewWriteLease returns a lease with a lock; nil for a manager that shares its objects with no other.
func NewWriteLease(lock resourcelock.Interface) *WriteLease { return &WriteLease{lock: lock} }

// Held reports whether this manager holds the lease.
func (l *WriteLease) Held() bool {
	if l.lock == nil {
		return true
	}
	lost := l.lost.Load()
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

// Start competes for the lease until ctx is done. A manager that loses the lease, because the API server was away,
// continues with its sessions and competes again.
func (l *WriteLease) Start(ctx context.Context) error {
	if l.lock == nil {
		return nil
	}
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: l.lock, LeaseDuration: leaseDuration, RenewDeadline: RenewDeadline, RetryPeriod: retryPeriod,
		ReleaseOnCancel: true, Name: l.lock.Describe(),
		Callbacks: leaderelection.LeaderCallbacks{OnStartedLeading: l.acquired, OnStoppedLeading: func() {}},
	})
	if err != nil {
		return fmt.Errorf("cannot compete for the lease %s: %w", l.lock.Describe(), err)
	}
	wait.UntilWithContext(ctx, elector.Run, retryPeriod)
	return nil
}

// acquired is called with a context that ends when the lease is lost.
func (l *WriteLease) acquired(ctx context.Context) {
	l.lost.Store(new(ctx.Done()))
	ctrl.LoggerFrom(ctx).Info("this manager writes the status of providers and classes", "lease", l.lock.Describe())
	for _, callback := range l.onAcquired {
		callback(ctx)
	}
}

// NeedLeaderElection returns true: the leader of a shard competes, not the managers that wait to be it.
func (l *WriteLease) NeedLeaderElection() bool { return true }
