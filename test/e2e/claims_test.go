// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"slices"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
)

// watchClaims checks each version of each session against the provider's books: what is said to be expired is so.
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
				t.Errorf("%s is said to be expired and is %s", session.Name, state)
			}
		}
	}()
	t.Cleanup(func() {
		watched.Stop()
		cancel()
		<-done
	})
}

func claimsExpired(session *v1alpha1.PaymentSession) bool {
	return session.Status.State == v1alpha1.SessionStateExpired || slices.ContainsFunc(session.Status.Conditions, func(c metav1.Condition) bool {
		return c.Type == v1alpha1.ConditionExpired && c.Status == metav1.ConditionTrue
	})
}

// TestTwoLeadersDoNoHarm runs two managers over the same sessions at the same time, as for a moment when a lease is lost.
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
			patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"desiredState":"expired"}}`))
			if err := api.Patch(t.Context(), session, patch); err != nil {
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
			t.Errorf("%s: %d expire calls, want one or two of each manager", session.Name, posts)
		}
	}
}
