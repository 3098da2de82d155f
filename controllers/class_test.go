// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestMalformedClassAffectsNoOther checks that the status of a malformed class says where its error is, that sessions
// of other classes are still expired, and that the class is compiled again when it is fixed.
func TestMalformedClassAffectsNoOther(t *testing.T) {
	w := newWorld(t)
	class := gen.Class("omise")
	class.Name = "broken-" + w.namespace
	class.Spec.Outcomes[0].When = "body.object == 'error' && bodi.code == 'x'"
	w.create(t, class)
	broken := await.Reason(t, w, class, v1alpha1.ReasonInvalidDefinition)
	message := apimeta.FindStatusCondition(broken.Status.Conditions, v1alpha1.ConditionReady).Message
	for _, says := range []string{"spec.outcomes[0].when", "line 1, column 27", "bodi"} {
		if !strings.Contains(message, says) {
			t.Errorf("message %q does not say %q", message, says)
		}
	}
	provider := gen.Provider(w.namespace, class.Name, gen.Endpoint(w.url+"/omise"))
	w.create(t, provider)
	await.Reason(t, w, provider, v1alpha1.ReasonClassNotReady)
	w.provide(t, "omise")
	w.reason(t, w.session(t, "omise", simulator.Open), v1alpha1.ReasonExpired)

	w.create(t, gen.Secret(w.namespace, class.Name))
	w.change(t, gen.Secret(w.namespace, class.Name), `{"stringData":{"secretKey":"skey_test_simulated5xuy4w91"}}`)
	fixed := gen.Class("omise")
	fixed.Name, fixed.ResourceVersion = class.Name, broken.ResourceVersion
	if err := w.Update(t.Context(), fixed); err != nil {
		t.Fatal(err)
	}
	await.Reason(t, w, fixed, v1alpha1.ReasonCompiled)
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
}

// fifth is a class for a provider that the project does not ship: an API key in a header, PATCH, a JSON body, and the
// state in a nested array.
const fifth = `
apiVersion: payments.payops.dev/v1alpha1
kind: PaymentProviderClass
metadata: {name: fifth}
spec:
  sessionID: {name: invoice number, pattern: 'INV-[0-9]{4}'}
  environments:
  - {name: production, baseURL: https://api.fifth.example, default: true}
  credentials:
  - {name: token}
  authentication:
  - header: {name: X-Api-Key, credential: token}
  expire: {method: PATCH, path: '/v2/invoices/{id}', body: '{"status":"void"}'}
  observe: {method: GET, path: '/v2/invoices/{id}'}
  unknownSession: has(body.fault)
  state:
    status: body.result[0].lifecycle.filter(stage, stage.current)[0].name
    words: {OPEN: active, SETTLED: completed, VOID: expired}
`

// TestFifthProviderNeedsNoGo expires a session with a class that exists only in this test.
func TestFifthProviderNeedsNoGo(t *testing.T) {
	var mu sync.Mutex
	state, methods := "OPEN", []string{}
	server := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		methods = append(methods, r.Method)
		body, _ := io.ReadAll(r.Body)
		if r.Header.Get("X-Api-Key") != "hush" || r.URL.Path != "/v2/invoices/INV-0042" {
			http.Error(out, `{"fault":"go away"}`, http.StatusForbidden)
			return
		}
		typ := r.Header.Get("Content-Type")
		if r.Method == http.MethodPatch && typ == "application/json" && string(body) == `{"status":"void"}` {
			state = "VOID"
		}
		_ = json.NewEncoder(out).Encode(map[string]any{"result": []any{map[string]any{"lifecycle": []any{
			map[string]any{"name": "DRAFT", "current": false}, map[string]any{"name": state, "current": true},
		}}}})
	}))
	t.Cleanup(server.Close)

	w := newWorld(t)
	if err := client.IgnoreAlreadyExists(w.Create(t.Context(), gen.ParseClass(fifth))); err != nil {
		t.Fatal(err)
	}
	w.create(t, gen.Provider(w.namespace, "fifth", gen.Endpoint(server.URL)))
	secret := gen.Secret(w.namespace, "fifth")
	secret.StringData = map[string]string{"token": "hush"}
	w.create(t, secret)
	w.touch(t, gen.Provider(w.namespace, "fifth"))
	session := gen.Session(w.namespace, "invoice", "fifth", "INV-0042")
	w.create(t, session)
	done := w.reason(t, session, v1alpha1.ReasonExpired)
	mu.Lock()
	defer mu.Unlock()
	if state != "VOID" || !slices.Equal(methods, []string{http.MethodPatch}) || done.Status.Upstream.Status != "VOID" {
		t.Errorf("the provider says %q after %q and the status %q, want VOID after one PATCH", state, methods,
			done.Status.Upstream.Status)
	}
}
