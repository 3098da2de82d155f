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

// rotated is a credential that tests rotate to.
const rotated = "skey_test_rotated"

// inspect checks every manager that a test has run. There must be no credential in its log at the highest verbosity,
// in its arguments or in any object that it can write, and no panic or missing permission in its log.
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
				t.Errorf("%s contains a credential", where)
			}
		}
	}
	if strings.Contains(log, "Response Body") {
		t.Error("the log contains dumps of the API server's replies, in which the search for credentials would find nothing")
	}
	for line := range strings.Lines(log) {
		if strings.Contains(line, "orbidden") && !m.losesItsRoles || strings.Contains(line, "panic") {
			t.Errorf("the log shows a missing permission or a panic: %s", line)
		}
	}
}

// everyObject returns all objects of a kind as text. It returns an empty text if the kind is not installed.
func everyObject(t *testing.T, kind schema.GroupVersionKind) string {
	t.Helper()
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(kind)
	// Cleanups call this, when the test's own context is already canceled.
	if err := api.List(context.Background(), list); err != nil {
		return ""
	}
	text, err := json.Marshal(list.Items)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// canaries returns all credentials that tests use, in every encoding in which a request contains them.
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
