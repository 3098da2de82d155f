// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"errors"
	"net/http"
	"strings"
	"testing"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestWhatIsAProof interprets replies that are easily taken for a proof of another state.
func TestWhatIsAProof(t *testing.T) {
	const (
		accepted, unexpected = v1alpha1.OutcomeAccepted, v1alpha1.OutcomeUnexpectedResponse
		notFound             = v1alpha1.OutcomeNotFound
		active, processing   = v1alpha1.SessionStateActive, v1alpha1.SessionStateProcessing
		expired, completed   = v1alpha1.SessionStateExpired, v1alpha1.SessionStateCompleted
		failed               = v1alpha1.SessionStateFailed
	)
	checkReplies(t, []replyCase{
		// A payment takes precedence over an expiry.
		{"circle", "expired and underpaid, with money", observe, 200,
			`{"data":{"amountPaid":{"amount":"1.50"},"timeline":[{"status":"expired","context":"underpaid","time":"2022-07-21T21:00:00Z"}]}}`,
			accepted, completed},
		{"circle", "expired and underpaid, with money, in the reply to expire", expire, 200,
			`{"data":{"amountPaid":{"amount":"1.50"},"timeline":[{"status":"expired","context":"underpaid","time":"2022-07-21T21:00:00Z"}]}}`,
			accepted, completed},
		{"circle", "expired and underpaid, without money: the reply in Circle's API collection", expire, 200,
			`{"data":{"amountPaid":{"amount":"0.00"},"paymentIds":[],"timeline":[{"status":"expired","context":"underpaid","reason":"requested_by_merchant","time":"2022-07-21T21:00:00Z"},{"status":"pending","time":"2022-07-21T20:13:38Z"},{"status":"created","time":"2022-07-21T20:13:35Z"}]}}`,
			accepted, expired},
		{"circle", "expired, and the payment was refunded", observe, 200,
			`{"data":{"amountPaid":{"amount":"0"},"amountRefunded":{"amount":"2.00"},"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"}]}}`,
			accepted, completed},
		{"circle", "an amount that is not zero counts as money", observe, 200,
			`{"data":{"amountPaid":{"amount":"about one"},"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"}]}}`,
			accepted, completed},
		{"circle", "an amount of type number", observe, 200,
			`{"data":{"amountPaid":{"amount":0.0},"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"}]}}`,
			accepted, expired},
		{"circle", "paid, and expired later", observe, 200,
			`{"data":{"timeline":[{"status":"expired","time":"2022-07-21T22:00:00Z"},{"status":"complete","context":"paid","time":"2022-07-21T21:00:00Z"}]}}`,
			accepted, completed},
		{"circle", "failed, with money", observe, 200,
			`{"data":{"amountPaid":{"amount":"3.14"},"timeline":[{"status":"failed","time":"2022-07-21T22:00:00Z"}]}}`,
			accepted, completed},
		{"circle", "two entries with the same time, newest first", observe, 200,
			`{"data":{"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"},{"status":"pending","time":"2022-07-21T21:00:00Z"}]}}`,
			accepted, expired},
		{"circle", "two entries with the same time, newest last", observe, 200,
			`{"data":{"timeline":[{"status":"pending","time":"2022-07-21T21:00:00Z"},{"status":"expired","time":"2022-07-21T21:00:00.000Z"}]}}`,
			accepted, expired},
		{"circle", "an expiry and a payment with the same time", observe, 200,
			`{"data":{"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"},{"status":"complete","context":"paid","time":"2022-07-21T21:00:00Z"}]}}`,
			accepted, completed},
		{"circle", "two entries with the same time, one with a status that the class does not list", observe, 200,
			`{"data":{"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"},{"status":"frozen","time":"2022-07-21T21:00:00Z"}]}}`,
			unexpected, ""},
		{"circle", "a continuous intent with a payment is open for the next one", observe, 200,
			`{"data":{"type":"continuous","amountPaid":{"amount":"1.00"},"timeline":[{"status":"active","time":"2022-07-21T21:00:00Z"}]}}`,
			accepted, active},
		{"circle", "a transient intent with a payment is not", observe, 200,
			`{"data":{"amountPaid":{"amount":"1.00"},"timeline":[{"status":"pending","time":"2022-07-21T21:00:00Z"}]}}`,
			accepted, processing},
		{"omise", "pending, expired and paid", observe, 200,
			`{"object":"charge","status":"pending","expired":true,"paid":true}`, accepted, completed},
		{"omise", "expired and paid", expire, 200,
			`{"object":"charge","status":"expired","expired":true,"paid":true}`, accepted, completed},
		{"omise", "reversed, with the status successful", observe, 200,
			`{"object":"charge","status":"successful","paid":true,"reversed":true}`, accepted, failed},
		{"omise", "expired, with the time at which it was paid", observe, 200,
			`{"object":"charge","status":"expired","paid_at":"2026-11-21T10:00:00Z"}`, accepted, completed},
		{"omise", "authorized, and expired by its flag", observe, 200,
			`{"object":"charge","status":"pending","expired":true,"authorized":true}`, accepted, processing},
		{"omise", "already_expired with the code 500 is no proof", expire, 500,
			`{"object":"error","code":"already_expired","message":"charge is already expired"}`,
			v1alpha1.OutcomeUnavailable, ""},
		{"circle", "expired, with a payment whose amount is still zero", observe, 200,
			`{"data":{"paymentIds":["66c56b6a"],"amountPaid":{"amount":"0.00"},"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"}]}}`,
			accepted, processing},
		{"circle", "expired, with a context that means a payment", observe, 200,
			`{"data":{"timeline":[{"status":"expired","context":"overpaid","time":"2022-07-21T21:00:00Z"}]}}`,
			accepted, completed},
		{"circle", "an amount in an undocumented format counts as money", observe, 200,
			`{"data":{"amountPaid":"1.50","timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"}]}}`,
			accepted, completed},
		{"circle", "no amount at all", observe, 200,
			`{"data":{"amountPaid":null,"amountRefunded":null,"paymentIds":null,"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"}]}}`,
			accepted, expired},
		{"txn", "expired after the payer has created an invoice", observe, 200,
			`{"data":{"attributes":{"status":"expired"},"relationships":{"target":{"data":{"id":"1","type":"invoices"}}}}}`,
			accepted, completed},
		{"txn", "pending, with a paid invoice", observe, 200,
			`{"data":{"attributes":{"status":"pending"}},"included":[{"type":"invoices","attributes":{"status":"completed"}}]}`,
			accepted, completed},
		{"omise", "a charge of an older version of the API, which has only the flag", observe, 200,
			`{"object":"charge","expired":true,"paid":false}`, accepted, expired},
		{"omise", "a paid charge of an older version of the API", observe, 200,
			`{"object":"charge","expired":true,"paid":true}`, accepted, completed},
		{"omise", "neither a status nor the flag", observe, 200, `{"object":"charge","expired":false}`, unexpected, ""},

		// A status that the class does not list proves nothing.
		{"helio", "a transaction that is CANCELLED", observe, 200,
			`{"token":"x","windowClosed":false,"paylinkTx":{"meta":{"transactionStatus":"CANCELLED"}}}`, unexpected, ""},
		{"helio", "a transaction that is PROCESSING", observe, 200,
			`{"token":"x","windowClosed":true,"paylinkTx":{"meta":{"transactionStatus":"PROCESSING"}}}`, unexpected, ""},
		{"helio", "a transaction with an empty status", observe, 200,
			`{"token":"x","windowClosed":true,"paylinkTx":{"meta":{"transactionStatus":""}}}`, unexpected, ""},
		{"helio", "a transaction with an unlisted status, and a paid one", observe, 200,
			`{"token":"x","paylinkTxs":[{"status":"CANCELLED"},{"status":"SUCCESS"}]}`, accepted, completed},
		{"helio", "a closed window in a reply without the fields of transactions", observe, 200,
			`{"token":"x","windowClosed":true}`, unexpected, ""},
		{"helio", "a reply without the fields of transactions", observe, 200, `{"token":"x"}`, unexpected, ""},
		{"helio", "a transaction with two statuses, one of which means paid", observe, 200,
			`{"token":"x","windowClosed":true,"paylinkTx":{"status":"SUCCESS","meta":{"transactionStatus":"FAILED"}}}`,
			accepted, completed},
		{"helio", "expiresAt passed 1 s ago by the local clock", observe, 200,
			`{"token":"x","expiresAt":"2026-11-21T11:59:59.000Z","paylinkTx":null}`, accepted, active},

		// A 404 counts only if it is the provider's own reply that it does not know the session.
		{"circle", "the default 404 of the server's framework", expire, 404,
			`{"code":404,"message":"HTTP 404 Not Found"}`, unexpected, ""},
		{"circle", "the documented 404", expire, 404, `{"code":404,"message":"Not found."}`, notFound, ""},
		{"circle", "code 1051", expire, 404, `{"code":1051,"message":"Payment not found"}`, notFound, ""},
		{"helio", "another 404 of the same server", expire, 404,
			`{"message":"Not Found","statusCode":404}`, unexpected, ""},
		{"helio", "the documented 404", expire, 404,
			`{"message":"Charge not found for token \"1\"","statusCode":404}`, notFound, ""},
		{"omise", "404 because of an unknown path", expire, 404,
			`{"object":"error","code":"not_found","message":"the requested path was not found"}`, unexpected, ""},
		{"omise", "the documented 404", expire, 404,
			`{"object":"error","code":"not_found","message":"charge chrg_1 was not found"}`, notFound, ""},
		{"txn", "404 because of an unknown path", expire, 404,
			`{"errors":[{"status":"404","title":"Not Found","detail":"No route matches [POST] /api"}]}`, unexpected, ""},
		{"txn", "no route, with the code 422", expire, 422,
			`{"errors":[{"status":404,"detail":"No route matches [POST] /api"}]}`, v1alpha1.OutcomeRefused, ""},
		{"txn", "one of several errors says 404", expire, 422,
			`{"errors":[{"status":"422","detail":"link is completed"},{"status":"404","title":"network not found"}]}`,
			v1alpha1.OutcomeRefused, ""},
		{"txn", "a 404 without details", expire, 404,
			`{"errors":[{"status":"404","title":"Not found","detail":null}]}`, notFound, ""},
		{"circle", "an account that is not found", expire, 404,
			`{"code":404,"message":"Merchant account not found"}`, unexpected, ""},
		{"helio", "the default 404 of another framework", expire, 404,
			`{"message":"Route POST:/v1/v1/charge/api-key/1/expire not found","statusCode":404}`, unexpected, ""},
		{"txn", "404 with an error that says 422", expire, 404, `{"errors":[{"status":"422"}]}`, unexpected, ""},
		{"txn", "a document that is not about a link", observe, 200,
			`{"data":{"type":"invoices","attributes":{"status":"expired"}}}`, unexpected, ""},
	})
}

// TestReplyAboutAnotherSession interprets replies about another session, as from a proxy that confuses its cache keys.
// They must prove nothing.
func TestReplyAboutAnotherSession(t *testing.T) {
	replies := map[string]string{
		"circle": `{"data":{"id":"ID","timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"}]}}`,
		"helio":  `{"token":"ID","windowClosed":true,"paylinkTx":null}`,
		"omise":  `{"object":"charge","id":"ID","status":"expired","expired":true,"paid":false}`,
		"txn":    `{"data":{"id":"ID","type":"paymentLinks","attributes":{"status":"expired"}}}`,
	}
	for provider, body := range replies {
		id := gen.ID(provider, 1) + map[bool]string{true: "a"}[provider == "omise"]
		id = strings.Replace(id, "ea", "eA", 1)
		for about, tc := range map[string]struct {
			id    string
			state v1alpha1.SessionState
		}{
			"the session itself": {id, v1alpha1.SessionStateExpired},
			"another session":    {gen.ID(provider, 2), ""},
			"the session, in upper case": {
				strings.ToUpper(id), map[bool]v1alpha1.SessionState{true: v1alpha1.SessionStateExpired}[provider != "omise"],
			},
		} {
			for _, operation := range []v1alpha1.Operation{expire, observe} {
				reply := &httpx.Reply{Code: 200, Header: http.Header{}, Body: []byte(strings.Replace(body, "ID", tc.id, 1))}
				result := interpreted(compiled(t, provider), nil, operation, id, reply)
				if result.State != tc.state || (result.Outcome == v1alpha1.OutcomeAccepted) != (tc.state != "") {
					t.Errorf("%s, %s about %s: %s, state %q (%s); want the state %q", provider, operation, about, result.Outcome,
						result.State, result.Message, tc.state)
				}
				if tc.state == "" && !strings.Contains(result.Message, "another session") {
					t.Errorf("%s: the message %q does not say that it is about another session", provider, result.Message)
				}
			}
		}
	}
}

// TestErrorAboutAnotherSession does the same with errors of those providers whose errors name the session.
func TestErrorAboutAnotherSession(t *testing.T) {
	for provider, tc := range map[string]struct {
		code int
		body string
	}{
		"helio": {404, `{"message":"Charge not found for token \"ID\"","statusCode":404}`},
		"omise": {422, `{"object":"error","code":"already_expired","message":"charge ID is already expired"}`},
	} {
		for _, number := range []int{1, 2} {
			body := strings.Replace(tc.body, "ID", gen.ID(provider, number), 1)
			result := interpreted(compiled(t, provider), nil, expire, gen.ID(provider, 1),
				&httpx.Reply{Code: tc.code, Header: http.Header{}, Body: []byte(body)})
			if counts := result.Outcome != v1alpha1.OutcomeUnexpectedResponse; counts != (number == 1) {
				t.Errorf("%s about session %d: %s, state %q; only an error about session 1 counts", provider, number,
					result.Outcome, result.State)
			}
		}
	}
}

// TestEchoedCredentialsAreRedacted has replies with credentials in fields that a class truncates, changes or repeats.
func TestEchoedCredentialsAreRedacted(t *testing.T) {
	long := "TEST_API_KEY:" + strings.Repeat("abcdefgh", 8)
	for reason, tc := range map[string]struct {
		provider    string
		credentials Credentials
		body        string
		secret      string
	}{
		"a status that is truncated": {
			"circle", Credentials{"apiKey": Secret(long)},
			`{"data":{"timeline":[{"status":"` + long + `","time":"2022-07-21T21:00:00Z"}]}}`, "abcdefgh",
		},
		"a status that is changed to upper case": {
			"helio", Credentials{"secretKey": "simulated-secret"}, `{"token":"x","paylinkTx":{"status":"simulated-secret"}}`,
			"SIMULATED",
		},
		"a credential that is part of another": {
			"circle", Credentials{"apiKey": "swordfish", "other": "swordfish-and-more"},
			`{"code":1,"message":"swordfish-and-more"}`, "more",
		},
		"two credentials as for basic authentication": {
			"circle", Credentials{"apiKey": "bob-the-merchant", "other": "swordfish"},
			`{"code":1,"message":"Ym9iLXRoZS1tZXJjaGFudDpzd29yZGZpc2g="}`, "zd29yZGZpc2g",
		},
	} {
		for _, code := range []int{200, 400} {
			result := interpreted(compiled(t, tc.provider), tc.credentials, observe, "x",
				&httpx.Reply{Code: code, Header: http.Header{}, Body: []byte(tc.body)})
			if strings.Contains(result.Message+result.Status, tc.secret) {
				t.Errorf("%s: the message %q or the status %q contains %q", reason, result.Message, result.Status, tc.secret)
			}
		}
	}
}

func TestUnlistedStatusIsNamed(t *testing.T) {
	reply := &httpx.Reply{
		Code: 200, Header: http.Header{}, Body: []byte(`{"token":"x","paylinkTx":{"status":"CANCELLED"}}`),
	}
	result := interpreted(compiled(t, "helio"), nil, observe, "x", reply)
	if !strings.Contains(result.Message, `"CANCELLED"`) {
		t.Errorf("the message %q does not name the status", result.Message)
	}
}

// TestStatusIsRedacted has a reply with a credential instead of a status, and a class whose override does not depend on
// the status.
func TestStatusIsRedacted(t *testing.T) {
	spec := gen.Class("omise").Spec
	spec.State.Overrides = []v1alpha1.StateOverride{{When: "body.expired == true", State: v1alpha1.SessionStateExpired}}
	definition, err := Compile(&spec)
	if err != nil {
		t.Fatal(err)
	}
	reply := &httpx.Reply{
		Code: 200, Header: http.Header{}, Body: []byte(`{"object":"charge","status":"key canary","expired":true}`),
	}
	result := interpreted(definition, Credentials{"secretKey": "canary"}, observe, "", reply)
	if result.State != v1alpha1.SessionStateExpired || strings.Contains(result.Status, "canary") || result.Status == "" {
		t.Errorf("state %q, status %q; want the state expired and a status without the credential", result.State,
			result.Status)
	}
}

// TestStillPayable checks which closed sessions leave something else payable.
func TestStillPayable(t *testing.T) {
	for reason, tc := range map[string]struct {
		provider, body string
		want           bool
	}{
		"a used link": {
			"txn",
			`{"data":{"attributes":{"status":"completed"},"relationships":{"target":{"data":{"id":"1","type":"invoices"}}}}}`,
			true,
		},
		"an expired link that was never used": {
			"txn", `{"data":{"attributes":{"status":"expired"},"relationships":{"target":{"data":null}}}}`, false,
		},
		"a link that expired after it was used": {
			"txn",
			`{"data":{"attributes":{"status":"expired"},"relationships":{"target":{"data":{"id":"1","type":"invoices"}}}}}`,
			true,
		},
		"an open link": {
			"txn",
			`{"data":{"attributes":{"status":"pending"},"relationships":{"target":{"data":{"id":"1","type":"invoices"}}}}}`,
			false,
		},
		"a charge": {"omise", `{"object":"charge","status":"successful"}`, false},
	} {
		result := interpreted(compiled(t, tc.provider), nil, observe, "",
			&httpx.Reply{Code: 200, Header: http.Header{}, Body: []byte(tc.body)})
		if got := result.StillPayable != ""; got != tc.want {
			t.Errorf("%s: leaves %q payable, want something: %v", reason, result.StillPayable, tc.want)
		}
	}
}

// TestTwoCredentialsInOnePlace compiles classes in which one credential would overwrite another or never be sent.
func TestTwoCredentialsInOnePlace(t *testing.T) {
	header := func(name string) v1alpha1.Authentication {
		return v1alpha1.Authentication{Header: &v1alpha1.NamedAuthentication{Name: name, Credential: "apiKey"}}
	}
	query := func(name string) v1alpha1.Authentication {
		return v1alpha1.Authentication{QueryParameter: &v1alpha1.NamedAuthentication{Name: name, Credential: "apiKey"}}
	}
	bearer := v1alpha1.Authentication{Bearer: &v1alpha1.BearerAuthentication{Credential: "apiKey"}}
	basic := v1alpha1.Authentication{Basic: &v1alpha1.BasicAuthentication{Username: "secretKey"}}
	for reason, tc := range map[string]struct {
		ways  []v1alpha1.Authentication
		field string
	}{
		"the header Host": {[]v1alpha1.Authentication{header("Host")}, "spec.authentication[0].header.name"},
		"the header Content-Length, in lower case": {
			[]v1alpha1.Authentication{bearer, header("content-length")}, "spec.authentication[1].header.name",
		},
		"basic and bearer": {[]v1alpha1.Authentication{basic, bearer}, "spec.authentication[1]"},
		"the header Authorization and bearer": {
			[]v1alpha1.Authentication{bearer, header("authorization")}, "spec.authentication[1]",
		},
		"one header twice": {
			[]v1alpha1.Authentication{header("X-Key"), header("x-key")}, "spec.authentication[1]",
		},
		"the header Content-Type":        {[]v1alpha1.Authentication{header("Content-Type")}, "spec.authentication[0]"},
		"a header that the class sets":   {[]v1alpha1.Authentication{header("X-Fixed")}, "spec.authentication[0]"},
		"one query parameter twice":      {[]v1alpha1.Authentication{query("key"), query("key")}, "spec.authentication[1]"},
		"only the header Authorization":  {[]v1alpha1.Authentication{header("Authorization")}, ""},
		"a bearer and a query parameter": {[]v1alpha1.Authentication{bearer, query("key")}, ""},
	} {
		spec := gen.Class("helio").Spec
		spec.Headers = []v1alpha1.Header{{Name: "X-Fixed", Value: "1"}}
		spec.Authentication = tc.ways
		_, err := Compile(&spec)
		var definition *DefinitionError
		if tc.field == "" && err != nil || tc.field != "" && (!errors.As(err, &definition) || definition.Field != tc.field) {
			t.Errorf("%s: error %v, want one about %q", reason, err, tc.field)
		}
	}
}
