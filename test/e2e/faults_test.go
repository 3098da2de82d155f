// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package e2e

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// strikes is how often each fault strikes each session.
const strikes = 2

// faults are what a provider, or the way to it, does to a call. Each may be the first answer that a session ever gets.
var faults = map[string]*simulator.Fault{
	"none":                           nil,
	"500, no effect":                 {Reply: simulator.Reply{Code: http.StatusInternalServerError}},
	"500 after the effect":           {Reply: simulator.Reply{Code: http.StatusInternalServerError}, Effect: true},
	"503 with Retry-After":           {Reply: simulator.Reply{Code: http.StatusServiceUnavailable, Header: map[string]string{"Retry-After": "1"}}},
	"429 with Retry-After":           {Reply: simulator.Reply{Code: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "1"}}},
	"429 with an absurd Retry-After": {Reply: simulator.Reply{Code: http.StatusTooManyRequests, Header: map[string]string{"Retry-After": "-1"}}},
	"dropped, no effect":             {Drop: true},
	"dropped after the effect":       {Drop: true, Effect: true},
	"hangs, no effect":               {Hang: true},
	"hangs after the effect":         {Hang: true, Effect: true},
	"a redirect":                     {Reply: simulator.Reply{Code: http.StatusFound, Header: map[string]string{"Location": "http://169.254.169.254/"}}},
	"a page, not JSON":               {Reply: simulator.Reply{Code: http.StatusOK, Body: "<html>expired</html>"}},
	"a proxy's 404":                  {Reply: simulator.Reply{Code: http.StatusNotFound, Body: "<html>no such route</html>"}},
	"a body without end":             {EndlessBody: true},
	"a header without end":           {EndlessHeader: true},
	"late visibility":                nil,
}

// TestFaults lets every fault strike sessions of every provider that should be expired, that are deleted, and whose namespace is
// torn down. None is lost, none is called expired before it is, and none takes more tries than there were faults. It prints the
// table of tries.
func TestFaults(t *testing.T) { //nolint:tparallel // The group ends before the table is printed; what is in it is parallel.
	t.Parallel()
	var namespaces []string
	shops := map[string]shop{}
	for name := range faults {
		upstreams, url := simulate(t)
		shops[name] = shop{upstreams, newNamespace(t, url, gen.Timeout(time.Second))}
		namespaces = append(namespaces, shops[name].namespace)
	}
	startManager(t, watching(strings.Join(namespaces, ",")))
	var mu sync.Mutex
	table := map[string]string{}
	t.Run("each", func(t *testing.T) {
		for name := range faults {
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				row := strike(t, name, shops[name])
				mu.Lock()
				defer mu.Unlock()
				table[name] = row
			})
		}
	})
	t.Logf("tries (expire calls + reads) until the end, by fault and by what ends the session; all ended expired\n%-32s%s",
		"", strings.Join(gen.Providers, "                "))
	for _, name := range slices.Sorted(maps.Keys(table)) {
		t.Logf("%-32s%s", name, table[name])
	}
}

// ends are the three ways in which a session is made to end.
var ends = []string{"expire", "delete", "teardown"}

// shop is a namespace with providers of its own.
type shop struct {
	upstreams *simulator.Simulator
	namespace string
}

// strike runs one fault, and gives its row of the table.
func strike(t *testing.T, name string, in shop) string {
	t.Helper()
	upstreams, namespace, fault := in.upstreams, in.namespace, faults[name]
	watchClaims(t, upstreams, namespace)
	sessions := map[string][]*v1alpha1.PaymentSession{}
	for i, end := range ends {
		for number, provider := range gen.Providers {
			id := gen.ID(provider, 10*i+number)
			object := simulator.Object{Provider: provider, ID: id, State: simulator.Open}
			if name == "late visibility" {
				object.HiddenReads = strikes
			}
			upstreams.Add(object)
			session := gen.Session(namespace, provider+"-"+end, provider, id, gen.Active)
			if end == "expire" {
				session.Spec.DesiredState = v1alpha1.DesiredStateExpired
				script(upstreams, session, fault)
			}
			create(t, session)
			sessions[end] = append(sessions[end], session)
		}
	}
	for _, end := range []string{"delete", "teardown"} {
		for _, session := range sessions[end] {
			await.Reason(t, api, session, v1alpha1.ReasonObserved)
			script(upstreams, session, fault)
		}
	}
	for _, session := range sessions["delete"] {
		if err := api.Delete(t.Context(), session); err != nil {
			t.Fatal(err)
		}
	}
	for _, session := range sessions["expire"] {
		await.Reason(t, api, session, v1alpha1.ReasonExpired)
	}
	for _, session := range sessions["delete"] {
		await.Gone(t, api, session)
	}
	deleteNamespace(t, namespace)
	awaitNamespaceGone(t, namespace)
	assertAllExpired(t, upstreams)
	return triesOf(t, upstreams, sessions)
}

func script(upstreams *simulator.Simulator, session *v1alpha1.PaymentSession, fault *simulator.Fault) {
	if fault != nil {
		often := *fault
		often.Times = strikes
		upstreams.Script(session.Spec.ProviderRef.Name, session.Spec.SessionID, often)
	}
}

// triesOf counts the calls of each session, and fails where there are more than the faults explain.
func triesOf(t *testing.T, upstreams *simulator.Simulator, sessions map[string][]*v1alpha1.PaymentSession) string {
	t.Helper()
	var row strings.Builder
	for number, provider := range gen.Providers {
		for _, end := range ends {
			session := sessions[end][number]
			calls := map[string]int{}
			for _, operation := range upstreams.CallsOf(provider, session.Spec.SessionID) {
				calls[operation]++
			}
			fmt.Fprintf(&row, "%d+%d ", calls[simulator.Expire], calls[simulator.Observe])
			// One call, each fault once more, and a read after a reply that proves nothing.
			if calls[simulator.Expire] > 1+strikes || calls[simulator.Observe] > 3+2*strikes || calls[simulator.Stray] > 0 {
				t.Errorf("%s: %v calls for one session", session.Name, calls)
			}
		}
		row.WriteString("      ")
	}
	return row.String()
}

// TestEndlessRepliesDoNotFillTheMemory lets four providers send bodies and headers without end to 200 sessions, and reads the
// peak of the manager's memory. A manager without limits would read many times as much; this one is built with the race detector,
// which takes several times what a released one does.
func TestEndlessRepliesDoNotFillTheMemory(t *testing.T) {
	t.Parallel()
	upstreams, url := simulate(t)
	namespace := newNamespace(t, url, gen.Timeout(5*time.Second))
	running := startManager(t, watching(namespace))
	sessions := payable(t, upstreams, namespace, 200)
	for _, session := range sessions {
		await.Reason(t, api, session, v1alpha1.ReasonObserved)
	}
	before := running.peakMemory(t)
	for i, session := range sessions {
		fault := simulator.Fault{EndlessBody: i%8 < 4, EndlessHeader: i%8 >= 4, Times: simulator.Forever}
		upstreams.Script(session.Spec.ProviderRef.Name, session.Spec.SessionID, fault)
		patch := client.RawPatch("application/merge-patch+json", []byte(`{"spec":{"desiredState":"expired"}}`))
		if err := api.Patch(t.Context(), session, patch); err != nil {
			t.Fatal(err)
		}
	}
	for _, session := range sessions {
		await.Until(t, api, session, "it is in trouble", func(s *v1alpha1.PaymentSession) bool {
			return slices.ContainsFunc(s.Status.Conditions, func(c metav1.Condition) bool {
				return c.Type == v1alpha1.ConditionReady && (c.Reason == v1alpha1.ReasonUnexpectedResponse || c.Reason == v1alpha1.ReasonProviderUnavailable)
			})
		})
	}
	after := running.peakMemory(t)
	t.Logf("peak memory %d MiB before, %d MiB after", before>>20, after>>20)
	if grown := after - before; grown > 512<<20 {
		t.Errorf("the memory grew by %d MiB", grown>>20)
	}
}
