// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestIDIsEscapedForItsPlace puts {id} into each part of a request. The id has characters that mean something in each.
func TestIDIsEscapedForItsPlace(t *testing.T) {
	const id = `a/b "c"&d=1`
	type template = v1alpha1.RequestTemplate
	query := []v1alpha1.QueryParameter{{Name: "order", Value: "no-{id}"}, {Name: "expand[]", Value: "payment"}}
	cases := []struct {
		reason      string
		template    template
		url         string
		contentType string
		body        string
		header      string
	}{
		{"in the path: as one segment", template{Method: "POST", Path: "/v1/SO-{id}/void"},
			"https://api.example.com/base/v1/SO-a%2Fb%20%22c%22&d=1/void", "", "", ""},
		{"in a query value: as a part of one parameter", template{Method: "GET", Path: "/v1/orders", Query: query},
			"https://api.example.com/base/v1/orders?expand%5B%5D=payment&order=no-a%2Fb+%22c%22%26d%3D1", "", "", ""},
		{"in a JSON body: within its string", template{Method: "POST", Path: "/v1/void", Body: `{"order":"{id}"}`},
			"https://api.example.com/base/v1/void", "application/json", `{"order":"a/b \"c\"\u0026d=1"}`, ""},
		{"in a body of another JSON type",
			template{Method: "POST", Path: "/void", Body: `{"order":"{id}"}`, ContentType: "application/vnd.api+json"},
			"https://api.example.com/base/void", "application/vnd.api+json", `{"order":"a/b \"c\"\u0026d=1"}`, ""},
		{"in a form: as a part of one parameter",
			template{Method: "POST", Path: "/void", Body: "order={id}&why=late", ContentType: contentTypeForm},
			"https://api.example.com/base/void", contentTypeForm, "order=a%2Fb+%22c%22%26d%3D1&why=late", ""},
		{"in a header", template{Method: "POST", Path: "/void", Headers: []v1alpha1.Header{{Name: "X-Order", Value: "id={id}"}}},
			"https://api.example.com/base/void", "", "", "id=" + id},
		{"in a form whose type is a header", template{Method: "POST", Path: "/void", Body: "order={id}",
			Headers: []v1alpha1.Header{{Name: "Content-Type", Value: contentTypeForm}}},
			"https://api.example.com/base/void", contentTypeForm, "order=a%2Fb+%22c%22%26d%3D1", ""},
		{"twice", template{Method: "POST", Path: "/{id}/{id}"},
			"https://api.example.com/base/a%2Fb%20%22c%22&d=1/a%2Fb%20%22c%22&d=1", "", "", ""},
		{"a content type without a body", template{Method: "POST", Path: "/{id}", ContentType: contentTypeForm},
			"https://api.example.com/base/a%2Fb%20%22c%22&d=1", contentTypeForm, "", ""},
	}
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			spec := gen.Class("circle").Spec
			spec.SessionID.Pattern, spec.Expire = ".*", tc.template
			definition, err := Compile(&spec)
			if err != nil {
				t.Fatal(err)
			}
			endpoint := &Endpoint{Definition: definition, BaseURL: &url.URL{Scheme: "https", Host: "api.example.com", Path: "/base"}}
			request, err := endpoint.request(t.Context(), expire, id, Credentials{"apiKey": "key"}, noon)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(request.Body)
			if err != nil {
				t.Fatal(err)
			}
			if request.URL.String() != tc.url || string(body) != tc.body {
				t.Errorf("%s with the body %s, want %s with the body %s", request.URL, body, tc.url, tc.body)
			}
			if request.Header.Get("Content-Type") != tc.contentType || request.Header.Get("X-Order") != tc.header {
				t.Errorf("headers %v, want Content-Type %q and X-Order %q", request.Header, tc.contentType, tc.header)
			}
		})
	}
}

// TestHeadersFromCredentials sends headers of every call and of one, and leaves out an optional one that is absent.
func TestHeadersFromCredentials(t *testing.T) {
	spec := gen.Class("circle").Spec
	spec.Credentials = append(spec.Credentials, v1alpha1.CredentialKey{Name: "account", Optional: true})
	spec.Headers = []v1alpha1.Header{{Name: "X-Account", Credential: "account"}, {Name: "Accept", Value: "application/hal+json"}}
	spec.Expire.Headers = []v1alpha1.Header{{Name: "X-Reason", Value: "expired"}}
	definition, err := Compile(&spec)
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		reason    string
		data      map[string][]byte
		operation v1alpha1.Operation
		account   string
		why       string
	}{
		{"with the optional credential", map[string][]byte{"apiKey": []byte("k"), "account": []byte(" acct_1\n")}, expire,
			"acct_1", "expired"},
		{"without it", map[string][]byte{"apiKey": []byte("k")}, expire, "", "expired"},
		{"with an empty one", map[string][]byte{"apiKey": []byte("k"), "account": []byte("\n")}, observe, "", ""},
	} {
		credentials, err := definition.Credentials(tc.data)
		if err != nil {
			t.Fatalf("%s: %v", tc.reason, err)
		}
		endpoint := &Endpoint{Definition: definition, BaseURL: &url.URL{Scheme: "https", Host: "api.example.com"}}
		request, err := endpoint.request(t.Context(), tc.operation, gen.ID("circle", 1), credentials, noon)
		if err != nil {
			t.Fatalf("%s: %v", tc.reason, err)
		}
		_, sent := request.Header["X-Account"]
		if sent != (tc.account != "") || request.Header.Get("X-Account") != tc.account ||
			request.Header.Get("X-Reason") != tc.why || request.Header.Get("Accept") != "application/hal+json" {
			t.Errorf("%s: headers %v", tc.reason, request.Header)
		}
	}
}

// TestCredentialOfAnotherForm puts a public key in the place of a secret one. The error names the key and the pattern,
// and not the value.
func TestCredentialOfAnotherForm(t *testing.T) {
	spec := gen.Class("circle").Spec
	spec.Credentials[0].Pattern = "sk_(test|live)_[a-z]+"
	definition, err := Compile(&spec)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := definition.Credentials(map[string][]byte{"apiKey": []byte("sk_test_abc\n")}); err != nil {
		t.Errorf("a key of the right form: %v", err)
	}
	_, err = definition.Credentials(map[string][]byte{"apiKey": []byte("pk_test_abc")})
	if err == nil || strings.Contains(err.Error(), "pk_test") || !strings.Contains(err.Error(), "sk_(test|live)_[a-z]+") {
		t.Errorf("error %v, want one with the pattern and without the value", err)
	}
}

// TestWrongRequests has classes whose requests cannot be right.
func TestWrongRequests(t *testing.T) {
	type spec = v1alpha1.PaymentProviderClassSpec
	header := func(name, value, credential string) v1alpha1.Header {
		return v1alpha1.Header{Name: name, Value: value, Credential: credential}
	}
	cases := []struct {
		reason string
		change func(*spec)
		field  string
		says   string
	}{
		{"{id} in a body that nothing escapes", func(s *spec) {
			s.Expire.Body, s.Expire.ContentType = "<id>{id}</id>", "text/xml"
		}, "spec.expire.body", "cannot be escaped"},
		{"a header of every call and of one", func(s *spec) {
			s.Headers, s.Expire.Headers = []v1alpha1.Header{header("X-A", "1", "")}, []v1alpha1.Header{header("x-a", "2", "")}
		}, "spec.expire.headers[0]", "spec.headers[0]"},
		{"one query parameter twice", func(s *spec) {
			s.Observe.Query = []v1alpha1.QueryParameter{{Name: "a", Value: "1"}, {Name: "a", Value: "2"}}
		}, "spec.observe.query[1]", "spec.observe.query[0]"},
		{"a query parameter that authenticates", func(s *spec) {
			s.Authentication = append(s.Authentication, v1alpha1.Authentication{
				QueryParameter: &v1alpha1.NamedAuthentication{Name: "key", Credential: "apiKey"}})
			s.Expire.Query = []v1alpha1.QueryParameter{{Name: "key", Value: "1"}}
		}, "spec.expire.query[0]", "spec.authentication[1]"},
		{"a header without a value", func(s *spec) { s.Headers = []v1alpha1.Header{header("X-A", "", "")} },
			"spec.headers[0]", "exactly one"},
		{"a header from a credential that the class does not list", func(s *spec) {
			s.Headers = []v1alpha1.Header{header("X-A", "", "other")}
		}, "spec.headers[0].credential", "not one of spec.credentials"},
		{"an optional credential that authenticates", func(s *spec) { s.Credentials[0].Optional = true },
			"spec.authentication[0]", "is optional"},
		{"Content-Type as a header, and contentType", func(s *spec) {
			s.Headers = []v1alpha1.Header{header("content-type", "text/plain", "")}
			s.Expire.ContentType = "application/json"
		}, "spec.expire.contentType", "same header Content-Type as spec.headers[0]"},
		{"{id} in a body whose Content-Type is a header", func(s *spec) {
			s.Headers, s.Expire.Body = []v1alpha1.Header{header("content-type", "text/plain", "")}, "{id}"
		}, "spec.expire.body", "cannot be escaped for content type text/plain"},
		{"a credential as Content-Type", func(s *spec) {
			s.Authentication = []v1alpha1.Authentication{{Header: &v1alpha1.NamedAuthentication{
				Name: "Content-Type", Credential: "apiKey"}}}
		}, "spec.authentication[0]", "same header Content-Type as the engine"},
		{"a header of HTTP itself in one call", func(s *spec) { s.Observe.Headers = []v1alpha1.Header{header("Host", "a", "")} },
			"spec.observe.headers[0].name", "belongs to HTTP itself"},
		{"two ways with oauth2", func(s *spec) {
			way := v1alpha1.Authentication{OAuth2: &v1alpha1.OAuth2Authentication{TokenURL: "/t", ClientID: "apiKey", ClientSecret: "apiKey"}}
			s.Authentication = []v1alpha1.Authentication{way, way}
		}, "spec.authentication[1]", "same header Authorization"},
		{"a token URL with a password", func(s *spec) { s.Environments[0].TokenURL = "https://a:b@example.com/token" },
			"spec.environments[0].tokenURL", "no user"},
		{"code that is no int", func(s *spec) { s.Code = "body.status" + ".startsWith('2')" }, "spec.code", "want int"},
		{"expirable that is no condition", func(s *spec) { s.Expirable = "'yes'" }, "spec.expirable", "want bool"},
		{"a pattern of a credential", func(s *spec) { s.Credentials[0].Pattern = "(" }, "spec.credentials[0].pattern", "missing"},
	}
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			spec := gen.Class("circle").Spec
			tc.change(&spec)
			_, err := Compile(&spec)
			var problem *DefinitionError
			if !errors.As(err, &problem) || problem.Field != tc.field || !strings.Contains(problem.Error(), tc.says) {
				t.Errorf("error %v, want one about %s with the text %q", err, tc.field, tc.says)
			}
		})
	}
}

// TestAllMistakesAreReported makes three mistakes in one class.
func TestAllMistakesAreReported(t *testing.T) {
	spec := gen.Class("circle").Spec
	spec.SessionID.Pattern, spec.Message, spec.Expire.Path = "(", "bodi.message + codes", "/none"
	_, err := Compile(&spec)
	var problems DefinitionErrors
	if !errors.As(err, &problems) || len(problems) != 4 {
		t.Errorf("%d mistakes are reported: %v; want the pattern, two names and the path", len(problems), err)
	}
}
