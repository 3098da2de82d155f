// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// watchClaims checks every version of every session of a namespace until the test ends. A status never reports a
// session as expired before it is expired at the provider.
func watchClaims(t *testing.T, upstreams *simulator.Simulator, namespace string) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	watched, err := api.Watch(ctx, &v1alpha1.PaymentSessionList{}, client.InNamespace(namespace))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for event := range watched.ResultChan() {
			session, ok := event.Object.(*v1alpha1.PaymentSession)
			if !ok || !claimsExpired(session) {
				continue
			}
			if state := upstreams.State(session.Spec.ProviderRef.Name, session.Spec.SessionID); state != simulator.Expired {
				t.Errorf("the status of %s reports it as expired, but it is %s", session.Name, state)
			}
		}
	}()
	t.Cleanup(func() {
		watched.Stop()
		cancel()
		<-done
	})
}

// claimsExpired reports whether the status of a session reports it as expired.
func claimsExpired(session *v1alpha1.PaymentSession) bool {
	return session.Status.State == v1alpha1.SessionStateExpired ||
		apimeta.IsStatusConditionTrue(session.Status.Conditions, v1alpha1.ConditionExpired)
}

// TestTwoLeadersDoNoHarm runs two managers on the same sessions at the same time, as it can happen for a moment when
// a lease is lost.
func TestTwoLeadersDoNoHarm(t *testing.T) {
	t.Parallel()
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	watchClaims(t, upstreams, namespace)
	startManager(t, watching(namespace))
	startManager(t, watching(namespace))
	sessions := payable(t, upstreams, namespace, 40)
	for i, session := range sessions {
		await.Reason(t, api, session, v1alpha1.ReasonObserved)
		if i%2 == 0 {
			if err := api.Patch(t.Context(), session, gen.Expire()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for i, session := range sessions {
		if i%2 == 0 {
			await.Reason(t, api, session, v1alpha1.ReasonExpired)
		}
	}
	deleteNamespace(t, namespace)
	awaitNamespaceGone(t, namespace)
	assertAllExpired(t, upstreams)
	for _, session := range sessions {
		posts := 0
		for _, operation := range upstreams.CallsOf(session.Spec.ProviderRef.Name, session.Spec.SessionID) {
			if operation == simulator.Expire {
				posts++
			}
		}
		if posts > 4 {
			t.Errorf("%s: %d expire calls, want one or two from each manager", session.Name, posts)
		}
	}
}
