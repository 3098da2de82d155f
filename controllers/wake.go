// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"sync/atomic"
	"time"

	"k8s.io/client-go/util/workqueue"
	ctrl "sigs.k8s.io/controller-runtime"
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
