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

// urgent is the queue priority of what somebody waits for. Changes by users have priority 0, and the initial list has
// -100: https://pkg.go.dev/sigs.k8s.io/controller-runtime/pkg/handler#LowPriority
const urgent = 10

// Enqueuer adds requests to a controller's queue from outside its watches.
type Enqueuer struct {
	queue atomic.Value
}

// source connects the enqueuer to its controller's queue.
func (e *Enqueuer) source() source.Source {
	return source.Func(func(_ context.Context, queue workqueue.TypedRateLimitingInterface[ctrl.Request]) error {
		e.queue.Store(queue)
		return nil
	})
}

// Enqueue requests a reconcile, now or later. It does nothing before the controller has started: the initial list
// then enqueues every object.
func (e *Enqueuer) Enqueue(request ctrl.Request, after time.Duration, priority int) {
	switch queue := e.queue.Load().(type) {
	case priorityqueue.PriorityQueue[ctrl.Request]:
		queue.AddWithOpts(priorityqueue.AddOpts{After: after, Priority: new(priority)}, request)
	case workqueue.TypedRateLimitingInterface[ctrl.Request]:
		queue.AddAfter(request, after)
	}
}

// enqueueEach requests a reconcile of every object of a list, which it reads with the options.
func (e *Enqueuer) enqueueEach(ctx context.Context, reader client.Reader, list client.ObjectList,
	options ...client.ListOption) error {
	requests, err := requestsFor(ctx, reader, list, options...)
	for _, request := range requests {
		e.Enqueue(request, 0, 0)
	}
	return err
}

// requestsFor returns a request for each object of a list, which it reads with the options.
func requestsFor(
	ctx context.Context, reader client.Reader, list client.ObjectList, options ...client.ListOption,
) ([]ctrl.Request, error) {
	if err := reader.List(ctx, list, append(options, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("cannot list the objects to reconcile: %w", err)
	}
	var requests []ctrl.Request
	err := apimeta.EachListItem(list, func(item runtime.Object) error {
		object, err := apimeta.Accessor(item)
		if err == nil {
			name := types.NamespacedName{Namespace: object.GetNamespace(), Name: object.GetName()}
			requests = append(requests, ctrl.Request{NamespacedName: name})
		}
		return err
	})
	return requests, err
}
