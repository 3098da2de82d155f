// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const tornDown = 1000

// teardown measures how long a namespace with active sessions takes to go, from its deletion on, and the same where a bare loop lets
// them go. The namespace controller itself looks again only every few seconds.
func teardown(lab *lab, runs int) ([]*Figure, error) {
	ctx := context.Background()
	ours := timed("teardown of a namespace with %d active sessions", tornDown)
	bare := timed("teardown of a namespace with %d active sessions, bare loop", tornDown)
	for range runs {
		namespace, err := lab.shop(ctx, "omise")
		if err != nil {
			return nil, err
		}
		if err := lab.fill(ctx, namespace, "omise", tornDown, gen.Active); err != nil {
			return nil, err
		}
		if err := lab.await(ctx, namespace, tornDown, observed); err != nil {
			return nil, err
		}
		begin := time.Now()
		if err := lab.tearDown(ctx, namespace); err != nil {
			return nil, err
		}
		ours.add(time.Since(begin).Seconds())

		if namespace, err = lab.shop(ctx, "omise"); err != nil {
			return nil, err
		}
		if err := lab.fill(ctx, namespace, "omise", tornDown, gen.Active, isBare); err != nil {
			return nil, err
		}
		ended := make(chan error, 1)
		go func() { ended <- lab.bareTeardown(ctx, namespace, tornDown) }()
		begin = time.Now()
		if err := errors.Join(lab.tearDown(ctx, namespace), <-ended); err != nil {
			return nil, err
		}
		bare.add(time.Since(begin).Seconds())
	}
	ours.beside(bare)
	return []*Figure{ours, bare}, nil
}

// observed is a session whose state the provider has told.
func observed(session *v1alpha1.PaymentSession) bool {
	return session.Status.State == v1alpha1.SessionStateActive
}

// tearDown deletes a namespace and waits until it is gone.
func (l *lab) tearDown(ctx context.Context, name string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	watched, err := l.api.Watch(ctx, &corev1.NamespaceList{}, client.MatchingFields{"metadata.name": name})
	if err != nil {
		return err
	}
	defer watched.Stop()
	if err := l.api.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		return err
	}
	for event := range watched.ResultChan() {
		if event.Type == watch.Deleted {
			return nil
		}
	}
	return ctx.Err()
}
