// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"errors"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/recorder"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/controllers"
)

// process is one manager process: the real controllers with a cache and a client of their own. It implements
// manager.Manager as far as the controllers use it.
type process struct {
	manager.Manager

	world *world
	cache *watchCache
	began time.Time
	// dead is true once the process was killed: nothing that it does has an effect any more.
	dead atomic.Bool
	// fuse is the number of side effects after which the process dies; 0 for never.
	fuse atomic.Int32

	mu        sync.Mutex
	runnables []manager.Runnable
	// proofs holds what replies to this process have proven about payments, for its present accounts.
	proofs map[payment]proof
	// reads holds when it last began to read a session from the API server itself.
	reads map[client.ObjectKey]time.Time
	// writes holds the version of a status that it knows to have written last.
	writes map[types.UID]string
	cancel context.CancelFunc
	ended  chan struct{}
}

var errDead = errors.New("the process is dead")

// startProcess starts a manager process with the real controllers.
func (w *world) startProcess() *process {
	w.disturb()
	p := &process{
		world: w, began: time.Now(), cache: newWatchCache(w.server, w.chaos), ended: make(chan struct{}),
		proofs: map[payment]proof{}, reads: map[client.ObjectKey]time.Time{},
		writes: map[types.UID]string{},
	}
	options := controllers.Options{
		Workers: 2, SecretNamespace: operatorNamespace, ClusterName: clusterName, DryRun: w.dryRun, AllowPrivate: true,
		Now: w.clock, Jitter: w.chaos.jitter, Metrics: prometheus.NewRegistry(), Audit: logr.Discard(),
		WriteLease: controllers.NewWriteLease(nil), Definitions: definitions,
		NewDoor: p.newDoor, NewQueue: newQueue,
	}
	options.ClusterWriteLease = options.WriteLease
	ctx, cancel := context.WithCancel(context.Background())
	p.cancel = cancel
	if err := controllers.Setup(ctx, p, options); err != nil {
		panic(err)
	}
	go p.run(ctx)
	return p
}

// newQueue returns controller-runtime's queue without its metrics, whose timer would tick twice a second for weeks.
func newQueue(_ string,
	limiter workqueue.TypedRateLimiter[ctrl.Request]) workqueue.TypedRateLimitingInterface[ctrl.Request] {
	return priorityqueue.New("", func(options *priorityqueue.Opts[ctrl.Request]) { options.RateLimiter = limiter })
}

func (p *process) run(ctx context.Context) {
	defer close(p.ended)
	var running sync.WaitGroup
	running.Go(func() { _ = p.cache.Start(ctx) })
	for _, runnable := range p.runnables {
		running.Go(func() {
			if err := runnable.Start(ctx); err != nil && ctx.Err() == nil {
				panic(err)
			}
		})
	}
	running.Wait()
}

// stop stops the process as SIGTERM does, and waits for its end.
func (p *process) stop() {
	p.cancel()
	<-p.ended
}

// kill ends the process at once: what it does from now on has no effect.
func (p *process) kill() {
	p.dead.Store(true)
	p.stop()
}

// burn counts a side effect, and reports whether the process has died of it: the effect has happened then, and the
// process does not learn that.
func (p *process) burn() bool {
	if p.fuse.Load() <= 0 || p.fuse.Add(-1) > 0 {
		return false
	}
	p.dead.Store(true)
	p.world.background.Go(func() { p.world.replace(p) })
	return true
}

// noteRead records that a session is read from the API server itself.
func (p *process) noteRead(name client.ObjectKey) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.reads[name] = time.Now()
}

// readAt returns when a session was last read from the API server itself.
func (p *process) readAt(name client.ObjectKey) time.Time {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.reads[name]
}

// noteWrite records that the process knows of a status that it has written.
func (p *process) noteWrite(object client.Object) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes[object.GetUID()] = object.GetResourceVersion()
}

// hasWritten reports whether the process knows that it was the last to change an object.
func (p *process) hasWritten(object client.Object) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.writes[object.GetUID()] == object.GetResourceVersion()
}

// proof is what replies have proven about a payment.
type proof struct {
	// ended is true where it can no longer be paid.
	ended bool
	// recognizedFor names the objects for which an expire call was accepted, at recognizedAt.
	recognizedFor string
	recognizedAt  time.Time
	// ineffective counts the accepted expire calls in a row that changed nothing.
	ineffective int
	// isPaying is true where the last read has shown a payment in flight.
	isPaying bool
	// lostAt is when the reply to an expire call that had its effect was lost.
	lostAt time.Time
}

// prove records what a reply has proven about a payment.
func (p *process) prove(at payment, change func(*proof)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	proved := p.proofs[at]
	change(&proved)
	p.proofs[at] = proved
}

// proved returns what replies have proven about a payment.
func (p *process) proved(at payment) proof {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.proofs[at]
}

// forgetProofs drops what replies have proven about some payments.
func (p *process) forgetProofs(which func(payment) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	maps.DeleteFunc(p.proofs, func(at payment, _ proof) bool { return which(at) })
}

// Add adds a runnable.
func (p *process) Add(runnable manager.Runnable) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.runnables = append(p.runnables, runnable)
	return nil
}

// Elected returns a closed channel: every process believes that it is the leader.
func (p *process) Elected() <-chan struct{} {
	elected := make(chan struct{})
	close(elected)
	return elected
}

// GetControllerOptions lets several processes use the same controller names.
func (p *process) GetControllerOptions() config.Controller {
	return config.Controller{SkipNameValidation: new(true), RecoverPanic: new(false)}
}

// GetLogger discards.
func (p *process) GetLogger() logr.Logger { return logr.Discard() }

// GetScheme returns the scheme.
func (p *process) GetScheme() *runtime.Scheme { return p.world.server.scheme }

// GetCache returns the process's cache.
func (p *process) GetCache() cache.Cache { return p.cache }

// GetFieldIndexer returns the cache's indexer.
func (p *process) GetFieldIndexer() client.FieldIndexer { return p.cache }

// GetClient returns a client that reads from the cache.
func (p *process) GetClient() client.Client { return &processClient{process: p} }

// GetAPIReader returns a client that reads from the API server.
func (p *process) GetAPIReader() client.Reader { return &processClient{process: p, live: true} }

// GetEventRecorder returns a recorder that records nothing.
func (p *process) GetEventRecorder(string) recorder.EventRecorder { return noEvents{} }

// noEvents records no Events.
type noEvents struct{ recorder.EventRecorder }

// Eventf does nothing.
func (noEvents) Eventf(runtime.Object, runtime.Object, string, string, string, string, ...any) {}

// processClient is a process's client. Each request takes a time of its own and may fail.
type processClient struct {
	client.Client

	process *process
	live    bool
}

// request makes one request to the API server, with the faults that are drawn.
func (c *processClient) request(ctx context.Context, kind string, writes bool, do func() error) error {
	chaos := c.process.world.chaos
	if !sleep(ctx, chaos.between(200*time.Microsecond, 3*time.Millisecond)) {
		return ctx.Err()
	}
	if c.process.dead.Load() {
		return errDead
	}
	before, after := chaos.requestFault(kind, writes)
	if before != nil {
		return before
	}
	if err := do(); err != nil {
		return err
	}
	if writes && c.process.burn() {
		return errDead
	}
	if !sleep(ctx, chaos.between(100*time.Microsecond, 2*time.Millisecond)) || c.process.dead.Load() {
		return errDead
	}
	return after
}

// Scheme returns the scheme.
func (c *processClient) Scheme() *runtime.Scheme { return c.process.world.server.scheme }

// Get reads an object.
func (c *processClient) Get(ctx context.Context, name client.ObjectKey, into client.Object,
	options ...client.GetOption) error {
	if !c.live {
		return c.process.cache.Get(ctx, name, into, options...)
	}
	server := c.process.world.server
	if _, ok := into.(*v1alpha1.PaymentSession); ok {
		c.process.noteRead(name)
	}
	return c.request(ctx, server.kindOf(into).Kind, false, func() error { return server.get(name, into) })
}

// List lists objects.
func (c *processClient) List(ctx context.Context, into client.ObjectList, options ...client.ListOption) error {
	if !c.live {
		return c.process.cache.List(ctx, into, options...)
	}
	server := c.process.world.server
	kind := server.kindOf(into).Kind
	kind = kind[:len(kind)-len("List")]
	applied := (&client.ListOptions{}).ApplyOptions(options)
	applied.Limit = 0
	return c.request(ctx, kind, false, func() error {
		return fill(into, server.list(kind, applied.Namespace), applied,
			selectable)
	})
}

// Patch patches an object.
func (c *processClient) Patch(ctx context.Context, object client.Object, patch client.Patch,
	_ ...client.PatchOption) error {
	server := c.process.world.server
	return c.request(ctx, server.kindOf(object).Kind, true, func() error {
		return server.patch(object, patch, false)
	})
}

// Delete deletes an object.
func (c *processClient) Delete(ctx context.Context, object client.Object, options ...client.DeleteOption) error {
	server := c.process.world.server
	applied := (&client.DeleteOptions{}).ApplyOptions(options)
	return c.request(ctx, server.kindOf(object).Kind, true, func() error {
		c.process.world.checkOwnDeletion(object, applied.Preconditions)
		return server.delete(object, *applied)
	})
}

// Status returns the writer of statuses.
func (c *processClient) Status() client.SubResourceWriter { return &statusWriter{client: c} }

type statusWriter struct {
	client.SubResourceWriter

	client *processClient
}

// Patch patches a status.
func (w *statusWriter) Patch(ctx context.Context, object client.Object, patch client.Patch,
	_ ...client.SubResourcePatchOption) error {
	process := w.client.process
	server := process.world.server
	err := w.client.request(ctx, server.kindOf(object).Kind, true, func() error {
		return server.patch(object, patch, true)
	})
	if err == nil {
		process.noteWrite(object)
	}
	return err
}
