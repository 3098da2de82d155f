// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
)

const (
	hungAccounts = 8
	hungSessions = 1000
	ownSessions  = 100
)

// isolation measures how long an account's sessions take alone, and beside accounts whose provider hangs with every call.
func isolation(lab *lab, runs int) ([]*Figure, error) {
	ctx := context.Background()
	alone := timed("%d sessions of an account, alone", ownSessions)
	beside := timed("the same beside %d hung accounts with %d sessions", hungAccounts, hungSessions)
	// The first run pays for what is made once: connections, informers, the compiled class.
	if err := lab.expireSome(ctx, &Figure{}, 1); err != nil {
		return nil, err
	}
	if err := lab.expireSome(ctx, alone, runs); err != nil {
		return nil, err
	}
	for range hungAccounts {
		namespace, err := lab.shop(ctx, "helio")
		if err != nil {
			return nil, err
		}
		hangs := func(session *v1alpha1.PaymentSession) {
			lab.upstreams.Script("helio", session.Spec.SessionID, simulator.Fault{Hang: true, Times: simulator.Forever})
		}
		if err := lab.fill(ctx, namespace, "helio", hungSessions/hungAccounts, hangs); err != nil {
			return nil, err
		}
		if err := lab.await(ctx, namespace, hungSessions/hungAccounts, unavailable); err != nil {
			return nil, err
		}
	}
	if err := lab.expireSome(ctx, beside, runs); err != nil {
		return nil, err
	}
	beside.beside(alone)
	return []*Figure{alone, beside}, nil
}

// unavailable is a session that was told that its provider does not answer.
func unavailable(session *v1alpha1.PaymentSession) bool {
	ready := apimeta.FindStatusCondition(session.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Reason == v1alpha1.ReasonProviderUnavailable
}

// expireSome makes sessions, run by run, and measures until all of them are finished.
func (l *lab) expireSome(ctx context.Context, figure *Figure, runs int) error {
	for range runs {
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
	}
	return nil
}
