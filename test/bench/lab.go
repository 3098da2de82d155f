// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/controlplane"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const (
	// creators is the number of concurrent creates. workers is the number of workers of the manager and of the bare loop.
	creators = 16
	workers  = 16
	// bare is the label of sessions that the manager ignores.
	bare = "bench.payops.dev/bare"
	// cluster is the name of the cluster in the marks of sessions.
	cluster = "bench"
	// patience is how long the benchmark waits before it fails. It is enough for the teardown of 100,000 sessions.
	patience = time.Hour
)

// lab is a control plane, the simulated providers and a running manager.
type lab struct {
	config    *rest.Config
	api       client.WithWatch
	upstreams *simulator.Simulator
	url       string
	manager   *exec.Cmd
	// kubeconfig is the path of the administrator's kubeconfig, out that of the folder for logs.
	kubeconfig, out string
	scale           scale
	// last is the number of sessions created so far.
	last int
}

// inLab sets up a lab, measures, and stops the lab.
func inLab(out string, scale scale, measure func(*lab) ([]*Figure, error)) (figures []*Figure, err error) {
	dir, err := os.MkdirTemp("", "bench-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	plane, err := controlplane.Start(controlplane.Options{Dir: dir, CRDs: gen.CRDs(), ControllerManager: true})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, plane.Stop()) }()
	api, err := client.NewWithWatch(plane.Config, client.Options{Scheme: gen.Scheme()})
	if err != nil {
		return nil, err
	}
	upstreams := simulator.New()
	server := httptest.NewServer(upstreams.Handler())
	defer server.Close()
	defer upstreams.Close()
	made := &lab{
		config: plane.Config, api: api, upstreams: upstreams, url: server.URL, scale: scale,
		kubeconfig: plane.Kubeconfig, out: out,
	}
	for _, provider := range gen.Providers {
		if err := api.Create(context.Background(), gen.Class(provider)); err != nil {
			return nil, err
		}
	}
	if err := made.start(); err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, made.stop()) }()
	return measure(made)
}

// start starts the manager that measurements use unless they need several.
func (l *lab) start() (err error) {
	l.manager, err = l.launch("manager.log", "--watch-label-selector=!"+bare)
	return err
}

// stop stops that manager and waits for its exit.
func (l *lab) stop() error { return end(l.manager, syscall.SIGTERM) }

// launch starts a manager as the administrator. The roles are a matter of the e2e tests.
func (l *lab) launch(log string, arguments ...string) (*exec.Cmd, error) {
	file, err := os.Create(filepath.Join(l.out, log))
	if err != nil {
		return nil, err
	}
	// The manager has a descriptor of its own.
	defer file.Close()
	manager := exec.Command(filepath.Join(gen.Root(), "bin", "manager"), append([]string{
		"--kubeconfig=" + l.kubeconfig, "--allow-private-endpoints",
		"--metrics-bind-address=0", "--health-probe-bind-address=0", "--cluster-name=" + cluster,
		fmt.Sprintf("--max-concurrent-reconciles=%d", workers),
	}, arguments...)...)
	manager.Stdout, manager.Stderr = file, file
	return manager, manager.Start()
}

// end sends a signal to a manager and waits for its exit.
func end(manager *exec.Cmd, signal syscall.Signal) error {
	err := manager.Process.Signal(signal)
	if errors.Is(err, os.ErrProcessDone) {
		// The measurement has ended it already.
		return nil
	}
	if err != nil {
		return err
	}
	// A manager that has only just started does not handle SIGTERM yet, and is killed by it.
	err = manager.Wait()
	if _, ended := errors.AsType[*exec.ExitError](err); ended {
		return nil
	}
	return err
}

// shop creates a namespace with one account, whose rate limit is too high to matter.
func (l *lab) shop(ctx context.Context, provider string, options ...gen.ProviderOption) (string, error) {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-"}}
	if err := l.api.Create(ctx, namespace); err != nil {
		return "", err
	}
	if err := l.api.Create(ctx, gen.Secret(namespace.Name, provider)); err != nil {
		return "", err
	}
	defaults := []gen.ProviderOption{gen.Endpoint(l.url + "/" + provider), gen.RateLimit(10000, time.Second)}
	options = append(defaults, options...)
	return namespace.Name, l.api.Create(ctx, gen.Provider(namespace.Name, provider, options...))
}

// fill creates sessions to expire, with the finalizer that the admission policy would add.
func (l *lab) fill(ctx context.Context, namespace, provider string, count int, options ...gen.SessionOption) error {
	first := l.last
	l.last += count
	return parallel(count, func(i int) error {
		return l.create(ctx, namespace, provider, first+i, options...)
	})
}

// create creates the session with a number.
func (l *lab) create(ctx context.Context, namespace, provider string, number int, options ...gen.SessionOption) error {
	id := l.open(namespace, provider, number)
	session := gen.Session(namespace, sessionName(number), provider, id)
	session.Finalizers = []string{v1alpha1.ExpireFinalizer}
	for _, option := range options {
		option(session)
	}
	return l.api.Create(ctx, session)
}

// open opens a session at a provider with the marks of a namespace, and returns its id.
func (l *lab) open(namespace, provider string, number int) string {
	id := gen.ID(provider, number)
	l.upstreams.Add(simulator.Object{
		Provider: provider, ID: id, State: simulator.Open, Owner: cluster + "/" + namespace,
	})
	return id
}

// sessions yields the sessions of a namespace and their changes until ctx is done. The API server closes watches
// shortly after a CRD was installed. sessions then watches again, and yields every session once more.
func (l *lab) sessions(ctx context.Context, namespace string) iter.Seq2[*v1alpha1.PaymentSession, error] {
	return func(yield func(*v1alpha1.PaymentSession, error) bool) {
		for ctx.Err() == nil {
			watched, err := l.api.Watch(ctx, &v1alpha1.PaymentSessionList{}, client.InNamespace(namespace))
			if err != nil {
				yield(nil, err)
				return
			}
			for event := range watched.ResultChan() {
				session, ok := event.Object.(*v1alpha1.PaymentSession)
				if ok && event.Type != watch.Deleted && !yield(session, nil) {
					watched.Stop()
					return
				}
			}
		}
	}
}

func sessionName(number int) string { return fmt.Sprintf("session-%d", number) }

// await waits until count sessions of a namespace meet a condition.
func (l *lab) await(ctx context.Context, namespace string, count int, holds func(*v1alpha1.PaymentSession) bool) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	done := map[string]bool{}
	for session, err := range l.sessions(ctx, namespace) {
		if err != nil {
			return err
		}
		if !holds(session) {
			continue
		}
		if done[session.Name] = true; len(done) == count {
			return nil
		}
	}
	return fmt.Errorf("%d of %d sessions in namespace %s meet the condition", len(done), count, namespace)
}

// awaitCalls waits until the providers have received a number of calls.
func (l *lab) awaitCalls(ctx context.Context, count int) error {
	err := wait.PollUntilContextTimeout(ctx, time.Millisecond, patience, true, func(context.Context) (bool, error) {
		return l.upstreams.CallCount() >= count, nil
	})
	if err != nil {
		return fmt.Errorf("%d calls, want %d: %w", l.upstreams.CallCount(), count, err)
	}
	return nil
}

// checkExpired returns an error unless the provider shows the sessions from a number on as expired. A benchmark of
// expiries that did not happen would be worthless.
func (l *lab) checkExpired(provider string, first, count int) error {
	var open []string
	for number := first; number < first+count; number++ {
		if id := gen.ID(provider, number); l.upstreams.State(provider, id) != simulator.Expired {
			open = append(open, id)
		}
	}
	if len(open) > 0 {
		return fmt.Errorf("%d of %d sessions are not expired at the provider: %s …", len(open), count, open[0])
	}
	return nil
}

// expired reports whether the status shows a session as expired.
func expired(session *v1alpha1.PaymentSession) bool {
	return session.Status.State == v1alpha1.SessionStateExpired
}

// finished reports whether a session is expired and released.
func finished(session *v1alpha1.PaymentSession) bool {
	return expired(session) && len(session.Finalizers) == 0
}

// parallel runs a function for each number below count, several at once.
func parallel(count int, run func(int) error) error {
	var workers sync.WaitGroup
	var mu sync.Mutex
	var failures []error
	numbers := make(chan int)
	for range creators {
		workers.Go(func() {
			for number := range numbers {
				if err := run(number); err != nil {
					mu.Lock()
					failures = append(failures, err)
					mu.Unlock()
				}
			}
		})
	}
	for number := range count {
		numbers <- number
	}
	close(numbers)
	workers.Wait()
	return errors.Join(failures...)
}
