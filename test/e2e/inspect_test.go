// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"os"
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/clientcmd"

	"github.com/payops-dev/payment-session-operator/internal/simulator"
)

// rotated is a credential that tests change to.
const rotated = "skey_test_rotated"

// inspect looks, after each manager that a test ran, for what must not be there: a credential in its log at the highest
// verbosity, in its arguments, in any object that it can write, or a right that it lacks.
func (m *manager) inspect(t *testing.T) {
	t.Helper()
	log := m.output(t)
	seen := map[string]string{"the log": log, "the arguments": strings.Join(m.command.Args, " ")}
	for _, kind := range []schema.GroupVersionKind{
		{Group: "payments.payops.dev", Version: "v1alpha1", Kind: "PaymentSession"},
		{Group: "payments.payops.dev", Version: "v1alpha1", Kind: "PaymentProvider"},
		{Group: "payments.payops.dev", Version: "v1alpha1", Kind: "ClusterPaymentProvider"},
		{Group: "payments.payops.dev", Version: "v1alpha1", Kind: "PaymentProviderClass"},
		{Group: "events.k8s.io", Version: "v1", Kind: "Event"},
		{Group: "coordination.k8s.io", Version: "v1", Kind: "Lease"},
	} {
		seen["a "+kind.Kind] = everyObject(t, kind)
	}
	for where, text := range seen {
		for _, credential := range canaries(t) {
			if strings.Contains(text, credential) {
				t.Errorf("a credential stands in %s", where)
			}
		}
	}
	if strings.Contains(log, "Response Body") {
		t.Error("the log holds bodies of the API server's replies: in dumps, in which no credential would be found")
	}
	for line := range strings.Lines(log) {
		if strings.Contains(line, "orbidden") && !m.losesItsRights || strings.Contains(line, "panic") {
			t.Errorf("the log tells of a right that is lacking, or of a panic: %s", line)
		}
	}
}

// everyObject is all objects of a kind as text; none where the kind is not installed.
func everyObject(t *testing.T, kind schema.GroupVersionKind) string {
	t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind)
	// The test's own context has ended where this is called to clean up.
	if err := api.List(context.Background(), list); err != nil {
		return ""
	}
	text, err := json.Marshal(list.Items)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// canaries are all credentials that tests use, in the forms in which a request holds them.
func canaries(t *testing.T) []string {
	t.Helper()
	plain := []string{rotated}
	for _, keys := range simulator.Keys() {
		for _, value := range keys {
			plain = append(plain, value)
		}
	}
	config, err := clientcmd.LoadFromFile(kubeconfig)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	plain = append(plain, config.AuthInfos[operatorName].Token)
	var forms []string
	for _, value := range plain {
		forms = append(forms, value, url.QueryEscape(value),
			base64.StdEncoding.EncodeToString([]byte(value)), base64.StdEncoding.EncodeToString([]byte(value+":")))
	}
	return forms
}
