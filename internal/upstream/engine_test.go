// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

func TestDetailsOfAReply(t *testing.T) {
	reply := &httpx.Reply{
		Code: 200, Header: http.Header{"X-Request-Id": {"2adba88e-9d63-44bc-b975-9b6ae3440dde"}},
		Body: []byte(`{"data":{"timeline":[{"status":"expired","time":"2026-11-21T11:00:00.123456Z"}]}}`),
	}
	result := interpreted(compiled(t, "circle"), nil, observe, "", reply)
	if result.RequestID != "2adba88e-9d63-44bc-b975-9b6ae3440dde" || result.Status != "expired" {
		t.Errorf("request id %q, status %q; want the one of the header, and expired", result.RequestID, result.Status)
	}
	want := time.Date(2026, 11, 21, 11, 0, 0, 123456000, time.UTC)
	if result.ExpiredAt == nil || !result.ExpiredAt.Equal(want) {
		t.Errorf("expired at %v, want %v", result.ExpiredAt, want)
	}
}

// TestRequests compares the complete request of each operation of each class.
func TestRequests(t *testing.T) {
	cases := map[string]map[v1alpha1.Operation]string{
		"circle": {
			expire: "POST https://api.circle.com/v1/paymentIntents/ID/expire {} accept=application/json " +
				"authorization=Bearer_SIMULATED_API_KEY:circle:7f3ac1d9 content-type=application/json",
			observe: "GET https://api.circle.com/v1/paymentIntents/ID  accept=application/json " +
				"authorization=Bearer_SIMULATED_API_KEY:circle:7f3ac1d9",
		},
		"helio": {
			expire: "POST https://api.hel.io/v1/charge/api-key/ID/expire?apiKey=simulated-public-key-helio  " +
				"accept=application/json authorization=Bearer_simulated-secret-key-helio",
			observe: "GET https://api.hel.io/v1/charge/ID?apiKey=simulated-public-key-helio  accept=application/json " +
				"authorization=Bearer_simulated-secret-key-helio",
		},
		"omise": {
			expire: "POST https://api.omise.co/charges/ID/expire  accept=application/json " +
				"authorization=Basic_c2tleV90ZXN0X3NpbXVsYXRlZDV4dXk0dzkxOg== omise-version=2019-05-29",
			observe: "GET https://api.omise.co/charges/ID  accept=application/json " +
				"authorization=Basic_c2tleV90ZXN0X3NpbXVsYXRlZDV4dXk0dzkxOg== omise-version=2019-05-29",
		},
		"txn": {
			expire: "POST https://api.sandbox.txn.pro/api/public/v1/payment_links/ID/expiration  " +
				"accept=application/vnd.api+json " +
				"authorization=Bearer_txn_cmp_simulated_e33e1727 content-type=application/vnd.api+json",
			observe: "GET https://api.sandbox.txn.pro/api/public/v1/payment_links/ID  accept=application/vnd.api+json " +
				"authorization=Bearer_txn_cmp_simulated_e33e1727 content-type=application/vnd.api+json",
		},
	}
	for provider, wants := range cases {
		definition := compiled(t, provider)
		environment := ""
		if provider == "txn" {
			environment = "sandbox"
		}
		base, err := definition.BaseURL(environment, "")
		if err != nil {
			t.Fatal(err)
		}
		credentials := Credentials{}
		for name, value := range simulator.Keys()[provider] {
			credentials[name] = Secret(value)
		}
		for operation, want := range wants {
			id := gen.ID(provider, 1)
			request, err := (&Endpoint{Definition: definition, BaseURL: base, Credentials: credentials}).request(
				t.Context(), operation, id, credentials, noon,
			)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(request.Body)
			if err != nil {
				t.Fatal(err)
			}
			parts := []string{request.Method, strings.Replace(request.URL.String(), id, "ID", 1), string(body)}
			for _, name := range []string{"Accept", "Authorization", "Content-Type", "Omise-Version"} {
				if value := request.Header.Get(name); value != "" {
					parts = append(parts, strings.ToLower(name)+"="+strings.ReplaceAll(value, " ", "_"))
				}
			}
			if diff := cmp.Diff(want, strings.Join(parts, " ")); diff != "" {
				t.Errorf("%s %s (-want +got):\n%s", provider, operation, diff)
			}
		}
	}
}

func TestDefinitionErrorsSayWhere(t *testing.T) {
	type change = func(*v1alpha1.PaymentProviderClassSpec)
	cases := map[string]struct {
		change change
		field  string
		says   string
	}{
		"Syntax": {
			func(s *v1alpha1.PaymentProviderClassSpec) { s.Outcomes[1].When = "code ==" }, "spec.outcomes[1].when",
			"line 1, column 8",
		},
		"UnknownName": {
			func(s *v1alpha1.PaymentProviderClassSpec) { s.UnknownSession = "code == 1 ||\n has(bodi.code)" },
			"spec.unknownSession", "line 2, column 6",
		},
		"WrongType": {
			func(s *v1alpha1.PaymentProviderClassSpec) { s.State.Status = "code" }, "spec.state.status",
			"the result is int, want string",
		},
		"NoStatusYet": {
			func(s *v1alpha1.PaymentProviderClassSpec) { s.Message = "status" }, "spec.message", "undeclared reference",
		},
		"Pattern": {
			func(s *v1alpha1.PaymentProviderClassSpec) { s.SessionID.Pattern = "a(" }, "spec.sessionID.pattern",
			"missing closing )",
		},
		"UnknownWord": {
			func(s *v1alpha1.PaymentProviderClassSpec) { s.Outcomes[0].Status = "gone" }, "spec.outcomes[0].status",
			"not one of spec.state.words",
		},
		"EmptyWord": {
			func(s *v1alpha1.PaymentProviderClassSpec) { s.State.Words[""] = "expired" }, "spec.state.words", "the empty word",
		},
		"UnknownKey": {
			func(s *v1alpha1.PaymentProviderClassSpec) { s.Authentication[0].Basic.Username = "key" }, "spec.authentication[0]",
			"not one of spec.credentials",
		},
		"ReservedHeader": {
			func(s *v1alpha1.PaymentProviderClassSpec) { s.Headers[0].Name = "authorization" }, "spec.headers[0].name",
			"spec.authentication",
		},
		"NoID": {
			func(s *v1alpha1.PaymentProviderClassSpec) { s.Observe.Path = "/charges" }, "spec.observe", "{id} must stand",
		},
		"OverrideNotBool": {
			func(s *v1alpha1.PaymentProviderClassSpec) { s.State.Overrides[0].When = "status" }, "spec.state.overrides[0].when",
			"want bool",
		},
		"ExpiredAtNotTime": {
			func(s *v1alpha1.PaymentProviderClassSpec) { s.ExpiredAt = "code" }, "spec.expiredAt",
			"want google.protobuf.Timestamp or string",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			spec := gen.Class("omise").Spec
			tc.change(&spec)
			_, err := Compile(&spec)
			var definition *DefinitionError
			if !errors.As(err, &definition) || definition.Field != tc.field || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want one about %s with the text %q", err, tc.field, tc.says)
			}
		})
	}
}

func TestBaseURL(t *testing.T) {
	cases := []struct {
		reason, provider, environment, endpoint, want string
	}{
		{"the default environment", "circle", "", "", "https://api.circle.com"},
		{"an environment by name", "circle", "sandbox", "", "https://api-sandbox.circle.com"},
		{"an endpoint", "circle", "sandbox", "https://proxy.example/circle/", "https://proxy.example/circle"},
		{"an endpoint without a default environment", "txn", "", "https://api.example", "https://api.example"},
		{"neither an endpoint nor a default environment", "txn", "", "", ""},
		{"an unknown environment", "circle", "moon", "", ""},
		{"an unknown environment, even with an endpoint", "circle", "moon", "https://api.example", ""},
	}
	for _, tc := range cases {
		base, err := compiled(t, tc.provider).BaseURL(tc.environment, tc.endpoint)
		if tc.want == "" && err == nil || tc.want != "" && (err != nil || base.String() != tc.want) {
			t.Errorf("%s: got %v, %v; want %q", tc.reason, base, err, tc.want)
		}
	}
}

func TestRetryAfter(t *testing.T) {
	cases := map[string]time.Duration{
		"":                                 0,
		"30":                               30 * time.Second,
		" 1 ":                              time.Second,
		"0":                                0,
		"-5":                               0,
		"soon":                             0,
		"1.5":                              0,
		"600":                              MaxRetryAfter,
		"86401":                            0,
		"99999999999999999999":             0,
		"Sat, 21 Nov 2026 12:01:00 GMT":    time.Minute,
		"Sat, 21 Nov 2026 11:00:00 GMT":    0,
		"Saturday, 21-Nov-26 12:00:10 GMT": 10 * time.Second,
		"Mon, 23 Nov 2026 12:00:00 GMT":    0,
	}
	for value, want := range cases {
		if got := retryAfter(value, noon); got != want {
			t.Errorf("retryAfter(%q) = %s, want %s", value, got, want)
		}
	}
}

func TestMessagesAreCleaned(t *testing.T) {
	cases := map[string]string{
		"charge is already expired": "charge is already expired",
		"Charge not found for token \"28936112-bcf1-4240-a851-85fb087c282a\"": "Charge not found for token \"…\"",
		"at 2026-11-21T12:00:00Z request 7f3ac1d9e0":                          "at … request …",
		"a\nb\tc\x00d\u202e":     "a b c d",
		strings.Repeat("é", 100): strings.Repeat("é", 58) + "…",
	}
	for text, want := range cases {
		if got := cleaned(text); got != want || len(got) > maxMessageLength {
			t.Errorf("cleaned(%q) = %q, want %q", text, got, want)
		}
	}
}

func TestSecretsDoNotPrint(t *testing.T) {
	credentials := Credentials{"apiKey": "canary"}
	asJSON, err := json.Marshal(credentials)
	if err != nil {
		t.Fatal(err)
	}
	for _, printed := range []string{
		fmt.Sprint(credentials),
		fmt.Sprintf("%v %+v %#v %s %q", credentials, credentials, credentials, credentials["apiKey"], credentials["apiKey"]),
		string(asJSON),
	} {
		if strings.Contains(printed, "canary") {
			t.Errorf("a secret is printed: %s", printed)
		}
	}
	echo := &httpx.Reply{Code: 400, Header: http.Header{}, Body: []byte(`{"code":1,"message":"bad key canary"}`)}
	result := interpreted(compiled(t, "circle"), credentials, expire, "", echo)
	if strings.Contains(result.Message, "canary") {
		t.Errorf("the message contains a secret that the provider sent back: %s", result.Message)
	}
}

func TestCredentials(t *testing.T) {
	definition := compiled(t, "helio")
	_, err := definition.Credentials(map[string][]byte{"apiKey": []byte(" \n")})
	var missing *MissingCredentialsError
	if !errors.As(err, &missing) || cmp.Diff([]string{"apiKey", "secretKey"}, missing.Keys) != "" {
		t.Errorf("error %v, want one that both keys are missing", err)
	}
	got, err := definition.Credentials(map[string][]byte{
		"apiKey": []byte(" a\n"), "secretKey": []byte("b"), "other": []byte("c"),
	})
	if err != nil || got["apiKey"] != "a" || got["secretKey"] != "b" || len(got) != 2 {
		t.Errorf("%d credentials, error %v; want apiKey and secretKey, without spaces", len(got), err)
	}
}
