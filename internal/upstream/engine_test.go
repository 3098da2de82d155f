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

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func compiled(t *testing.T, provider string) *Definition {
	t.Helper()
	definition, err := Compile(&gen.Class(provider).Spec)
	if err != nil {
		t.Fatal(err)
	}
	return definition
}

// idIn is the id of the session that a reply is about, as the class reads it.
func idIn(definition *Definition, body string) string {
	decoded, _ := decode([]byte(body))
	return facts{"code": 200, "headers": map[string]string{}, "body": decoded, "now": noon}.id(definition.inReply)
}

// TestDocumentedReplies reads replies that the providers' pages show and the simulator does not give.
func TestDocumentedReplies(t *testing.T) {
	cases := []struct {
		provider  string
		reason    string
		operation v1alpha1.Operation
		code      int
		body      string
		outcome   v1alpha1.Outcome
		state     v1alpha1.SessionState
	}{
		{"circle", "the documented 201 of a transient intent shows only created", expire, 201, `{"data":{"id":"8755d0ea-14f9-4259-b092-de23c14b6568","amount":{"amount":"3.14","currency":"USD"},"amountPaid":{"amount":"0.00","currency":"USD"},"paymentIds":[],"timeline":[{"status":"created","time":"2022-07-21T20:13:35.579331Z"}]}}`, v1alpha1.OutcomeAccepted, "active"},
		{"circle", "the documented 201 of a continuous intent", expire, 201, `{"data":{"currency":"USD","amountPaid":{"amount":"0.00","currency":"USD"},"timeline":[{"status":"created","time":"2023-01-21T20:13:35.579331Z"}],"type":"continuous"}}`, v1alpha1.OutcomeAccepted, "active"},
		{"circle", "newest first", observe, 200, `{"data":{"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"},{"status":"pending","time":"2022-07-21T20:13:38.188286Z"},{"status":"created","time":"2022-07-21T20:13:35.579331Z"}]}}`, v1alpha1.OutcomeAccepted, "expired"},
		{"circle", "newest last", observe, 200, `{"data":{"timeline":[{"status":"created","time":"2022-07-21T20:13:35.579331Z"},{"status":"pending","time":"2022-07-21T20:13:38.188286Z"},{"status":"expired","time":"2022-07-21T21:00:00Z"}]}}`, v1alpha1.OutcomeAccepted, "expired"},
		{"circle", "newest in the middle", observe, 200, `{"data":{"timeline":[{"status":"created","time":"2022-07-21T20:13:35.579331Z"},{"status":"complete","context":"paid","time":"2022-07-21T21:00:00Z"},{"status":"pending","time":"2022-07-21T20:13:38.188286Z"}]}}`, v1alpha1.OutcomeAccepted, "completed"},
		{"circle", "pending with an amount paid", observe, 200, `{"data":{"amountPaid":{"amount":"0.50","currency":"USD"},"timeline":[{"status":"pending","time":"2022-07-21T20:13:38Z"}]}}`, v1alpha1.OutcomeAccepted, "processing"},
		{"circle", "an empty timeline proves nothing", observe, 200, `{"data":{"timeline":[]}}`, v1alpha1.OutcomeUnexpectedResponse, ""},
		{"circle", "a status that the page does not have", observe, 200, `{"data":{"timeline":[{"status":"frozen","time":"2022-07-21T20:13:38Z"}]}}`, v1alpha1.OutcomeUnexpectedResponse, ""},
		{"circle", "400", expire, 400, `{"code":400,"message":"Bad request."}`, v1alpha1.OutcomeRefused, ""},
		{"circle", "401", expire, 401, `{"code":401,"message":"Malformed authorization."}`, v1alpha1.OutcomeCredentialsRejected, ""},
		{"circle", "403 code 3: the key lacks the right", expire, 403, `{"code":3,"message":"Forbidden"}`, v1alpha1.OutcomeNotAllowed, ""},
		{"circle", "404", expire, 404, `{"code":404,"message":"Not found."}`, v1alpha1.OutcomeNotFound, ""},
		{"circle", "429", expire, 429, `{"code":429,"message":"Too many requests."}`, v1alpha1.OutcomeThrottled, ""},
		{"circle", "500 code -1", expire, 500, `{"code":-1,"message":"Something went wrong."}`, v1alpha1.OutcomeUnavailable, ""},
		{"circle", "1084: cannot be cancelled", expire, 409, `{"code":1084,"message":"Item cannot be canceled"}`, v1alpha1.OutcomeRefused, ""},

		{"helio", "the documented open charge, before it expires", observe, 200, `{"id":"681389bfba5dc7557c9608ec","token":"28936112-bcf1-4240-a851-85fb087c282a","expiresAt":"2026-11-21T13:00:00.000Z","paylinkTx":null}`, v1alpha1.OutcomeAccepted, "active"},
		{"helio", "the same after it", observe, 200, `{"token":"28936112-bcf1-4240-a851-85fb087c282a","expiresAt":"2026-11-21T11:00:00.000Z","paylinkTx":null}`, v1alpha1.OutcomeAccepted, "expired"},
		{"helio", "the window is closed", observe, 200, `{"token":"x","windowClosed":true,"paylinkTx":null,"paylinkTxs":[]}`, v1alpha1.OutcomeAccepted, "expired"},
		{"helio", "the window is said to be open although the time is over: believe the window", observe, 200, `{"token":"x","windowClosed":false,"expiresAt":"2026-11-21T11:00:00.000Z","paylinkTx":null}`, v1alpha1.OutcomeAccepted, "active"},
		{"helio", "a transaction without a status counts as paid", observe, 200, `{"token":"x","windowClosed":true,"paylinkTx":{"id":"1"}}`, v1alpha1.OutcomeAccepted, "completed"},
		{"helio", "a settled transaction", observe, 200, `{"token":"x","paylinkTxs":[{"meta":{"transactionStatus":"SETTLED"}}]}`, v1alpha1.OutcomeAccepted, "completed"},
		{"helio", "a transaction that has begun, with its status beside meta", observe, 200, `{"token":"x","paylinkTx":{"status":"INITIATED"}}`, v1alpha1.OutcomeAccepted, "processing"},
		{"helio", "a cancelled transaction after the window", observe, 200, `{"token":"x","windowClosed":true,"paylinkTx":{"meta":{"transactionStatus":"CANCELED"}}}`, v1alpha1.OutcomeAccepted, "expired"},
		{"helio", "something that is no charge", observe, 200, `{"ok":true}`, v1alpha1.OutcomeUnexpectedResponse, ""},
		{"helio", "400", expire, 400, `{"message":"Cannot expire a charge that has a successful or pending transaction","statusCode":400}`, v1alpha1.OutcomeRefused, ""},
		{"helio", "401 of the key", expire, 401, `{"message":"Api key or token is invalid","code":401}`, v1alpha1.OutcomeCredentialsRejected, ""},
		{"helio", "401 of the charge", expire, 401, `{"message":"Not allowed to expire charge","statusCode":401}`, v1alpha1.OutcomeNotAllowed, ""},
		{"helio", "404", expire, 404, `{"message":"Charge not found for token \"00000000-0000-0000-0000-000000000000\"","statusCode":404}`, v1alpha1.OutcomeNotFound, ""},
		{"helio", "410 CHARGE_EXPIRED is a hint: read", expire, 410, `{"message":"gone","code":410,"errorCode":"CHARGE_EXPIRED"}`, v1alpha1.OutcomeRefused, ""},
		{"helio", "409 CHARGE_ALREADY_SETTLED is a hint: read", expire, 409, `{"message":"settled","code":409}`, v1alpha1.OutcomeRefused, ""},

		{"omise", "the recorded reply of an expiry", expire, 200, `{"object":"charge","id":"chrg_test_6344b4koui4cepimfzl","status":"expired","expired":true,"expires_at":"2025-03-20T09:41:54Z","expired_at":"2025-03-20T09:41:54Z","paid":false}`, v1alpha1.OutcomeAccepted, "expired"},
		{"omise", "a paid charge that carries an expired_at", observe, 200, `{"object":"charge","status":"successful","paid":true,"expired":false,"expired_at":"2023-09-14T16:36:43Z"}`, v1alpha1.OutcomeAccepted, "completed"},
		{"omise", "expired by its flag", observe, 200, `{"object":"charge","status":"pending","expired":true}`, v1alpha1.OutcomeAccepted, "expired"},
		{"omise", "reversed", observe, 200, `{"object":"charge","status":"reversed"}`, v1alpha1.OutcomeAccepted, "failed"},
		{"omise", "an error object under 200 is no success", expire, 200, `{"object":"error","code":"failed_expire","message":"expire failed"}`, v1alpha1.OutcomeRefused, ""},
		{"omise", "an error object under 200 tells no state", observe, 200, `{"object":"error","code":"odd","message":"?"}`, v1alpha1.OutcomeUnexpectedResponse, ""},
		{"omise", "400 failed_expire", expire, 400, `{"object":"error","location":"https://docs.omise.co/api/errors#failed-expire","code":"failed_expire","message":"expire failed"}`, v1alpha1.OutcomeRefused, ""},
		{"omise", "400 backend_error is worth another try", expire, 400, `{"object":"error","code":"backend_error","message":"please try again"}`, v1alpha1.OutcomeUnavailable, ""},
		{"omise", "400 bad_request", expire, 400, `{"object":"error","code":"bad_request","message":"invalid charge id format"}`, v1alpha1.OutcomeRefused, ""},
		{"omise", "422 not_expirable", expire, 422, `{"object":"error","code":"not_expirable","message":"payment method not supported"}`, v1alpha1.OutcomeUnsupported, ""},
		{"omise", "422 already_expired", expire, 422, `{"object":"error","code":"already_expired","message":"charge already expired"}`, v1alpha1.OutcomeAccepted, "expired"},
		{"omise", "422 already_authorized", expire, 422, `{"object":"error","code":"already_authorized","message":"x"}`, v1alpha1.OutcomeRefused, ""},
		{"omise", "422 not_pending", expire, 422, `{"object":"error","code":"not_pending","message":"x"}`, v1alpha1.OutcomeRefused, ""},
		{"omise", "authentication_failure", expire, 401, `{"object":"error","code":"authentication_failure","message":"authentication failed"}`, v1alpha1.OutcomeCredentialsRejected, ""},
		{"helio", "the server's own 404, for a path that is none", expire, 404, `{"message":"Cannot POST /v1/v1/charge/api-key/1/expire","error":"Not Found","statusCode":404}`, v1alpha1.OutcomeUnexpectedResponse, ""},
		{"omise", "not_found", observe, 404, `{"object":"error","code":"not_found","message":"charge was not found"}`, v1alpha1.OutcomeNotFound, ""},
		{"omise", "an error object under 503", expire, 503, `{"object":"error","code":"service_unavailable","message":"x"}`, v1alpha1.OutcomeUnavailable, ""},

		{"txn", "401 with a status that is a number", expire, 401, `{"errors":[{"status":401,"title":"HTTP Token: Access denied.","code":"unauthorized"}]}`, v1alpha1.OutcomeCredentialsRejected, ""},
		{"txn", "the same under 400, as a number", expire, 400, `{"errors":[{"status":401,"title":"HTTP Token: Access denied."}]}`, v1alpha1.OutcomeCredentialsRejected, ""},
		{"txn", "the same under 400, as a string", expire, 400, `{"errors":[{"status":"401"}]}`, v1alpha1.OutcomeCredentialsRejected, ""},
		{"txn", "404 under 422, as a number", observe, 422, `{"errors":[{"status":404,"title":"Not found"}]}`, v1alpha1.OutcomeNotFound, ""},
		{"txn", "404 as it should be", expire, 404, `{"errors":[{"status":"404","title":"Not found"}]}`, v1alpha1.OutcomeNotFound, ""},
		{"txn", "503 under 400", expire, 400, `{"errors":[{"status":503}]}`, v1alpha1.OutcomeUnavailable, ""},
		{"txn", "422 of a link that is used", expire, 422, `{"errors":[{"status":"422","detail":"x"}]}`, v1alpha1.OutcomeRefused, ""},
		{"txn", "errors under 200 are no success", expire, 200, `{"errors":[{"title":"x"}]}`, v1alpha1.OutcomeRefused, ""},
		{"txn", "the documented reply of the newer page", expire, 200, `{"data":{"id":"e33e1727-1eba-4581-bfd5-ded60713a5b8","type":"paymentLinks","attributes":{"status":"expired","approvalStatus":null,"expiresAt":"2026-05-17T10:07:53.269Z"},"relationships":{"target":{"data":null}}},"meta":{},"jsonapi":{"version":"1.0"}}`, v1alpha1.OutcomeAccepted, "expired"},
		{"txn", "completed means used", observe, 200, `{"data":{"attributes":{"status":"completed"},"relationships":{"target":{"data":{"id":"1","type":"invoices"}}}}}`, v1alpha1.OutcomeAccepted, "completed"},
	}
	for _, tc := range cases {
		t.Run(tc.provider+"/"+tc.reason, func(t *testing.T) {
			definition := compiled(t, tc.provider)
			result := definition.interpret(tc.operation, idIn(definition, tc.body), &httpx.Reply{Code: tc.code, Header: http.Header{}, Body: []byte(tc.body)}, nil, nil, noon)
			if result.Outcome != tc.outcome || result.State != tc.state {
				t.Errorf("got %s, state %q (%s); want %s, state %q", result.Outcome, result.State, result.Message, tc.outcome, tc.state)
			}
		})
	}
}

const (
	expire  = v1alpha1.OperationExpire
	observe = v1alpha1.OperationObserve
)

func TestDetailsOfAReply(t *testing.T) {
	reply := &httpx.Reply{Code: 200, Header: http.Header{"X-Request-Id": {"2adba88e-9d63-44bc-b975-9b6ae3440dde"}}, Body: []byte(`{"data":{"timeline":[{"status":"expired","time":"2026-11-21T11:00:00.123456Z"}]}}`)}
	result := compiled(t, "circle").interpret(observe, "", reply, nil, nil, noon)
	if result.RequestID != "2adba88e-9d63-44bc-b975-9b6ae3440dde" || result.Status != "expired" {
		t.Errorf("request id %q, status %q", result.RequestID, result.Status)
	}
	if want := time.Date(2026, 11, 21, 11, 0, 0, 123456000, time.UTC); result.ExpiredAt == nil || !result.ExpiredAt.Equal(want) {
		t.Errorf("expired at %v, want %v", result.ExpiredAt, want)
	}
}

// TestRequests pins what each class sends, to the letter.
func TestRequests(t *testing.T) {
	cases := map[string]map[v1alpha1.Operation]string{
		"circle": {
			expire:  "POST https://api.circle.com/v1/paymentIntents/ID/expire {} accept=application/json authorization=Bearer_SIMULATED_API_KEY:circle:7f3ac1d9 content-type=application/json",
			observe: "GET https://api.circle.com/v1/paymentIntents/ID  accept=application/json authorization=Bearer_SIMULATED_API_KEY:circle:7f3ac1d9",
		},
		"helio": {
			expire:  "POST https://api.hel.io/v1/charge/api-key/ID/expire?apiKey=simulated-public-key-helio  accept=application/json authorization=Bearer_simulated-secret-key-helio",
			observe: "GET https://api.hel.io/v1/charge/ID?apiKey=simulated-public-key-helio  accept=application/json authorization=Bearer_simulated-secret-key-helio",
		},
		"omise": {
			expire:  "POST https://api.omise.co/charges/ID/expire  accept=application/json authorization=Basic_c2tleV90ZXN0X3NpbXVsYXRlZDV4dXk0dzkxOg== omise-version=2019-05-29",
			observe: "GET https://api.omise.co/charges/ID  accept=application/json authorization=Basic_c2tleV90ZXN0X3NpbXVsYXRlZDV4dXk0dzkxOg== omise-version=2019-05-29",
		},
		"txn": {
			expire:  "POST https://api.sandbox.txn.pro/api/public/v1/payment_links/ID/expiration  accept=application/vnd.api+json authorization=Bearer_txn_cmp_simulated_e33e1727 content-type=application/vnd.api+json",
			observe: "GET https://api.sandbox.txn.pro/api/public/v1/payment_links/ID  accept=application/vnd.api+json authorization=Bearer_txn_cmp_simulated_e33e1727 content-type=application/vnd.api+json",
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
			request, err := definition.request(t.Context(), operation, base, id, credentials)
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
		"Syntax":           {func(s *v1alpha1.PaymentProviderClassSpec) { s.Outcomes[1].When = "code ==" }, "spec.outcomes[1].when", "line 1, column 8"},
		"UnknownName":      {func(s *v1alpha1.PaymentProviderClassSpec) { s.UnknownSession = "code == 1 ||\n has(bodi.code)" }, "spec.unknownSession", "line 2, column 6"},
		"WrongType":        {func(s *v1alpha1.PaymentProviderClassSpec) { s.State.Status = "code" }, "spec.state.status", "the result is int, want string"},
		"NoStatusYet":      {func(s *v1alpha1.PaymentProviderClassSpec) { s.Message = "status" }, "spec.message", "undeclared reference"},
		"Pattern":          {func(s *v1alpha1.PaymentProviderClassSpec) { s.SessionID.Pattern = "a(" }, "spec.sessionID.pattern", "missing closing )"},
		"UnknownWord":      {func(s *v1alpha1.PaymentProviderClassSpec) { s.Outcomes[0].Status = "gone" }, "spec.outcomes[0].status", "not one of spec.state.words"},
		"EmptyWord":        {func(s *v1alpha1.PaymentProviderClassSpec) { s.State.Words[""] = "expired" }, "spec.state.words", "the empty word"},
		"UnknownKey":       {func(s *v1alpha1.PaymentProviderClassSpec) { s.Authentication[0].Basic.Username = "key" }, "spec.authentication[0]", "not one of spec.credentials"},
		"ReservedHeader":   {func(s *v1alpha1.PaymentProviderClassSpec) { s.Headers[0].Name = "authorization" }, "spec.headers[0].name", "spec.authentication"},
		"NoID":             {func(s *v1alpha1.PaymentProviderClassSpec) { s.Observe.Path = "/charges" }, "spec.observe.path", "{id} once"},
		"OverrideNotBool":  {func(s *v1alpha1.PaymentProviderClassSpec) { s.State.Overrides[0].When = "status" }, "spec.state.overrides[0].when", "want bool"},
		"ExpiredAtNotTime": {func(s *v1alpha1.PaymentProviderClassSpec) { s.ExpiredAt = "code" }, "spec.expiredAt", "want google.protobuf.Timestamp or string"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			spec := gen.Class("omise").Spec
			tc.change(&spec)
			_, err := Compile(&spec)
			var definition *DefinitionError
			if !errors.As(err, &definition) || definition.Field != tc.field || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("error %v, want one about %s that says %q", err, tc.field, tc.says)
			}
		})
	}
}

func TestBaseURL(t *testing.T) {
	cases := []struct {
		reason, provider, environment, endpoint, want string
	}{
		{"the default", "circle", "", "", "https://api.circle.com"},
		{"by name", "circle", "sandbox", "", "https://api-sandbox.circle.com"},
		{"an endpoint goes first", "circle", "sandbox", "https://proxy.example/circle/", "https://proxy.example/circle"},
		{"an endpoint where there is no default", "txn", "", "https://api.example", "https://api.example"},
		{"no default", "txn", "", "", ""},
		{"an unknown name", "circle", "moon", "", ""},
		{"an unknown name is wrong beside an endpoint too", "circle", "moon", "https://api.example", ""},
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
	for _, printed := range []string{fmt.Sprint(credentials), fmt.Sprintf("%v %+v %#v %s %q", credentials, credentials, credentials, credentials["apiKey"], credentials["apiKey"]), string(asJSON)} {
		if strings.Contains(printed, "canary") {
			t.Errorf("a secret prints: %s", printed)
		}
	}
	echo := &httpx.Reply{Code: 400, Header: http.Header{}, Body: []byte(`{"code":1,"message":"bad key canary"}`)}
	if result := compiled(t, "circle").interpret(expire, "", echo, nil, credentials, noon); strings.Contains(result.Message, "canary") {
		t.Errorf("a provider's echo of a secret gets through: %s", result.Message)
	}
}

func TestCredentials(t *testing.T) {
	definition := compiled(t, "helio")
	_, err := definition.Credentials(map[string][]byte{"apiKey": []byte(" \n")})
	var missing *MissingCredentialsError
	if !errors.As(err, &missing) || cmp.Diff([]string{"apiKey", "secretKey"}, missing.Keys) != "" {
		t.Errorf("error %v, want both keys missing", err)
	}
	got, err := definition.Credentials(map[string][]byte{"apiKey": []byte(" a\n"), "secretKey": []byte("b"), "other": []byte("c")})
	if err != nil || got["apiKey"] != "a" || got["secretKey"] != "b" || len(got) != 2 {
		t.Errorf("credentials %d, error %v; want the two trimmed", len(got), err)
	}
}
