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

// echoed in a reply stands for the account's credential: a provider, or what stands in front of it, may send it back.
const echoed = "{{credential}}"

// fuzzed holds the shipped classes, compiled once for all executions.
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

// FuzzReply lets a provider send anything. What it sends is never taken for a proof that it is not, and comes out bounded,
// printable and without the credential.
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
		result := class.definition.interpret(operation, idIn(class.definition, string(body)), reply, nil, class.credentials, noon)
		if result.State == v1alpha1.SessionStateExpired && !provesExpiry(gen.Providers[number], operation, int(code), body) {
			t.Errorf("%s: %d %q is taken for the proof of an expiry", gen.Providers[number], code, body)
		}
		if result.State != "" && result.Outcome != v1alpha1.OutcomeAccepted {
			t.Errorf("%s: state %s with the outcome %s", gen.Providers[number], result.State, result.Outcome)
		}
		if result.RetryAfter < 0 || result.RetryAfter > MaxRetryAfter {
			t.Errorf("Retry-After %q is kept as %s", retryAfter, result.RetryAfter)
		}
		for what, text := range map[string]string{"message": result.Message, "request id": result.RequestID, "status": result.Status} {
			checkExcerpt(t, what, text, class.credentials)
		}
	})
}

func checkExcerpt(t *testing.T, what, text string, credentials Credentials) {
	t.Helper()
	if len(text) > maxRequestIDLength {
		t.Errorf("a %s of %d bytes", what, len(text))
	}
	if strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }) {
		t.Errorf("the %s %q cannot be printed", what, text)
	}
	for _, secret := range credentials {
		if strings.Contains(text, string(secret)) {
			t.Errorf("the %s %q holds the credential", what, text)
		}
	}
}

// provesExpiry reads a reply a second time, with no class and no CEL, as the providers' pages describe it.
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
		return operation == expire && code == http.StatusNoContent || success && (root["windowClosed"] == true || root["expiresAt"] != nil) && (has(root, "paylinkTx") || has(root, "paylinkTxs"))
	case "omise":
		already := root["object"] == "error" && root["code"] == "already_expired" && operation == expire
		return already || success && root["object"] == "charge" && root["paid"] != true && (root["status"] == "expired" || root["expired"] == true)
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

// doerFunc is a door that is a function.
type doerFunc func(*http.Request) (*httpx.Reply, error)

func (f doerFunc) Do(_ context.Context, request *http.Request) (*httpx.Reply, error) {
	return f(request)
}

// FuzzSessionID tries any string as a session id. What is sent is one segment of the class's path and nothing else.
func FuzzSessionID(f *testing.F) {
	classes := fuzzedClasses(f)
	base := &url.URL{Scheme: "https", Host: "provider.example", Path: "/base"}
	f.Fuzz(func(t *testing.T, provider uint8, expires bool, id string) {
		class, operation := classes[int(provider)%len(classes)], operationOf(expires)
		sent := false
		endpoint := &Endpoint{Definition: class.definition, BaseURL: base, Credentials: class.credentials, Door: doerFunc(func(request *http.Request) (*httpx.Reply, error) {
			sent = true
			checkTarget(t, request, base, class.definition.call(operation).Path, id)
			return nil, errors.New("nobody there")
		})}
		result := endpoint.Call(t.Context(), operation, id)
		if valid := class.definition.ValidSessionID(id); sent != valid {
			t.Errorf("id %q: sent %v, valid %v", id, sent, valid)
		}
		if !sent && result.MayHaveActed {
			t.Errorf("id %q was not sent and may have had an effect", id)
		}
	})
}

// checkTarget reads the request as its receiver would.
func checkTarget(t *testing.T, request *http.Request, base *url.URL, path, id string) {
	t.Helper()
	received, err := url.ParseRequestURI(request.URL.RequestURI())
	if err != nil {
		t.Fatalf("id %q: the request line is wrong: %v", id, err)
	}
	want := base.Path + strings.Replace(path, idPlaceholder, id, 1)
	if received.Path != want || strings.Count(received.EscapedPath(), "/") != strings.Count(base.Path+path, "/") {
		t.Errorf("id %q: the path is %q (%q), want %q", id, received.Path, received.EscapedPath(), want)
	}
	if request.URL.Hostname() != base.Hostname() || request.URL.Port() != base.Port() || request.URL.Scheme != base.Scheme || request.URL.User != nil || received.Fragment != "" {
		t.Errorf("id %q: the request goes to %s://%s", id, request.URL.Scheme, request.URL.Host)
	}
	if names := len(received.Query()); names > 1 {
		t.Errorf("id %q: %d query parameters", id, names)
	}
}

// FuzzEndpoint tries any string as an endpoint. What is accepted is a plain base URL, and calls stay below it.
func FuzzEndpoint(f *testing.F) {
	classes := fuzzedClasses(f)
	f.Fuzz(func(t *testing.T, provider uint8, endpoint string) {
		number := int(provider) % len(classes)
		class, id := classes[number], gen.ID(gen.Providers[number], 1)
		base, err := class.definition.BaseURL("", endpoint)
		if err != nil {
			return
		}
		if base.Scheme != "https" && base.Scheme != "http" || base.Hostname() == "" || base.User != nil || base.RawQuery != "" || base.Fragment != "" {
			t.Fatalf("%q is accepted as %+v", endpoint, base)
		}
		request, err := class.definition.request(t.Context(), expire, base, id, class.credentials)
		if err != nil {
			return
		}
		checkTarget(t, request, base, class.definition.call(expire).Path, id)
	})
}

// FuzzExpression tries any text as an expression of a class: it is refused with its place, or evaluated within its cost.
func FuzzExpression(f *testing.F) {
	replies := []*httpx.Reply{
		{Code: http.StatusNoContent},
		{Code: http.StatusOK, Body: []byte(`{"data":{"status":"expired","list":[1,2.5,"a",null,{"b":true}]}}`)},
		{Code: http.StatusUnauthorized, Header: http.Header{"X-Request-Id": {"1"}}, Body: []byte(`{"errors":[{"status":401}]}`)},
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

// maxFuzzedExpression is the length that the API server admits.
const maxFuzzedExpression = 4096

func checkCompile(t *testing.T, spec *v1alpha1.PaymentProviderClassSpec, field string, replies []*httpx.Reply) {
	t.Helper()
	definition, err := Compile(spec)
	if wrong, ok := errors.AsType[*DefinitionError](err); ok {
		if wrong.Field != field && wrong.Field != "spec.expiredAt" || wrong.Problem == "" {
			t.Errorf("the error %q names the field %s, want %s", wrong, wrong.Field, field)
		}
		return
	}
	if err != nil {
		t.Fatalf("an error that names no field: %v", err)
	}
	for _, reply := range replies {
		definition.interpret(observe, "", reply, nil, nil, noon)
	}
}
