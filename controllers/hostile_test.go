// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/controllers"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// privateHosts are addresses in networks that are not public, in their usual and in unusual notations.
var privateHosts = []string{
	"127.0.0.1", "127.255.255.254", "127.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "0x7f.0.0.1", "0177.0.0.1",
	"localhost", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200",
	"192.0.0.192", "198.18.0.1", "224.0.0.1", "255.255.255.255", "[::1]", "[::]", "[::ffff:127.0.0.1]",
	"[::ffff:7f00:1]", "[::127.0.0.1]", "[64:ff9b::7f00:1]", "[64:ff9b:1::7f00:1]", "[2002:7f00:1::]",
	"[2001:0:7f00:1::]", "[fe80::1]", "[fc00::1]", "[fd00:ec2::254]", "[ff02::1]",
}

// TestPrivateEndpointsAreNotDialled has providers with endpoints in private networks, without
// --allow-private-endpoints.
func TestPrivateEndpointsAreNotDialled(t *testing.T) {
	w := newWorld(t, func(options *controllers.Options) { options.AllowPrivate = false })
	var dialled atomic.Int32
	port := listen(t, &dialled)
	for i, host := range privateHosts {
		name := fmt.Sprintf("provider-%d", i)
		for scheme, reason := range map[string]string{
			"https": v1alpha1.ReasonAccountReady, "http": v1alpha1.ReasonEndpointNotAllowed,
		} {
			provider := gen.Provider(w.namespace, "omise", gen.Endpoint(fmt.Sprintf("%s://%s:%d", scheme, host, port)))
			provider.Name = name + "-" + scheme
			if i == 0 && scheme == "https" {
				w.create(t, gen.Secret(w.namespace, "omise"))
			}
			w.create(t, provider)
			if scheme == "http" {
				await.Reason(t, w, provider, reason)
			}
		}
		w.create(t, gen.Session(w.namespace, name, name+"-https", gen.ID("omise", i)))
	}
	for i, host := range privateHosts {
		name := fmt.Sprintf("provider-%d", i)
		refused := w.reason(t, gen.Session(w.namespace, name, name, ""), v1alpha1.ReasonProviderUnavailable)
		if message := refused.Status.Conditions[0].Message; !strings.Contains(message, "--allow-private-endpoints") {
			t.Errorf("%s: message %q does not name the flag", host, message)
		}
	}
	if got := dialled.Load(); got > 0 {
		t.Errorf("%d connections, want none", got)
	}
}

// listen counts the connections to a port of every address of this machine.
func listen(t *testing.T, connections *atomic.Int32) int {
	t.Helper()
	listener, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			connections.Add(1)
			_ = connection.Close()
		}
	}()
	return listener.Addr().(*net.TCPAddr).Port
}

// hostileIDs are not valid ids of any provider.
var hostileIDs = []string{
	".", "..", "...", "../x", "..%2fx", "%2e%2e", "%2e%2e%2fx", "a/b", "/a", "a//b", "a\\b", "a?b=c", "a#b", "a;b",
	"a b", " ", "a\tb", "a\nb", "a\r\nHost: evil", "a\x00b", "a%00b", "a%0d%0ab", "%", "%zz", "{id}", "${id}", "$(id)",
	"`id`", "'; drop table x; --", "<script>", "*", "@evil.example", "evil.example:80", "http:", "ｃｈｒｇ＿１",
	"chrg_ＡＢＣ", "chrg_1/../../2", "chrg_1?expand=x", "8755d0ea-14f9-4259-b092-de23c14b6568/refund",
	"8755d0ea-14f9-4259-b092-de23c14b656", "8755d0ea_14f9_4259_b092_de23c14b6568",
	"8755d0ea-14f9-4259-b092-de23c14b6568..", "CHRG_TEST_1", "chrg-test-1", "chrg_test_1~", "chrg_test_1.",
	"..chrg_test_1", "~", "~root", strings.Repeat("a", 255),
}

// TestHostileSessionIDsStayOffTheWire creates sessions whose id no provider has. The API server rejects some, and the
// class rejects the others.
func TestHostileSessionIDsStayOffTheWire(t *testing.T) {
	w := newWorld(t)
	for _, provider := range gen.Providers {
		w.provide(t, provider)
	}
	var admitted []*v1alpha1.PaymentSession
	for _, provider := range gen.Providers {
		for i, id := range hostileIDs {
			session := gen.Session(w.namespace, fmt.Sprintf("%s-%d", provider, i), provider, id)
			if err := w.Create(t.Context(), session); err == nil {
				admitted = append(admitted, session)
			} else if !strings.Contains(err.Error(), "spec.sessionID") {
				t.Errorf("id %q: %v", id, err)
			}
		}
	}
	for _, session := range admitted {
		w.reason(t, session, v1alpha1.ReasonInvalidSessionID)
	}
	if calls := w.upstreams.Calls(); len(calls) > 0 {
		t.Errorf("%d calls, the first is %+v; want none", len(calls), calls[0])
	}
	t.Logf("%d ids for each of %d providers; the API server admitted %d of them", len(hostileIDs), len(gen.Providers),
		len(admitted))
	w.reason(t, w.session(t, "omise", simulator.Open), v1alpha1.ReasonExpired)
	for _, session := range admitted {
		if err := client.IgnoreNotFound(w.Delete(t.Context(), session)); err != nil {
			t.Fatal(err)
		}
	}
	for _, session := range admitted {
		await.Gone(t, w, session)
	}
}
