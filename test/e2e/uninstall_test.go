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

// TestUninstall uninstalls everything while the operator runs. It expires no session and leaves no finalizer. The
// test of the Helm chart uninstalls without an operator.
func TestUninstall(t *testing.T) {
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	running := startManager(t)
	for _, session := range payable(t, upstreams, namespace, 8) {
		await.Reason(t, api, session, v1alpha1.ReasonObserved)
	}
	// The uninstall deletes the roles of the running manager.
	running.losesItsRoles = true
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
		t.Errorf("%d Secrets are left, want the %d of the user", len(secrets.Items), len(gen.Providers))
	}
	for i := range secrets.Items {
		if len(secrets.Items[i].Finalizers) > 0 {
			t.Errorf("Secret %s still has the finalizers %q", secrets.Items[i].Name, secrets.Items[i].Finalizers)
		}
	}
	const kinds = "crd,clusterrole,clusterrolebinding,validatingadmissionpolicy,mutatingadmissionpolicy"
	left := kubectl(t, "", "get", kinds, "-o", "name")
	if strings.Contains(left, "payops") || strings.Contains(left, "payment-session") {
		t.Errorf("left behind:\n%s", left)
	}
}
