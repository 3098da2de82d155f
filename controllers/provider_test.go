// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/controllers"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestAFirstApplyComesInAnyOrder creates what a session needs after it, one by one.
func TestAFirstApplyComesInAnyOrder(t *testing.T) {
	w := newWorld(t)
	class := gen.Class("omise")
	class.Name, class.ResourceVersion = "late-"+w.namespace, ""
	provider := gen.Provider(w.namespace, "omise", gen.Endpoint(w.url+"/omise"), func(spec *v1alpha1.PaymentProviderSpec) { spec.ClassName = class.Name })

	session := w.session(t, "omise", simulator.Open)
	missing := w.reason(t, session, v1alpha1.ReasonProviderNotFound)
	if !apimeta.IsStatusConditionTrue(missing.Status.Conditions, v1alpha1.ConditionReconciling) {
		t.Error("want it Reconciling at first")
	}
	w.create(t, provider)
	w.reason(t, session, v1alpha1.ReasonProviderNotReady)
	await.Reason(t, w, provider, v1alpha1.ReasonClassNotFound)
	w.create(t, class)
	w.reason(t, session, v1alpha1.ReasonCredentialsMissing)
	await.Reason(t, w, provider, v1alpha1.ReasonCredentialsMissing)
	w.create(t, gen.Secret(w.namespace, "omise"))
	// There is no watch on Secrets; touching the provider spares the test the wait.
	w.change(t, provider, `{"metadata":{"labels":{"touched":"yes"}}}`)
	w.reason(t, session, v1alpha1.ReasonExpired)
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
}

// TestASecretThatCannotBeProtected forbids the operator to put its finalizer on the Secret.
func TestASecretThatCannotBeProtected(t *testing.T) {
	w := newWorld(t)
	w.wire.refuse("/secrets/")
	provider := w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Open)
	// Nothing tells when the operator first saw it: let the time pass until it has lost its patience.
	awaitTrue(t, "the provider says that its Secret is not protected", func() bool {
		w.clock.step(time.Minute)
		w.change(t, provider, fmt.Sprintf(`{"metadata":{"labels":{"touched":"%d"}}}`, w.clock.now().Unix()))
		ready := apimeta.FindStatusCondition(provider.Status.Conditions, v1alpha1.ConditionReady)
		return ready != nil && ready.Reason == v1alpha1.ReasonCredentialsUnprotected
	})
	w.reason(t, session, v1alpha1.ReasonProviderNotReady)
	if calls := w.calls(session); len(calls) > 0 {
		t.Errorf("calls %q with credentials that could go at any moment", calls)
	}
	w.wire.refuse("")
	w.change(t, provider, `{"metadata":{"labels":{"touched":"again"}}}`)
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
	w.reason(t, session, v1alpha1.ReasonExpired)
}

// TestASecretIsLeftOnlyToAProviderThatRemembersIt deletes one of two providers of a Secret while the operator cannot yet protect the
// other one, which could then go without letting the Secret go.
func TestASecretIsLeftOnlyToAProviderThatRemembersIt(t *testing.T) {
	w := newWorld(t)
	first, second := gen.Provider(w.namespace, "omise", gen.Endpoint(w.url+"/omise")), gen.Provider(w.namespace, "omise", gen.Endpoint(w.url+"/omise"))
	first.Name = "first"
	w.create(t, gen.Secret(w.namespace, "omise"), first)
	await.Reason(t, w, first, v1alpha1.ReasonAccountReady)
	w.wire.refuse("/paymentproviders/omise")
	w.create(t, second)
	if err := w.Delete(t.Context(), first); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "the operator has tried to protect the second provider again and again", func() bool { return w.wire.refusals() >= 5 })
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(first), first); err != nil {
		t.Errorf("the first provider: %v, want it to wait", err)
	}
	w.wire.refuse("")
	await.Gone(t, w, first)
	if err := w.Get(t.Context(), client.ObjectKeyFromObject(second), second); err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(second.Finalizers, v1alpha1.InUseFinalizer) || !slices.Contains(second.Status.HeldSecrets, "omise") {
		t.Errorf("the second provider bears %q and remembers %q", second.Finalizers, second.Status.HeldSecrets)
	}
}

func TestAProviderThatStaysMissingStalls(t *testing.T) {
	w := newWorld(t)
	session := w.session(t, "omise", simulator.Open)
	w.reason(t, session, v1alpha1.ReasonProviderNotFound)
	w.clock.step(3 * time.Minute)
	w.change(t, session, `{"metadata":{"labels":{"touched":"yes"}}}`)
	await.Until(t, w, session, "it is Stalled", func(s *v1alpha1.PaymentSession) bool {
		return apimeta.IsStatusConditionTrue(s.Status.Conditions, v1alpha1.ConditionStalled)
	})
}

func TestWhatIsWrongWithAProvider(t *testing.T) {
	w := newWorld(t)
	w.create(t, gen.Secret(w.namespace, "omise"), gen.Secret(w.namespace, "txn"))
	half := gen.Secret(w.namespace, "half")
	half.StringData = map[string]string{"apiKey": "only one of two"}
	broken := gen.Secret(w.namespace, "broken")
	broken.StringData = map[string]string{"secretKey": "line\nbreak"}
	w.create(t, half, broken)
	cases := []struct {
		reason string
		class  string
		change gen.ProviderOption
		wants  string
		says   string
	}{
		{"no such class", "nobody", func(*v1alpha1.PaymentProviderSpec) {}, v1alpha1.ReasonClassNotFound, "PaymentProviderClass nobody does not exist"},
		{"no such environment", "omise", func(spec *v1alpha1.PaymentProviderSpec) { spec.Environment = "moon" }, v1alpha1.ReasonInvalidEnvironment, "it has production"},
		{"no default environment", "txn", func(*v1alpha1.PaymentProviderSpec) {}, v1alpha1.ReasonInvalidEnvironment, "set environment to one of sandbox"},
		{"no Secret", "omise", func(spec *v1alpha1.PaymentProviderSpec) { spec.CredentialsSecretRef.Name = "nowhere" }, v1alpha1.ReasonCredentialsMissing, "nowhere does not exist"},
		{"no key", "helio", func(spec *v1alpha1.PaymentProviderSpec) { spec.CredentialsSecretRef.Name = "half" }, v1alpha1.ReasonCredentialsMissing, "it lacks secretKey"},
		{"a key that cannot be sent", "omise", func(spec *v1alpha1.PaymentProviderSpec) { spec.CredentialsSecretRef.Name = "broken" }, v1alpha1.ReasonInvalidCredentials, "key secretKey holds characters"},
	}
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			provider := gen.Provider(w.namespace, tc.class, tc.change)
			provider.Name, provider.GenerateName = "", "wrong-"
			w.create(t, provider)
			seen := await.Reason(t, w, provider, tc.wants)
			message := apimeta.FindStatusCondition(seen.Status.Conditions, v1alpha1.ConditionReady).Message
			if !strings.Contains(message, tc.says) {
				t.Errorf("message %q, want it to say %q", message, tc.says)
			}
		})
	}
}

func TestPlainHTTPNeedsTheFlag(t *testing.T) {
	w := newWorld(t, func(options *controllers.Options) { options.AllowPrivate = false })
	provider := w.provide(t, "omise")
	session := w.session(t, "omise", simulator.Open)
	await.Reason(t, w, provider, v1alpha1.ReasonEndpointNotAllowed)
	w.reason(t, session, v1alpha1.ReasonProviderNotReady)
	if calls := w.upstreams.Calls(); len(calls) > 0 {
		t.Errorf("calls %v over plain http", calls)
	}
}

func TestRejectedCredentials(t *testing.T) {
	w := newWorld(t)
	provider := w.provide(t, "omise")
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
	w.upstreams.SetKey("omise", "secretKey", "skey_test_rotated")
	first, second := w.session(t, "omise", simulator.Open), w.session(t, "omise", simulator.Open)
	w.reason(t, first, v1alpha1.ReasonCredentialsRejected)
	w.reason(t, second, v1alpha1.ReasonCredentialsRejected)
	await.Reason(t, w, provider, v1alpha1.ReasonCredentialsRejected)
	w.event(t, provider, v1alpha1.ReasonCredentialsRejected)
	if got := len(w.upstreams.Calls()); got > 2 {
		t.Errorf("%d calls with credentials that are known to be rejected", got)
	}
	w.change(t, gen.Secret(w.namespace, "omise"), `{"stringData":{"secretKey":" skey_test_rotated\n"}}`)
	w.change(t, provider, `{"metadata":{"labels":{"touched":"yes"}}}`)
	w.reason(t, first, v1alpha1.ReasonExpired)
	w.reason(t, second, v1alpha1.ReasonExpired)
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
}

func TestASecretThatWasChangedIsReadBeforeARejectionCounts(t *testing.T) {
	w := newWorld(t)
	await.Reason(t, w, w.provide(t, "omise"), v1alpha1.ReasonAccountReady)
	w.upstreams.SetKey("omise", "secretKey", "skey_test_rotated")
	w.change(t, gen.Secret(w.namespace, "omise"), `{"stringData":{"secretKey":"skey_test_rotated"}}`)
	session := w.session(t, "omise", simulator.Open)
	done := await.Until(t, w, session, "it has a verdict", func(s *v1alpha1.PaymentSession) bool { return len(s.Status.Conditions) > 0 })
	if reason := apimeta.FindStatusCondition(done.Status.Conditions, v1alpha1.ConditionReady).Reason; reason != v1alpha1.ReasonExpired {
		t.Errorf("reason %s, want Expired at once", reason)
	}
}

func TestSomebodyElsesCharge(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "helio")
	id := gen.ID("helio", 9)
	w.upstreams.Add(simulator.Object{Provider: "helio", ID: id, State: simulator.Open, Variant: simulator.OtherMerchant})
	theirs := gen.Session(w.namespace, "theirs", "helio", id)
	w.create(t, theirs)
	w.reason(t, theirs, v1alpha1.ReasonNotAllowed)
	ours := w.session(t, "helio", simulator.Open)
	w.reason(t, ours, v1alpha1.ReasonExpired)
}

func TestInvalidSessionID(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	session := gen.Session(w.namespace, "wrong", "omise", "8755d0ea-14f9-4259-b092-000000000001")
	w.create(t, session)
	seen := w.reason(t, session, v1alpha1.ReasonInvalidSessionID)
	if message := apimeta.FindStatusCondition(seen.Status.Conditions, v1alpha1.ConditionReady).Message; !strings.Contains(message, "charge id") {
		t.Errorf("message %q, want the provider's word for the id", message)
	}
	if calls := w.upstreams.Calls(); len(calls) > 0 {
		t.Errorf("calls %v with an id that the class refuses", calls)
	}
}

// provideEverywhere makes a cluster provider, with its Secret, for the namespaces of a team. It is gone when the test ends: it would be
// every later test's too.
func (w *world) provideEverywhere(t *testing.T, team v1alpha1.LabelValue) *v1alpha1.ClusterPaymentProvider {
	t.Helper()
	allowed := &v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": team}}
	provider := gen.ClusterPaymentProvider("cluster-"+w.namespace, "omise", allowed, gen.Endpoint(w.url+"/omise"))
	w.create(t, gen.Secret(w.namespace, "omise"), provider)
	t.Cleanup(func() {
		free := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"finalizers":null}}`))
		// The test's own context has ended by now.
		for _, err := range []error{w.Delete(context.Background(), provider), w.Patch(context.Background(), provider, free)} {
			if client.IgnoreNotFound(err) != nil {
				t.Error(err)
			}
		}
	})
	return provider
}

func TestClusterProviderServesTheNamespacesThatItAllows(t *testing.T) {
	w := newWorld(t)
	provider := w.provideEverywhere(t, "elsewhere")
	name := provider.Name
	session := w.session(t, "omise", simulator.Open, gen.ClusterProvider(name))
	w.reason(t, session, v1alpha1.ReasonNamespaceNotAllowed)
	if calls := w.upstreams.Calls(); len(calls) > 0 {
		t.Errorf("calls %v for a namespace that is not allowed", calls)
	}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	w.change(t, namespace, `{"metadata":{"labels":{"team":"elsewhere"}}}`)
	w.reason(t, session, v1alpha1.ReasonExpired)

	none := w.session(t, "omise", simulator.Open, gen.ClusterProvider(name))
	w.reason(t, none, v1alpha1.ReasonExpired)
	w.change(t, provider, `{"spec":{"allowedNamespaces":null}}`)
	await.Reason(t, w, provider, v1alpha1.ReasonAccountReady)
	last := w.session(t, "omise", simulator.Open, gen.ClusterProvider(name))
	w.reason(t, last, v1alpha1.ReasonNamespaceNotAllowed)
}

func TestAMalformedClassIsSaidAndLeavesTheOthersAlone(t *testing.T) {
	w := newWorld(t)
	class := gen.Class("omise")
	class.Name = "broken-" + w.namespace
	class.Spec.Outcomes[0].When = "body.object == 'error' && bodi.code == 'x'"
	w.create(t, class)
	broken := await.Reason(t, w, class, v1alpha1.ReasonInvalidDefinition)
	message := apimeta.FindStatusCondition(broken.Status.Conditions, v1alpha1.ConditionReady).Message
	for _, says := range []string{"spec.outcomes[0].when", "line 1, column 27", "bodi"} {
		if !strings.Contains(message, says) {
			t.Errorf("message %q, want it to say %q", message, says)
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

// fifth is a provider that nobody has heard of: an API key in a header, PATCH, a JSON body, the state in a nested array.
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

// TestAFifthProviderNeedsNoGo expires a session through a class that a test invents.
func TestAFifthProviderNeedsNoGo(t *testing.T) {
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
		if r.Method == http.MethodPatch && r.Header.Get("Content-Type") == "application/json" && string(body) == `{"status":"void"}` {
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
	w.change(t, gen.Provider(w.namespace, "fifth"), `{"metadata":{"labels":{"touched":"yes"}}}`)
	session := gen.Session(w.namespace, "invoice", "fifth", "INV-0042")
	w.create(t, session)
	done := w.reason(t, session, v1alpha1.ReasonExpired)
	mu.Lock()
	defer mu.Unlock()
	if state != "VOID" || !slices.Equal(methods, []string{http.MethodPatch}) || done.Status.Upstream.Status != "VOID" {
		t.Errorf("upstream %q after %q, status %q; want VOID after one PATCH", state, methods, done.Status.Upstream.Status)
	}
}

// TestAProviderThatHangsSlowsNoOther lets one account hang with all of its slots while another's sessions go through.
func TestAProviderThatHangsSlowsNoOther(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "helio", gen.Timeout(time.Minute))
	w.provide(t, "omise")
	for range 40 {
		session := w.session(t, "helio", simulator.Open)
		w.upstreams.Script("helio", session.Spec.SessionID, simulator.Fault{Hang: true, Times: simulator.Forever})
	}
	for range 10 {
		w.reason(t, w.session(t, "omise", simulator.Open), v1alpha1.ReasonExpired)
	}
	hanging := &v1alpha1.PaymentSessionList{}
	if err := w.List(t.Context(), hanging, client.InNamespace(w.namespace), client.MatchingFields{"spec.providerRef.name": "helio"}); err != nil {
		t.Fatal(err)
	}
	for i := range hanging.Items {
		if state := hanging.Items[i].Status.State; state != "" {
			t.Errorf("%s claims %q while its provider hangs", hanging.Items[i].Name, state)
		}
	}
	w.upstreams.Close()
}
