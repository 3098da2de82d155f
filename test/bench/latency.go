// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"slices"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const (
	// patched is the number of sessions that each run expires one by one.
	patched = 100
	// converging is the number of other sessions that converge at the same time.
	converging = 10000
)

// latency measures the time from a user's patch of a session until its status reports the expiry: first in an idle
// manager, then while many other sessions converge at another account with a low rate limit.
func latency(lab *lab, runs int) ([]*Figure, error) {
	ctx := context.Background()
	idle := []*Figure{timed("one patch until expired, idle: median"), timed("one patch until expired, idle: p99")}
	busy := []*Figure{
		timed("one patch until expired, while %d others converge: median", converging),
		timed("one patch until expired, while %d others converge: p99", converging),
	}
	for range runs {
		if err := lab.patchOneByOne(ctx, idle); err != nil {
			return nil, err
		}
	}
	namespace, err := lab.shop(ctx, "txn")
	if err != nil {
		return nil, err
	}
	slow := gen.MergePatch(`{"spec":{"rateLimit":{"requests":50,"per":"1s","burst":50}}}`)
	if err := lab.api.Patch(ctx, gen.Provider(namespace, "txn"), slow); err != nil {
		return nil, err
	}
	if err := lab.fill(ctx, namespace, "txn", converging); err != nil {
		return nil, err
	}
	for range runs {
		if err := lab.patchOneByOne(ctx, busy); err != nil {
			return nil, err
		}
	}
	for i := range busy {
		busy[i].beside(idle[i])
	}
	return append(idle, busy...), nil
}

// patchOneByOne expires active sessions one by one, and adds the median and the 99th percentile of their times.
func (l *lab) patchOneByOne(ctx context.Context, figures []*Figure) error {
	namespace, err := l.shop(ctx, "omise")
	if err != nil {
		return err
	}
	first := l.last
	if err := l.fillActive(ctx, namespace, "omise", patched); err != nil {
		return err
	}
	var times []float64
	for i := range patched {
		took, err := l.patchOne(ctx, gen.Session(namespace, sessionName(first+i), "omise", ""))
		if err != nil {
			return err
		}
		times = append(times, took.Seconds())
	}
	slices.Sort(times)
	figures[0].add(times[len(times)/2])
	figures[1].add(times[len(times)*99/100])
	return nil
}

// patchOne sets the desired state expired, and returns the time until the status reports the expiry.
func (l *lab) patchOne(ctx context.Context, session *v1alpha1.PaymentSession) (time.Duration, error) {
	watched, err := l.api.Watch(ctx, &v1alpha1.PaymentSessionList{},
		client.InNamespace(session.Namespace), client.MatchingFields{"metadata.name": session.Name})
	if err != nil {
		return 0, err
	}
	defer watched.Stop()
	begin := time.Now()
	if err := l.api.Patch(ctx, session, gen.Expire()); err != nil {
		return 0, err
	}
	for event := range watched.ResultChan() {
		changed, ok := event.Object.(*v1alpha1.PaymentSession)
		if ok && changed.Status.State == v1alpha1.SessionStateExpired {
			break
		}
	}
	return time.Since(begin), ctx.Err()
}
