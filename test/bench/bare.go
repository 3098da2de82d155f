// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// bareLoop does what the manager does for a session that is to be expired, and nothing else: one watch, workers that
// make the expire call, write the status and take the finalizer off. It has no queue, no cache and no second thought.
// The sessions are in a namespace that the manager does not look after.
func (l *lab) bareLoop(ctx context.Context, namespace string, count int) error {
	return l.bareWork(ctx, namespace, count, func(*v1alpha1.PaymentSession) bool { return true }, l.bareExpire)
}

// bareTeardown does what the manager does for a session that is deleted with its namespace: the expire call, and one
// write.
func (l *lab) bareTeardown(ctx context.Context, namespace string, count int) error {
	deleted := func(session *v1alpha1.PaymentSession) bool { return !session.DeletionTimestamp.IsZero() }
	return l.bareWork(ctx, namespace, count, deleted, func(ctx context.Context, transport *http.Transport, session *v1alpha1.PaymentSession) error {
		if err := l.bareCall(ctx, transport, session); err != nil {
			return err
		}
		return l.bareRelease(ctx, session)
	})
}

// bareWork does something once for each session of a namespace, when it is due.
func (l *lab) bareWork(
	ctx context.Context, namespace string, count int, due func(*v1alpha1.PaymentSession) bool,
	do func(context.Context, *http.Transport, *v1alpha1.PaymentSession) error,
) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// A POST with a connection of its own for each worker.
	transport := &http.Transport{MaxIdleConnsPerHost: workers}
	defer transport.CloseIdleConnections()
	sessions := make(chan *v1alpha1.PaymentSession, count)
	var work sync.WaitGroup
	failures := make(chan error, count+1)
	for range workers {
		work.Go(func() {
			for session := range sessions {
				if err := do(ctx, transport, session); err != nil {
					failures <- err
				}
			}
		})
	}
	seen := map[string]bool{}
	for session, err := range l.sessions(ctx, namespace) {
		if err != nil {
			failures <- err
			break
		}
		if !seen[session.Name] && due(session) {
			seen[session.Name] = true
			sessions <- session
		}
		if len(seen) == count {
			break
		}
	}
	close(sessions)
	work.Wait()
	close(failures)
	var all []error
	for err := range failures {
		all = append(all, err)
	}
	if len(seen) < count {
		all = append(all, fmt.Errorf("the watch showed %d of %d sessions", len(seen), count))
	}
	return errors.Join(all...)
}

func (l *lab) bareExpire(ctx context.Context, transport *http.Transport, session *v1alpha1.PaymentSession) error {
	if err := l.bareCall(ctx, transport, session); err != nil {
		return err
	}
	before := session.DeepCopy()
	session.Status = gen.ExpiredStatus(metav1.NewTime(time.Now()).Rfc3339Copy())
	if err := l.api.Status().Patch(ctx, session, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})); err != nil {
		return err
	}
	return l.bareRelease(ctx, session)
}

// bareCall makes the expire call.
func (l *lab) bareCall(ctx context.Context, transport *http.Transport, session *v1alpha1.PaymentSession) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, l.url+"/omise/charges/"+session.Spec.SessionID+"/expire", http.NoBody)
	if err != nil {
		return err
	}
	request.SetBasicAuth(simulator.Keys()["omise"]["secretKey"], "")
	response, err := transport.RoundTrip(request)
	if err != nil {
		return err
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	return response.Body.Close()
}

// bareRelease takes the finalizer off.
func (l *lab) bareRelease(ctx context.Context, session *v1alpha1.PaymentSession) error {
	before := session.DeepCopy()
	session.Finalizers = nil
	return l.api.Patch(ctx, session, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}
