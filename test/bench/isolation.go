// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const (
	hungAccounts = 8
	hungSessions = 1000
	ownSessions  = 100
	// inFlight is the default limit of an account's concurrent calls.
	inFlight = 16
)

// isolation measures how long the sessions of an account take, first alone and then while the calls of other accounts
// hang.
func isolation(lab *lab, runs int) ([]*Figure, error) {
	ctx := context.Background()
	alone := timed("%d sessions of an account, alone", ownSessions)
	beside := timed("the same while all %d calls in flight of %d accounts with %d sessions hang",
		hungAccounts*inFlight, hungAccounts, hungSessions)
	// The first run creates connections, informers and the compiled class. It does not count.
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

// hang creates accounts whose provider never replies, and returns when each account has as many calls in flight as
// its limit allows.
func (l *lab) hang(ctx context.Context) error {
	before := l.upstreams.CallCount()
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
	return l.awaitCalls(ctx, before+hungAccounts*inFlight)
}

// expireSome creates sessions and measures the time until all of them are finished.
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
