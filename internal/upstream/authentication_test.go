// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// everyWay returns an authenticator for each field of Authentication that the API has, by its JSON name. Each of
// their string fields has the name of a credential of its own.
func everyWay(t *testing.T) map[string]authenticator {
	t.Helper()
	ways := map[string]authenticator{}
	for described, field := range reflect.ValueOf(&v1alpha1.Authentication{}).Elem().Fields() {
		var entry v1alpha1.Authentication
		settings := reflect.New(field.Type().Elem())
		for part, value := range settings.Elem().Fields() {
			if value.Kind() == reflect.String {
				value.SetString("X-" + part.Name)
			}
		}
		reflect.ValueOf(&entry).Elem().FieldByName(described.Name).Set(settings)
		way, err := authenticatorOf(entry)
		if err != nil {
			t.Fatalf("%s: %v: add its line to authenticatorOf", described.Name, err)
		}
		ways[strings.TrimSuffix(described.Tag.Get("json"), ",omitempty")] = way
	}
	return ways
}

// parts returns all that a request holds, by place: method, URL, headers and query parameters.
func parts(request *http.Request) map[string]string {
	url := *request.URL
	url.RawQuery = ""
	values := map[string]string{"method": request.Method, "URL": url.String(), "host": request.Host}
	for name, header := range request.Header {
		values["header "+name] = fmt.Sprintf("%q", header)
	}
	for name, value := range request.URL.Query() {
		values["query parameter "+name] = fmt.Sprintf("%q", value)
	}
	return values
}

// changedParts returns the places in which two requests differ, sorted.
func changedParts(before, after map[string]string) []string {
	var changed []string
	for _, values := range []map[string]string{before, after} {
		for at := range values {
			if before[at] != after[at] {
				changed = append(changed, at)
			}
		}
	}
	slices.Sort(changed)
	return slices.Compact(changed)
}

// TestEveryWayToAuthenticate applies each way to a request. It must write exactly to the places that it names, depend
// on each credential that it names, and leave the rest of the request and its body as they are.
func TestEveryWayToAuthenticate(t *testing.T) {
	for name, way := range everyWay(t) {
		definition := compiled(t, "circle")
		definition.authentication = nil
		base, err := definition.BaseURL("", "")
		if err != nil {
			t.Fatal(err)
		}
		endpoint := &Endpoint{Definition: definition, BaseURL: base, Credentials: Credentials{accessToken: "the-token"}}
		for _, credential := range way.credentials() {
			endpoint.Credentials[credential] = Secret("value-of-" + credential)
		}
		request := func() *http.Request {
			built, err := endpoint.request(t.Context(), expire, gen.ID("circle", 1), endpoint.Credentials, noon)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			return built
		}
		plain := parts(request())
		definition.authentication = []authenticator{way}
		authenticated := request()
		var places []string
		for _, at := range way.places() {
			places = append(places, at.String())
		}
		slices.Sort(places)
		changed := changedParts(plain, parts(authenticated))
		if !slices.Equal(changed, places) || len(places) == 0 || len(way.credentials()) == 0 {
			t.Errorf("%s writes %q, and names the places %q and the credentials %q", name, changed, places, way.credentials())
		}
		if body, err := io.ReadAll(authenticated.Body); err != nil || string(body) != definition.templates[expire].Body {
			t.Errorf("%s leaves the body %q, %v", name, body, err)
		}
		used := way.credentials()
		if _, byToken := way.(oauth2Authentication); byToken {
			// The token request uses the others.
			used = []string{accessToken}
		}
		for _, credential := range used {
			endpoint.Credentials[credential] = "another value"
			if len(changedParts(parts(authenticated), parts(request()))) == 0 {
				t.Errorf("%s does not use its credential %s", name, credential)
			}
			endpoint.Credentials[credential] = Secret("value-of-" + credential)
		}
	}
}

// TestTheAPIAdmitsEveryWay compares the ways with the rule of the CRD that exactly one is set.
func TestTheAPIAdmitsEveryWay(t *testing.T) {
	path := filepath.Join(gen.Root(), "config", "crd", "bases", "payments.payops.dev_paymentproviderclasses.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	// controller-gen breaks long messages over several lines.
	_, rule, found := strings.Cut(strings.Join(strings.Fields(string(text)), " "), "exactly one of the fields in [basic ")
	rule, _, _ = strings.Cut(rule, "]")
	admitted, ways := strings.Fields("basic "+rule), slices.Sorted(maps.Keys(everyWay(t)))
	if slices.Sort(admitted); !found || !slices.Equal(admitted, ways) {
		t.Errorf("the CRD admits %v of %v: add the field to the ExactlyOneOf marker, and run make generate", admitted, ways)
	}
	if _, err := authenticatorOf(v1alpha1.Authentication{}); err == nil {
		t.Error("an entry without a way to authenticate compiles")
	}
}
