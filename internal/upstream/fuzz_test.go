// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// echoed is the placeholder of a credential in a fuzzed reply. A provider, or a proxy, may send a credential back.
const echoed = "{{credential}}"

// fuzzed is a shipped class, compiled once for all executions.
type fuzzed struct {
	definition  *Definition
	credentials Credentials
}

func fuzzedClasses(f *testing.F) []fuzzed {
	f.Helper()
	var classes []fuzzed
	for _, provider := range gen.Providers {
		definition, err := Compile(&gen.Class(provider).Spec)
		if err != nil {
			f.Fatal(err)
		}
		data := map[string][]byte{}
		for name, value := range simulator.Keys()[provider] {
			data[name] = []byte(value)
		}
		credentials, err := definition.Credentials(data)
		if err != nil {
			f.Fatal(err)
		}
		classes = append(classes, fuzzed{definition, credentials})
	}
	return classes
}

func operationOf(expires bool) v1alpha1.Operation {
	if expires {
		return expire
	}
	return observe
}

// FuzzReply interprets arbitrary replies. No reply may count as a proof that it does not contain, and the texts of the
// result must be bounded, printable and without the credential.
func FuzzReply(f *testing.F) {
	classes := fuzzedClasses(f)
	f.Fuzz(func(t *testing.T, provider uint8, expires bool, code uint16, field, value, retryAfter string, body []byte) {
		number := int(provider) % len(classes)
		class, operation := classes[number], operationOf(expires)
		for _, secret := range class.credentials {
			body = []byte(strings.ReplaceAll(string(body), echoed, string(secret)))
			value = strings.ReplaceAll(value, echoed, string(secret))
		}
		reply := &httpx.Reply{Code: int(code), Header: http.Header{"Retry-After": {retryAfter}}, Body: body}
		reply.Header[field] = append(reply.Header[field], value)
		result := interpreted(class.definition, class.credentials, operation, idIn(class.definition, string(body)), reply)
		if result.State == v1alpha1.SessionStateExpired && !provesExpiry(gen.Providers[number], operation, int(code), body) {
			t.Errorf("%s: %d %q counts as a proof of expiry, and is none", gen.Providers[number], code, body)
		}
		if result.State != "" && result.Outcome != v1alpha1.OutcomeAccepted {
			t.Errorf("%s: state %s with the outcome %s, want Accepted", gen.Providers[number], result.State, result.Outcome)
		}
		if result.RetryAfter < 0 || result.RetryAfter > MaxRetryAfter {
			t.Errorf("Retry-After %q is read as %s, want 0 to %s", retryAfter, result.RetryAfter, MaxRetryAfter)
		}
		for what, text := range map[string]string{
			"message": result.Message, "request id": result.RequestID, "status": result.Status,
		} {
			checkExcerpt(t, what, text, class.credentials)
		}
	})
}

func checkExcerpt(t *testing.T, what, text string, credentials Credentials) {
	t.Helper()
	if len(text) > maxRequestIDLength {
		t.Errorf("the %s has %d bytes, want at most %d", what, len(text), maxRequestIDLength)
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("the %s %q is not printable", what, text)
	}
	for _, secret := range credentials {
		if strings.Contains(text, string(secret)) {
			t.Errorf("the %s %q contains the credential", what, text)
		}
	}
}

// provesExpiry reads a reply without a class and without CEL, as the provider's pages describe it.
func provesExpiry(provider string, operation v1alpha1.Operation, code int, body []byte) bool {
	decoded, _ := decode(body)
	root, _ := decoded.(map[string]any)
	success := code >= 200 && code <= 299
	switch provider {
	case "circle":
		if paid := at(root, "data", "amountPaid", "amount"); paid == "1.50" {
			return false
		}
		timeline, _ := at(root, "data", "timeline").([]any)
		for _, entry := range timeline {
			fields, _ := entry.(map[string]any)
			if fields["status"] == "expired" || fields["context"] == "expired" {
				return success
			}
		}
		return false
	case "helio":
		over := root["windowClosed"] == true || root["expiresAt"] != nil
		return operation == expire && code == http.StatusNoContent ||
			success && over && (has(root, "paylinkTx") || has(root, "paylinkTxs"))
	case "omise":
		already := root["object"] == "error" && root["code"] == "already_expired" && operation == expire
		unpaid := root["object"] == "charge" && root["paid"] != true
		return already || success && unpaid && (root["status"] == "expired" || root["expired"] == true)
	default:
		return success && at(root, "data", "attributes", "status") == "expired"
	}
}

func has(fields map[string]any, name string) bool {
	_, there := fields[name]
	return there
}

func at(value any, path ...string) any {
	for _, name := range path {
		fields, _ := value.(map[string]any)
		value = fields[name]
	}
	return value
}

// doerFunc is a function that implements Door.
type doerFunc func(*http.Request) (*httpx.Reply, error)

func (f doerFunc) Do(_ context.Context, request *http.Request) (*httpx.Reply, error) {
	return f(request)
}

// FuzzSessionID makes calls with arbitrary session ids. An id that is sent must be one segment of the class's path and
// change nothing else in the request.
func FuzzSessionID(f *testing.F) {
	classes := fuzzedClasses(f)
	base := &url.URL{Scheme: "https", Host: "provider.example", Path: "/base"}
	f.Fuzz(func(t *testing.T, provider uint8, expires bool, id string) {
		class, operation := classes[int(provider)%len(classes)], operationOf(expires)
		sent := false
		door := doerFunc(func(request *http.Request) (*httpx.Reply, error) {
			sent = true
			checkTarget(t, request, base, class.definition.templates[operation].Path, id)
			return nil, errors.New("no server")
		})
		endpoint := &Endpoint{Definition: class.definition, BaseURL: base, Credentials: class.credentials, Door: door}
		result := endpoint.Call(t.Context(), operation, id)
		if valid := class.definition.ValidSessionID(id); sent != valid {
			t.Errorf("id %q: sent: %v, valid: %v; want both the same", id, sent, valid)
		}
		if !sent && result.MayHaveActed {
			t.Errorf("id %q was not sent, and MayHaveActed is true", id)
		}
	})
}

// checkTarget reads the request as its receiver does, and checks where it goes.
func checkTarget(t *testing.T, request *http.Request, base *url.URL, path, id string) {
	t.Helper()
	received, err := url.ParseRequestURI(request.URL.RequestURI())
	if err != nil {
		t.Fatalf("id %q: the request line is invalid: %v", id, err)
	}
	want := base.Path + strings.Replace(path, idPlaceholder, id, 1)
	if received.Path != want || strings.Count(received.EscapedPath(), "/") != strings.Count(base.Path+path, "/") {
		t.Errorf("id %q: the path is %q (%q), want %q", id, received.Path, received.EscapedPath(), want)
	}
	target := request.URL
	if target.Hostname() != base.Hostname() || target.Port() != base.Port() || target.Scheme != base.Scheme ||
		target.User != nil || received.Fragment != "" {
		t.Errorf("id %q: the request goes to %s://%s, want %s", id, target.Scheme, target.Host, base)
	}
	if names := len(received.Query()); names > 1 {
		t.Errorf("id %q: %d query parameters, want at most 1", id, names)
	}
}

// FuzzEndpoint tries arbitrary strings as an endpoint. One that is accepted must be a plain base URL, and calls must
// stay below it.
func FuzzEndpoint(f *testing.F) {
	classes := fuzzedClasses(f)
	f.Fuzz(func(t *testing.T, provider uint8, endpoint string) {
		number := int(provider) % len(classes)
		class, id := classes[number], gen.ID(gen.Providers[number], 1)
		base, err := class.definition.BaseURL("", endpoint)
		if err != nil {
			return
		}
		if base.Scheme != "https" && base.Scheme != "http" || base.Hostname() == "" ||
			base.User != nil || base.RawQuery != "" || base.Fragment != "" {
			t.Fatalf("%q is accepted as %+v, want an error", endpoint, base)
		}
		request, err := (&Endpoint{Definition: class.definition, BaseURL: base, Credentials: class.credentials}).request(
			t.Context(), expire, id, class.credentials, noon,
		)
		if err != nil {
			return
		}
		checkTarget(t, request, base, class.definition.templates[expire].Path, id)
	})
}

// FuzzExpression tries arbitrary texts as expressions of a class. One that is rejected must have an error that names
// its field. One that compiles must be evaluated within the cost limit.
func FuzzExpression(f *testing.F) {
	replies := []*httpx.Reply{
		{Code: http.StatusNoContent},
		{Code: http.StatusOK, Body: []byte(`{"data":{"status":"expired","list":[1,2.5,"a",null,{"b":true}]}}`)},
		{Code: http.StatusUnauthorized,
			Header: http.Header{"X-Request-Id": {"1"}}, Body: []byte(`{"errors":[{"status":401}]}`)},
	}
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > maxFuzzedExpression {
			return
		}
		spec := gen.Class("txn").Spec
		spec.Outcomes = []v1alpha1.OutcomeRule{{When: v1alpha1.Expression(text), Outcome: v1alpha1.OutcomeRefused}}
		checkCompile(t, &spec, "spec.outcomes[0].when", replies)
		spec.Outcomes = nil
		spec.State.Status = v1alpha1.Expression(text)
		checkCompile(t, &spec, "spec.state.status", replies)
		spec = gen.Class("txn").Spec
		spec.ExpiredAt = v1alpha1.Expression(text)
		checkCompile(t, &spec, "spec.expiredAt", replies)
	})
}

// maxFuzzedExpression is the longest expression that the CRD allows.
const maxFuzzedExpression = 4096

func checkCompile(t *testing.T, spec *v1alpha1.PaymentProviderClassSpec, field string, replies []*httpx.Reply) {
	t.Helper()
	definition, err := Compile(spec)
	if wrong, ok := errors.AsType[*DefinitionError](err); ok {
		if wrong.Field != field && wrong.Field != "spec.expiredAt" || wrong.Problem == "" {
			t.Errorf("the error %q is about %s and the problem %q, want one about %s", wrong, wrong.Field, wrong.Problem, field)
		}
		return
	}
	if err != nil {
		t.Fatalf("the error names no field: %v", err)
	}
	for _, reply := range replies {
		interpreted(definition, nil, observe, "", reply)
	}
}
