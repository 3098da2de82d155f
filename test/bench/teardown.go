// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
	"github.com/payops-dev/payment-session-operator/test/process"
)

// teardown measures the time from the deletion of a namespace with active sessions until it is gone, where the
// manager or a bare loop releases them. The namespace controller retries only every few seconds, which dominates the
// time of a small namespace.
func teardown(lab *lab, runs int) ([]*Figure, error) {
	var figures []*Figure
	var smaller *teardowns
	for _, count := range lab.scale.sizes {
		torn := newTeardowns(count, fmt.Sprintf("teardown of a namespace with %d active sessions", count))
		for range runs {
			if err := lab.measureTeardowns(context.Background(), torn); err != nil {
				return nil, err
			}
		}
		torn.ours.beside(torn.bare)
		if smaller != nil {
			torn.each.beside(smaller.each)
			torn.processor.beside(smaller.processor)
		}
		smaller = torn
		figures = append(figures, torn.ours, torn.bare, torn.each, torn.processor)
	}
	return figures, nil
}

// teardowns holds the figures of the manager and of the bare loop for one size.
type teardowns struct {
	count int
	// ours and bare are the times for all sessions, each is the manager's time for a thousand of them. processor is the
	// processor time of the manager.
	ours, bare, each, processor *Figure
}

func newTeardowns(count int, what string) *teardowns {
	return &teardowns{
		count, timed("%s", what), timed("%s, bare loop", what), timed("%s: time for 1000", what),
		timed("%s: processor time of the manager for 1000", what),
	}
}

// measureTeardowns measures the manager and then the bare loop.
func (l *lab) measureTeardowns(ctx context.Context, torn *teardowns) error {
	namespace, err := l.shop(ctx, "omise")
	if err != nil {
		return err
	}
	if err := l.fillActive(ctx, namespace, "omise", torn.count); err != nil {
		return err
	}
	if err := l.measureTeardown(ctx, torn, namespace); err != nil {
		return err
	}
	if namespace, err = l.shop(ctx, "omise"); err != nil {
		return err
	}
	if err := l.fill(ctx, namespace, "omise", torn.count, gen.Active, isBare); err != nil {
		return err
	}
	if err := l.markObserved(ctx, namespace); err != nil {
		return err
	}
	ended := make(chan error, 1)
	go func() { ended <- l.bareTeardown(ctx, namespace, torn.count) }()
	begin := time.Now()
	if err := errors.Join(l.tearDown(ctx, namespace), <-ended); err != nil {
		return err
	}
	torn.bare.add(time.Since(begin).Seconds())
	return nil
}

// measureTeardown measures how long the manager takes for namespaces that are deleted at the same time.
func (l *lab) measureTeardown(ctx context.Context, torn *teardowns, namespaces ...string) error {
	before, err := process.ProcessorTime(l.manager.Process.Pid)
	if err != nil {
		return err
	}
	begin := time.Now()
	err = parallel(len(namespaces), func(i int) error { return l.tearDown(ctx, namespaces[i]) })
	if err != nil {
		return err
	}
	took := time.Since(begin).Seconds()
	after, err := process.ProcessorTime(l.manager.Process.Pid)
	if err != nil {
		return err
	}
	thousands := float64(torn.count) / 1000
	torn.ours.add(took)
	torn.each.add(took / thousands)
	torn.processor.add((after - before).Seconds() / thousands)
	return nil
}

// markObserved writes the status that the manager would have written. The cost of a request grows with the size of
// its object, so the bare loop would have an advantage without it.
func (l *lab) markObserved(ctx context.Context, namespace string) error {
	list := &v1alpha1.PaymentSessionList{}
	if err := l.api.List(ctx, list, client.InNamespace(namespace)); err != nil {
		return err
	}
	now := metav1.NewTime(time.Now()).Rfc3339Copy()
	return parallel(len(list.Items), func(i int) error {
		before := list.Items[i].DeepCopy()
		list.Items[i].Status = gen.ActiveStatus(now)
		return l.api.Status().Patch(ctx, &list.Items[i], client.MergeFrom(before))
	})
}

// observed reports whether the status shows a session as active.
func observed(session *v1alpha1.PaymentSession) bool {
	return session.Status.State == v1alpha1.SessionStateActive
}

// tearDown deletes a namespace and waits until it is gone.
func (l *lab) tearDown(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	watched, err := l.api.Watch(ctx, &corev1.NamespaceList{}, client.MatchingFields{"metadata.name": name})
	if err != nil {
		return err
	}
	defer watched.Stop()
	if err := l.api.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		return err
	}
	for event := range watched.ResultChan() {
		if event.Type == watch.Deleted {
			return nil
		}
	}
	return errors.Join(ctx.Err(), fmt.Errorf("the watch of the namespace %s ended before it was gone", name))
}
