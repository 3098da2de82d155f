// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"strconv"
	"strings"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// storefront opens sessions at a provider until its namespace is being deleted, as the pods of an application do.
type storefront struct {
	upstreams           *simulator.Simulator
	namespace, provider string

	mu     sync.Mutex
	opened []string
}

func (s *storefront) open(owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := gen.ID(s.provider, len(s.opened)+1000)
	s.upstreams.Add(simulator.Object{Provider: s.provider, ID: id, State: simulator.Open, Owner: owner})
	s.opened = append(s.opened, id)
}

// serve opens sessions one after another.
func (s *storefront) serve(t *testing.T) {
	t.Helper()
	for t.Context().Err() == nil {
		namespace := &corev1.Namespace{}
		err := api.Get(t.Context(), client.ObjectKey{Name: s.namespace}, namespace)
		if err != nil || !namespace.DeletionTimestamp.IsZero() {
			return
		}
		s.open("eu/" + s.namespace)
	}
}

func (s *storefront) count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.opened)
}

// TestSweepOfANamespace deletes a namespace whose application opens sessions until then, at each provider that can list
// them. Afterwards none of them is payable, and those of others are as they were.
func TestSweepOfANamespace(t *testing.T) {
	t.Parallel()
	for _, provider := range []string{"circle", "omise", "txn"} {
		t.Run(provider, func(t *testing.T) {
			t.Parallel()
			upstreams, url := simulate(t)
			namespace := newNamespace(t, url, gen.Swept(provider))
			startManager(t, watching(namespace), "--cluster-name=eu")
			foreign := map[string]bool{}
			for i, owner := range []string{"us/" + namespace, "eu/another", "", "eu/" + namespace + "-2"} {
				id := gen.ID(provider, i)
				upstreams.Add(simulator.Object{Provider: provider, ID: id, State: simulator.Open, Owner: owner})
				foreign[id] = true
			}
			sweep := gen.Sweep(namespace, "shop", provider)
			sweep.Spec.Limits.Sessions = 10000
			create(t, sweep)
			await.Reason(t, api, sweep, v1alpha1.ReasonPlanned)
			app := &storefront{upstreams: upstreams, namespace: namespace, provider: provider}
			var serving sync.WaitGroup
			serving.Go(func() { app.serve(t) })
			await.True(t, "the shop has opened 50 sessions", func() bool { return app.count() >= 50 })
			deleteNamespace(t, namespace)
			serving.Wait()
			awaitNamespaceGone(t, namespace)
			for _, object := range upstreams.Objects() {
				want := simulator.Expired
				if foreign[object.ID] {
					want = simulator.Open
				}
				if object.State != want {
					t.Errorf("session %s of %q is %s, want %s", object.ID, object.Owner, object.State, want)
				}
			}
			t.Logf("%d sessions without an object were expired", app.count())
		})
	}
}

// TestWhoSweepsMustBeAllowed creates sweeps as a developer: reporting needs no permission beside that for the object,
// and expiring needs the verb sweep for the provider object.
func TestWhoSweepsMustBeAllowed(t *testing.T) {
	t.Parallel()
	_, url := simulate(t)
	namespace := newNamespace(t, url)
	kubectl(t, "", "create", "role", "developer", "-n", namespace,
		"--verb=create,update,patch,get", "--resource=paymentsweeps.payments.payops.dev")
	kubectl(t, "", "create", "rolebinding", "developer", "-n", namespace, "--role=developer", "--user=dev")
	manifest := func(name, more string) string {
		return "apiVersion: payments.payops.dev/v1alpha1\nkind: PaymentSweep\nmetadata: {name: " + name + "}\n" +
			"spec: {providerRef: {name: omise}" + more + "}\n"
	}
	kubectl(t, manifest("report", ""), "apply", "-n", namespace, "--as=dev", "-f", "-")
	for i, more := range []string{", deletionPolicy: Expire", ", desiredState: expired"} {
		output, err := plane.Run(manifest("sly-"+strconv.Itoa(i), more), "apply", "-n", namespace, "--as=dev", "-f", "-")
		if err == nil || !strings.Contains(output, "you may not sweep PaymentProvider omise") {
			t.Errorf("%s: got %v, want it to be rejected", more, err)
		}
	}
	output, err := plane.Run("", "patch", "paymentsweep", "report", "-n", namespace, "--as=dev", "--type=merge",
		"-p", `{"spec":{"deletionPolicy":"Expire"}}`)
	if err == nil || !strings.Contains(output, "you may not sweep") {
		t.Errorf("a change of the policy: got %v, want it to be rejected", err)
	}
	kubectl(t, "", "create", "rolebinding", "sweeper", "-n", namespace,
		"--clusterrole=payment-session-operator-sweeper", "--user=dev")
	kubectl(t, manifest("allowed", ", deletionPolicy: Expire"), "apply", "-n", namespace, "--as=dev", "-f", "-")
}

// TestARegistrarMayOnlyCreate registers a session as an application's ServiceAccount does: once, and nothing else.
func TestARegistrarMayOnlyCreate(t *testing.T) {
	t.Parallel()
	_, url := simulate(t)
	namespace := newNamespace(t, url)
	kubectl(t, "", "create", "rolebinding", "shop-registers", "-n", namespace,
		"--clusterrole=payment-session-operator-registrar", "--serviceaccount="+namespace+":default")
	as := "--as=system:serviceaccount:" + namespace + ":default"
	const manifest = `{"apiVersion":"payments.payops.dev/v1alpha1","kind":"PaymentSession","metadata":{"name":"order-1042"},
		"spec":{"providerRef":{"name":"helio"},"sessionID":"8755d0ea-14f9-4259-b092-000000000001","ttlAfterClosed":"24h"}}`
	kubectl(t, manifest, "create", "-n", namespace, as, "-f", "-")
	for _, tc := range []struct {
		arguments []string
		says      string
	}{
		{[]string{"create", "-f", "-"}, "already exists"},
		{[]string{"get", "paymentsession", "order-1042"}, "forbidden"},
		{[]string{"delete", "paymentsession", "order-1042"}, "forbidden"},
	} {
		output, err := plane.Run(manifest, append(tc.arguments, "-n", namespace, as)...)
		if err == nil || !strings.Contains(output, tc.says) {
			t.Errorf("kubectl %s: got %v, want an error that says %q", tc.arguments[0], err, tc.says)
		}
	}
}
