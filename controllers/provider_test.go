// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/controllers"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestFirstApplyInAnyOrder creates a session first, and then what it needs, one object after another.
func TestFirstApplyInAnyOrder(t *testing.T) {
	w := newWorld(t)
	class := gen.Class("omise")
	class.Name, class.ResourceVersion = "late-"+w.namespace, ""
	lateClass := func(spec *v1alpha1.PaymentProviderSpec) { spec.ClassName = class.Name }
	provider := gen.Provider(w.namespace, "omise", gen.Endpoint(w.url+"/omise"), lateClass)

	session := w.session(t, "omise", simulator.Open)
	missing := w.reason(t, session, v1alpha1.ReasonProviderNotFound)
	if !apimeta.IsStatusConditionTrue(missing.Status.Conditions, v1alpha1.ConditionReconciling) {
		t.Error("the session is not Reconciling at first")
	}
	w.create(t, provider)
	w.reason(t, session, v1alpha1.ReasonProviderNotReady)
	await.Reason(t, w, provider, v1alpha1.ReasonClassNotFound)
	w.create(t, class)
	w.reason(t, session, v1alpha1.ReasonCredentialsMissing)
	await.Reason(t, w, provider, v1alpha1.ReasonCredentialsMissing)
	w.create(t, gen.Secret(w.namespace, "omise"))
	// Secrets are not watched. Touching the provider makes the manager read the Secret now.
	w.touch(t, provider)
	w.reason(t, session, v1alpha1.ReasonExpired)
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
}

func TestMissingProviderStalls(t *testing.T) {
	w := newWorld(t)
	session := w.session(t, "omise", simulator.Open)
	w.reason(t, session, v1alpha1.ReasonProviderNotFound)
	w.clock.step(3 * time.Minute)
	w.touch(t, session)
	await.Until(t, w, session, "it is Stalled", func(s *v1alpha1.PaymentSession) bool {
		return apimeta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionStalled)
	})
}

// TestProviderErrors checks the reason and the message for each error in a provider or its Secret.
func TestProviderErrors(t *testing.T) {
	w := newWorld(t)
	w.create(t, gen.Secret(w.namespace, "omise"), gen.Secret(w.namespace, "txn"))
	half := gen.Secret(w.namespace, "half")
	half.StringData = map[string]string{"apiKey": "only one of two"}
	broken := gen.Secret(w.namespace, "broken")
	broken.StringData = map[string]string{"secretKey": "line\nbreak"}
	w.create(t, half, broken)
	cases := []struct {
		reason string
		class  string
		change gen.ProviderOption
		wants  string
		says   string
	}{
		{"no such class",
			"missing", func(*v1alpha1.PaymentProviderSpec) {}, v1alpha1.ReasonClassNotFound,
			"PaymentProviderClass missing does not exist"},
		{"no such environment",
			"omise", func(spec *v1alpha1.PaymentProviderSpec) { spec.Environment = "moon" }, v1alpha1.ReasonInvalidEnvironment,
			"it has production"},
		{"no default environment",
			"txn", func(*v1alpha1.PaymentProviderSpec) {}, v1alpha1.ReasonInvalidEnvironment,
			"set environment to one of sandbox"},
		{"no Secret",
			"omise", func(spec *v1alpha1.PaymentProviderSpec) { spec.CredentialsSecretRef.Name = "nowhere" },
			v1alpha1.ReasonCredentialsMissing, "nowhere does not exist"},
		{"no key",
			"helio", func(spec *v1alpha1.PaymentProviderSpec) { spec.CredentialsSecretRef.Name = "half" },
			v1alpha1.ReasonCredentialsMissing, "it lacks secretKey"},
		{"a key that cannot be sent",
			"omise", func(spec *v1alpha1.PaymentProviderSpec) { spec.CredentialsSecretRef.Name = "broken" },
			v1alpha1.ReasonInvalidCredentials, "key secretKey contains characters"},
	}
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			provider := gen.Provider(w.namespace, tc.class, tc.change)
			provider.Name, provider.GenerateName = "", "wrong-"
			w.create(t, provider)
			seen := await.Reason(t, w, provider, tc.wants)
			message := apimeta.FindStatusCondition(seen.Status.Conditions, v1alpha1.ConditionReady).Message
			if !strings.Contains(message, tc.says) {
				t.Errorf("message %q does not say %q", message, tc.says)
			}
		})
	}
}

func TestPlainHTTPNeedsTheFlag(t *testing.T) {
	w := newWorld(t, func(options *controllers.Options) { options.AllowPrivate = false })
	provider := w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Open)
	await.Reason(t, w, provider, v1alpha1.ReasonEndpointNotAllowed)
	w.reason(t, session, v1alpha1.ReasonProviderNotReady)
	if calls := w.upstreams.Calls(); len(calls) > 0 {
		t.Errorf("calls %v over plain HTTP, want none", calls)
	}
}

// TestReplyOfPreviousEndpointIsDropped changes the endpoint of a provider while a call to the previous one is in
// flight.
func TestReplyOfPreviousEndpointIsDropped(t *testing.T) {
	w := newWorld(t)
	before, after := simulator.New(), w.upstreams
	t.Cleanup(before.Close)
	server := httptest.NewServer(before.Handler())
	t.Cleanup(server.Close)
	provider := w.provide(t, "omise", gen.Endpoint(server.URL+"/omise"))
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
	id := gen.ID("omise", 1)
	for _, books := range []*simulator.Simulator{before, after} {
		books.Add(simulator.Object{Provider: "omise", ID: id, State: simulator.Open})
	}
	before.SetLatency(3 * time.Second)
	session := gen.Session(w.namespace, "order", "omise", id)
	w.create(t, session)
	await.True(t, "the call is in flight", func() bool { return w.inFlight(t) == 1 })
	w.change(t, provider, `{"spec":{"endpoint":"`+w.url+`/omise"}}`)
	w.reason(t, session, v1alpha1.ReasonExpired)
	if state := after.State("omise", id); state != simulator.Expired {
		t.Errorf("the status says expired, and the session is %s at the current endpoint", state)
	}
}

// TestClusterProviderAllowedNamespaces checks that a cluster provider serves only the namespaces that it selects.
func TestClusterProviderAllowedNamespaces(t *testing.T) {
	w := newWorld(t)
	provider := w.provideForTeam(t, "elsewhere")
	name := provider.Name
	session := w.session(t, "omise", simulator.Open, gen.ClusterProvider(name))
	w.reason(t, session, v1alpha1.ReasonNamespaceNotAllowed)
	if calls := w.upstreams.Calls(); len(calls) > 0 {
		t.Errorf("calls %v for a namespace that is not allowed, want none", calls)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	w.change(t, namespace, `{"metadata":{"labels":{"team":"elsewhere"}}}`)
	w.reason(t, session, v1alpha1.ReasonExpired)

	allowed := w.session(t, "omise", simulator.Open, gen.ClusterProvider(name))
	w.reason(t, allowed, v1alpha1.ReasonExpired)
	w.change(t, provider, `{"spec":{"allowedNamespaces":null}}`)
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
	last := w.session(t, "omise", simulator.Open, gen.ClusterProvider(name))
	w.reason(t, last, v1alpha1.ReasonNamespaceNotAllowed)
}
