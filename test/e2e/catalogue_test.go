// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"path/filepath"
	"slices"
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
	upstreams, providers, url := simulateCatalogue(t)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-"}}
	create(t, namespace)
	startManager(t, watching(namespace.Name))
	for _, described := range providers {
		provide(t, namespace.Name, described, url)
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

// TestSweepOfTheCatalogue deletes a namespace whose application has opened sessions at each provider of the catalogue
// that can list them. Afterwards none of them is payable, and those of others are as they were.
func TestSweepOfTheCatalogue(t *testing.T) {
	t.Parallel()
	const own, others = 120, 20
	upstreams, providers, url := simulateCatalogue(t)
	providers = slices.DeleteFunc(providers, func(described *simulator.Described) bool { return described.List == nil })
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-"}}
	create(t, namespace)
	startManager(t, watching(namespace.Name), "--cluster-name=eu")
	open := func(described *simulator.Described, number int, owner string) {
		upstreams.Add(simulator.Object{
			Provider: described.Name, ID: gen.Numbered(described.SessionID, number), State: simulator.Open, Owner: owner,
		})
	}
	for _, described := range providers {
		provide(t, namespace.Name, described, url, gen.Swept(described.Name))
		for number := range others {
			open(described, number, []string{"us/" + namespace.Name, "eu/another", ""}[number%3])
		}
		sweep := gen.Sweep(namespace.Name, described.Name, described.Name)
		create(t, sweep)
		await.Reason(t, api, sweep, v1alpha1.ReasonPlanned)
		for number := range own {
			open(described, others+number, "eu/"+namespace.Name)
		}
	}
	deleteNamespace(t, namespace.Name)
	awaitNamespaceGone(t, namespace.Name)
	for _, object := range upstreams.Objects() {
		want := simulator.Open
		if object.Owner == "eu/"+namespace.Name {
			want = simulator.Expired
		}
		if object.State != want {
			t.Errorf("%s: session %s of %q is %s, want %s", object.Provider, object.ID, object.Owner, object.State, want)
		}
	}
}

// simulateCatalogue installs the catalogue and serves its providers.
func simulateCatalogue(t *testing.T) (upstreams *simulator.Simulator, providers []*simulator.Described, url string) {
	t.Helper()
	kubectl(t, "", "apply", "--server-side", "-k", filepath.Join(gen.Root(), "config", "classes", "catalogue"))
	upstreams = simulator.New()
	for _, path := range gen.Catalogue() {
		described, err := catalogue.Load(t.Context(), path)
		if err != nil {
			t.Fatal(err)
		}
		upstreams.Describe(described)
		providers = append(providers, described)
	}
	return upstreams, providers, serve(t, upstreams, upstreams.Handler())
}

// provide creates an account of a provider of the catalogue.
func provide(
	t *testing.T, namespace string, described *simulator.Described, url string, options ...gen.ProviderOption,
) {
	t.Helper()
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: described.Name}, StringData: described.Keys,
	}
	options = append(options, gen.Endpoint(url+"/"+described.Name), gen.RateLimit(1000, time.Second))
	create(t, secret, gen.Provider(namespace, described.Name, options...))
}
