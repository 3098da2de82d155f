// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
)

// eventSource is the reporting controller of Events.
const eventSource = "payment-session-operator"

// Options of the controllers.
type Options struct {
	// Workers is the number of sessions that are reconciled at the same time.
	Workers int
	// SecretNamespace is the namespace of the Secrets of ClusterPaymentProviders.
	SecretNamespace string
	// ClusterName is the name of this cluster in ownership rules; empty where it has none.
	ClusterName string
	// DryRun forbids every call that changes something at a provider.
	DryRun bool
	// AllowPrivate permits endpoints with plain http and private addresses.
	AllowPrivate bool
	// Now is the clock.
	Now func() time.Time
	// Jitter returns a new random number from 0 up to 1.
	Jitter func() float64
	// Metrics is the registry for the metrics of sessions and accounts.
	Metrics prometheus.Registerer
	// Audit logs each call that may have changed something at a provider.
	Audit logr.Logger
	// WriteLease is the right to write PaymentProviders, and ClusterWriteLease the right to write objects without a
	// namespace. They may be the same lease.
	WriteLease, ClusterWriteLease *WriteLease
	// Definitions may be shared with other managers of the same process, as tests do; nil for an empty collection.
	Definitions *Definitions
	// NewDoor opens the connection to a provider; nil for httpx.New. Tests replace the network.
	NewDoor func(httpx.Options) Door
	// NewQueue returns the queue of a controller; nil for controller-runtime's. Tests use one without metrics.
	NewQueue NewQueue
}

// NewQueue returns the queue of the controller with the given name.
type NewQueue = func(
	string, workqueue.TypedRateLimiter[ctrl.Request],
) workqueue.TypedRateLimitingInterface[ctrl.Request]

// minRetry and maxRetry are the waits after the first error about an object and after many.
const (
	minRetry = 200 * time.Millisecond
	maxRetry = time.Minute
)

// controllerOptions returns the options of every controller. With controller-runtime's own limiter an object, and a
// deletion that waits for it, may wait for 17 minutes after the API server has failed for a while.
func controllerOptions(workers int, newQueue NewQueue) controller.Options {
	return controller.Options{
		MaxConcurrentReconciles: workers,
		NewQueue:                newQueue,
		RateLimiter:             workqueue.NewTypedItemExponentialFailureRateLimiter[ctrl.Request](minRetry, maxRetry),
	}
}

// complete sets the options that are not given.
func (o *Options) complete() {
	if o.Definitions == nil {
		o.Definitions = NewDefinitions()
	}
	if o.NewDoor == nil {
		o.NewDoor = func(settings httpx.Options) Door { return httpx.New(settings) }
	}
}

// Setup adds the controllers, their indexes and the directory of accounts to a manager.
func Setup(ctx context.Context, mgr ctrl.Manager, options Options) error {
	if err := setupIndexes(ctx, mgr); err != nil {
		return err
	}
	options.complete()
	directory, recorder := NewDirectory(), mgr.GetEventRecorder(eventSource)
	sessions, sweeps := &Enqueuer{}, &Enqueuer{}
	providers, err := setupProviders(mgr, options, &ProviderReconciler{
		Client: mgr.GetClient(), SecretReader: mgr.GetAPIReader(), Recorder: recorder, Directory: directory,
		Definitions: options.Definitions, Sessions: sessions, Sweeps: sweeps, SecretNamespace: options.SecretNamespace,
		ClusterName: options.ClusterName, AllowPrivate: options.AllowPrivate, Now: options.Now,
		NewDoor: options.NewDoor, NewQueue: options.NewQueue,
	})
	if err != nil {
		return err
	}
	reconciler := &PaymentSessionReconciler{
		Client: mgr.GetClient(), LiveReader: mgr.GetAPIReader(), Recorder: recorder, Directory: directory,
		Sessions: sessions, Providers: providers, ClusterName: options.ClusterName, DryRun: options.DryRun,
		Now: options.Now, Jitter: options.Jitter, Audit: options.Audit, NewQueue: options.NewQueue,
	}
	directory.Drain = reconciler.Drain
	if err := reconciler.SetupWithManager(mgr, options.Workers); err != nil {
		return fmt.Errorf("cannot set up the session controller: %w", err)
	}
	sweeper := &PaymentSweepReconciler{
		Client: mgr.GetClient(), LiveReader: mgr.GetAPIReader(), Recorder: recorder, Directory: directory, Sweeps: sweeps,
		Providers: providers, ClusterName: options.ClusterName, DryRun: options.DryRun, WriteLease: options.WriteLease,
		Now: options.Now, Jitter: options.Jitter, Audit: options.Audit, NewQueue: options.NewQueue,
	}
	if err := sweeper.SetupWithManager(mgr, options.Workers); err != nil {
		return fmt.Errorf("cannot set up the sweep controller: %w", err)
	}
	classes := &PaymentProviderClassReconciler{
		Client: mgr.GetClient(), Definitions: options.Definitions, WriteLease: options.ClusterWriteLease,
		Classes: &Enqueuer{}, Now: options.Now, NewQueue: options.NewQueue,
	}
	if err := classes.SetupWithManager(mgr); err != nil {
		return fmt.Errorf("cannot set up the class controller: %w", err)
	}
	return addRunnables(mgr, directory, options, &Collector{
		registry: options.Metrics, sessions: mgr.GetClient(), directory: directory, since: reconciler.desiredSince,
		now: options.Now,
	})
}

// setupProviders adds the controllers of both kinds of providers, which differ from the template in their kind alone.
// It returns the enqueuers of the providers by kind.
func setupProviders(mgr ctrl.Manager, options Options, template *ProviderReconciler) (map[string]*Enqueuer, error) {
	providers, releasing := map[string]*Enqueuer{}, make(chan struct{}, 1)
	for _, kind := range []struct {
		object func() v1alpha1.GenericProvider
		list   func() client.ObjectList
		lease  *WriteLease
	}{
		{
			func() v1alpha1.GenericProvider { return &v1alpha1.PaymentProvider{} },
			func() client.ObjectList { return &v1alpha1.PaymentProviderList{} }, options.WriteLease,
		},
		{
			func() v1alpha1.GenericProvider { return &v1alpha1.ClusterPaymentProvider{} },
			func() client.ObjectList { return &v1alpha1.ClusterPaymentProviderList{} }, options.ClusterWriteLease,
		},
	} {
		accounts := *template
		accounts.Providers, accounts.InUse = &Enqueuer{}, &Enqueuer{}
		accounts.WriteLease, accounts.New, accounts.NewList = kind.lease, kind.object, kind.list
		providers[kind.object().ProviderKind()] = accounts.Providers
		if err := accounts.SetupWithManager(mgr); err != nil {
			return nil, fmt.Errorf("cannot set up a provider controller: %w", err)
		}
		protection := &InUseReconciler{
			Client: mgr.GetClient(), LiveReader: mgr.GetAPIReader(), Providers: accounts.Providers, InUse: accounts.InUse,
			SecretNamespace: options.SecretNamespace, Releasing: releasing, WriteLease: kind.lease, Now: options.Now,
			New: kind.object, NewQueue: options.NewQueue,
		}
		if err := protection.SetupWithManager(mgr); err != nil {
			return nil, fmt.Errorf("cannot set up an in-use controller: %w", err)
		}
	}
	return providers, nil
}

// addRunnables adds to the manager what runs beside the controllers.
func addRunnables(mgr ctrl.Manager, directory *Directory, options Options, collector *Collector) error {
	runnables := []manager.Runnable{directory, collector, options.WriteLease}
	if options.ClusterWriteLease != options.WriteLease {
		runnables = append(runnables, options.ClusterWriteLease)
	}
	for _, runnable := range runnables {
		if err := mgr.Add(runnable); err != nil {
			return fmt.Errorf("cannot add a %T to the manager: %w", runnable, err)
		}
	}
	return nil
}
