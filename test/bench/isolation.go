// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const (
	hungAccounts = 8
	hungSessions = 1000
	ownSessions  = 100
	// inFlight is an account's limit, if its provider object sets none.
	inFlight = 16
)

// isolation measures how long an account's sessions take alone, and while calls of other accounts hang.
func isolation(lab *lab, runs int) ([]*Figure, error) {
	ctx := context.Background()
	alone := timed("%d sessions of an account, alone", ownSessions)
	beside := timed("the same beside %d accounts with %d sessions, whose %d calls in flight hang", hungAccounts, hungSessions, hungAccounts*inFlight)
	// The first run pays for what is made once: connections, informers, the compiled class.
	if err := lab.expireSome(ctx, &Figure{}); err != nil {
		return nil, err
	}
	for range runs {
		if err := lab.expireSome(ctx, alone); err != nil {
			return nil, err
		}
	}
	for range runs {
		if err := lab.hang(ctx); err != nil {
			return nil, err
		}
		if err := lab.expireSome(ctx, beside); err != nil {
			return nil, err
		}
	}
	beside.beside(alone)
	return []*Figure{alone, beside}, nil
}

// hang makes accounts whose provider answers none of their calls, and returns when each has as many in flight as it
// may.
func (l *lab) hang(ctx context.Context) error {
	before := len(l.upstreams.Calls())
	for range hungAccounts {
		namespace, err := l.shop(ctx, "helio", gen.Timeout(time.Minute))
		if err != nil {
			return err
		}
		hangs := func(session *v1alpha1.PaymentSession) {
			l.upstreams.Script("helio", session.Spec.SessionID, simulator.Fault{Hang: true, Times: simulator.Forever})
		}
		if err := l.fill(ctx, namespace, "helio", hungSessions/hungAccounts, hangs); err != nil {
			return err
		}
	}
	for begin := time.Now(); len(l.upstreams.Calls())-before < hungAccounts*inFlight; time.Sleep(time.Millisecond) {
		if time.Since(begin) > patience {
			return fmt.Errorf("%d calls hang, want %d", len(l.upstreams.Calls())-before, hungAccounts*inFlight)
		}
	}
	return nil
}

// expireSome makes sessions and measures until all of them are finished.
func (l *lab) expireSome(ctx context.Context, figure *Figure) error {
	namespace, err := l.shop(ctx, "omise")
	if err != nil {
		return err
	}
	begin := time.Now()
	if err := l.fill(ctx, namespace, "omise", ownSessions); err != nil {
		return err
	}
	if err := l.await(ctx, namespace, ownSessions, finished); err != nil {
		return err
	}
	figure.add(time.Since(begin).Seconds())
	return nil
}
