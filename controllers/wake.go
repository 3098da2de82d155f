// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/priorityqueue"
	"sigs.k8s.io/controller-runtime/pkg/source"
)

// urgent is the queue priority of what somebody waits for. Changes that users make have 0, the list at the start -100.
const urgent = 10

// Waker puts requests into a controller's queue from outside of its watches.
type Waker struct {
	queue atomic.Value
}

// source gives the waker its controller's queue.
func (w *Waker) source() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
		w.queue.Store(queue)
		return nil
	})
}

// Wake asks for a reconcile, now or later. Before the controller has started there is nothing to wake: the list that it
// starts with brings every object.
func (w *Waker) Wake(request ctrl.Request, after time.Duration, priority int) {
	switch queue := w.queue.Load().(type) {
	case priorityqueue.PriorityQueue[ctrl.Request]:
		queue.AddWithOpts(priorityqueue.AddOpts{After: after, Priority: new(priority)}, request)
	case workqueue.TypedRateLimitingInterface[ctrl.Request]:
		queue.AddAfter(request, after)
	}
}

// wakeEach asks for a reconcile of every object of a list, which is read with the options.
func (w *Waker) wakeEach(ctx context.Context, reader client.Reader, list client.ObjectList, options ...client.ListOption) error {
	requests, err := requestsFor(ctx, reader, list, options...)
	for _, request := range requests {
		w.Wake(request, 0, 0)
	}
	return err
}

// requestsFor names the objects of a list, which is read with the options.
func requestsFor(ctx context.Context, reader client.Reader, list client.ObjectList, options ...client.ListOption) ([]ctrl.Request, error) {
	if err := reader.List(ctx, list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("cannot list what should be looked at again: %w", err)
	}
	var requests []ctrl.Request
	err := apimeta.EachListItem(list, func(item runtime.Object) error {
		object, err := apimeta.Accessor(item)
		if err == nil {
			requests = append(requests, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}})
		}
		return err
	})
	return requests, err
}
