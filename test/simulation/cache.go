// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// watchCache is a manager's cache: one view for each kind, each behind the API server by a time of its own.
type watchCache struct {
	server *apiServer
	chaos  *chaos

	mu      sync.Mutex
	views   map[string]*view
	indexes map[string]map[string]client.IndexerFunc
	started bool
	ctx     context.Context //nolint:containedctx // The watches live as long as the process.
	running sync.WaitGroup
}

var _ cache.Cache = &watchCache{}

func newWatchCache(server *apiServer, chaos *chaos) *watchCache {
	return &watchCache{
		server: server, chaos: chaos, views: map[string]*view{}, indexes: map[string]map[string]client.IndexerFunc{},
	}
}

// view is the cache of one kind, and an informer.
type view struct {
	cache *watchCache
	kind  string

	mu       sync.Mutex
	objects  map[types.NamespacedName]client.Object
	handlers []toolscache.ResourceEventHandler
	// position is the number of changes that were applied.
	position int
}

// IndexField adds an index.
func (c *watchCache) IndexField(_ context.Context, object client.Object, name string,
	extract client.IndexerFunc) error {
	kind := c.server.kindOf(object).Kind
	if c.indexes[kind] == nil {
		c.indexes[kind] = map[string]client.IndexerFunc{}
	}
	c.indexes[kind][name] = extract
	return nil
}

// view returns the view of a kind, which begins with a list.
func (c *watchCache) view(kind string) *view {
	c.mu.Lock()
	defer c.mu.Unlock()
	if found := c.views[kind]; found != nil {
		return found
	}
	added := &view{cache: c, kind: kind}
	added.relist()
	c.views[kind] = added
	if c.started {
		c.running.Go(func() { added.run(c.ctx) })
	}
	return added
}

// Start runs the watches until ctx is done.
func (c *watchCache) Start(ctx context.Context) error {
	c.mu.Lock()
	c.started, c.ctx = true, ctx
	for _, view := range c.views {
		c.running.Go(func() { view.run(ctx) })
	}
	c.mu.Unlock()
	<-ctx.Done()
	c.mu.Lock()
	c.started = false // A view that is asked for from now on starts no watch, beside the wait for their end.
	c.mu.Unlock()
	c.running.Wait()
	return nil
}

// Get reads from the cache.
func (c *watchCache) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	kind := c.server.kindOf(into).Kind
	view := c.view(kind)
	view.mu.Lock()
	defer view.mu.Unlock()
	found := view.objects[name]
	if found == nil {
		return apierrors.NewNotFound(resource(kind), name.Name)
	}
	assign(found, into)
	return nil
}

// List reads from the cache.
func (c *watchCache) List(_ context.Context, into client.ObjectList, options ...client.ListOption) error {
	kind := c.server.kindOf(into).Kind
	kind = kind[:len(kind)-len("List")]
	view := c.view(kind)
	view.mu.Lock()
	var objects []client.Object
	for _, object := range view.objects {
		objects = append(objects, object)
	}
	view.mu.Unlock()
	sortByName(objects)
	applied := (&client.ListOptions{}).ApplyOptions(options)
	return fill(into, objects, applied, func(object client.Object, name string) ([]string, error) {
		extract := c.indexes[kind][name]
		if extract == nil {
			return nil, fmt.Errorf("no index %s of %s", name, kind)
		}
		return extract(object), nil
	})
}

// fill puts copies of the objects that match the options into a list.
func fill(
	into client.ObjectList, objects []client.Object, options *client.ListOptions,
	values func(object client.Object, name string) ([]string, error),
) error {
	var items []runtime.Object
	for _, object := range objects {
		matches := options.Namespace == "" || object.GetNamespace() == options.Namespace
		if options.FieldSelector != nil {
			for _, wanted := range options.FieldSelector.Requirements() {
				found, err := values(object, wanted.Field)
				if err != nil {
					return err
				}
				matches = matches && slices.Contains(found, wanted.Value)
			}
		}
		if matches && (options.Limit == 0 || int64(len(items)) < options.Limit) {
			items = append(items, copyOf(object))
		}
	}
	return apimeta.SetList(into, items)
}

// GetInformer returns a kind's informer.
func (c *watchCache) GetInformer(_ context.Context, object client.Object,
	_ ...cache.InformerGetOption) (cache.Informer, error) {
	return c.view(c.server.kindOf(object).Kind), nil
}

// GetInformerForKind returns a kind's informer.
func (c *watchCache) GetInformerForKind(_ context.Context, gvk schema.GroupVersionKind,
	_ ...cache.InformerGetOption) (cache.Informer, error) {
	return c.view(gvk.Kind), nil
}

// RemoveInformer is not supported.
func (c *watchCache) RemoveInformer(context.Context, client.Object) error { return nil }

// WaitForCacheSync returns true: a view begins with a list.
func (c *watchCache) WaitForCacheSync(context.Context) bool { return true }

// AddEventHandler adds a handler, which is notified of the present objects first.
func (v *view) AddEventHandler(handler toolscache.ResourceEventHandler) (
	toolscache.ResourceEventHandlerRegistration, error,
) {
	return v.AddEventHandlerWithOptions(handler, toolscache.HandlerOptions{})
}

// AddEventHandlerWithResyncPeriod adds a handler.
func (v *view) AddEventHandlerWithResyncPeriod(
	handler toolscache.ResourceEventHandler, _ time.Duration,
) (toolscache.ResourceEventHandlerRegistration, error) {
	return v.AddEventHandler(handler)
}

// AddEventHandlerWithOptions adds a handler.
func (v *view) AddEventHandlerWithOptions(
	handler toolscache.ResourceEventHandler, _ toolscache.HandlerOptions,
) (toolscache.ResourceEventHandlerRegistration, error) {
	v.mu.Lock()
	v.handlers = append(v.handlers, handler)
	var present []client.Object
	for _, object := range v.objects {
		present = append(present, object)
	}
	v.mu.Unlock()
	sortByName(present)
	for _, object := range present {
		handler.OnAdd(copyOf(object), true)
	}
	return registration{}, nil
}

// registration is synced at once.
type registration struct {
	toolscache.ResourceEventHandlerRegistration
}

// HasSynced returns true.
func (registration) HasSynced() bool { return true }

// HasSyncedChecker returns a checker that is done.
func (registration) HasSyncedChecker() toolscache.DoneChecker { return synced{} }

// HasSyncedChecker returns a checker that is done.
func (v *view) HasSyncedChecker() toolscache.DoneChecker { return synced{} }

// synced is done at once: a view begins with a list.
type synced struct{}

// Name returns the checker's name.
func (synced) Name() string { return "simulation" }

// Done returns a closed channel.
func (synced) Done() <-chan struct{} {
	done := make(chan struct{})
	close(done)
	return done
}

// RemoveEventHandler is not supported.
func (v *view) RemoveEventHandler(toolscache.ResourceEventHandlerRegistration) error { return nil }

// AddIndexers is not supported.
func (v *view) AddIndexers(toolscache.Indexers) error { return nil }

// HasSynced returns true.
func (v *view) HasSynced() bool { return true }

// IsStopped returns false.
func (v *view) IsStopped() bool { return false }

// sleep waits, and returns false if ctx is done before.
func sleep(ctx context.Context, duration time.Duration) bool {
	timer := time.NewTimer(duration)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// selectable returns the value of a field that the API server can select by.
func selectable(object client.Object, path string) ([]string, error) {
	value := reflect.ValueOf(object).Elem()
	names := map[string][]string{
		v1alpha1.FieldDesiredState: {"Spec", "DesiredState"}, v1alpha1.FieldDeletionPolicy: {"Spec", "DeletionPolicy"},
		v1alpha1.FieldProviderKind: {"Spec", "ProviderRef", "Kind"}, v1alpha1.FieldProviderName: {"Spec", "ProviderRef", "Name"},
	}[path]
	_, isSweep := object.(*v1alpha1.PaymentSweep)
	ofTheOther := map[bool]string{true: v1alpha1.FieldDesiredState, false: v1alpha1.FieldDeletionPolicy}[isSweep]
	if names == nil || path == ofTheOther {
		return nil, apierrors.NewBadRequest("field label not supported: " + path)
	}
	for _, name := range names {
		value = value.FieldByName(name)
	}
	return []string{value.String()}, nil
}
