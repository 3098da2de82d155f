// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/oauth2"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
)

const clientSecret = "client-secret-73d1"

// tokenServer is a provider whose API accepts the tokens that its token endpoint has handed out and not ended.
type tokenServer struct {
	// answer is the token endpoint's; nil for a token.
	answer http.HandlerFunc

	mu       sync.Mutex
	valid    map[string]bool
	requests []*http.Request
	calls    int
}

func (s *tokenServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A server notices that its client is gone once it has read the body.
	_ = r.ParseForm()
	s.mu.Lock()
	defer s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch {
	case r.URL.Path != "/token":
		s.calls++
		if _, token, _ := strings.Cut(r.Header.Get("Authorization"), " "); !s.valid[token] {
			w.WriteHeader(http.StatusUnauthorized)
			_, _ = fmt.Fprintf(w, `{"message":"the token %s is not valid"}`, token)
			return
		}
		_, _ = fmt.Fprint(w, `{"status":"open"}`)
	case s.answer != nil:
		s.requests = append(s.requests, r)
		s.answer(w, r)
	default:
		s.requests = append(s.requests, r)
		token := fmt.Sprintf("token-%d-of-the-account", len(s.requests))
		s.valid[token] = true
		_, _ = fmt.Fprintf(w, `{"access_token":%q,"token_type":"Bearer","expires_in":3600}`, token)
	}
}

// end ends all tokens.
func (s *tokenServer) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.valid)
}

// withTokens returns an endpoint of a class with oauth2 at a provider.
func withTokens(t *testing.T, provider *tokenServer, change func(*v1alpha1.OAuth2Authentication),
	options httpx.Options) *Endpoint {
	t.Helper()
	provider.valid = map[string]bool{}
	server := httptest.NewServer(provider)
	t.Cleanup(server.Close)
	way := &v1alpha1.OAuth2Authentication{TokenURL: "/token", ClientID: "id", ClientSecret: "secret"}
	if change != nil {
		change(way)
	}
	definition, err := Compile(&v1alpha1.PaymentProviderClassSpec{
		SessionID:      v1alpha1.SessionIDFormat{Name: "id", Pattern: "[a-z0-9]+"},
		Credentials:    []v1alpha1.CredentialKey{{Name: "id"}, {Name: "secret"}, {Name: "version"}},
		Authentication: []v1alpha1.Authentication{{OAuth2: way}},
		Expire:         v1alpha1.RequestTemplate{Method: "POST", Path: "/{id}/expire"},
		Observe:        v1alpha1.RequestTemplate{Method: "GET", Path: "/{id}"},
		UnknownSession: "false", Message: "body.message",
		State: v1alpha1.StateMapping{
			Status: "body.status", Words: map[string]v1alpha1.StateWord{"open": v1alpha1.StateWord(v1alpha1.SessionStateActive)},
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	base, err := definition.BaseURL("", server.URL)
	if err != nil {
		t.Fatal(err)
	}
	door := httpx.New(options)
	t.Cleanup(door.Close)
	return &Endpoint{
		Definition: definition, BaseURL: base, TokenURL: definition.TokenURL("", server.URL, base), Door: door,
		Credentials: Credentials{"id": "client-id", "secret": clientSecret, "version": "version-7"},
	}
}

var openDoor = httpx.Options{AllowPrivate: true, MaxConnections: 16, Timeout: time.Minute}

func TestTokenIsRequestedOnce(t *testing.T) {
	provider := &tokenServer{}
	endpoint := withTokens(t, provider, nil, openDoor)
	var calls sync.WaitGroup
	for range 1000 {
		calls.Go(func() {
			if result := endpoint.Call(t.Context(), observe, "a1"); result.State != v1alpha1.SessionStateActive {
				t.Errorf("a call ends with %s: %s", result.Outcome, result.Message)
			}
		})
	}
	calls.Wait()
	if len(provider.requests) != 1 {
		t.Errorf("%d token requests for 1000 calls, want 1", len(provider.requests))
	}
}

// TestRejectedTokenIsRequestedAgain ends the token before its time.
func TestRejectedTokenIsRequestedAgain(t *testing.T) {
	provider := &tokenServer{}
	endpoint := withTokens(t, provider, nil, openDoor)
	for round := range 3 {
		if result := endpoint.Call(t.Context(), observe, "a1"); result.State != v1alpha1.SessionStateActive {
			t.Errorf("call %d ends with %s: %s", round, result.Outcome, result.Message)
		}
		provider.end()
	}
	if len(provider.requests) != 3 || provider.calls != 5 {
		t.Errorf("%d token requests and %d calls, want 3 and 5", len(provider.requests), provider.calls)
	}
}

// TestFreshTokenIsRejected has a provider that accepts no token. The credentials are rejected then, after one call.
func TestFreshTokenIsRejected(t *testing.T) {
	provider := &tokenServer{answer: func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprint(w, `{"access_token":"token-of-somebody-else","expires_in":60}`)
	}}
	result := withTokens(t, provider, nil, openDoor).Call(t.Context(), observe, "a1")
	if result.Outcome != v1alpha1.OutcomeCredentialsRejected || provider.calls != 1 {
		t.Errorf("%s after %d calls, want CredentialsRejected after 1", result.Outcome, provider.calls)
	}
	if strings.Contains(result.Message, "somebody") || !strings.Contains(result.Message, redacted) {
		t.Errorf("message %q, want it without the token", result.Message)
	}
}

// TestTokenRequest checks what the token endpoint receives.
func TestTokenRequest(t *testing.T) {
	basic := "Basic " + base64.StdEncoding.EncodeToString([]byte("client-id:"+clientSecret))
	cases := []struct {
		reason string
		change func(*v1alpha1.OAuth2Authentication)
		header string
		form   map[string]string
		// scheme is the word before the token in the call.
		scheme string
	}{
		{"by default the client is authenticated by HTTP Basic", nil, basic,
			map[string]string{"grant_type": "client_credentials"}, "Bearer"},
		{"the client is authenticated in the body", func(way *v1alpha1.OAuth2Authentication) {
			way.ClientAuthentication, way.Scheme = v1alpha1.ClientAuthenticationBody, "O-Bearer"
			way.Parameters = []v1alpha1.OAuth2Parameter{
				{Name: "client_version", Credential: "version"}, {Name: "audience", Value: "payments"},
			}
		}, "", map[string]string{
			"grant_type": "client_credentials", "client_id": "client-id", "client_secret": clientSecret, "client_version": "version-7",
			"audience": "payments",
		}, "O-Bearer"},
		{"scopes are asked for", func(way *v1alpha1.OAuth2Authentication) { way.Scopes = []string{"read", "write"} }, basic,
			map[string]string{"grant_type": "client_credentials", "scope": "read write"}, "Bearer"},
	}
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			provider := &tokenServer{}
			endpoint := withTokens(t, provider, tc.change, openDoor)
			if result := endpoint.Call(t.Context(), expire, "a1"); result.Outcome != v1alpha1.OutcomeAccepted {
				t.Fatalf("the call ends with %s: %s", result.Outcome, result.Message)
			}
			request := provider.requests[0]
			form := map[string]string{}
			for name := range request.PostForm {
				form[name] = request.PostForm.Get(name)
			}
			if diff := cmp.Diff(tc.form, form); diff != "" || request.Header.Get("Authorization") != tc.header {
				t.Errorf("Authorization %q, form (-want +got):\n%s", request.Header.Get("Authorization"), diff)
			}
			built, err := endpoint.request(t.Context(), expire, "a1", endpoint.Credentials.with("x"), noon)
			if err != nil || built.Header.Get("Authorization") != tc.scheme+" x" {
				t.Errorf("the call has Authorization %q, %v; want %s", built.Header.Get("Authorization"), err, tc.scheme)
			}
		})
	}
}

// TestNoToken has token endpoints that answer something else than a token. No call is made then, and the message says
// that it is the token endpoint's answer.
func TestNoToken(t *testing.T) {
	answer := func(code int, contentType, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", contentType)
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(code)
			_, _ = fmt.Fprint(w, body)
		}
	}
	const json, page = "application/json", "text/html"
	slow := httpx.Options{AllowPrivate: true, MaxConnections: 1, Timeout: time.Millisecond}
	cases := []struct {
		reason  string
		answer  http.HandlerFunc
		options httpx.Options
		want    v1alpha1.Outcome
		says    string
	}{
		{"the client is rejected with 401", answer(401, json, `{"error":"invalid_client","error_description":"Client Authentication failed"}`),
			openDoor, v1alpha1.OutcomeCredentialsRejected, "Client Authentication failed"},
		{"the client is rejected with 400", answer(400, json, `{"error":"invalid_client"}`), openDoor,
			v1alpha1.OutcomeCredentialsRejected, "invalid_client"},
		{"the client is rejected in the provider's own words", answer(400, json, `{"code":"INVALID_CLIENT"}`), openDoor,
			v1alpha1.OutcomeCredentialsRejected, "HTTP 400"},
		{"an error with 200", answer(200, json, `{"error":"invalid_scope"}`), openDoor, v1alpha1.OutcomeCredentialsRejected,
			"invalid_scope"},
		{"the answer repeats the secret", answer(401, json, `{"error":"bad","error_description":"no client has `+clientSecret+`"}`),
			openDoor, v1alpha1.OutcomeCredentialsRejected, "no client has [redacted]"},
		{"a page with 401", answer(401, page, "<html>"), openDoor, v1alpha1.OutcomeCredentialsRejected, "HTTP 401"},
		{"a page with 403, of something in between", answer(403, page, "<html>"), openDoor,
			v1alpha1.OutcomeUnexpectedResponse, "HTTP 403"},
		{"a page with 404", answer(404, page, "<html>"), openDoor, v1alpha1.OutcomeUnexpectedResponse, "HTTP 404"},
		{"a page with 200", answer(200, page, "<html>"), openDoor, v1alpha1.OutcomeUnexpectedResponse, "no access_token"},
		{"the class asks in the wrong way", answer(400, json, `{"error":"invalid_request"}`), openDoor,
			v1alpha1.OutcomeUnexpectedResponse, "invalid_request"},
		{"a temporary error with 400", answer(400, json, `{"error":"temporarily_unavailable"}`), openDoor,
			v1alpha1.OutcomeUnavailable, "temporarily_unavailable"},
		{"a redirect that repeats the secret and cannot be parsed", func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", "https://x.example/%zz?client_secret="+clientSecret)
			w.WriteHeader(http.StatusFound)
		}, openDoor, v1alpha1.OutcomeUnexpectedResponse, "HTTP 302"},
		{"an empty reply", answer(200, json, ""), openDoor, v1alpha1.OutcomeUnexpectedResponse, "no access_token"},
		{"a redirect", answer(307, json, ""), openDoor, v1alpha1.OutcomeUnexpectedResponse, "HTTP 307"},
		{"too many requests", answer(429, json, "{}"), openDoor, v1alpha1.OutcomeThrottled, "HTTP 429"},
		{"an error of the server", answer(500, json, "{}"), openDoor, v1alpha1.OutcomeUnavailable, "HTTP 500"},
		{"no reply in time", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, slow,
			v1alpha1.OutcomeUnavailable, "no reply within the timeout"},
		{"plain http", nil, httpx.Options{MaxConnections: 1, Timeout: time.Minute}, v1alpha1.OutcomeUnavailable,
			"only https is allowed"},
	}
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			provider := &tokenServer{answer: tc.answer}
			result := withTokens(t, provider, nil, tc.options).Call(t.Context(), expire, "a1")
			want := call.Result{Outcome: tc.want, Message: "the token endpoint: " + result.Message[len("the token endpoint: "):]}
			answers := tc.answer != nil && tc.options == openDoor
			if tc.want == v1alpha1.OutcomeThrottled || tc.want == v1alpha1.OutcomeUnavailable && answers {
				want.RetryAfter = 7 * time.Second
			}
			if diff := cmp.Diff(want, result); diff != "" || !strings.Contains(result.Message, tc.says) {
				t.Errorf("message %q, want %q in it; result (-want +got):\n%s", result.Message, tc.says, diff)
			}
			if provider.calls != 0 {
				t.Errorf("%d calls were made without a token", provider.calls)
			}
		})
	}
}

// TestPrivateTokenEndpoint has a token endpoint at a private address, which the operator does not call.
func TestPrivateTokenEndpoint(t *testing.T) {
	provider := &tokenServer{}
	endpoint := withTokens(t, provider, nil, httpx.Options{MaxConnections: 1, Timeout: time.Minute})
	endpoint.TokenURL.Scheme = "https"
	result := endpoint.Call(t.Context(), expire, "a1")
	if result.Outcome != v1alpha1.OutcomeUnavailable || result.MayHaveActed ||
		!strings.Contains(result.Message, "the token endpoint: the endpoint resolves to a private") {
		t.Errorf("%+v, want Unavailable, because the address is private", result)
	}
	if len(provider.requests) > 0 || provider.calls > 0 {
		t.Errorf("%d token requests and %d calls, want none", len(provider.requests), provider.calls)
	}
}

// TestTokenThatEndsAtOnceOrNever makes calls with tokens whose end makes no sense. Each is used until it is rejected,
// or for some seconds.
func TestTokenThatEndsAtOnceOrNever(t *testing.T) {
	for _, end := range []string{`"expires_in":1`, `"expires_in":0`, `"expires_in":null`, `"expires_in":-5`, `"scope":""`,
		`"expires_in":"1"`} {
		provider := &tokenServer{}
		endpoint := withTokens(t, provider, nil, openDoor)
		provider.valid["the-token"] = true
		provider.answer = func(w http.ResponseWriter, _ *http.Request) {
			_, _ = fmt.Fprintf(w, `{"access_token":"the-token","token_type":"Bearer",%s}`, end)
		}
		for range 3 {
			if result := endpoint.Call(t.Context(), observe, "a1"); result.State != v1alpha1.SessionStateActive {
				t.Errorf("%s: a call ends with %s: %s", end, result.Outcome, result.Message)
			}
		}
		if len(provider.requests) != 1 {
			t.Errorf("%s: %d token requests for 3 calls, want 1", end, len(provider.requests))
		}
	}
}

func TestTokenIsRenewedInTime(t *testing.T) {
	cases := []struct {
		reason string
		ends   time.Duration
		want   time.Duration
	}{
		{"an hour: a minute before", time.Hour, 59 * time.Minute},
		{"5 minutes: half a minute before", 5 * time.Minute, 270 * time.Second},
		{"1 second: not at once", time.Second, minTokenUse},
		{"ended already: not at once", -time.Hour, minTokenUse},
	}
	for _, tc := range cases {
		if got := renewAt(noon, noon.Add(tc.ends)).Sub(noon); got != tc.want {
			t.Errorf("%s: renewed after %s, want %s", tc.reason, got, tc.want)
		}
	}
	if got := renewAt(noon, time.Time{}).Sub(noon); got != maxTokenUse {
		t.Errorf("a token without an end is renewed after %s, want %s", got, maxTokenUse)
	}
}

func TestEndOfToken(t *testing.T) {
	cases := []struct {
		reason string
		extra  map[string]any
		want   time.Time
	}{
		{"no end", nil, time.Time{}},
		{"expires_at in seconds", map[string]any{"expires_at": 1706697605.0}, time.Unix(1706697605, 0)},
		{"expires_at in milliseconds", map[string]any{"expires_at": 1706697605000.0}, time.Unix(1706697605, 0)},
		{"an expires_at that is no number", map[string]any{"expires_at": "soon"}, time.Time{}},
	}
	for _, tc := range cases {
		if got := endOf((&oauth2.Token{}).WithExtra(tc.extra)); !got.Equal(tc.want) {
			t.Errorf("%s: %s, want %s", tc.reason, got, tc.want)
		}
	}
}
