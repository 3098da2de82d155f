// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream_test

import (
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const (
	expire  = v1alpha1.OperationExpire
	observe = v1alpha1.OperationObserve
)

// connect returns an endpoint that calls the simulator with a shipped class.
func connect(t *testing.T, upstreams *simulator.Simulator, provider string) *upstream.Endpoint {
	t.Helper()
	server := httptest.NewServer(upstreams.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(upstreams.Close)
	definition, err := upstream.Compile(&gen.Class(provider).Spec)
	if err != nil {
		t.Fatal(err)
	}
	base, err := definition.BaseURL("", server.URL+"/"+provider)
	if err != nil {
		t.Fatal(err)
	}
	data := map[string][]byte{}
	for name, value := range simulator.Keys()[provider] {
		data[name] = []byte("  " + value + "\n")
	}
	credentials, err := definition.Credentials(data)
	if err != nil {
		t.Fatal(err)
	}
	door := httpx.New(httpx.Options{AllowPrivate: true, MaxConnections: 4, Timeout: time.Minute})
	t.Cleanup(door.Close)
	return &upstream.Endpoint{Definition: definition, BaseURL: base, Credentials: credentials, Door: door}
}

// answer is the expected result of a call.
type answer struct {
	Outcome v1alpha1.Outcome
	State   v1alpha1.SessionState
	Status  string
}

// TestConformance runs every class against the simulator. It has a row for each documented code and note.
func TestConformance(t *testing.T) {
	accepted, refused := v1alpha1.OutcomeAccepted, v1alpha1.OutcomeRefused
	const (
		active, processing = v1alpha1.SessionStateActive, v1alpha1.SessionStateProcessing
		expired, completed = v1alpha1.SessionStateExpired, v1alpha1.SessionStateCompleted
		failed             = v1alpha1.SessionStateFailed
	)
	cases := []struct {
		provider  string
		reason    string
		object    simulator.Object
		operation v1alpha1.Operation
		want      answer
		// then is the result of a read after the call; zero for no read.
		then answer
	}{
		{"circle", "an open intent is expired: the 201 shows only created, a read shows the end",
			simulator.Object{State: simulator.Open}, expire,
			answer{accepted, active, "created"}, answer{accepted, expired, "expired"}},
		{"circle", "a continuous intent has no amount and no payment ids",
			simulator.Object{State: simulator.Open, Variant: simulator.Continuous}, expire,
			answer{accepted, active, "created"}, answer{accepted, expired, "expired"}},
		{"circle", "an open continuous intent is active",
			simulator.Object{State: simulator.Open, Variant: simulator.Continuous}, observe,
			answer{accepted, active, "active"}, answer{}},
		{"circle", "a pending intent without payments waits for one",
			simulator.Object{State: simulator.Open}, observe, answer{accepted, active, "pending"}, answer{}},
		{"circle", "a pending intent with a payment is processing",
			simulator.Object{State: simulator.Pending}, observe, answer{accepted, processing, "pending"}, answer{}},
		{"circle", "a complete intent was paid",
			simulator.Object{State: simulator.Paid}, observe, answer{accepted, completed, "complete"}, answer{}},
		{"circle", "a refunded intent was paid once",
			simulator.Object{State: simulator.Refunded}, observe, answer{accepted, completed, "refunded"}, answer{}},
		{"circle", "a failed intent cannot be paid",
			simulator.Object{State: simulator.Failed}, observe, answer{accepted, failed, "failed"}, answer{}},
		{"circle", "complete with the context expired is expired",
			simulator.Object{State: simulator.Expired, Variant: simulator.MintPreview}, observe,
			answer{accepted, expired, "expired"}, answer{}},
		{"circle", "an expired intent refuses, and a read shows why",
			simulator.Object{State: simulator.Expired}, expire, answer{refused, "", ""}, answer{accepted, expired, "expired"}},
		{"circle", "a paid intent refuses, and a read shows why",
			simulator.Object{State: simulator.Paid}, expire, answer{refused, "", ""}, answer{accepted, completed, "complete"}},
		{"circle", "an unknown intent, expired",
			simulator.Object{}, expire, answer{v1alpha1.OutcomeNotFound, "", ""}, answer{}},
		{"circle", "an unknown intent, read",
			simulator.Object{}, observe, answer{v1alpha1.OutcomeNotFound, "", ""}, answer{}},

		{"helio", "an open charge is expired: 204 is the proof",
			simulator.Object{State: simulator.Open}, expire,
			answer{accepted, expired, "expired"}, answer{accepted, expired, "expired"}},
		{"helio", "an open charge",
			simulator.Object{State: simulator.Open}, observe, answer{accepted, active, "open"}, answer{}},
		{"helio", "a charge with a pending transaction refuses",
			simulator.Object{State: simulator.Pending}, expire,
			answer{refused, "", ""}, answer{accepted, processing, "pending"}},
		{"helio", "a charge with a successful transaction refuses",
			simulator.Object{State: simulator.Paid}, expire, answer{refused, "", ""}, answer{accepted, completed, "paid"}},
		{"helio", "a failed transaction leaves the charge open",
			simulator.Object{State: simulator.Failed}, observe, answer{accepted, active, "open"}, answer{}},
		{"helio", "an expired charge refuses, and a read shows why",
			simulator.Object{State: simulator.Expired}, expire, answer{refused, "", ""}, answer{accepted, expired, "expired"}},
		{"helio", "401 for a charge of another merchant is not about the credentials",
			simulator.Object{State: simulator.Open, Variant: simulator.OtherMerchant}, expire,
			answer{v1alpha1.OutcomeNotAllowed, "", ""}, answer{}},
		{"helio", "an unknown charge, expired",
			simulator.Object{}, expire, answer{v1alpha1.OutcomeNotFound, "", ""}, answer{}},
		{"helio", "an unknown charge, read",
			simulator.Object{}, observe, answer{v1alpha1.OutcomeNotFound, "", ""}, answer{}},

		{"omise", "an open charge is expired, and the reply shows it",
			simulator.Object{State: simulator.Open}, expire,
			answer{accepted, expired, "expired"}, answer{accepted, expired, "expired"}},
		{"omise", "an open charge",
			simulator.Object{State: simulator.Open}, observe, answer{accepted, active, "pending"}, answer{}},
		{"omise", "a paid charge carries an expired_at and is not expired",
			simulator.Object{State: simulator.Paid}, observe, answer{accepted, completed, "successful"}, answer{}},
		{"omise", "a failed charge",
			simulator.Object{State: simulator.Failed}, observe, answer{accepted, failed, "failed"}, answer{}},
		{"omise", "a reversed charge",
			simulator.Object{State: simulator.Refunded}, observe, answer{accepted, failed, "reversed"}, answer{}},
		{"omise", "422 not_pending",
			simulator.Object{State: simulator.Paid}, expire,
			answer{refused, "", ""}, answer{accepted, completed, "successful"}},
		{"omise", "422 already_expired needs no action",
			simulator.Object{State: simulator.Expired}, expire, answer{accepted, expired, "expired"}, answer{}},
		{"omise", "422 not_expirable: a card",
			simulator.Object{State: simulator.Open, Variant: simulator.Card}, expire,
			answer{v1alpha1.OutcomeUnsupported, "", ""}, answer{}},
		{"omise", "422 already_authorized",
			simulator.Object{State: simulator.Open, Variant: simulator.Authorized}, expire,
			answer{refused, "", ""}, answer{accepted, processing, "pending"}},
		{"omise", "400 failed_expire",
			simulator.Object{State: simulator.Expired, Variant: simulator.OfficialErrors}, expire,
			answer{refused, "", ""}, answer{accepted, expired, "expired"}},
		{"omise", "an unknown charge, expired",
			simulator.Object{}, expire, answer{v1alpha1.OutcomeNotFound, "", ""}, answer{}},
		{"omise", "an unknown charge, read",
			simulator.Object{}, observe, answer{v1alpha1.OutcomeNotFound, "", ""}, answer{}},

		{"txn", "a created link is expired, and the reply shows it",
			simulator.Object{State: simulator.Open}, expire,
			answer{accepted, expired, "expired"}, answer{accepted, expired, "expired"}},
		{"txn", "a pending link can still be expired",
			simulator.Object{State: simulator.Pending}, expire, answer{accepted, expired, "expired"}, answer{}},
		{"txn", "a link as the older pages show it",
			simulator.Object{State: simulator.Open, Variant: simulator.Legacy}, expire,
			answer{accepted, expired, "expired"}, answer{}},
		{"txn", "a payout link",
			simulator.Object{State: simulator.Open, Variant: simulator.Payout}, expire,
			answer{accepted, expired, "expired"}, answer{}},
		{"txn", "a created link",
			simulator.Object{State: simulator.Open}, observe, answer{accepted, active, "created"}, answer{}},
		{"txn", "a pending link",
			simulator.Object{State: simulator.Pending}, observe, answer{accepted, active, "pending"}, answer{}},
		{"txn", "a used link refuses, and a read shows why",
			simulator.Object{State: simulator.Paid}, expire,
			answer{refused, "", ""}, answer{accepted, completed, "completed"}},
		{"txn", "an expired link refuses, and a read shows why",
			simulator.Object{State: simulator.Expired}, expire, answer{refused, "", ""}, answer{accepted, expired, "expired"}},
		{"txn", "an unknown link, expired",
			simulator.Object{}, expire, answer{v1alpha1.OutcomeNotFound, "", ""}, answer{}},
		{"txn", "an unknown link, read", simulator.Object{}, observe, answer{v1alpha1.OutcomeNotFound, "", ""}, answer{}},
	}
	for _, tc := range cases {
		t.Run(tc.provider+"/"+tc.reason, func(t *testing.T) {
			upstreams := simulator.New()
			endpoint := connect(t, upstreams, tc.provider)
			id := gen.ID(tc.provider, 1)
			if tc.object.State != "" {
				tc.object.Provider, tc.object.ID = tc.provider, id
				upstreams.Add(tc.object)
			}
			check := func(operation v1alpha1.Operation, want answer) {
				t.Helper()
				result := endpoint.Call(t.Context(), operation, id)
				if diff := cmp.Diff(want, answer{result.Outcome, result.State, result.Status}); diff != "" {
					t.Errorf("%s (-want +got):\n%s\nmessage: %s", operation, diff, result.Message)
				}
				books := upstreams.State(tc.provider, id)
				if tc.provider != "circle" && result.State != "" && (result.State == expired) != (books == simulator.Expired) {
					t.Errorf("%s returns the state %q, and the provider's books say %q", operation, result.State, books)
				}
			}
			check(tc.operation, tc.want)
			if tc.then != (answer{}) {
				check(observe, tc.then)
			}
		})
	}
}

// TestAllProvidersAlike checks the behaviour that all providers have in common.
func TestAllProvidersAlike(t *testing.T) {
	html := simulator.Reply{Code: 200, Body: "<html>welcome to the hotel's network</html>"}
	cases := []struct {
		reason string
		fault  simulator.Fault
		want   v1alpha1.Outcome
	}{
		{"500 without a body", simulator.Fault{Reply: simulator.Reply{Code: 500}}, v1alpha1.OutcomeUnavailable},
		{"503 with HTML", simulator.Fault{Reply: simulator.Reply{Code: 503, Body: "<html>"}}, v1alpha1.OutcomeUnavailable},
		{"408", simulator.Fault{Reply: simulator.Reply{Code: 408}}, v1alpha1.OutcomeUnavailable},
		{"429", simulator.Fault{Reply: simulator.Reply{Code: 429}}, v1alpha1.OutcomeThrottled},
		{"a redirect is not followed",
			simulator.Fault{Reply: simulator.Reply{Code: 302, Header: map[string]string{"Location": "/"}}},
			v1alpha1.OutcomeUnexpectedResponse},
		{"a connection closed before the effect", simulator.Fault{Drop: true}, v1alpha1.OutcomeUnavailable},
		{"a connection closed after the effect", simulator.Fault{Drop: true, Effect: true}, v1alpha1.OutcomeUnavailable},
		{"a body of 2 MiB", simulator.Fault{Huge: true}, v1alpha1.OutcomeUnexpectedResponse},
		{"200 that is not JSON", simulator.Fault{Reply: html}, v1alpha1.OutcomeUnexpectedResponse},
		{"401 that is not JSON, which is not from the provider",
			simulator.Fault{Reply: simulator.Reply{Code: 401, Body: "<html>"}}, v1alpha1.OutcomeUnexpectedResponse},
		{"401 without a body", simulator.Fault{Reply: simulator.Reply{Code: 401}}, v1alpha1.OutcomeCredentialsRejected},
		{"403", simulator.Fault{Reply: simulator.Reply{Code: 403}}, v1alpha1.OutcomeNotAllowed},
		{"404 in another format than the provider's",
			simulator.Fault{Reply: simulator.Reply{Code: 404, Body: map[string]any{"error": "no route"}}},
			v1alpha1.OutcomeUnexpectedResponse},
		{"404 without a body", simulator.Fault{Reply: simulator.Reply{Code: 404}}, v1alpha1.OutcomeUnexpectedResponse},
		{"JSON of another type",
			simulator.Fault{Operation: simulator.Observe, Reply: simulator.Reply{Code: 200, Body: []int{1}}},
			v1alpha1.OutcomeUnexpectedResponse},
	}
	for _, provider := range gen.Providers {
		for _, tc := range cases {
			t.Run(provider+"/"+tc.reason, func(t *testing.T) {
				upstreams := simulator.New()
				endpoint := connect(t, upstreams, provider)
				id := gen.ID(provider, 1)
				for _, operation := range []v1alpha1.Operation{expire, observe} {
					if tc.fault.Operation != "" && tc.fault.Operation != string(operation) {
						continue
					}
					upstreams.Add(simulator.Object{Provider: provider, ID: id, State: simulator.Open})
					upstreams.Script(provider, id, tc.fault)
					result := endpoint.Call(t.Context(), operation, id)
					if result.Outcome != tc.want {
						t.Errorf("%s: outcome %s, want %s", operation, result.Outcome, tc.want)
					}
					if result.State != "" {
						t.Errorf("%s: state %q without a proof, want none", operation, result.State)
					}
				}
			})
		}
		t.Run(provider+"/wrong credentials", func(t *testing.T) {
			upstreams := simulator.New()
			endpoint := connect(t, upstreams, provider)
			for name := range endpoint.Credentials {
				upstreams.SetKey(provider, name, "rotated")
			}
			for _, operation := range []v1alpha1.Operation{expire, observe} {
				result := endpoint.Call(t.Context(), operation, gen.ID(provider, 1))
				if result.Outcome != v1alpha1.OutcomeCredentialsRejected {
					t.Errorf("%s: outcome %s, want %s", operation, result.Outcome, v1alpha1.OutcomeCredentialsRejected)
				}
			}
		})
		t.Run(provider+"/an id that does not match the pattern", func(t *testing.T) {
			upstreams := simulator.New()
			endpoint := connect(t, upstreams, provider)
			for _, id := range []string{
				"", ".", "..", "../admin", "a/b", "a%2Fb", gen.ID(provider, 1) + "/x", gen.ID(provider, 1) + "\n",
				strings.Repeat("a", 300),
			} {
				endpoint.Call(t.Context(), expire, id)
			}
			if calls := upstreams.Calls(); len(calls) > 0 {
				t.Errorf("calls with invalid ids: %v, want none", calls)
			}
		})
	}
}
