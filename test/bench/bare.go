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

// bareFunc handles one session.
type bareFunc func(context.Context, *http.Transport, *v1alpha1.PaymentSession) error

// bareLoop does the minimum that a manager must do to expire sessions: one watch, and workers that make the expire
// call, write the status and release the finalizer. It has no queue, no cache, no retry and no checks. The manager
// ignores its sessions.
func (l *lab) bareLoop(ctx context.Context, namespace string, count int) error {
	return l.bareWork(ctx, namespace, count, func(*v1alpha1.PaymentSession) bool { return true }, l.bareExpire)
}

// bareTeardown does the minimum for sessions that are deleted with their namespace: the expire call, and one write.
func (l *lab) bareTeardown(ctx context.Context, namespace string, count int) error {
	deleted := func(session *v1alpha1.PaymentSession) bool { return !session.DeletionTimestamp.IsZero() }
	expireAndRelease := func(ctx context.Context, transport *http.Transport, session *v1alpha1.PaymentSession) error {
		if err := l.bareCall(ctx, transport, session); err != nil {
			return err
		}
		return l.bareRelease(ctx, session)
	}
	return l.bareWork(ctx, namespace, count, deleted, expireAndRelease)
}

// bareWork handles each session of a namespace once, as soon as it is due.
func (l *lab) bareWork(
	ctx context.Context, namespace string, count int, due func(*v1alpha1.PaymentSession) bool, do bareFunc,
) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	// Each worker keeps its own connection.
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

// bareExpire expires a session, writes its status and releases it.
func (l *lab) bareExpire(ctx context.Context, transport *http.Transport, session *v1alpha1.PaymentSession) error {
	if err := l.bareCall(ctx, transport, session); err != nil {
		return err
	}
	before := session.DeepCopy()
	session.Status = gen.ExpiredStatus(metav1.NewTime(time.Now()).Rfc3339Copy())
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	if err := l.api.Status().Patch(ctx, session, patch); err != nil {
		return err
	}
	return l.bareRelease(ctx, session)
}

// bareCall makes the expire call.
func (l *lab) bareCall(ctx context.Context, transport *http.Transport, session *v1alpha1.PaymentSession) error {
	url := l.url + "/omise/charges/" + session.Spec.SessionID + "/expire"
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, url, http.NoBody)
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

// bareRelease releases the finalizer.
func (l *lab) bareRelease(ctx context.Context, session *v1alpha1.PaymentSession) error {
	before := session.DeepCopy()
	session.Finalizers = nil
	return l.api.Patch(ctx, session, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
}
