// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// eventSource is what Events name as their reporter.
const eventSource = "payment-session-operator"

// Options of the controllers.
type Options struct {
	// Workers reconcile that many sessions at once.
	Workers int
	// SecretNamespace is where the Secrets of ClusterPaymentProviders are.
	SecretNamespace string
	// DryRun forbids every call that changes something at a provider.
	DryRun bool
	// AllowPrivate permits endpoints with plain http and private addresses.
	AllowPrivate bool
	// Now is the clock.
	Now func() time.Time
	// Jitter gives a number from 0 up to 1, another each time.
	Jitter func() float64
	// Metrics are where sessions and accounts are counted.
	Metrics prometheus.Registerer
	// Audit is where each call is written that may have changed something at a provider.
	Audit logr.Logger
	// Writing is the right to write PaymentProviders, and ClusterWriting what has no namespace. They may be the same one.
	Writing, ClusterWriting *Writing
}

// Setup adds the controllers, their indexes and the directory of accounts to a manager.
func Setup(ctx context.Context, mgr ctrl.Manager, options Options) error {
	if err := setupIndexes(ctx, mgr); err != nil {
		return err
	}
	directory, compiled, sessions, releasing := NewDirectory(), NewDefinitions(), &Waker{}, &sync.Mutex{}
	recorder, wakers := mgr.GetEventRecorder(eventSource), map[string]*Waker{}
	for _, kind := range []struct {
		object  func() v1alpha1.GenericProvider
		list    func() client.ObjectList
		writing *Writing
	}{
		{func() v1alpha1.GenericProvider { return &v1alpha1.PaymentProvider{} }, func() client.ObjectList { return &v1alpha1.PaymentProviderList{} }, options.Writing},
		{func() v1alpha1.GenericProvider { return &v1alpha1.ClusterPaymentProvider{} }, func() client.ObjectList { return &v1alpha1.ClusterPaymentProviderList{} }, options.ClusterWriting},
	} {
		waker, inUse := &Waker{}, &Waker{}
		wakers[kind.object().ProviderKind()] = waker
		providers := &ProviderReconciler{
			Client: mgr.GetClient(), SecretReader: mgr.GetAPIReader(), Recorder: recorder,
			Directory: directory, Definitions: compiled, Sessions: sessions, Providers: waker, InUse: inUse,
			SecretNamespace: options.SecretNamespace, AllowPrivate: options.AllowPrivate, Now: options.Now, Writing: kind.writing,
			New: kind.object, NewList: kind.list,
		}
		if err := providers.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("cannot set up a provider controller: %w", err)
		}
		protection := &InUseReconciler{
			Client: mgr.GetClient(), LiveReader: mgr.GetAPIReader(), Providers: waker, InUse: inUse,
			SecretNamespace: options.SecretNamespace, Releasing: releasing, Writing: kind.writing, Now: options.Now, New: kind.object,
		}
		if err := protection.SetupWithManager(mgr); err != nil {
			return fmt.Errorf("cannot set up an in-use controller: %w", err)
		}
	}
	reconciler := &PaymentSessionReconciler{
		Client: mgr.GetClient(), LiveReader: mgr.GetAPIReader(), Recorder: recorder, Directory: directory,
		Sessions: sessions, Providers: wakers, DryRun: options.DryRun, Now: options.Now, Jitter: options.Jitter, Audit: options.Audit,
	}
	directory.Drain = reconciler.Drain
	if err := mgr.Add(directory); err != nil {
		return fmt.Errorf("cannot add the directory of accounts: %w", err)
	}
	if err := reconciler.SetupWithManager(mgr, options.Workers); err != nil {
		return fmt.Errorf("cannot set up the session controller: %w", err)
	}
	classes := &PaymentProviderClassReconciler{Client: mgr.GetClient(), Definitions: compiled, Writing: options.ClusterWriting, Classes: &Waker{}, Now: options.Now}
	if err := classes.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("cannot set up the class controller: %w", err)
	}
	if err := mgr.Add(&Census{registry: options.Metrics, sessions: mgr.GetClient(), directory: directory, since: reconciler.desiredSince, now: options.Now}); err != nil {
		return fmt.Errorf("cannot add the census: %w", err)
	}
	if err := mgr.Add(options.Writing); err != nil {
		return fmt.Errorf("cannot add the lease for writing: %w", err)
	}
	if options.ClusterWriting == options.Writing {
		return nil
	}
	if err := mgr.Add(options.ClusterWriting); err != nil {
		return fmt.Errorf("cannot add the lease for writing what has no namespace: %w", err)
	}
	return nil
}
