// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestBehaviours checks the API server in memory. TestBehavioursOfTheAPIServer in test/validation runs the same
// checks against a real one.
func TestBehaviours(t *testing.T) {
	for _, behaviour := range Behaviours {
		t.Run(behaviour.Name, func(t *testing.T) {
			server := newAPIServer(gen.Scheme())
			server.admit = append(server.admit, immutableFields)
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "test"}}
			for _, object := range []client.Object{crdOf(v1alpha1.KindPaymentSession), namespace} {
				if err := server.create(object); err != nil {
					t.Fatal(err)
				}
			}
			behaviour.Check(t, &userClient{server: server}, "test")
		})
	}
}
