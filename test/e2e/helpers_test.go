// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// noFinalizers is a merge patch that removes every finalizer.
const noFinalizers = `{"metadata":{"finalizers":null}}`

// secretNamed returns a Secret with nothing but its name.
func secretNamed(namespace, name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

// create creates objects as the administrator.
func create(t *testing.T, objects ...client.Object) {
	t.Helper()
	for _, object := range objects {
		if err := api.Create(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
}

// payable creates open sessions with the desired state active, spread over the four providers.
func payable(t *testing.T, upstreams *simulator.Simulator, namespace string, count int) []*v1alpha1.PaymentSession {
	t.Helper()
	var sessions []*v1alpha1.PaymentSession
	for i := range count {
		provider := gen.Providers[i%len(gen.Providers)]
		id := gen.ID(provider, i)
		upstreams.Add(simulator.Object{Provider: provider, ID: id, State: simulator.Open})
		session := gen.Session(namespace, fmt.Sprintf("%s-%d", provider, i), provider, id, gen.Active)
		create(t, session)
		sessions = append(sessions, session)
	}
	return sessions
}

// payableAt creates an open session of one provider, with the desired state active.
func payableAt(t *testing.T, upstreams *simulator.Simulator, namespace, provider string) *v1alpha1.PaymentSession {
	t.Helper()
	id := gen.ID(provider, 1)
	upstreams.Add(simulator.Object{Provider: provider, ID: id, State: simulator.Open})
	session := gen.Session(namespace, provider+"-one", provider, id, gen.Active)
	create(t, session)
	return session
}

// parallel runs a function for each number below count, 16 at once. That is the default of an account's concurrent
// calls.
func parallel(count int, run func(int)) {
	var workers sync.WaitGroup
	numbers := make(chan int)
	for range 16 {
		workers.Go(func() {
			for number := range numbers {
				run(number)
			}
		})
	}
	for number := range count {
		numbers <- number
	}
	close(numbers)
	workers.Wait()
}

// watching limits a manager to one namespace, so that tests with their own managers can run in parallel.
func watching(namespace string) string { return "--watch-namespaces=" + namespace }

// deleteNamespace deletes a namespace and does not wait.
func deleteNamespace(t *testing.T, namespace string) {
	t.Helper()
	kubectl(t, "", "delete", "namespace", namespace, "--wait=false")
}

// awaitNamespaceGone waits until a namespace is deleted. If it is not, the log shows its conditions, and who wrote
// which finalizer of what is left in it, and when.
func awaitNamespaceGone(t *testing.T, namespace string) {
	t.Helper()
	t.Cleanup(func() {
		if t.Failed() {
			const conditions = "jsonpath={.status.conditions}"
			t.Log(kubectl(t, "", "get", "namespace", namespace, "--ignore-not-found", "-o", conditions))
			const left = `jsonpath={range .items[*]}{.kind}{" "}{.metadata}{"\n"}{end}`
			const kinds = "secrets,paymentproviders,paymentsessions,paymentsweeps"
			t.Log(kubectl(t, "", "get", kinds, "-n", namespace, "--ignore-not-found", "--show-managed-fields", "-o", left))
		}
	})
	await.Gone(t, api, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}})
}

// assertAllExpired checks that every session is expired at its provider.
func assertAllExpired(t *testing.T, upstreams *simulator.Simulator) {
	t.Helper()
	for _, object := range upstreams.Objects() {
		if object.State != simulator.Expired {
			t.Errorf("%s %s is still %s", object.Provider, object.ID, object.State)
		}
	}
}

// awaitCalls waits until the simulator has received that many calls.
func awaitCalls(t *testing.T, upstreams *simulator.Simulator, count int) {
	t.Helper()
	await.Success(t, fmt.Sprintf("the providers have received %d calls", count), func() error {
		if got := len(upstreams.Calls()); got < count {
			return fmt.Errorf("%d calls were received", got)
		}
		return nil
	})
}
