// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestUninstall takes everything back with the operator up. Without one, the test of the Helm chart does.
func TestUninstall(t *testing.T) {
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	running := startManager(t)
	for _, session := range payable(t, upstreams, namespace, 8) {
		await.Reason(t, api, session, v1alpha1.ReasonObserved)
	}
	// What is installed goes from under the manager's feet, its own roles included.
	running.losesItsRights = true
	t.Cleanup(func() {
		if err := install(); err != nil {
			t.Fatal(err)
		}
	})
	if err := command("make", "--no-print-directory", "uninstall"); err != nil {
		t.Fatal(err)
	}
	for _, call := range upstreams.Calls() {
		if call.Operation == simulator.Expire {
			t.Errorf("the uninstall expired %s %s", call.Provider, call.ID)
		}
	}
	secrets := &corev1.SecretList{}
	if err := api.List(t.Context(), secrets, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	if len(secrets.Items) != len(gen.Providers) {
		t.Errorf("%d Secrets are left, want the user's %d", len(secrets.Items), len(gen.Providers))
	}
	for i := range secrets.Items {
		if len(secrets.Items[i].Finalizers) > 0 {
			t.Errorf("Secret %s bears %q", secrets.Items[i].Name, secrets.Items[i].Finalizers)
		}
	}
	if left := kubectl(t, "", "get", "crd,clusterrole,clusterrolebinding,validatingadmissionpolicy,mutatingadmissionpolicy", "-o", "name"); strings.Contains(left, "payops") || strings.Contains(left, "payment-session") {
		t.Errorf("left behind:\n%s", left)
	}
}
