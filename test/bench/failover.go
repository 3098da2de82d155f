// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"slices"
	"syscall"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/internal/simulator"
)

const (
	// failing is the number of sessions that converge when the leader is killed.
	failing = 2000
	// leases is the namespace of the managers' lease.
	leases = "payops-system"
)

// failover measures what a killed leader costs while sessions converge: the time without a leader, the time until all
// sessions are expired and released, and the calls that are made again. The comparison is the same without a kill. A
// session that is lost is an error.
func failover(lab *lab, runs int) ([]*Figure, error) {
	ctx := context.Background()
	if err := lab.stop(); err != nil {
		return nil, err
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: leases}}
	if err := lab.api.Create(ctx, namespace); err != nil {
		return nil, err
	}
	lease := timed("duration of the managers' lease")
	figures := []*Figure{lease}
	for _, latency := range lab.scale.latencies {
		lab.upstreams.SetLatency(latency)
		calm, killed := newTakeover(latency, ", without a kill"), newTakeover(latency, "")
		for range runs {
			if err := lab.takeOver(ctx, lease, calm, false); err != nil {
				return nil, err
			}
			if err := lab.takeOver(ctx, lease, killed, true); err != nil {
				return nil, err
			}
		}
		killed.idle.beside(lease)
		killed.whole.beside(calm.whole)
		killed.rest.beside(calm.whole)
		figures = append(figures, killed.idle, killed.whole, killed.rest, killed.called, killed.again, killed.most,
			calm.whole, calm.again)
	}
	return figures, nil
}

// takeover holds the figures from the moment at which a quarter of the sessions are closed.
type takeover struct {
	// idle is the time until the other manager makes its first call, and whole the time until all sessions are expired
	// and released. rest is the part of whole after that call.
	idle, whole, rest *Figure
	// called is the number of calls before that moment, again the number of calls beyond one for each session, and most
	// the number of calls for the session with the most.
	called, again, most *Figure
}

func newTakeover(latency time.Duration, how string) *takeover {
	what := fmt.Sprintf("failover with %d sessions at %s%s", failing, latency, how)
	return &takeover{
		timed("%s: until the first call of the other manager", what),
		timed("%s: until all are expired and released", what),
		timed("%s: from that call until all are expired and released", what),
		&Figure{Name: what + ": calls before"}, &Figure{Name: what + ": calls made again"},
		&Figure{Name: what + ": most calls for one session"},
	}
}

// takeOver lets a manager expire sessions that exist already, while another one waits for its lease. It measures from
// the moment at which a quarter of them are closed, and kills the first manager then if it is told to.
func (l *lab) takeOver(ctx context.Context, lease *Figure, figures *takeover, kill bool) (err error) {
	namespace, err := l.shop(ctx, "omise")
	if err != nil {
		return err
	}
	first, called := l.last, l.upstreams.CallCount()
	if err := l.fill(ctx, namespace, "omise", failing); err != nil {
		return err
	}
	leader, err := l.launch("leader.log", "--leader-elect")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end(leader, syscall.SIGTERM)) }()
	// Only the leader makes calls.
	if err := l.awaitCalls(ctx, called+1); err != nil {
		return err
	}
	standby, err := l.launch("standby.log", "--leader-elect")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, end(standby, syscall.SIGTERM)) }()
	if err := errors.Join(l.addLease(ctx, lease), l.await(ctx, namespace, failing/4, expired)); err != nil {
		return err
	}
	begin := time.Now()
	var idle time.Duration
	if kill {
		if idle, err = l.kill(ctx, leader, called, figures.called); err != nil {
			return err
		}
	}
	if err := l.awaitFinished(ctx, namespace, failing); err != nil {
		return err
	}
	whole := time.Since(begin)
	figures.idle.add(idle.Seconds())
	figures.whole.add(whole.Seconds())
	figures.rest.add((whole - idle).Seconds())
	figures.countAgain(l.upstreams.Calls()[called:])
	return errors.Join(l.checkExpired("omise", first, failing), l.tearDown(ctx, namespace))
}

// countAgain counts the calls that were made again.
func (t *takeover) countAgain(calls []simulator.Call) {
	counts := map[string]int{}
	for _, call := range calls {
		counts[call.ID]++
	}
	t.again.add(float64(len(calls) - failing))
	t.most.add(float64(slices.Max(slices.Collect(maps.Values(counts)))))
}

// kill kills the leader, adds the number of calls that it had made, and returns the time until the next call, which is
// the other manager's.
func (l *lab) kill(ctx context.Context, leader *exec.Cmd, called int, calls *Figure) (time.Duration, error) {
	begin := time.Now()
	if err := end(leader, syscall.SIGKILL); err != nil {
		return 0, err
	}
	// The leader's last calls may still arrive. The other manager has to wait much longer for the lease.
	time.Sleep(time.Second)
	before := l.upstreams.CallCount()
	calls.add(float64(before - called))
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := l.awaitCalls(ctx, before+1); err != nil {
		return 0, fmt.Errorf("nobody continued after %d calls for %d sessions: %w", before-called, failing, err)
	}
	return time.Since(begin), nil
}

// addLease adds the duration of the lease that the leader holds.
func (l *lab) addLease(ctx context.Context, figure *Figure) error {
	list := &coordinationv1.LeaseList{}
	if err := l.api.List(ctx, list, client.InNamespace(leases)); err != nil {
		return err
	}
	for i := range list.Items {
		figure.add(float64(*list.Items[i].Spec.LeaseDurationSeconds))
	}
	return nil
}
