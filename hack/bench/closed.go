// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
	"github.com/payops-dev/payment-session-operator/test/process"
)

// closed measures the manager's start on many sessions that are finished: the time until it has expired one that is not, the most
// memory that it takes, and the calls and writes that the others cost, of which there should be none.
func closed(lab *lab, runs int) ([]*Figure, error) {
	ctx := context.Background()
	namespace, err := lab.shop(ctx, "omise")
	if err != nil {
		return nil, err
	}
	if err := lab.stop(); err != nil {
		return nil, err
	}
	empty := &Figure{Name: "peak memory with no session", Unit: "MiB"}
	if _, err := lab.starts(ctx, namespace, runs, empty); err != nil {
		return nil, err
	}
	figures, made := []*Figure{empty}, 0
	for _, count := range lab.scale.closed {
		if err := lab.fillClosed(ctx, namespace, count-made); err != nil {
			return nil, err
		}
		made = count
		peak := &Figure{Name: fmt.Sprintf("peak memory at a start on %d closed sessions", count), Unit: "MiB"}
		writes, err := lab.writes(ctx)
		if err != nil {
			return nil, err
		}
		calls := len(lab.upstreams.Calls())
		start, err := lab.starts(ctx, namespace, runs, peak)
		if err != nil {
			return nil, err
		}
		start.Name = fmt.Sprintf("start on %d closed sessions until another one is expired", count)
		after, err := lab.writes(ctx)
		if err != nil {
			return nil, err
		}
		figures = append(figures, start, peak,
			&Figure{Name: fmt.Sprintf("memory for each of %d sessions", count), Unit: "KiB", Values: []float64{(peak.median() - empty.median()) * 1024 / float64(count)}},
			// The session that was waited for costs one call, a status and a finalizer.
			&Figure{Name: fmt.Sprintf("calls for %d closed sessions in %d starts", count, runs), Values: []float64{float64(len(lab.upstreams.Calls()) - calls - runs)}},
			&Figure{Name: fmt.Sprintf("writes for %d closed sessions in %d starts", count, runs), Values: []float64{after - writes - 2*float64(runs)}},
		)
	}
	return figures, lab.start()
}

// starts runs the manager again and again, each time with one session that is open, measures until that is finished, and stops
// the manager.
func (l *lab) starts(ctx context.Context, namespace string, runs int, peak *Figure) (*Figure, error) {
	figure := timed("")
	for range runs {
		number := l.last
		l.last++
		if err := l.create(ctx, namespace, "omise", number); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := l.start(); err != nil {
			return nil, err
		}
		wanted := func(session *v1alpha1.PaymentSession) bool {
			return session.Name == sessionName(number) && finished(session)
		}
		if err := l.await(ctx, namespace, 1, wanted); err != nil {
			return nil, err
		}
		figure.add(time.Since(begin).Seconds())
		// The answer to the last write may still be on its way. A manager that never heard it writes again as it ends.
		time.Sleep(time.Second)
		bytes, err := process.PeakMemory(l.manager.Process.Pid)
		if err != nil {
			return nil, err
		}
		peak.add(float64(bytes) / (1 << 20))
		if err := l.stop(); err != nil {
			return nil, err
		}
	}
	return figure, nil
}

// fillClosed makes sessions as a manager leaves them behind.
func (l *lab) fillClosed(ctx context.Context, namespace string, count int) error {
	first := l.last
	l.last += count
	now := metav1.NewTime(time.Now()).Rfc3339Copy()
	return parallel(count, func(i int) error {
		session := gen.Session(namespace, sessionName(first+i), "omise", gen.ID("omise", first+i))
		if err := l.api.Create(ctx, session); err != nil {
			return err
		}
		before := session.DeepCopy()
		session.Status = gen.ExpiredStatus(now)
		return l.api.Status().Patch(ctx, session, client.MergeFrom(before))
	})
}
