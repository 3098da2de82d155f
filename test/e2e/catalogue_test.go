// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/internal/simulator/catalogue"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestCatalogue installs the catalogue and expires a session of each of its providers. A session that was paid before
// says so, and the teardown of the namespace expires those that are active. Two of the providers need OAuth2.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	kubectl(t, "", "apply", "--server-side", "-k", filepath.Join(gen.Root(), "config", "classes", "catalogue"))
	upstreams := simulator.New()
	var providers []*simulator.Described
	for _, path := range gen.Catalogue() {
		described, err := catalogue.Load(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		upstreams.Describe(described)
		providers = append(providers, described)
	}
	url := serve(t, upstreams, upstreams.Handler())
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-"}}
	create(t, namespace)
	startManager(t, watching(namespace.Name))
	for _, described := range providers {
		secret := &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: namespace.Name, Name: described.Name}, StringData: described.Keys,
		}
		endpoint := gen.Endpoint(url + "/" + described.Name)
		create(t, secret, gen.Provider(namespace.Name, described.Name, endpoint, gen.RateLimit(1000, time.Second)))
		upstreams.Add(simulator.Object{Provider: described.Name, ID: described.SessionID, State: simulator.Open})
		create(t, gen.Session(namespace.Name, described.Name, described.Name, described.SessionID))
	}
	for _, described := range providers {
		session := gen.Session(namespace.Name, described.Name, described.Name, described.SessionID)
		await.Reason(t, api, session, v1alpha1.ReasonExpired)
		if state := upstreams.State(described.Name, described.SessionID); state != simulator.Expired {
			t.Errorf("%s: the session is %s at the provider", described.Name, state)
		}
		if err := api.Delete(t.Context(), session); err != nil {
			t.Fatal(err)
		}
		await.Gone(t, api, session)
		upstreams.Add(simulator.Object{Provider: described.Name, ID: described.SessionID, State: simulator.Open})
		create(t, gen.Session(namespace.Name, "active-"+described.Name, described.Name, described.SessionID, gen.Active))
	}
	for _, described := range providers {
		session := gen.Session(namespace.Name, "active-"+described.Name, described.Name, described.SessionID)
		await.Reason(t, api, session, v1alpha1.ReasonObserved)
	}
	deleteNamespace(t, namespace.Name)
	awaitNamespaceGone(t, namespace.Name)
	assertAllExpired(t, upstreams)
}
