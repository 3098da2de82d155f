// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// tried is what a trial says of one call.
type tried struct {
	Outcome v1alpha1.Outcome
	State   v1alpha1.SessionState
	// Doubt is a part of the doubt; empty for none.
	Doubt string
}

// try tries a class at an endpoint, and compares what is said of each call.
func try(t *testing.T, trial *Trial, want map[string]tried) []Attempt {
	t.Helper()
	trial.Door = httpx.Options{AllowPrivate: true, MaxConnections: 1, Timeout: time.Minute}
	attempts, err := trial.Try(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]tried{}
	for _, made := range attempts {
		doubt := want[made.Name].Doubt
		if !strings.Contains(made.Doubt, doubt) || doubt == "" {
			doubt = made.Doubt
		}
		got[made.Name] = tried{made.Outcome, made.State, doubt}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	return attempts
}

// invoices is a provider that the class of testdata/fifth.yaml describes.
type invoices struct {
	void bool
	// noSession is the body of the reply for an invoice that does not exist.
	noSession string
}

func (p *invoices) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Set-Cookie", "session=1")
	answer := func(code int, format string, arguments ...any) {
		w.WriteHeader(code)
		_, _ = fmt.Fprintf(w, format, arguments...)
	}
	path, isKnown := strings.CutPrefix(r.URL.Path, "/v2/invoices/")
	number, action, _ := strings.Cut(path, "/")
	switch {
	case !isKnown:
		answer(404, `{"error":"no route"}`)
	case r.Header.Get("X-Api-Key") != "the-key-of-the-merchant":
		answer(401, `{"fault":{"code":"WHO","key":%q}}`, r.Header.Get("X-Api-Key"))
	case number != "INV-1042":
		answer(404, "%s", p.noSession)
	case action == "void" && p.void:
		answer(409, `{"fault":{"code":"VOID"}}`)
	default:
		p.void = p.void || action == "void"
		state := map[bool]string{false: "OPEN", true: "VOID"}[p.void]
		answer(200, `{"invoice":{"number":"INV-1042","state":%q,"key":"the-key-of-the-merchant"}}`, state)
	}
}

func TestTry(t *testing.T) {
	provider := &invoices{noSession: `{"fault":{"code":"NO_SUCH_INVOICE"}}`}
	server := httptest.NewServer(provider)
	defer server.Close()
	trial := &Trial{
		Class: read(t, "testdata/fifth.yaml"), ID: "INV-1042", Endpoint: server.URL, Expire: true,
		Credentials: map[string][]byte{"token": []byte("the-key-of-the-merchant\n")},
	}
	attempts := try(t, trial, map[string]tried{
		"the session":                  {v1alpha1.OutcomeAccepted, "active", ""},
		"an id that was made up":       {v1alpha1.OutcomeNotFound, "", ""},
		"a path that does not exist":   {v1alpha1.OutcomeUnexpectedResponse, "", ""},
		"a wrong key":                  {v1alpha1.OutcomeCredentialsRejected, "", ""},
		"the session is expired":       {v1alpha1.OutcomeAccepted, "expired", ""},
		"the session after that":       {v1alpha1.OutcomeAccepted, "expired", ""},
		"the session is expired again": {v1alpha1.OutcomeRefused, "", ""},
	})
	recorded, err := Recorded(attempts, "INV-1042")
	if err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{"the-key-of-the-merchant", "session=1"} {
		if strings.Contains(string(recorded), secret) {
			t.Errorf("%q is in the recorded examples:\n%s", secret, recorded)
		}
	}
	report, findings := tested(t, as, string(recorded))
	if report == nil || report.Failed() > 0 || len(report.Rows) != len(attempts) {
		t.Errorf("the recorded examples do not pass: %+v, %v", report, findings)
	}
}

// TestRecordHasNoCredential records replies that repeat a credential or a token in unusual ways.
func TestRecordHasNoCredential(t *testing.T) {
	const secret, token = "ab/cd+ef&gh==", "token-of-the-account-1f"
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("X-Request-ID", "for "+r.Header.Get("Authorization"))
		if r.URL.Path == "/token" {
			_, _ = fmt.Fprintf(w, `{"access_token":%q,"expires_in":60,"note":"ab\/cd+ef\u0026gh=="}`, token)
			return
		}
		w.WriteHeader(http.StatusUnauthorized)
		_, _ = fmt.Fprintf(w, `{"got":%q,"key":"ab\/cd+ef\u0026gh==","ab\/cd+ef\u0026gh==":1}`, r.Header.Get("Authorization"))
	}))
	defer server.Close()
	class := read(t, "testdata/fifth.yaml")
	class.Spec.Credentials = append(class.Spec.Credentials, v1alpha1.CredentialKey{Name: "id"})
	class.Spec.Authentication = []v1alpha1.Authentication{{OAuth2: &v1alpha1.OAuth2Authentication{
		TokenURL: "/token", ClientID: "id", ClientSecret: "token",
	}}}
	compiled, err := class.compiled()
	if err != nil {
		t.Fatal(err)
	}
	trial := &Trial{
		Class: compiled, ID: "INV-1042", Endpoint: server.URL,
		Credentials: map[string][]byte{"token": []byte(secret), "id": []byte("the-client")},
		Door:        httpx.Options{AllowPrivate: true, MaxConnections: 1, Timeout: time.Minute},
	}
	attempts, err := trial.Try(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	recorded, err := Recorded(attempts, "INV-1042")
	if err != nil {
		t.Fatal(err)
	}
	for _, leak := range []string{secret, token, "cd+ef"} {
		if strings.Contains(string(recorded), leak) {
			t.Errorf("%q is in the record:\n%s", leak, recorded)
		}
	}
}

// TestTryChangesNothing makes no call but reads, unless it is told to.
func TestTryChangesNothing(t *testing.T) {
	provider := &invoices{noSession: `{"error":"no route"}`}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet {
			t.Errorf("%s %s", r.Method, r.URL.Path)
		}
		provider.ServeHTTP(w, r)
	}))
	defer server.Close()
	class := read(t, "testdata/fifth.yaml")
	credentials := map[string][]byte{"token": []byte("the-key-of-the-merchant")}
	try(t, &Trial{Class: class, ID: "INV-1042", Endpoint: server.URL, Credentials: credentials}, map[string]tried{
		"the session":                {v1alpha1.OutcomeAccepted, "active", ""},
		"an id that was made up":     {v1alpha1.OutcomeUnexpectedResponse, "", "unknownSession does not match"},
		"a path that does not exist": {v1alpha1.OutcomeUnexpectedResponse, "", ""},
		"a wrong key":                {v1alpha1.OutcomeCredentialsRejected, "", ""},
	})
}

// TestTryFlagsRepliesThatLookAlike has a class that takes every 404 for an unknown session.
func TestTryFlagsRepliesThatLookAlike(t *testing.T) {
	server := httptest.NewServer(&invoices{noSession: `{"error":"no route"}`})
	defer server.Close()
	spec := read(t, "testdata/fifth.yaml")
	spec.Spec.UnknownSession = "has(body.error)"
	changed, err := spec.compiled()
	if err != nil {
		t.Fatal(err)
	}
	credentials := map[string][]byte{"token": []byte("the-key-of-the-merchant")}
	try(t, &Trial{Class: changed, ID: "INV-1042", Endpoint: server.URL, Credentials: credentials}, map[string]tried{
		"the session":                {v1alpha1.OutcomeAccepted, "active", ""},
		"an id that was made up":     {v1alpha1.OutcomeNotFound, "", ""},
		"a path that does not exist": {v1alpha1.OutcomeNotFound, "", "would release deletions"},
		"a wrong key":                {v1alpha1.OutcomeCredentialsRejected, "", ""},
	})
}

// TestStripe tries the Stripe classes at stripe-mock, which checks requests against Stripe's OpenAPI document. Its
// replies are fixtures: it knows every id, and changes nothing.
func TestStripe(t *testing.T) {
	address := startStripeMock(t)
	catalogue := filepath.Join(gen.Root(), "config", "classes", "catalogue")
	credentials := map[string][]byte{"secretKey": []byte("sk_test_123")}
	madeUp := tried{v1alpha1.OutcomeAccepted, "active", "for an id that was made up"}
	noRoute := tried{v1alpha1.OutcomeUnexpectedResponse, "", ""}
	t.Run("Checkout Sessions", func(t *testing.T) {
		// The fixture's session has an id of its own in the reply to expire.
		other := tried{v1alpha1.OutcomeUnexpectedResponse, "", "neither accepted nor refused"}
		attempts := try(t, &Trial{
			Class: read(t, filepath.Join(catalogue, "stripe-checkout", "stripe-checkout.yaml")), ID: "cs_test_1",
			Endpoint: address, Credentials: credentials, Expire: true,
		}, map[string]tried{
			"the session": {v1alpha1.OutcomeAccepted, "active", ""}, "an id that was made up": madeUp,
			"a path that does not exist": noRoute, "a wrong key": {v1alpha1.OutcomeCredentialsRejected, "", ""},
			"the session is expired": other, "the session is expired again": other,
			"the session after that": {v1alpha1.OutcomeAccepted, "active", "is not expired"},
		})
		if code := attempts[4].Code; code != http.StatusOK {
			t.Errorf("the call to expire is answered with %d: stripe-mock refuses the request", code)
		}
	})
	t.Run("Payment Links", func(t *testing.T) {
		try(t, &Trial{
			Class: read(t, filepath.Join(catalogue, "stripe-payment-link", "stripe-payment-link.yaml")), ID: "plink_1",
			Endpoint: address, Credentials: credentials, Expire: true,
		}, map[string]tried{
			"the session": {v1alpha1.OutcomeAccepted, "active", ""}, "an id that was made up": madeUp,
			"a path that does not exist": noRoute, "a wrong key": {v1alpha1.OutcomeCredentialsRejected, "", ""},
			"the session is expired":       {v1alpha1.OutcomeAccepted, "expired", ""},
			"the session is expired again": {v1alpha1.OutcomeAccepted, "expired", ""},
			"the session after that":       {v1alpha1.OutcomeAccepted, "active", "is not expired"},
		})
	})
}

// startStripeMock builds and starts stripe-mock, and returns its URL.
func startStripeMock(t *testing.T) string {
	t.Helper()
	build := exec.CommandContext(t.Context(), "go", "tool", "-modfile=hack/tools/go.mod", "-n", "stripe-mock")
	build.Dir = gen.Root()
	path, err := build.Output()
	if err != nil {
		t.Fatalf("cannot build stripe-mock: %v", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	arguments := []string{"-http-addr", "127.0.0.1:0", "-https-addr", "127.0.0.1:0"}
	server := exec.CommandContext(ctx, strings.TrimSpace(string(path)), arguments...)
	output, err := server.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = server.Wait() })
	listening := regexp.MustCompile(`Listening for HTTP at address: (\S+)`)
	for lines := bufio.NewScanner(output); lines.Scan(); {
		if match := listening.FindStringSubmatch(lines.Text()); match != nil {
			return "http://" + match[1]
		}
	}
	t.Fatal("stripe-mock has ended before it listened")
	return ""
}
