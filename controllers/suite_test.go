// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"flag"
	"fmt"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/controllers"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/controlplane"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

var plane *controlplane.ControlPlane

func TestMain(m *testing.M) {
	controlplane.Main(m, controlplane.Options{CRDs: gen.CRDs(), After: everyRow}, func(started *controlplane.ControlPlane) error {
		plane = started
		ctrl.SetLogger(logr.Discard())
		return nil
	})
}

// everyRow prints what GitOps tools made of each row of the behaviour, and fails where a run of all tests has not seen one.
func everyRow() error {
	if testing.Verbose() {
		fmt.Println(await.Table())
	}
	if flag.Lookup("test.run").Value.String() != "" {
		return nil
	}
	for _, reason := range session.Reasons() {
		if !await.Saw(reason) {
			return fmt.Errorf("no test has seen a session with the reason %s, so that nobody knows what GitOps tools make of it", reason)
		}
	}
	return nil
}

// clock is a clock that a test can set forward. Between its steps it runs.
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

// world is one test's: a namespace, a manager that looks after it alone, and providers.
type world struct {
	client.WithWatch
	namespace string
	upstreams *simulator.Simulator
	url       string
	clock     *clock
	options   controllers.Options
	// metrics are what the manager counts.
	metrics *prometheus.Registry
	// resync is how often the manager's cache brings every object again; nil for controller-runtime's ten hours.
	resync *time.Duration
	// fuse ends the manager in the middle of its work; nil for one that lives.
	fuse atomic.Pointer[fuse]
	// wire is what lies between the manager and the API server.
	wire *wire
	// cached is the manager's own view.
	cached client.Reader
	stop   func()
}

type worldOption func(*controllers.Options)

func dryRun(options *controllers.Options) { options.DryRun = true }

// newWorld starts everything, with the shipped classes.
func newWorld(t *testing.T, changes ...worldOption) *world {
	t.Helper()
	api, err := client.NewWithWatch(plane.Config, client.Options{Scheme: gen.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	w := &world{WithWatch: api, upstreams: simulator.New(), clock: &clock{}, wire: newWire()}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "test-", Labels: map[string]string{"team": "shop"}}}
	w.create(t, namespace)
	w.namespace = namespace.Name
	server := httptest.NewServer(w.guarded(w.upstreams.Handler()))
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
		Writing: controllers.NewWriting(nil), ClusterWriting: controllers.NewWriting(nil),
	}
	for _, change := range changes {
		change(&w.options)
	}
	w.start(t)
	return w
}

// start starts a manager; the one before, if any, must have been stopped.
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
		NewClient:  w.fuse.Load().client,
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	if err := controllers.Setup(ctx, mgr, w.options); err != nil {
		t.Fatal(err)
	}
	w.cached = mgr.GetCache()
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	var once sync.Once
	w.stop = func() {
		once.Do(func() {
			cancel()
			if err := <-ended; err != nil {
				t.Errorf("the manager ended with %v", err)
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

// provide makes a provider with its Secret.
func (w *world) provide(t *testing.T, provider string, options ...gen.ProviderOption) *v1alpha1.PaymentProvider {
	t.Helper()
	options = append([]gen.ProviderOption{gen.Endpoint(w.url + "/" + provider)}, options...)
	object := gen.Provider(w.namespace, provider, options...)
	w.create(t, gen.Secret(w.namespace, provider), object)
	return object
}

// session makes a session, open in the provider's books unless another state is given; "" is one that it does not know.
func (w *world) session(t *testing.T, provider string, state simulator.State, options ...gen.SessionOption) *v1alpha1.PaymentSession {
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

// change patches an object.
func (w *world) change(t *testing.T, object client.Object, patch string) {
	t.Helper()
	if err := w.Patch(t.Context(), object, client.RawPatch("application/merge-patch+json", []byte(patch))); err != nil {
		t.Fatal(err)
	}
}

// poke asks for a fresh look at a session.
func (w *world) poke(t *testing.T, session *v1alpha1.PaymentSession, value string) {
	t.Helper()
	w.change(t, session, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.ReconcileAtAnnotation, value))
}

func (w *world) calls(session *v1alpha1.PaymentSession) []string {
	return w.upstreams.CallsOf(session.Spec.ProviderRef.Name, session.Spec.SessionID)
}

func (w *world) reason(t *testing.T, session *v1alpha1.PaymentSession, reason string) *v1alpha1.PaymentSession {
	t.Helper()
	return await.Reason(t, w, session, reason)
}

// event waits for an Event about an object.
func (w *world) event(t *testing.T, object client.Object, reason string) {
	t.Helper()
	watched, err := w.Watch(t.Context(), &eventsv1.EventList{}, client.InNamespace(object.GetNamespace()))
	if err != nil {
		t.Fatal(err)
	}
	defer watched.Stop()
	deadline := time.After(time.Minute)
	for {
		select {
		case change := <-watched.ResultChan():
			if event, ok := change.Object.(*eventsv1.Event); ok && event.Regarding.UID == object.GetUID() && event.Reason == reason {
				return
			}
		case <-deadline:
			t.Fatalf("no Event with the reason %s", reason)
		}
	}
}
