// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestMainJob expires sessions of all four providers with kubectl alone, with the calls that each provider needs and
// no other.
func TestMainJob(t *testing.T) {
	upstreams, url := simulate(t)
	startManager(t, "--leader-elect")
	namespace := newNamespace(t, url)
	var manifests strings.Builder
	states := []simulator.State{simulator.Open, simulator.Paid, simulator.Expired, "unknown"}
	for _, provider := range gen.Providers {
		for i, state := range states {
			if state != "unknown" {
				upstreams.Add(simulator.Object{Provider: provider, ID: gen.ID(provider, i), State: state})
			}
			fmt.Fprintf(&manifests, `---
apiVersion: payments.payops.dev/v1alpha1
kind: PaymentSession
metadata: {name: %s-%s, namespace: %s}
spec:
  providerRef: {name: %s}
  sessionID: %s
  desiredState: expired
`, provider, state, namespace, provider, gen.ID(provider, i))
		}
	}
	kubectl(t, manifests.String(), "apply", "-f", "-")
	reason := func(reason string) string {
		return `--for=jsonpath={.status.conditions[?(@.type=="Ready")].reason}=` + reason
	}
	for _, provider := range gen.Providers {
		wait := func(arguments ...string) {
			kubectl(t, "", append([]string{"wait", "-n", namespace, "--timeout=60s"}, arguments...)...)
		}
		wait("paymentprovider/"+provider, "--for=condition=Ready")
		wait("paysess/"+provider+"-open", "paysess/"+provider+"-expired", "--for=condition=Ready")
		wait("paysess/"+provider+"-paid", reason("PaymentCompleted"))
		wait("paysess/"+provider+"-unknown", reason("SessionNotFound"))
	}
	for provider, want := range map[string][]string{
		"circle": {simulator.Expire, simulator.Observe},
		"helio":  {simulator.Expire},
		"omise":  {simulator.Expire},
		"txn":    {simulator.Expire},
	} {
		if state := upstreams.State(provider, gen.ID(provider, 0)); state != simulator.Expired {
			t.Errorf("the session that was open is %[2]q at %[1]s", provider, state)
		}
		if got := upstreams.CallsOf(provider, gen.ID(provider, 0)); !slices.Equal(got, want) {
			t.Errorf("%s received %q for the open session, want %q", provider, got, want)
		}
	}
	for _, call := range upstreams.Calls() {
		if call.Operation == simulator.Stray {
			t.Errorf("%s received a call that its API does not have: %s", call.Provider, call.ID)
		}
	}
	table := kubectl(t, "", "get", "paymentsessions", "-n", namespace)
	columns := []string{"NAME", "PROVIDER", "DESIRED", "STATE", "READY", "REASON", "AGE"}
	if heading := strings.Fields(strings.Split(table, "\n")[0]); !slices.Equal(heading, columns) {
		t.Errorf("the columns are %q, want %q", heading, columns)
	}
	wide := kubectl(t, "", "get", "payops", "-n", namespace, "-o", "wide")
	if !strings.Contains(wide, "SESSION ID") || !strings.Contains(wide, "UPSTREAM") {
		t.Errorf("the wide view lacks the session id or the upstream status:\n%s", wide)
	}
}

// TestExplain checks that kubectl explain describes every field.
func TestExplain(t *testing.T) {
	for _, resource := range []string{
		"paymentsession", "paymentprovider", "clusterpaymentprovider", "paymentproviderclass",
	} {
		text := kubectl(t, "", "explain", resource, "--recursive=false")
		if strings.Contains(text, "<no description>") {
			t.Errorf("%s has a field without a description:\n%s", resource, text)
		}
		spec := kubectl(t, "", "explain", resource+".spec")
		if strings.Contains(spec, "<no description>") {
			t.Errorf("%s has a field without a description:\n%s", resource, spec)
		}
	}
}
