// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// convergence measures how long it takes from the first create until all sessions are expired and let go of, and the same for a
// bare loop. Each session costs one expire call and two writes; the finalizer is there from the creation on, as with the
// admission policy.
func convergence(lab *lab, runs int) ([]*Figure, error) {
	var figures []*Figure
	for _, latency := range []time.Duration{0, 100 * time.Millisecond} {
		lab.upstreams.SetLatency(latency)
		for _, count := range lab.sizes {
			ours, bare := timed("%d sessions at %s", count, latency), timed("%d sessions at %s, bare loop", count, latency)
			processors := &Figure{Name: fmt.Sprintf("%d sessions at %s: processor time of the manager for 1000", count, latency), Unit: "s"}
			// Run by run in turns, so that both meet the same noise.
			for range runs {
				before, err := lab.processorTime()
				if err != nil {
					return nil, err
				}
				took, err := lab.converge(context.Background(), count, lab.awaitFinished)
				if err != nil {
					return nil, err
				}
				after, err := lab.processorTime()
				if err != nil {
					return nil, err
				}
				ours.add(took.Seconds())
				processors.add((after - before) * 1000 / float64(count))
				if took, err = lab.converge(context.Background(), count, lab.bareLoop, isBare); err != nil {
					return nil, err
				}
				bare.add(took.Seconds())
			}
			ours.beside(bare)
			figures = append(figures, ours, bare, processors)
		}
	}
	lab.upstreams.SetLatency(0)
	return figures, nil
}

// converge makes sessions and measures until whoever works on them has finished all.
func (l *lab) converge(ctx context.Context, count int, finish func(ctx context.Context, namespace string, count int) error, options ...gen.SessionOption) (time.Duration, error) {
	namespace, err := l.shop(ctx, "omise")
	if err != nil {
		return 0, err
	}
	ended := make(chan error, 1)
	begin := time.Now()
	go func() { ended <- finish(ctx, namespace, count) }()
	if err := l.fill(ctx, namespace, "omise", count, options...); err != nil {
		return 0, err
	}
	if err := <-ended; err != nil {
		return 0, err
	}
	took := time.Since(begin)
	// The next run is to find an API server of the same size.
	return took, l.tearDown(ctx, namespace)
}

// isBare makes a session that the manager does not look after.
func isBare(session *v1alpha1.PaymentSession) {
	session.Labels = map[string]string{bare: "yes"}
}

func (l *lab) awaitFinished(ctx context.Context, namespace string, count int) error {
	return l.await(ctx, namespace, count, finished)
}
