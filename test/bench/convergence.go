// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
	"github.com/payops-dev/payment-session-operator/test/process"
)

// convergence measures the time from the first create until all sessions are expired and released, for the manager
// and for a bare loop. Each session costs one expire call and two writes. It has the finalizer from its creation, as
// with the admission policy.
func convergence(lab *lab, runs int) ([]*Figure, error) {
	var figures []*Figure
	for _, latency := range lab.scale.latencies {
		lab.upstreams.SetLatency(latency)
		var smaller *turns
		for _, count := range lab.scale.sizes {
			// All runs of one size come first: a run is slower after the teardown of many sessions than after that of few.
			turns := newTurns(count, latency)
			for range runs {
				if err := lab.takeTurns(turns); err != nil {
					return nil, err
				}
			}
			turns.ours.beside(turns.bare)
			if smaller != nil {
				turns.compare(smaller)
			}
			smaller = turns
			figures = append(figures, turns.ours, turns.bare, turns.each, turns.bareEach, turns.processor)
		}
	}
	lab.upstreams.SetLatency(0)
	peak := &Figure{Name: "peak memory of the manager in this scenario", Unit: "MiB"}
	return append(figures, peak), lab.addMemory(peak, process.PeakMemory)
}

// turns holds the figures of the manager and of the bare loop, which take turns so that noise affects both alike.
type turns struct {
	count int
	// ours and bare are the times for all sessions, each and bareEach those for a thousand of them. processor is the
	// processor time of the manager.
	ours, bare, each, bareEach, processor *Figure
}

func newTurns(count int, latency time.Duration) *turns {
	what := fmt.Sprintf("%d sessions at %s", count, latency)
	made := &turns{
		count, timed("%s", what), timed("%s, bare loop", what),
		timed("%s: time for 1000", what), timed("%s, bare loop: time for 1000", what),
		timed("%s: processor time of the manager for 1000", what),
	}
	made.ours.Series = fmt.Sprintf("the operator, provider at %s", latency)
	made.bare.Series = fmt.Sprintf("bare loop, provider at %s", latency)
	made.ours.Size, made.bare.Size = count, count
	return made
}

// compare compares the cost of each session with that in a run of fewer sessions.
func (t *turns) compare(smaller *turns) {
	t.each.beside(smaller.each)
	t.bareEach.beside(smaller.bareEach)
	t.processor.beside(smaller.processor)
}

// takeTurns measures the manager and then the bare loop.
func (l *lab) takeTurns(turns *turns) error {
	thousands := float64(turns.count) / 1000
	before, err := process.ProcessorTime(l.manager.Process.Pid)
	if err != nil {
		return err
	}
	took, err := l.converge(context.Background(), turns.count, l.awaitFinished)
	if err != nil {
		return err
	}
	after, err := process.ProcessorTime(l.manager.Process.Pid)
	if err != nil {
		return err
	}
	turns.ours.add(took.Seconds())
	turns.each.add(took.Seconds() / thousands)
	turns.processor.add((after - before).Seconds() / thousands)
	if took, err = l.converge(context.Background(), turns.count, l.bareLoop, isBare); err != nil {
		return err
	}
	turns.bare.add(took.Seconds())
	turns.bareEach.add(took.Seconds() / thousands)
	return nil
}

// converge creates sessions and measures the time until finish returns.
func (l *lab) converge(
	ctx context.Context, count int, finish func(ctx context.Context, namespace string, count int) error,
	options ...gen.SessionOption,
) (time.Duration, error) {
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
	// The next run must find the API server with the same number of objects.
	return took, l.tearDown(ctx, namespace)
}

// isBare labels a session so that the manager ignores it.
func isBare(session *v1alpha1.PaymentSession) {
	session.Labels = map[string]string{bare: "yes"}
}

// awaitFinished waits until all sessions of a namespace are finished.
func (l *lab) awaitFinished(ctx context.Context, namespace string, count int) error {
	return l.await(ctx, namespace, count, finished)
}
