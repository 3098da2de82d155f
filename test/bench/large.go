// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/payops-dev/payment-session-operator/test/gen"
	"github.com/payops-dev/payment-session-operator/test/process"
)

// largeNamespaces is the number of namespaces that hold the sessions. One namespace with its share of them is the
// smaller size to compare with, so that only the total differs.
const largeNamespaces = 10

// large measures the manager with a very large number of active sessions: its starts, its memory, and the deletion of
// all their namespaces at the same time. A session that is not expired then is an error.
func large(lab *lab, runs int) ([]*Figure, error) {
	ctx := context.Background()
	_, empty, err := lab.startEmpty(ctx, runs)
	if err != nil {
		return nil, err
	}
	figures := []*Figure{empty.took, empty.peak}
	var smaller *life
	for _, namespaces := range []int{1, largeNamespaces} {
		life := newLife(namespaces, lab.scale.large/largeNamespaces)
		if err := lab.live(ctx, runs, life); err != nil {
			return nil, err
		}
		life.each = life.starts.each(empty, life.torn.count, "active")
		if smaller != nil {
			life.compare(smaller)
		}
		smaller = life
		figures = append(figures, life.starts.took, life.starts.peak, life.each, life.rest,
			life.torn.ours, life.torn.each, life.torn.processor, life.peak)
	}
	return figures, nil
}

// life holds the figures of one number of sessions, from a start of the manager to the teardown.
type life struct {
	namespaces, share int
	starts            *started
	torn              *teardowns
	// each is the memory for each session at a start, rest the memory a minute after a start, and peak the peak memory
	// until the end of the teardown.
	each, rest, peak *Figure
}

func newLife(namespaces, share int) *life {
	count := namespaces * share
	what := fmt.Sprintf("teardown of %d namespaces with %d active sessions", namespaces, count)
	return &life{
		namespaces: namespaces, share: share, starts: newStarted(count, "active"), torn: newTeardowns(count, what),
		rest: &Figure{Name: fmt.Sprintf("memory a minute after a start with %d active sessions", count), Unit: "MiB"},
		peak: &Figure{Name: what + ": peak memory, including the start", Unit: "MiB"},
	}
}

// compare compares the costs with those of fewer sessions.
func (l *life) compare(smaller *life) {
	l.starts.took.beside(smaller.starts.took)
	l.starts.peak.beside(smaller.starts.peak)
	l.each.beside(smaller.each)
	l.rest.beside(smaller.rest)
	l.torn.each.beside(smaller.torn.each)
	l.torn.processor.beside(smaller.torn.processor)
	l.peak.beside(smaller.peak)
}

// live creates the sessions, starts the manager several times, and deletes the sessions with their namespaces.
func (l *lab) live(ctx context.Context, runs int, life *life) error {
	if err := l.start(); err != nil {
		return err
	}
	first := l.last
	var namespaces []string
	for range life.namespaces {
		namespace, err := l.shop(ctx, "omise", gen.PollInterval(never))
		if err != nil {
			return err
		}
		if err := l.fillActive(ctx, namespace, "omise", life.share); err != nil {
			return err
		}
		namespaces = append(namespaces, namespace)
	}
	if err := l.stop(); err != nil {
		return err
	}
	if err := l.starts(ctx, namespaces[0], runs-1, life.starts); err != nil {
		return err
	}
	if err := l.startOnce(ctx, namespaces[0], life.starts); err != nil {
		return err
	}
	// Until then, the manager reconciles the other sessions and returns memory to the system.
	time.Sleep(time.Minute)
	if err := l.addMemory(life.rest, process.Memory); err != nil {
		return err
	}
	if err := l.measureTeardown(ctx, life.torn, namespaces...); err != nil {
		return err
	}
	if err := l.addMemory(life.peak, process.PeakMemory); err != nil {
		return err
	}
	return errors.Join(l.checkExpired("omise", first, l.last-first), l.stop())
}
