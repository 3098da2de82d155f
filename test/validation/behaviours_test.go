// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package validation

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/test/simulation"
)

// TestBehavioursOfTheAPIServer runs the checks of the simulation's API server against a real one.
func TestBehavioursOfTheAPIServer(t *testing.T) {
	for _, behaviour := range simulation.Behaviours {
		t.Run(behaviour.Name, func(t *testing.T) {
			namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "behaviour-"}}
			if err := cluster.Create(t.Context(), namespace); err != nil {
				t.Fatal(err)
			}
			behaviour.Check(t, cluster, namespace.Name)
		})
	}
}
