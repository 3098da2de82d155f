// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/controllers"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const (
	expire  = simulator.Expire
	observe = simulator.Observe
)

// clock is a clock that a test can set forward. Otherwise it runs normally.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration
}

func (c *clock) now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return time.Now().Add(c.ahead)
}

func (c *clock) step(ahead time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ahead += ahead
}

// world is what one test has for itself: a namespace, a manager that watches only this namespace, and providers.
type world struct {
	client.WithWatch
	namespace string
	upstreams *simulator.Simulator
	url       string
	clock     *clock
	options   controllers.Options
	// metrics is the registry of the running manager.
	metrics *prometheus.Registry
	// resync is the resync period of the manager's cache; nil for the default of controller-runtime, about 10 hours.
	resync *time.Duration
	// wire is the connection between the manager and the API server.
	wire *wire
	// cached reads from the manager's cache.
	cached client.Reader
	stop   func()
}

type worldOption func(*controllers.Options)

func dryRun(options *controllers.Options) { options.DryRun = true }

// newWorld starts everything that a test needs, with the shipped classes.
func newWorld(t *testing.T, changes ...worldOption) *world {
	t.Helper()
	api, err := client.NewWithWatch(plane.Config, client.Options{Scheme: gen.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{WithWatch: api, upstreams: simulator.New(), clock: &clock{}, wire: newWire()}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		GenerateName: "test-", Labels: map[string]string{"team": "shop"},
	}}
	w.create(t, namespace)
	w.namespace = namespace.Name
	server := httptest.NewServer(w.upstreams.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(w.upstreams.Close)
	w.url = server.URL
	for _, provider := range gen.Providers {
		if err := client.IgnoreAlreadyExists(w.Create(t.Context(), gen.Class(provider))); err != nil {
			t.Fatal(err)
		}
	}
	w.options = controllers.Options{
		Workers: 4, SecretNamespace: w.namespace, AllowPrivate: true,
		Now: w.clock.now, Jitter: func() float64 { return 0 },
		WriteLease: controllers.NewWriteLease(nil), ClusterWriteLease: controllers.NewWriteLease(nil),
	}
	for _, change := range changes {
		change(&w.options)
	}
	w.start(t)
	return w
}

// start starts a manager. The previous one, if there is one, must have been stopped.
func (w *world) start(t *testing.T) {
	t.Helper()
	config := rest.CopyConfig(plane.Config)
	config.Wrap(w.wire.wrap)
	w.metrics = prometheus.NewRegistry()
	w.options.Metrics = w.metrics
	cached := controllers.CacheOptions([]string{w.namespace}, labels.Everything())
	cached.SyncPeriod = w.resync
	mgr, err := ctrl.NewManager(config, ctrl.Options{
		Scheme:     w.Scheme(),
		Metrics:    metricsserver.Options{BindAddress: "0"},
		Cache:      cached,
		Controller: ctrlconfig.Controller{SkipNameValidation: new(true)},
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := controllers.Setup(ctx, mgr, w.options); err != nil {
		t.Fatal(err)
	}
	w.cached = mgr.GetCache()
	stopped := make(chan error, 1)
	go func() { stopped <- mgr.Start(ctx) }()
	var once sync.Once
	w.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-stopped; err != nil {
				t.Errorf("the manager stopped with the error %v", err)
			}
		})
	}
	t.Cleanup(w.stop)
}

func (w *world) create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := w.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// provide creates a provider and its Secret.
func (w *world) provide(t *testing.T, provider string, options ...gen.ProviderOption) *v1alpha1.PaymentProvider {
	t.Helper()
	options = append([]gen.ProviderOption{gen.Endpoint(w.url + "/" + provider)}, options...)
	object := gen.Provider(w.namespace, provider, options...)
	w.create(t, gen.Secret(w.namespace, provider), object)
	return object
}

// provideForTeam creates a cluster provider and its Secret for the namespaces of a team. The provider is deleted at the
// end of the test, because the managers of later tests would see it too.
func (w *world) provideForTeam(t *testing.T, team v1alpha1.LabelValue) *v1alpha1.ClusterPaymentProvider {
	t.Helper()
	allowed := &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": team}}
	provider := gen.ClusterPaymentProvider("cluster-"+w.namespace, "omise", allowed, gen.Endpoint(w.url+"/omise"))
	w.create(t, gen.Secret(w.namespace, "omise"), provider)
	t.Cleanup(func() {
		// The test's own context is canceled before its cleanup runs.
		if err := client.IgnoreNotFound(w.Delete(context.Background(), provider)); err != nil {
			t.Error(err)
		}
		w.removeFinalizers(t, provider)
	})
	return provider
}

// session creates a session that has the state in the provider's books. The provider does not know a session with the
// state "".
func (w *world) session(t *testing.T, provider string, state simulator.State,
	options ...gen.SessionOption) *v1alpha1.PaymentSession {
	t.Helper()
	id := gen.ID(provider, len(w.upstreams.Objects())+1)
	if state != "" {
		w.upstreams.Add(simulator.Object{Provider: provider, ID: id, State: state})
	}
	session := gen.Session(w.namespace, "", provider, id, options...)
	session.GenerateName = provider + "-"
	w.create(t, session)
	return session
}

// named gives a session a fixed name, so that a test knows it before the session exists.
func named(name string) gen.SessionOption {
	return func(session *v1alpha1.PaymentSession) { session.Name = name }
}

// patch patches an object.
func (w *world) patch(t *testing.T, object client.Object, patch client.Patch) {
	t.Helper()
	if err := w.Patch(t.Context(), object, patch); err != nil {
		t.Fatal(err)
	}
}

// change applies a JSON merge patch to an object.
func (w *world) change(t *testing.T, object client.Object, json string) {
	t.Helper()
	w.patch(t, object, gen.MergePatch(json))
}

// touch changes a label of an object, so that it is reconciled.
func (w *world) touch(t *testing.T, object client.Object) {
	t.Helper()
	w.patch(t, object, gen.Touch())
}

// refresh requests a refresh of a session.
func (w *world) refresh(t *testing.T, session *v1alpha1.PaymentSession, value string) {
	t.Helper()
	w.change(t, session, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.ReconcileAtAnnotation, value))
}

// removeFinalizers removes every finalizer of an object, as a user may.
func (w *world) removeFinalizers(t *testing.T, object client.Object) {
	t.Helper()
	patch := gen.MergePatch(`{"metadata":{"finalizers":null}}`)
	if err := client.IgnoreNotFound(w.Patch(context.Background(), object, patch)); err != nil {
		t.Error(err)
	}
}

// requeueAll makes the manager reconcile all sessions of a provider, with whatever its cache holds of them.
func (w *world) requeueAll(t *testing.T, provider *v1alpha1.PaymentProvider, interval time.Duration) {
	t.Helper()
	w.change(t, provider, fmt.Sprintf(`{"spec":{"pollInterval":%q}}`, interval))
}

// pauseWatch waits until the manager's cache has the given version of a session, and then withholds all later changes
// of sessions from the cache.
func (w *world) pauseWatch(t *testing.T, session *v1alpha1.PaymentSession) {
	t.Helper()
	w.awaitCached(t, session)
	w.wire.pause()
}

func (w *world) reason(t *testing.T, session *v1alpha1.PaymentSession, reason string) *v1alpha1.PaymentSession {
	t.Helper()
	return await.Reason(t, w, session, reason)
}

// readyOf returns the Ready condition of a session, nil if it has none.
func readyOf(session *v1alpha1.PaymentSession) *metav1.Condition {
	return apimeta.FindStatusCondition(session.Status.Conditions, v1alpha1.ConditionReady)
}

// awaitClosed waits until a session is closed and has no finalizer.
func awaitClosed(t *testing.T, w *world, session *v1alpha1.PaymentSession) *v1alpha1.PaymentSession {
	t.Helper()
	return await.Until(t, w, session, "it is closed and has no finalizer", func(s *v1alpha1.PaymentSession) bool {
		return s.Status.State.Closed() && len(s.Finalizers) == 0
	})
}

// stateOf returns the state of a session in the provider's books.
func stateOf(w *world, session *v1alpha1.PaymentSession) simulator.State {
	return w.upstreams.State(session.Spec.ProviderRef.Name, session.Spec.SessionID)
}

// awaitExpired waits until a session is expired and has no finalizer.
func awaitExpired(t *testing.T, w *world, session *v1alpha1.PaymentSession) {
	t.Helper()
	await.Until(t, w, session, "it is expired and has no finalizer", func(s *v1alpha1.PaymentSession) bool {
		return s.Status.State == v1alpha1.SessionStateExpired && len(s.Finalizers) == 0
	})
}

// event waits for an Event about an object. The name of an Event is generated, so that await.Until cannot watch it.
func (w *world) event(t *testing.T, object client.Object, reason string) {
	t.Helper()
	await.Success(t, "there is an Event with the reason "+reason, func() error {
		list := &eventsv1.EventList{}
		if err := w.List(t.Context(), list, client.InNamespace(object.GetNamespace())); err != nil {
			return err
		}
		var others []string
		for i := range list.Items {
			if event := &list.Items[i]; event.Regarding.UID == object.GetUID() {
				if event.Reason == reason {
					return nil
				}
				others = append(others, event.Reason)
			}
		}
		return fmt.Errorf("the Events about %s have the reasons %q", object.GetName(), others)
	})
}

// awaitCached waits until the manager's cache has the given version of an object, or a later one: the operator may
// write the object once more.
func (w *world) awaitCached(t *testing.T, object client.Object) {
	t.Helper()
	await.True(t, "the manager's cache has version "+object.GetResourceVersion(), func() bool {
		known, ok := object.DeepCopyObject().(client.Object)
		if !ok || w.cached.Get(t.Context(), client.ObjectKeyFromObject(object), known) != nil {
			return false
		}
		order, err := resourceversion.CompareResourceVersion(known.GetResourceVersion(), object.GetResourceVersion())
		return err == nil && order >= 0
	})
}

// awaitLiveRead waits until a manager whose cache is stale has read a session live.
func (w *world) awaitLiveRead(t *testing.T) {
	t.Helper()
	await.True(t, "a session is read live", func() bool { return w.wire.reads() > 0 })
}

// calls returns the operations that the provider received for a session.
func (w *world) calls(session *v1alpha1.PaymentSession) []string {
	return w.upstreams.CallsOf(session.Spec.ProviderRef.Name, session.Spec.SessionID)
}

func (w *world) assertNeverExpired(t *testing.T, session *v1alpha1.PaymentSession) {
	t.Helper()
	if calls := w.calls(session); slices.Contains(calls, simulator.Expire) {
		t.Errorf("%s: calls %q, want no expiry", session.Name, calls)
	}
}

// gauge returns the value of a gauge of the manager where a label has the given value, or 0 if there is none.
func (w *world) gauge(t *testing.T, name, value string) float64 {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if family.GetName() == name && label.GetValue() == value {
					return metric.GetGauge().GetValue()
				}
			}
		}
	}
	return 0
}

// inFlight returns how many calls are in flight.
func (w *world) inFlight(t *testing.T) float64 {
	t.Helper()
	return w.gauge(t, "payops_account_calls", "in_flight")
}
