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

// closed measures the start of the manager with many closed sessions: the time until it has expired an open one, the
// peak memory, and the calls and writes that the closed sessions cost, which should be none.
func closed(lab *lab, runs int) ([]*Figure, error) {
	ctx := context.Background()
	return lab.startsOn(ctx, runs, "closed", func(namespace string, count int) error {
		return lab.fillClosed(ctx, namespace, count)
	}, func(namespace string, count int, starts *started) ([]*Figure, error) {
		writes, err := lab.writes(ctx)
		if err != nil {
			return nil, err
		}
		calls := lab.upstreams.CallCount()
		if err := lab.starts(ctx, namespace, runs, starts); err != nil {
			return nil, err
		}
		after, err := lab.writes(ctx)
		if err != nil {
			return nil, err
		}
		return []*Figure{
			// The open session of each start costs one call and two writes: the status and the finalizer.
			{
				Name:   fmt.Sprintf("calls for %d closed sessions in %d starts", count, runs),
				Values: []float64{float64(lab.upstreams.CallCount() - calls - runs)},
			},
			{
				Name:   fmt.Sprintf("writes for %d closed sessions in %d starts", count, runs),
				Values: []float64{after - writes - 2*float64(runs)},
			},
		}, nil
	})
}

// never is a poll interval that is longer than the benchmark.
const never = 24 * time.Hour

// active measures the start of the manager with many active sessions, which it does not read meanwhile.
func active(lab *lab, runs int) ([]*Figure, error) {
	ctx := context.Background()
	return lab.startsOn(ctx, runs, "active", func(namespace string, count int) error {
		if err := lab.start(); err != nil {
			return err
		}
		if err := lab.fillActive(ctx, namespace, "omise", count); err != nil {
			return err
		}
		return lab.stop()
	}, func(namespace string, _ int, starts *started) ([]*Figure, error) {
		return nil, lab.starts(ctx, namespace, runs, starts)
	})
}

// started holds the figures of the manager's starts: the time and the peak memory.
type started struct{ took, peak *Figure }

func newStarted(count int, kind string) *started {
	return &started{
		timed("start with %d %s sessions until another one is expired", count, kind),
		&Figure{Name: fmt.Sprintf("peak memory at a start with %d %s sessions", count, kind), Unit: "MiB"},
	}
}

// each returns the memory for each session.
func (s *started) each(empty *started, count int, kind string) *Figure {
	return &Figure{
		Name: fmt.Sprintf("memory for each of %d %s sessions", count, kind), Unit: "KiB",
		Values: []float64{(s.peak.median() - empty.peak.median()) * 1024 / float64(count)},
	}
}

// startsOn measures starts with increasing numbers of sessions of one kind, and the memory per session.
func (l *lab) startsOn(
	ctx context.Context, runs int, kind string, fill func(namespace string, count int) error,
	measure func(namespace string, count int, starts *started) ([]*Figure, error),
) ([]*Figure, error) {
	namespace, empty, err := l.startEmpty(ctx, runs)
	if err != nil {
		return nil, err
	}
	figures, made := []*Figure{empty.took, empty.peak}, 0
	for _, count := range l.scale.starts {
		if err := fill(namespace, count-made); err != nil {
			return nil, err
		}
		made = count
		starts := newStarted(count, kind)
		others, err := measure(namespace, count, starts)
		if err != nil {
			return nil, err
		}
		figures = append(figures, starts.took, starts.peak, starts.each(empty, count, kind))
		figures = append(figures, others...)
	}
	return figures, nil
}

// startEmpty stops the manager and measures starts with no session. It returns the namespace of the session that each
// of them expires.
func (l *lab) startEmpty(ctx context.Context, runs int) (string, *started, error) {
	namespace, err := l.shop(ctx, "omise", gen.PollInterval(never))
	if err != nil {
		return "", nil, err
	}
	if err := l.stop(); err != nil {
		return "", nil, err
	}
	empty := &started{
		timed("start with no session until one is expired"),
		&Figure{Name: "peak memory with no session", Unit: "MiB"},
	}
	return namespace, empty, l.starts(ctx, namespace, runs, empty)
}

// starts measures starts, and stops the manager after each of them.
func (l *lab) starts(ctx context.Context, namespace string, runs int, figures *started) error {
	for range runs {
		if err := l.startOnce(ctx, namespace, figures); err != nil {
			return err
		}
		if err := l.stop(); err != nil {
			return err
		}
	}
	return nil
}

// startOnce starts the manager with one session to expire, and measures the time until that session is finished.
func (l *lab) startOnce(ctx context.Context, namespace string, figures *started) error {
	number := l.last
	l.last++
	if err := l.create(ctx, namespace, "omise", number); err != nil {
		return err
	}
	begin := time.Now()
	if err := l.start(); err != nil {
		return err
	}
	wanted := func(session *v1alpha1.PaymentSession) bool {
		return session.Name == sessionName(number) && finished(session)
	}
	if err := l.await(ctx, namespace, 1, wanted); err != nil {
		return err
	}
	figures.took.add(time.Since(begin).Seconds())
	// The reply to the last write may still be on its way. A manager that stops before it receives the reply writes
	// again.
	time.Sleep(time.Second)
	return l.addMemory(figures.peak, process.PeakMemory)
}

// addMemory adds the memory of the manager, in MiB.
func (l *lab) addMemory(figure *Figure, measure func(pid int) (int64, error)) error {
	bytes, err := measure(l.manager.Process.Pid)
	if err != nil {
		return err
	}
	figure.add(float64(bytes) / (1 << 20))
	return nil
}

// fillActive creates active sessions, and waits until the manager has observed them.
func (l *lab) fillActive(ctx context.Context, namespace, provider string, count int) error {
	if err := l.fill(ctx, namespace, provider, count, gen.Active); err != nil {
		return err
	}
	return l.await(ctx, namespace, count, observed)
}

// fillClosed creates closed sessions with the status that the manager would have written.
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
