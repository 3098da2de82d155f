// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const admissionBinding = "config/admission/finalizer-at-creation/binding.yaml"

// withAndWithoutAdmission runs a test with the admission policy that adds the finalizer at creation, and without it.
func withAndWithoutAdmission(t *testing.T, test func(*testing.T)) {
	t.Helper()
	t.Run("with the admission policy", test)
	t.Run("without the admission policy", func(t *testing.T) {
		kubectl(t, "", "delete", "-f", gen.Root()+"/"+admissionBinding)
		t.Cleanup(func() {
			kubectl(t, "", "apply", "-f", gen.Root()+"/"+admissionBinding)
			awaitAdmission(t, true)
		})
		awaitAdmission(t, false)
		test(t)
	})
}

// awaitAdmission waits until the API server adds the finalizer to such a session at creation, or no longer does.
func awaitAdmission(t *testing.T, wanted bool, options ...gen.SessionOption) {
	t.Helper()
	await.True(t, fmt.Sprintf("creates get the finalizer: %v", wanted), func() bool {
		probe := gen.Session("default", "admission-probe", "omise", gen.ID("omise", 1), options...)
		// The API server rejects creates until it knows the schema of a new policy.
		// Cleanups call this too, when the test's own context is already canceled.
		err := api.Create(context.Background(), probe, client.DryRunAll)
		return err == nil && slices.Contains(probe.Finalizers, v1alpha1.ExpireFinalizer) == wanted
	})
}

// TestAReplacedManifestKeepsTheFinalizer replaces whole objects, as pipelines do that know nothing about finalizers.
// The admission policy keeps the finalizer while the session can be paid.
func TestAReplacedManifestKeepsTheFinalizer(t *testing.T) {
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url)
	replace := func(session *v1alpha1.PaymentSession) *v1alpha1.PaymentSession {
		t.Helper()
		whole := session.DeepCopy()
		whole.Finalizers, whole.Status = nil, v1alpha1.PaymentSessionStatus{}
		if err := api.Update(t.Context(), whole); err != nil {
			t.Fatal(err)
		}
		return whole
	}
	sessions := payable(t, upstreams, namespace, len(gen.Providers))
	for _, session := range sessions {
		replaced := replace(session)
		if !slices.Contains(replaced.Finalizers, v1alpha1.ExpireFinalizer) {
			t.Errorf("%s has lost its finalizer", session.Name)
		}
		// No manager runs between the replacement and the deletion.
		if err := api.Delete(t.Context(), replaced); err != nil {
			t.Fatal(err)
		}
	}
	closed := gen.Session(namespace, "closed", "omise", gen.ID("omise", 77))
	retained := gen.Session(namespace, "retained", "omise", gen.ID("omise", 78), gen.Active)
	retained.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain
	create(t, closed, retained)
	upstreams.Add(simulator.Object{Provider: "omise", ID: closed.Spec.SessionID, State: simulator.Open})
	startManager(t, watching(namespace))
	for _, session := range sessions {
		await.Gone(t, api, session)
		if state := upstreams.State(session.Spec.ProviderRef.Name, session.Spec.SessionID); state != simulator.Expired {
			t.Errorf("%s is deleted, but its session is %s at the provider", session.Name, state)
		}
	}
	closed = await.Until(t, api, closed, "it is closed and released", func(s *v1alpha1.PaymentSession) bool {
		return s.Status.State.Closed() && len(s.Finalizers) == 0
	})
	retained = await.Reason(t, api, retained, v1alpha1.ReasonSessionNotFound)
	for _, session := range []*v1alpha1.PaymentSession{closed, retained} {
		if replaced := replace(session); len(replaced.Finalizers) > 0 {
			t.Errorf("%s got the finalizers %q, but does not need any", session.Name, replaced.Finalizers)
		}
	}
}

// TestTheFinalizerComesOnlyWhereAManagerWatches replaces the binding of the admission policy with one for each shard,
// as docs/operations.md says. A session outside every shard gets no finalizer: no manager would release it.
func TestTheFinalizerComesOnlyWhereAManagerWatches(t *testing.T) {
	const binding = "payment-session-operator-finalizer"
	kubectl(t, "", "delete", "mutatingadmissionpolicybinding", binding)
	t.Cleanup(func() {
		_, _ = plane.Run("", "delete", "mutatingadmissionpolicybinding", binding+"-a", binding+"-b")
		_, _ = plane.Run("", "apply", "-f", filepath.Join(gen.Root(), admissionBinding))
		awaitAdmission(t, true)
	})
	awaitAdmission(t, false)
	for _, name := range []string{"a", "b"} {
		kubectl(t, fmt.Sprintf(`
apiVersion: admissionregistration.k8s.io/v1
kind: MutatingAdmissionPolicyBinding
metadata: {name: %s-%s}
spec:
  policyName: payment-session-operator-finalizer
  matchResources:
    objectSelector: {matchLabels: {%s: %s}}
`, binding, name, shardLabel, name), "apply", "-f", "-")
	}
	awaitAdmission(t, true, shardOf("a"))
	awaitAdmission(t, true, shardOf("b"))
	awaitAdmission(t, false, shardOf("c"))
}
