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

// TestWhatIsAProof reads replies that a hasty reader takes for more, or for less, than they show.
func TestWhatIsAProof(t *testing.T) {
	const (
		accepted, unexpected = v1alpha1.OutcomeAccepted, v1alpha1.OutcomeUnexpectedResponse
		notFound             = v1alpha1.OutcomeNotFound
		active, processing   = v1alpha1.SessionStateActive, v1alpha1.SessionStateProcessing
		expired, completed   = v1alpha1.SessionStateExpired, v1alpha1.SessionStateCompleted
		failed               = v1alpha1.SessionStateFailed
	)
	cases := []struct {
		provider  string
		reason    string
		operation v1alpha1.Operation
		code      int
		body      string
		outcome   v1alpha1.Outcome
		state     v1alpha1.SessionState
	}{
		// Money beats expiry.
		{"circle", "expired and underpaid, with money", observe, 200, `{"data":{"amountPaid":{"amount":"1.50"},"timeline":[{"status":"expired","context":"underpaid","time":"2022-07-21T21:00:00Z"}]}}`, accepted, completed},
		{"circle", "the same in reply to expire", expire, 200, `{"data":{"amountPaid":{"amount":"1.50"},"timeline":[{"status":"expired","context":"underpaid","time":"2022-07-21T21:00:00Z"}]}}`, accepted, completed},
		{"circle", "expired and underpaid, without money: the reply in Circle's own collection", expire, 200, `{"data":{"amountPaid":{"amount":"0.00"},"paymentIds":[],"timeline":[{"status":"expired","context":"underpaid","reason":"requested_by_merchant","time":"2022-07-21T21:00:00Z"},{"status":"pending","time":"2022-07-21T20:13:38Z"},{"status":"created","time":"2022-07-21T20:13:35Z"}]}}`, accepted, expired},
		{"circle", "expired, and what was paid has been refunded", observe, 200, `{"data":{"amountPaid":{"amount":"0"},"amountRefunded":{"amount":"2.00"},"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"}]}}`, accepted, completed},
		{"circle", "an amount that is no plain zero is money", observe, 200, `{"data":{"amountPaid":{"amount":"about one"},"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"}]}}`, accepted, completed},
		{"circle", "an amount that is a number", observe, 200, `{"data":{"amountPaid":{"amount":0.0},"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"}]}}`, accepted, expired},
		{"circle", "paid, and expired later", observe, 200, `{"data":{"timeline":[{"status":"expired","time":"2022-07-21T22:00:00Z"},{"status":"complete","context":"paid","time":"2022-07-21T21:00:00Z"}]}}`, accepted, completed},
		{"circle", "failed, with money", observe, 200, `{"data":{"amountPaid":{"amount":"3.14"},"timeline":[{"status":"failed","time":"2022-07-21T22:00:00Z"}]}}`, accepted, completed},
		{"circle", "two entries of one instant, newest first", observe, 200, `{"data":{"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"},{"status":"pending","time":"2022-07-21T21:00:00Z"}]}}`, accepted, expired},
		{"circle", "two entries of one instant, newest last", observe, 200, `{"data":{"timeline":[{"status":"pending","time":"2022-07-21T21:00:00Z"},{"status":"expired","time":"2022-07-21T21:00:00.000Z"}]}}`, accepted, expired},
		{"circle", "an end and a payment of one instant", observe, 200, `{"data":{"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"},{"status":"complete","context":"paid","time":"2022-07-21T21:00:00Z"}]}}`, accepted, completed},
		{"circle", "a status of the same instant that the class does not list", observe, 200, `{"data":{"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"},{"status":"frozen","time":"2022-07-21T21:00:00Z"}]}}`, unexpected, ""},
		{"circle", "a continuous intent with an earlier payment is open for the next", observe, 200, `{"data":{"type":"continuous","amountPaid":{"amount":"1.00"},"timeline":[{"status":"active","time":"2022-07-21T21:00:00Z"}]}}`, accepted, active},
		{"circle", "a transient one with a payment is not", observe, 200, `{"data":{"amountPaid":{"amount":"1.00"},"timeline":[{"status":"pending","time":"2022-07-21T21:00:00Z"}]}}`, accepted, processing},
		{"omise", "pending, expired and paid", observe, 200, `{"object":"charge","status":"pending","expired":true,"paid":true}`, accepted, completed},
		{"omise", "expired and paid", expire, 200, `{"object":"charge","status":"expired","expired":true,"paid":true}`, accepted, completed},
		{"omise", "reversed, with the status successful", observe, 200, `{"object":"charge","status":"successful","paid":true,"reversed":true}`, accepted, failed},
		{"omise", "expired, with the time at which it was paid", observe, 200, `{"object":"charge","status":"expired","paid_at":"2026-11-21T10:00:00Z"}`, accepted, completed},
		{"omise", "authorized, and its window is over", observe, 200, `{"object":"charge","status":"pending","expired":true,"authorized":true}`, accepted, processing},
		{"omise", "already_expired from a server that fails is no proof", expire, 500, `{"object":"error","code":"already_expired","message":"charge is already expired"}`, v1alpha1.OutcomeUnavailable, ""},
		{"circle", "expired, and a payment that has brought nothing yet", observe, 200, `{"data":{"paymentIds":["66c56b6a"],"amountPaid":{"amount":"0.00"},"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"}]}}`, accepted, processing},
		{"circle", "expired in the context of a payment", observe, 200, `{"data":{"timeline":[{"status":"expired","context":"overpaid","time":"2022-07-21T21:00:00Z"}]}}`, accepted, completed},
		{"circle", "an amount in a shape that the page does not have is money", observe, 200, `{"data":{"amountPaid":"1.50","timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"}]}}`, accepted, completed},
		{"circle", "no amount at all", observe, 200, `{"data":{"amountPaid":null,"amountRefunded":null,"paymentIds":null,"timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"}]}}`, accepted, expired},
		{"txn", "expired after the payer had started an invoice", observe, 200, `{"data":{"attributes":{"status":"expired"},"relationships":{"target":{"data":{"id":"1","type":"invoices"}}}}}`, accepted, completed},
		{"txn", "pending, beside an invoice that was paid", observe, 200, `{"data":{"attributes":{"status":"pending"}},"included":[{"type":"invoices","attributes":{"status":"completed"}}]}`, accepted, completed},
		{"omise", "a charge of an older version of the API, which has the flag alone", observe, 200, `{"object":"charge","expired":true,"paid":false}`, accepted, expired},
		{"omise", "the same, paid", observe, 200, `{"object":"charge","expired":true,"paid":true}`, accepted, completed},
		{"omise", "neither a status nor the flag", observe, 200, `{"object":"charge","expired":false}`, unexpected, ""},

		// A word that the class does not list is no word for a payment.
		{"helio", "a transaction that is CANCELLED", observe, 200, `{"token":"x","windowClosed":false,"paylinkTx":{"meta":{"transactionStatus":"CANCELLED"}}}`, unexpected, ""},
		{"helio", "a transaction that is PROCESSING", observe, 200, `{"token":"x","windowClosed":true,"paylinkTx":{"meta":{"transactionStatus":"PROCESSING"}}}`, unexpected, ""},
		{"helio", "a transaction with an empty status", observe, 200, `{"token":"x","windowClosed":true,"paylinkTx":{"meta":{"transactionStatus":""}}}`, unexpected, ""},
		{"helio", "a strange transaction beside one that was paid", observe, 200, `{"token":"x","paylinkTxs":[{"status":"CANCELLED"},{"status":"SUCCESS"}]}`, accepted, completed},
		{"helio", "a closed window in a reply that tells of no transactions", observe, 200, `{"token":"x","windowClosed":true}`, unexpected, ""},
		{"helio", "a reply that tells of no transactions at all", observe, 200, `{"token":"x"}`, unexpected, ""},
		{"helio", "two words for one transaction, one of them money", observe, 200, `{"token":"x","windowClosed":true,"paylinkTx":{"status":"SUCCESS","meta":{"transactionStatus":"FAILED"}}}`, accepted, completed},
		{"helio", "expiresAt has just passed by our clock", observe, 200, `{"token":"x","expiresAt":"2026-11-21T11:59:59.000Z","paylinkTx":null}`, accepted, active},

		// Who knows no such session must be the provider.
		{"circle", "the stock 404 of the server's framework", expire, 404, `{"code":404,"message":"HTTP 404 Not Found"}`, unexpected, ""},
		{"circle", "the documented 404", expire, 404, `{"code":404,"message":"Not found."}`, notFound, ""},
		{"circle", "code 1051", expire, 404, `{"code":1051,"message":"Payment not found"}`, notFound, ""},
		{"helio", "some other 404 of the same server", expire, 404, `{"message":"Not Found","statusCode":404}`, unexpected, ""},
		{"helio", "the documented 404", expire, 404, `{"message":"Charge not found for token \"1\"","statusCode":404}`, notFound, ""},
		{"omise", "a path that the API does not have", expire, 404, `{"object":"error","code":"not_found","message":"the requested path was not found"}`, unexpected, ""},
		{"omise", "the documented 404", expire, 404, `{"object":"error","code":"not_found","message":"charge chrg_1 was not found"}`, notFound, ""},
		{"txn", "a path that the API does not have", expire, 404, `{"errors":[{"status":"404","title":"Not Found","detail":"No route matches [POST] /api"}]}`, unexpected, ""},
		{"txn", "no route, under 422", expire, 422, `{"errors":[{"status":404,"detail":"No route matches [POST] /api"}]}`, v1alpha1.OutcomeRefused, ""},
		{"txn", "one error of several says 404", expire, 422, `{"errors":[{"status":"422","detail":"link is completed"},{"status":"404","title":"network not found"}]}`, v1alpha1.OutcomeRefused, ""},
		{"txn", "a 404 without details", expire, 404, `{"errors":[{"status":"404","title":"Not found","detail":null}]}`, notFound, ""},
		{"circle", "an account that is not found", expire, 404, `{"code":404,"message":"Merchant account not found"}`, unexpected, ""},
		{"helio", "the stock 404 of another framework", expire, 404, `{"message":"Route POST:/v1/v1/charge/api-key/1/expire not found","statusCode":404}`, unexpected, ""},
		{"txn", "a 404 about something else than the status says", expire, 404, `{"errors":[{"status":"422"}]}`, unexpected, ""},
		{"txn", "a document about something that is no link", observe, 200, `{"data":{"type":"invoices","attributes":{"status":"expired"}}}`, unexpected, ""},
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

// TestAReplyAboutAnotherSessionProvesNothing has a cache in between that mixes its keys up.
func TestAReplyAboutAnotherSessionProvesNothing(t *testing.T) {
	replies := map[string]string{
		"circle": `{"data":{"id":"ID","timeline":[{"status":"expired","time":"2022-07-21T21:00:00Z"}]}}`,
		"helio":  `{"token":"ID","windowClosed":true,"paylinkTx":null}`,
		"omise":  `{"object":"charge","id":"ID","status":"expired","expired":true,"paid":false}`,
		"txn":    `{"data":{"id":"ID","type":"paymentLinks","attributes":{"status":"expired"}}}`,
	}
	for provider, body := range replies {
		asked := gen.ID(provider, 1) + map[bool]string{true: "a"}[provider == "omise"]
		asked = strings.Replace(asked, "ea", "eA", 1)
		for about, tc := range map[string]struct {
			id    string
			state v1alpha1.SessionState
		}{
			"the session itself":               {asked, v1alpha1.SessionStateExpired},
			"another session":                  {gen.ID(provider, 2), ""},
			"the session, with upper-case hex": {strings.ToUpper(asked), map[bool]v1alpha1.SessionState{true: v1alpha1.SessionStateExpired}[provider != "omise"]},
		} {
			for _, operation := range []v1alpha1.Operation{expire, observe} {
				reply := &httpx.Reply{Code: 200, Header: http.Header{}, Body: []byte(strings.Replace(body, "ID", tc.id, 1))}
				result := compiled(t, provider).interpret(operation, asked, reply, nil, nil, noon)
				if result.State != tc.state || (result.Outcome == v1alpha1.OutcomeAccepted) != (tc.state != "") {
					t.Errorf("%s, %s about %s: %s, state %q (%s)", provider, operation, about, result.Outcome, result.State, result.Message)
				}
				if tc.state == "" && !strings.Contains(result.Message, "another session") {
					t.Errorf("%s: message %q does not say why", provider, result.Message)
				}
			}
		}
	}
}

// TestAnErrorAboutAnotherSessionProvesNothing has the same cache mix up errors, of those providers whose errors name the session.
func TestAnErrorAboutAnotherSessionProvesNothing(t *testing.T) {
	for provider, tc := range map[string]struct {
		code int
		body string
	}{
		"helio": {404, `{"message":"Charge not found for token \"ID\"","statusCode":404}`},
		"omise": {422, `{"object":"error","code":"already_expired","message":"charge ID is already expired"}`},
	} {
		for _, number := range []int{1, 2} {
			body := strings.Replace(tc.body, "ID", gen.ID(provider, number), 1)
			result := compiled(t, provider).interpret(expire, gen.ID(provider, 1), &httpx.Reply{Code: tc.code, Header: http.Header{}, Body: []byte(body)}, nil, nil, noon)
			if counts := result.Outcome != v1alpha1.OutcomeUnexpectedResponse; counts != (number == 1) {
				t.Errorf("%s about session %d: %s, state %q", provider, number, result.Outcome, result.State)
			}
		}
	}
}

// TestAnEchoIsRedactedHoweverItIsCut has providers that echo credentials where a class cuts, changes or repeats them.
func TestAnEchoIsRedactedHoweverItIsCut(t *testing.T) {
	long := "TEST_API_KEY:" + strings.Repeat("abcdefgh", 8)
	for reason, tc := range map[string]struct {
		provider    string
		credentials Credentials
		body        string
		secret      string
	}{
		"a word that is longer than its place": {"circle", Credentials{"apiKey": Secret(long)}, `{"data":{"timeline":[{"status":"` + long + `","time":"2022-07-21T21:00:00Z"}]}}`, "abcdefgh"},
		"a word in other case":                 {"helio", Credentials{"secretKey": "simulated-secret"}, `{"token":"x","paylinkTx":{"status":"simulated-secret"}}`, "SIMULATED"},
		"a credential that is part of another": {"circle", Credentials{"apiKey": "swordfish", "other": "swordfish-and-more"}, `{"code":1,"message":"swordfish-and-more"}`, "more"},
		"two credentials as one":               {"circle", Credentials{"apiKey": "bob-the-merchant", "other": "swordfish"}, `{"code":1,"message":"Ym9iLXRoZS1tZXJjaGFudDpzd29yZGZpc2g="}`, "zd29yZGZpc2g"},
	} {
		for _, code := range []int{200, 400} {
			result := compiled(t, tc.provider).interpret(observe, "x", &httpx.Reply{Code: code, Header: http.Header{}, Body: []byte(tc.body)}, nil, tc.credentials, noon)
			if strings.Contains(result.Message+result.Status, tc.secret) {
				t.Errorf("%s: %q %q", reason, result.Message, result.Status)
			}
		}
	}
}

func TestAnUnlistedWordIsNamed(t *testing.T) {
	reply := &httpx.Reply{Code: 200, Header: http.Header{}, Body: []byte(`{"token":"x","paylinkTx":{"status":"CANCELLED"}}`)}
	if result := compiled(t, "helio").interpret(observe, "x", reply, nil, nil, noon); !strings.Contains(result.Message, `"CANCELLED"`) {
		t.Errorf("message %q does not name the word", result.Message)
	}
}

// TestTheProvidersWordIsRedacted has a provider that echoes a credential where its status word should be, and a class whose override
// does not look at the word.
func TestTheProvidersWordIsRedacted(t *testing.T) {
	spec := gen.Class("omise").Spec
	spec.State.Overrides = []v1alpha1.StateOverride{{When: "body.expired == true", State: v1alpha1.SessionStateExpired}}
	definition, err := Compile(&spec)
	if err != nil {
		t.Fatal(err)
	}
	reply := &httpx.Reply{Code: 200, Header: http.Header{}, Body: []byte(`{"object":"charge","status":"key canary","expired":true}`)}
	result := definition.interpret(observe, "", reply, nil, Credentials{"secretKey": "canary"}, noon)
	if result.State != v1alpha1.SessionStateExpired || strings.Contains(result.Status, "canary") || result.Status == "" {
		t.Errorf("state %q, word %q; want it expired and the credential taken out", result.State, result.Status)
	}
}

func TestWhatAClosedSessionLeavesPayable(t *testing.T) {
	for reason, tc := range map[string]struct {
		provider, body string
		want           bool
	}{
		"a used link":                    {"txn", `{"data":{"attributes":{"status":"completed"},"relationships":{"target":{"data":{"id":"1","type":"invoices"}}}}}`, true},
		"a link that expired unused":     {"txn", `{"data":{"attributes":{"status":"expired"},"relationships":{"target":{"data":null}}}}`, false},
		"one that expired after its use": {"txn", `{"data":{"attributes":{"status":"expired"},"relationships":{"target":{"data":{"id":"1","type":"invoices"}}}}}`, true},
		"an open one":                    {"txn", `{"data":{"attributes":{"status":"pending"},"relationships":{"target":{"data":{"id":"1","type":"invoices"}}}}}`, false},
		"a charge":                       {"omise", `{"object":"charge","status":"successful"}`, false},
	} {
		result := compiled(t, tc.provider).interpret(observe, "", &httpx.Reply{Code: 200, Header: http.Header{}, Body: []byte(tc.body)}, nil, nil, noon)
		if got := result.StillPayable != ""; got != tc.want {
			t.Errorf("%s: leaves %q payable", reason, result.StillPayable)
		}
	}
}

// TestTwoCredentialsInOnePlace tries classes in which a credential would be lost.
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
		"a host header":                  {[]v1alpha1.Authentication{header("Host")}, "spec.authentication[0].header.name"},
		"a length, in lower case":        {[]v1alpha1.Authentication{bearer, header("content-length")}, "spec.authentication[1].header.name"},
		"basic beside bearer":            {[]v1alpha1.Authentication{basic, bearer}, "spec.authentication[1]"},
		"a header beside bearer":         {[]v1alpha1.Authentication{bearer, header("authorization")}, "spec.authentication[1]"},
		"one header twice":               {[]v1alpha1.Authentication{header("X-Key"), header("x-key")}, "spec.authentication[1]"},
		"the type of the content":        {[]v1alpha1.Authentication{header("Content-Type")}, "spec.authentication[0]"},
		"a header that the class has":    {[]v1alpha1.Authentication{header("X-Fixed")}, "spec.authentication[0]"},
		"one query parameter twice":      {[]v1alpha1.Authentication{query("key"), query("key")}, "spec.authentication[1]"},
		"a header of one's own":          {[]v1alpha1.Authentication{header("Authorization")}, ""},
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
