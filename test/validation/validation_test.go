// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package validation tests what the API server rejects and defaults. Only a real API server evaluates schemas, defaults
// and CEL rules.
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

// cluster is the administrator's client.
var cluster client.Client

func TestMain(m *testing.M) {
	controlplane.Main(m, controlplane.Options{CRDs: gen.CRDs()}, func(plane *controlplane.ControlPlane) (err error) {
		cluster, err = client.New(plane.Config, client.Options{Scheme: gen.Scheme()})
		return err
	})
}

// parse makes an object of a kind from the YAML of its spec.
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
	if kind == "PaymentSession" || kind == "PaymentSweep" || kind == "PaymentProvider" {
		object.SetNamespace("default")
	}
	return object
}

// TestCreate creates objects. The error must contain wants; if wants is empty, the API server must accept the object.
// It must reject values that the operator could not decode.
func TestCreate(t *testing.T) {
	const session = "providerRef: {name: omise}\nsessionID: chrg_test_1\n"
	const sweep = "providerRef: {name: omise}\n"
	const provider = "className: omise\ncredentialsSecretRef: {name: omise}\n"
	type classSpec = v1alpha1.PaymentProviderClassSpec
	class := func(change func(*classSpec)) string {
		object := gen.Class("omise")
		change(&object.Spec)
		text, err := yaml.Marshal(object.Spec)
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	for kind, cases := range map[string][]struct{ reason, spec, wants string }{
		"PaymentSession": {
			{"a minimal session", session, ""},
			{"no session id", "providerRef: {name: omise}", "spec.sessionID: Required"},
			{"an empty session id", "providerRef: {name: omise}\nsessionID: ''", "at least 1 chars"},
			{"a path as session id", "providerRef: {name: omise}\nsessionID: ../admin", "spec.sessionID"},
			{"a dot as session id", "providerRef: {name: omise}\nsessionID: .", "spec.sessionID"},
			{"a query as session id", "providerRef: {name: omise}\nsessionID: a?b=c", "spec.sessionID"},
			{"white space in the session id", "providerRef: {name: omise}\nsessionID: 'a b'", "spec.sessionID"},
			{"a session id of 256 characters", "providerRef: {name: omise}\nsessionID: " + strings.Repeat("a", 256), "Too long"},
			{"no provider", "sessionID: a", "spec.providerRef: Required"},
			{"a provider of another kind", "providerRef: {name: omise, kind: Secret}\nsessionID: a", "Unsupported value"},
			{"another desired state", session + "desiredState: paid", "Unsupported value"},
			{"another deletion policy", session + "deletionPolicy: Orphan", "Unsupported value"},
			{"expireAt in the future", session + "expireAt: '2099-12-01T00:00:00Z'", ""},
			{"expireAt in the past expires now", session + "expireAt: '2024-01-01T00:00:00+07:00'", ""},
			{"expireAt with fractions of a second", session + "expireAt: '2030-01-01T00:00:00.123Z'", ""},
			{"expireAt long ago", session + "expireAt: '1970-01-01T00:00:00Z'", "set desiredState: expired"},
			{"expireAt in the far future", session + "expireAt: '9999-12-31T00:00:00Z'", "leave expireAt out"},
			{"expireAt without a time zone", session + "expireAt: '2030-01-01T00:00:00'", "spec.expireAt"},
			{"expireAt as a date", session + "expireAt: '2030-01-01'", "spec.expireAt"},
			{"expireAt on a day that does not exist", session + "expireAt: '2030-02-30T00:00:00Z'", "spec.expireAt"},
			{"ttlAfterClosed of 0", session + "ttlAfterClosed: 0s", ""},
			{"ttlAfterClosed with hours and minutes", session + "ttlAfterClosed: 1h30m", ""},
			{"a negative ttlAfterClosed", session + "ttlAfterClosed: -1h", "spec.ttlAfterClosed"},
			{"ttlAfterClosed in days", session + "ttlAfterClosed: 1d", "spec.ttlAfterClosed"},
			{"ttlAfterClosed that overflows", session + "ttlAfterClosed: 99999999999999h", "spec.ttlAfterClosed"},
		},
		"PaymentProvider": {
			{"a minimal provider", provider, ""},
			{"an endpoint", provider + "endpoint: https://api.example.com:8443/base", ""},
			{"an endpoint with http, which the operator judges", provider + "endpoint: http://127.0.0.1:9090/omise", ""},
			{"an endpoint with an IPv6 address", provider + "endpoint: 'https://[2606:4700::1111]'", ""},
			{"an endpoint with a user", provider + "endpoint: https://user:pass@api.example.com", "spec.endpoint"},
			{"an endpoint with a query", provider + "endpoint: https://api.example.com/?a=b", "spec.endpoint"},
			{"an endpoint with a fragment", provider + "endpoint: https://api.example.com/#a", "spec.endpoint"},
			{"an endpoint of another scheme", provider + "endpoint: ftp://api.example.com", "spec.endpoint"},
			{"an endpoint without a host", provider + "endpoint: 'https:///path'", "spec.endpoint"},
			{"no Secret", "className: omise", "spec.credentialsSecretRef: Required"},
			{
				"a Secret in another namespace", "className: omise\ncredentialsSecretRef: {name: other/omise}",
				"spec.credentialsSecretRef.name",
			},
			{"a rate limit of 0 requests", provider + "rateLimit: {requests: 0}", "greater than or equal to 1"},
			{"too many requests", provider + "rateLimit: {requests: 10001}", "less than or equal to 10000"},
			{"requests per hour", provider + "rateLimit: {requests: 10000, per: 1h}", ""},
			{"requests per day", provider + "rateLimit: {per: 24h}", "from 1s to 1h"},
			{"requests per millisecond", provider + "rateLimit: {per: 1ms}", "from 1s to 1h"},
			{"a timeout of 0s", provider + "timeout: 0s", "from 100ms to 60s"},
			{"a poll interval of 0s never polls", provider + "pollInterval: 0s", ""},
			{"an ownership rule", provider + "ownership: {owner: session.reference}", ""},
			{"an exclusive account", provider + "ownership: {exclusive: true}", ""},
			{"a rule that says nothing", provider + "ownership: {}", "set either owner or exclusive"},
			{"a rule that says both", provider + "ownership: {owner: session.reference, exclusive: true}", "set either owner or exclusive"},
			{"a rule with another action", provider + "ownership: {owner: session.reference, action: Ignore}", "spec.ownership.action"},
		},
		"ClusterPaymentProvider": {
			{"a selector by label", provider + "allowedNamespaces: {matchLabels: {example.com/team: shop}}", ""},
			{
				"a selector by expression",
				provider + "allowedNamespaces: {matchExpressions: [{key: team, operator: In, values: [shop]}]}", "",
			},
			{"an empty selector", provider + "allowedNamespaces: {}", ""},
			{
				"a selector without values",
				provider + "allowedNamespaces: {matchExpressions: [{key: team, operator: In}]}", "values must be given",
			},
			{"an exclusive account of several namespaces", provider + "ownership: {exclusive: true}", "only for a PaymentProvider"},
			{"a selector with an invalid key", provider + "allowedNamespaces: {matchLabels: {'a b': c}}", "must be a label key"},
			{"a selector with an invalid value", provider + "allowedNamespaces: {matchLabels: {a: 'b c'}}", "allowedNamespaces.matchLabels"},
		},
		"PaymentSweep": {
			{"minimal", sweep, ""},
			{"everything", sweep + "deletionPolicy: Expire\ndesiredState: expired\nwhere: session.state == 'active'\n" +
				"interval: 0s\nlookback: 2160h\nlimits: {sessions: 1, pages: 1000}\nsuspend: true", ""},
			{"no provider", "deletionPolicy: Expire", "spec.providerRef: Required"},
			{"an interval below a minute", sweep + "interval: 30s", "interval must be a duration from 1m to 24h"},
			{"an interval above a day", sweep + "interval: 25h", "interval must be a duration from 1m to 24h"},
			{"a lookback of a year", sweep + "lookback: 8760h", "lookback must be a duration"},
			{"a lookback of no time", sweep + "lookback: 0s", "lookback must be a duration"},
			{"no session", sweep + "limits: {sessions: 0}", "should be greater than or equal to 1"},
			{"very many pages", sweep + "limits: {pages: 1001}", "should be less than or equal to 1000"},
			{"an unknown policy", sweep + "deletionPolicy: Orphan", "Unsupported value"},
		},
		"PaymentProviderClass": {
			{"a shipped class", class(func(*classSpec) {}), ""},
			{"a path with a query", class(func(c *classSpec) { c.Expire.Path = "/{id}?a=b" }), "spec.expire.path"},
			{"two default environments", class(func(c *classSpec) {
				other := v1alpha1.Environment{Name: "other", BaseURL: "https://example.com", Default: true}
				c.Environments = append(c.Environments, other)
			}), "at most one environment"},
			{"an authentication with two methods", class(func(c *classSpec) {
				c.Authentication[0].Bearer = &v1alpha1.BearerAuthentication{Credential: "secretKey"}
			}), "exactly one"},
			{"a word for an unknown state", class(func(c *classSpec) { c.State.Words["odd"] = "strange" }), "Unsupported value"},
			{"an unknown outcome", class(func(c *classSpec) { c.Outcomes[0].Outcome = "Fine" }), "Unsupported value"},
		},
	} {
		for _, tc := range cases {
			t.Run(kind+"/"+tc.reason, func(t *testing.T) {
				err := cluster.Create(t.Context(), parse(t, kind, tc.spec))
				switch {
				case tc.wants == "" && err != nil:
					t.Errorf("it is rejected: %v", err)
				case tc.wants != "" && err == nil:
					t.Errorf("it is accepted, want an error that says %q", tc.wants)
				case tc.wants != "" && (!apierrors.IsInvalid(err) || !strings.Contains(err.Error(), tc.wants)):
					t.Errorf("it is rejected with %v, want an error that says %q", err, tc.wants)
				}
			})
		}
	}
	// A single object that does not decode would break the operator's watch of all objects of its kind.
	for _, list := range []client.ObjectList{
		&v1alpha1.PaymentSessionList{}, &v1alpha1.PaymentSweepList{}, &v1alpha1.PaymentProviderList{},
		&v1alpha1.ClusterPaymentProviderList{}, &v1alpha1.PaymentProviderClassList{},
	} {
		if err := cluster.List(t.Context(), list); err != nil {
			t.Errorf("an accepted object does not decode: %v", err)
		}
	}
}

// TestUpdate changes sessions. The error must contain wants; if wants is empty, the API server must accept the change.
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
		{"the session id is immutable", nil, `{"spec":{"sessionID":"other"}}`, "Create another PaymentSession"},
		{"the provider is immutable", nil, `{"spec":{"providerRef":{"name":"other"}}}`, "deletionPolicy: Retain"},
		{"its kind is immutable", nil, `{"spec":{"providerRef":{"kind":"ClusterPaymentProvider"}}}`, "deletionPolicy: Retain"},
		{"expireAt may be set", gen.Active, `{"spec":{"expireAt":"2030-01-01T00:00:00Z"}}`, ""},
		{"expireAt may be moved", gen.ExpireAt(metav1.Now().Time), `{"spec":{"expireAt":"2030-01-01T00:00:00Z"}}`, ""},
		{"expireAt may be removed", gen.ExpireAt(metav1.Now().Time), `{"spec":{"expireAt":null}}`, ""},
		{"the deletion policy may change", nil, `{"spec":{"deletionPolicy":"Retain"}}`, ""},
		{"the time to live may change", nil, `{"spec":{"ttlAfterClosed":"24h"}}`, ""},
		{"the session may be suspended", nil, `{"spec":{"suspend":true}}`, ""},
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
			err := cluster.Patch(t.Context(), session, gen.MergePatch(tc.patch))
			switch {
			case tc.wants == "" && err != nil:
				t.Errorf("it is rejected: %v", err)
			case tc.wants != "" && (err == nil || !strings.Contains(err.Error(), tc.wants)):
				t.Errorf("got %v, want an error that says %q", err, tc.wants)
			}
		})
	}
}

// TestDefaults checks the fields that the API server sets.
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

// TestSelectableFields lists sessions by provider and desired state.
func TestSelectableFields(t *testing.T) {
	for i, state := range []v1alpha1.DesiredState{v1alpha1.DesiredStateActive, v1alpha1.DesiredStateExpired} {
		session := gen.Session("default", fmt.Sprintf("select-%d", i), "selectable", gen.ID("omise", i))
		session.Spec.DesiredState = state
		if err := cluster.Create(t.Context(), session); err != nil {
			t.Fatal(err)
		}
	}
	sessions := &v1alpha1.PaymentSessionList{}
	fields := client.MatchingFields{"spec.providerRef.name": "selectable", "spec.desiredState": "expired"}
	if err := cluster.List(t.Context(), sessions, fields); err != nil {
		t.Fatal(err)
	}
	if len(sessions.Items) != 1 || sessions.Items[0].Name != "select-1" {
		t.Errorf("selected %d sessions, want only select-1", len(sessions.Items))
	}
}
