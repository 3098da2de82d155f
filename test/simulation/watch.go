// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"

	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// run applies the changes of the kind, late, until ctx is done.
func (v *view) run(ctx context.Context) {
	for ctx.Err() == nil {
		changes, changed := v.cache.server.changesSince(v.position)
		if len(changes) == 0 {
			select {
			case <-ctx.Done():
			case <-changed:
			}
			continue
		}
		if !relevant(changes, v.kind) {
			v.position += len(changes)
			continue
		}
		if !sleep(ctx, v.cache.chaos.lag(v.kind)) {
			return
		}
		// What has changed meanwhile would otherwise be late by twice the time.
		changes, _ = v.cache.server.changesSince(v.position)
		switch v.cache.chaos.watchFault() {
		case watchLost:
			v.relist()
		case watchRepeated:
			v.apply(changes)
			v.repeat(changes)
		default:
			v.apply(changes)
		}
	}
}

func relevant(changes []change, kind string) bool {
	for _, change := range changes {
		if change.kind == kind {
			return true
		}
	}
	return false
}

// apply applies changes and notifies the handlers.
func (v *view) apply(changes []change) {
	for _, change := range changes {
		v.position++
		if change.kind != v.kind {
			continue
		}
		v.mu.Lock()
		handlers := v.handlers
		object := change.after
		if object == nil {
			object = change.before
		}
		name := client.ObjectKeyFromObject(object)
		before := v.objects[name]
		if change.after == nil {
			delete(v.objects, name)
		} else {
			v.objects[name] = change.after
		}
		v.mu.Unlock()
		notify(handlers, before, change.after, object)
	}
}

// notify notifies handlers of one change.
func notify(handlers []toolscache.ResourceEventHandler, before, after, last client.Object) {
	for _, handler := range handlers {
		switch {
		case after == nil && before != nil:
			handler.OnDelete(copyOf(last))
		case after == nil:
		case before == nil:
			handler.OnAdd(copyOf(after), false)
		default:
			handler.OnUpdate(copyOf(before), copyOf(after))
		}
	}
}

// repeat notifies the handlers once more of the objects that have changed.
func (v *view) repeat(changes []change) {
	for _, change := range changes {
		if change.kind == v.kind && change.after != nil {
			v.mu.Lock()
			handlers, object := v.handlers, v.objects[client.ObjectKeyFromObject(change.after)]
			v.mu.Unlock()
			notify(handlers, object, object, object)
		}
	}
}

// relist replaces the view by a new list, after a watch was lost.
func (v *view) relist() {
	objects, position := v.cache.server.snapshot(v.kind)
	v.mu.Lock()
	handlers, before := v.handlers, v.objects
	v.objects, v.position = map[types.NamespacedName]client.Object{}, position
	for _, object := range objects {
		v.objects[client.ObjectKeyFromObject(object)] = object
	}
	v.mu.Unlock()
	for _, object := range objects {
		known := before[client.ObjectKeyFromObject(object)]
		if known == nil || known.GetResourceVersion() != object.GetResourceVersion() {
			notify(handlers, known, object, object)
		}
	}
	var gone []client.Object
	for name, object := range before {
		if v.objects[name] == nil {
			gone = append(gone, object)
		}
	}
	sortByName(gone)
	for _, object := range gone {
		for _, handler := range handlers {
			handler.OnDelete(toolscache.DeletedFinalStateUnknown{
				Key: client.ObjectKeyFromObject(object).String(), Obj: copyOf(object),
			})
		}
	}
}

// changesSince returns the changes after a position, and a channel that is closed with the next one.
func (s *apiServer) changesSince(position int) ([]change, <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.changes[position:len(s.changes):len(s.changes)], s.changed
}

// snapshot returns the objects of a kind and the position of the list.
func (s *apiServer) snapshot(kind string) ([]client.Object, int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var objects []client.Object
	for key, object := range s.objects {
		if key.kind == kind {
			objects = append(objects, object)
		}
	}
	sortByName(objects)
	return objects, len(s.changes)
}
