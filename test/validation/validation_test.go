// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package validation tests what the API server itself refuses and fills in: only a real one evaluates schemas,
// defaults and CEL.
package validation

import (
	"context"
	"fmt"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/controlplane"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

var cluster client.Client

func TestMain(m *testing.M) {
	controlplane.Main(m, controlplane.Options{CRDs: gen.CRDs()}, func(plane *controlplane.ControlPlane) (err error) {
		cluster, err = client.New(plane.Config, client.Options{Scheme: gen.Scheme()})
		return err
	})
}

// parse makes an object from a kind and the YAML of its spec.
func parse(t *testing.T, kind, spec string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{Object: map[string]any{}}
	var content map[string]any
	if err := yaml.Unmarshal([]byte(spec), &content); err != nil {
		t.Fatal(err)
	}
	object.Object["spec"] = content
	object.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	object.SetGenerateName("case-")
	if kind == "PaymentSession" || kind == "PaymentProvider" {
		object.SetNamespace("default")
	}
	return object
}

// TestCreate tries to create objects; wants says what the refusal must say, empty for none.
func TestCreate(t *testing.T) {
	const session = "providerRef: {name: omise}\nsessionID: chrg_test_1\n"
	const provider = "className: omise\ncredentialsSecretRef: {name: omise}\n"
	class := func(change func(*v1alpha1.PaymentProviderClassSpec)) string {
		object := gen.Class("omise")
		change(&object.Spec)
		text, err := yaml.Marshal(object.Spec)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	cases := []struct {
		reason string
		kind   string
		spec   string
		wants  string
	}{
		{"the least that a session needs", "PaymentSession", session, ""},
		{"no session id", "PaymentSession", "providerRef: {name: omise}", "spec.sessionID: Required"},
		{"an empty session id", "PaymentSession", "providerRef: {name: omise}\nsessionID: ''", "at least 1 chars"},
		{"a path as session id", "PaymentSession", "providerRef: {name: omise}\nsessionID: ../admin", "spec.sessionID"},
		{"a dot as session id", "PaymentSession", "providerRef: {name: omise}\nsessionID: .", "spec.sessionID"},
		{"a query as session id", "PaymentSession", "providerRef: {name: omise}\nsessionID: a?b=c", "spec.sessionID"},
		{"white space in the session id", "PaymentSession", "providerRef: {name: omise}\nsessionID: 'a b'", "spec.sessionID"},
		{"a session id of 256 characters", "PaymentSession", "providerRef: {name: omise}\nsessionID: " + strings.Repeat("a", 256), "Too long"},
		{"no provider", "PaymentSession", "sessionID: a", "spec.providerRef: Required"},
		{"a provider of another kind", "PaymentSession", "providerRef: {name: omise, kind: Secret}\nsessionID: a", "Unsupported value"},
		{"another desired state", "PaymentSession", session + "desiredState: paid", "Unsupported value"},
		{"another deletion policy", "PaymentSession", session + "deletionPolicy: Orphan", "Unsupported value"},
		{"expireAt in the future", "PaymentSession", session + "expireAt: '2099-12-01T00:00:00Z'", ""},
		{"expireAt in the past expires now", "PaymentSession", session + "expireAt: '2024-01-01T00:00:00+07:00'", ""},
		{"expireAt with fractions of a second", "PaymentSession", session + "expireAt: '2030-01-01T00:00:00.123Z'", ""},
		{"expireAt in another age", "PaymentSession", session + "expireAt: '1970-01-01T00:00:00Z'", "set desiredState: expired"},
		{"expireAt never to come", "PaymentSession", session + "expireAt: '9999-12-31T00:00:00Z'", "leave expireAt out"},
		{"expireAt without a time zone would not decode", "PaymentSession", session + "expireAt: '2030-01-01T00:00:00'", "spec.expireAt"},
		{"expireAt as a date would not decode", "PaymentSession", session + "expireAt: '2030-01-01'", "spec.expireAt"},
		{"expireAt on a day that does not exist", "PaymentSession", session + "expireAt: '2030-02-30T00:00:00Z'", "spec.expireAt"},
		{"ttlAfterClosed of nothing", "PaymentSession", session + "ttlAfterClosed: 0s", ""},
		{"ttlAfterClosed of parts", "PaymentSession", session + "ttlAfterClosed: 1h30m", ""},
		{"a negative ttlAfterClosed", "PaymentSession", session + "ttlAfterClosed: -1h", "spec.ttlAfterClosed"},
		{"ttlAfterClosed in days would not decode", "PaymentSession", session + "ttlAfterClosed: 1d", "spec.ttlAfterClosed"},
		{"ttlAfterClosed that overflows would not decode", "PaymentSession", session + "ttlAfterClosed: 99999999999999h", "spec.ttlAfterClosed"},

		{"the least that a provider needs", "PaymentProvider", provider, ""},
		{"an endpoint", "PaymentProvider", provider + "endpoint: https://api.example.com:8443/base", ""},
		{"an endpoint with http is for the operator to judge", "PaymentProvider", provider + "endpoint: http://127.0.0.1:9090/omise", ""},
		{"an endpoint by its IPv6 address", "PaymentProvider", provider + "endpoint: 'https://[2606:4700::1111]'", ""},
		{"an endpoint with a user", "PaymentProvider", provider + "endpoint: https://user:pass@api.example.com", "spec.endpoint"},
		{"an endpoint with a query", "PaymentProvider", provider + "endpoint: https://api.example.com/?a=b", "spec.endpoint"},
		{"an endpoint with a fragment", "PaymentProvider", provider + "endpoint: https://api.example.com/#a", "spec.endpoint"},
		{"an endpoint of another scheme", "PaymentProvider", provider + "endpoint: ftp://api.example.com", "spec.endpoint"},
		{"an endpoint without a host", "PaymentProvider", provider + "endpoint: 'https:///path'", "spec.endpoint"},
		{"no Secret", "PaymentProvider", "className: omise", "spec.credentialsSecretRef: Required"},
		{"a Secret of another namespace cannot be said", "PaymentProvider", "className: omise\ncredentialsSecretRef: {name: other/omise}", "spec.credentialsSecretRef.name"},
		{"no requests at all", "PaymentProvider", provider + "rateLimit: {requests: 0}", "greater than or equal to 1"},
		{"too many requests", "PaymentProvider", provider + "rateLimit: {requests: 10001}", "less than or equal to 10000"},
		{"requests per hour", "PaymentProvider", provider + "rateLimit: {requests: 10000, per: 1h}", ""},
		{"requests per day", "PaymentProvider", provider + "rateLimit: {per: 24h}", "from 1s to 1h"},
		{"requests per millisecond", "PaymentProvider", provider + "rateLimit: {per: 1ms}", "from 1s to 1h"},
		{"no timeout", "PaymentProvider", provider + "timeout: 0s", "from 100ms to 60s"},
		{"a poll interval of 0s never polls", "PaymentProvider", provider + "pollInterval: 0s", ""},

		{"a selector", "ClusterPaymentProvider", provider + "allowedNamespaces: {matchLabels: {example.com/team: shop}}", ""},
		{"a selector by expression", "ClusterPaymentProvider", provider + "allowedNamespaces: {matchExpressions: [{key: team, operator: In, values: [shop]}]}", ""},
		{"everywhere", "ClusterPaymentProvider", provider + "allowedNamespaces: {}", ""},
		{"a selector that means nothing", "ClusterPaymentProvider", provider + "allowedNamespaces: {matchExpressions: [{key: team, operator: In}]}", "values must be given"},
		{"a selector with a key that is none", "ClusterPaymentProvider", provider + "allowedNamespaces: {matchLabels: {'a b': c}}", "must be a label key"},
		{"a selector with a value that is none", "ClusterPaymentProvider", provider + "allowedNamespaces: {matchLabels: {a: 'b c'}}", "allowedNamespaces.matchLabels"},

		{"a shipped class", "PaymentProviderClass", class(func(*v1alpha1.PaymentProviderClassSpec) {}), ""},
		{"a path without the id", "PaymentProviderClass", class(func(spec *v1alpha1.PaymentProviderClassSpec) { spec.Expire.Path = "/charges" }), "path must hold {id} once"},
		{"a path with the id twice", "PaymentProviderClass", class(func(spec *v1alpha1.PaymentProviderClassSpec) { spec.Expire.Path = "/{id}/{id}" }), "path must hold {id} once"},
		{"a path with a query", "PaymentProviderClass", class(func(spec *v1alpha1.PaymentProviderClassSpec) { spec.Expire.Path = "/{id}?a=b" }), "spec.expire.path"},
		{"two defaults", "PaymentProviderClass", class(func(spec *v1alpha1.PaymentProviderClassSpec) {
			spec.Environments = append(spec.Environments, v1alpha1.Environment{Name: "other", BaseURL: "https://example.com", Default: true})
		}), "at most one environment"},
		{"an authentication of two kinds", "PaymentProviderClass", class(func(spec *v1alpha1.PaymentProviderClassSpec) {
			spec.Authentication[0].Bearer = &v1alpha1.BearerAuthentication{Credential: "secretKey"}
		}), "exactly one"},
		{"a word for a state that is none", "PaymentProviderClass", class(func(spec *v1alpha1.PaymentProviderClassSpec) { spec.State.Words["odd"] = "strange" }), "Unsupported value"},
		{"an outcome that is none", "PaymentProviderClass", class(func(spec *v1alpha1.PaymentProviderClassSpec) { spec.Outcomes[0].Outcome = "Fine" }), "Unsupported value"},
	}
	for _, tc := range cases {
		t.Run(tc.kind+"/"+tc.reason, func(t *testing.T) {
			err := cluster.Create(t.Context(), parse(t, tc.kind, tc.spec))
			switch {
			case tc.wants == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.wants != "" && err == nil:
				t.Errorf("accepted, want it refused with %q", tc.wants)
			case tc.wants != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tc.wants)):
				t.Errorf("refused with %v, want it to say %q", err, tc.wants)
			}
		})
	}
	// One object that the operator cannot decode would end its watch on all others.
	for _, list := range []client.ObjectList{&v1alpha1.PaymentSessionList{}, &v1alpha1.PaymentProviderList{}, &v1alpha1.ClusterPaymentProviderList{}, &v1alpha1.PaymentProviderClassList{}} {
		if err := cluster.List(t.Context(), list); err != nil {
			t.Errorf("what was accepted does not decode: %v", err)
		}
	}
}

// TestUpdate tries to change a session that was accepted.
func TestUpdate(t *testing.T) {
	cases := []struct {
		reason string
		from   gen.SessionOption
		patch  string
		wants  string
	}{
		{"active becomes expired", gen.Active, `{"spec":{"desiredState":"expired"}}`, ""},
		{"expired does not become active", nil, `{"spec":{"desiredState":"active"}}`, "Create a new session"},
		{"expired cannot be removed", nil, `{"spec":{"desiredState":null}}`, "cannot be removed"},
		{"the session id stays", nil, `{"spec":{"sessionID":"other"}}`, "Create another PaymentSession"},
		{"the provider stays", nil, `{"spec":{"providerRef":{"name":"other"}}}`, "deletionPolicy: Retain"},
		{"the provider's kind stays", nil, `{"spec":{"providerRef":{"kind":"ClusterPaymentProvider"}}}`, "deletionPolicy: Retain"},
		{"expireAt may be set", gen.Active, `{"spec":{"expireAt":"2030-01-01T00:00:00Z"}}`, ""},
		{"expireAt may be moved", gen.ExpireAt(metav1.Now().Time), `{"spec":{"expireAt":"2030-01-01T00:00:00Z"}}`, ""},
		{"expireAt may be removed", gen.ExpireAt(metav1.Now().Time), `{"spec":{"expireAt":null}}`, ""},
		{"the deletion policy may change", nil, `{"spec":{"deletionPolicy":"Retain"}}`, ""},
		{"the time to live may change", nil, `{"spec":{"ttlAfterClosed":"24h"}}`, ""},
		{"it may be suspended", nil, `{"spec":{"suspend":true}}`, ""},
	}
	for i, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			session := gen.Session("default", fmt.Sprintf("update-%d", i), "omise", gen.ID("omise", i))
			if tc.from != nil {
				tc.from(session)
			}
			if err := cluster.Create(t.Context(), session); err != nil {
				t.Fatal(err)
			}
			err := cluster.Patch(t.Context(), session, client.RawPatch("application/merge-patch+json", []byte(tc.patch)))
			switch {
			case tc.wants == "" && err != nil:
				t.Errorf("refused: %v", err)
			case tc.wants != "" && (err == nil || !strings.Contains(err.Error(), tc.wants)):
				t.Errorf("got %v, want a refusal that says %q", err, tc.wants)
			}
		})
	}
}

func TestDefaults(t *testing.T) {
	session := parse(t, "PaymentSession", "providerRef: {name: omise}\nsessionID: chrg_test_1")
	provider := parse(t, "PaymentProvider", "className: omise\ncredentialsSecretRef: {name: omise}")
	for _, object := range []*unstructured.Unstructured{session, provider} {
		if err := cluster.Create(context.Background(), object); err != nil {
			t.Fatal(err)
		}
	}
	for _, want := range []struct {
		object *unstructured.Unstructured
		value  any
		path   []string
	}{
		{session, "active", []string{"spec", "desiredState"}},
		{session, "Expire", []string{"spec", "deletionPolicy"}},
		{session, "PaymentProvider", []string{"spec", "providerRef", "kind"}},
		{session, int64(-1), []string{"status", "observedGeneration"}},
		{provider, int64(10), []string{"spec", "rateLimit", "requests"}},
		{provider, "1s", []string{"spec", "rateLimit", "per"}},
		{provider, int64(20), []string{"spec", "rateLimit", "burst"}},
		{provider, int64(16), []string{"spec", "maxConcurrentRequests"}},
		{provider, "10s", []string{"spec", "timeout"}},
		{provider, "10m", []string{"spec", "pollInterval"}},
		{provider, int64(-1), []string{"status", "observedGeneration"}},
	} {
		got, found, err := unstructured.NestedFieldNoCopy(want.object.Object, want.path...)
		if err != nil || !found || got != want.value {
			t.Errorf("%s is %v (found %v, error %v), want %v", strings.Join(want.path, "."), got, found, err, want.value)
		}
	}
}

func TestSelectableFields(t *testing.T) {
	for i, state := range []v1alpha1.DesiredState{v1alpha1.DesiredStateActive, v1alpha1.DesiredStateExpired} {
		session := gen.Session("default", fmt.Sprintf("select-%d", i), "selectable", gen.ID("omise", i))
		session.Spec.DesiredState = state
		if err := cluster.Create(t.Context(), session); err != nil {
			t.Fatal(err)
		}
	}
	sessions := &v1alpha1.PaymentSessionList{}
	if err := cluster.List(t.Context(), sessions, client.MatchingFields{"spec.providerRef.name": "selectable", "spec.desiredState": "expired"}); err != nil {
		t.Fatal(err)
	}
	if len(sessions.Items) != 1 || sessions.Items[0].Name != "select-1" {
		t.Errorf("selected %d sessions, want the expired one", len(sessions.Items))
	}
}
