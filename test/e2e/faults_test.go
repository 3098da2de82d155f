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

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// strikes is how many calls of each session each fault affects.
const strikes = 2

// faults are failures of a provider, or of the network on the way to it. Each of them may be the first reply about a
// session.
var faults = map[string]*simulator.Fault{
	"none":                           nil,
	"500, no effect":                 {Reply: simulator.Reply{Code: http.StatusInternalServerError}},
	"500 after the effect":           {Reply: simulator.Reply{Code: http.StatusInternalServerError}, Effect: true},
	"503 with Retry-After":           {Reply: replyWith(http.StatusServiceUnavailable, "Retry-After", "1")},
	"429 with Retry-After":           {Reply: replyWith(http.StatusTooManyRequests, "Retry-After", "1")},
	"429 with an absurd Retry-After": {Reply: replyWith(http.StatusTooManyRequests, "Retry-After", "-1")},
	"dropped, no effect":             {Drop: true},
	"dropped after the effect":       {Drop: true, Effect: true},
	"hangs, no effect":               {Hang: true},
	"hangs after the effect":         {Hang: true, Effect: true},
	"a redirect":                     {Reply: replyWith(http.StatusFound, "Location", "http://169.254.169.254/")},
	"a page, not JSON":               {Reply: simulator.Reply{Code: http.StatusOK, Body: "<html>expired</html>"}},
	"a proxy's 404":                  {Reply: simulator.Reply{Code: http.StatusNotFound, Body: "<html>no route</html>"}},
	"a body without end":             {EndlessBody: true},
	"a header without end":           {EndlessHeader: true},
	"late visibility":                nil,
}

// replyWith makes a reply without a body and with one header field.
func replyWith(code int, name, value string) simulator.Reply {
	return simulator.Reply{Code: code, Header: map[string]string{name: value}}
}

// TestFaults runs every fault against sessions of every provider: sessions to expire, deleted sessions, and sessions
// in a deleted namespace. All of them are expired in the end, none is reported as expired too early, and none takes
// more calls than the faults explain. The log shows a table of the calls.
func TestFaults(t *testing.T) { //nolint:tparallel // The table is logged after the group, whose tests are parallel.
	t.Parallel()
	var namespaces []string
	shops := map[string]shop{}
	for name := range faults {
		upstreams, url := simulate(t)
		shops[name] = shop{upstreams, newNamespace(t, url, gen.Timeout(3*time.Second))}
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
	t.Logf("calls (expire calls + reads) of each session, by fault and by what ends the session; all are expired\n%-32s%s",
		"", strings.Join(gen.Providers, "                "))
	for _, name := range slices.Sorted(maps.Keys(table)) {
		t.Logf("%-32s%s", name, table[name])
	}
}

// ends are the three ways to end a session: its desired state, its deletion, and the deletion of its namespace.
var ends = []string{"expire", "delete", "teardown"}

// shop is a namespace with its own simulated providers.
type shop struct {
	upstreams *simulator.Simulator
	namespace string
}

// strike runs one fault, and returns its row of the table.
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

// script affects the next calls of a session.
func script(upstreams *simulator.Simulator, session *v1alpha1.PaymentSession, fault *simulator.Fault) {
	if fault != nil {
		often := *fault
		often.Times = strikes
		upstreams.Script(session.Spec.ProviderRef.Name, session.Spec.SessionID, often)
	}
}

// triesOf counts the calls of each session, and fails if there are more than the faults explain.
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
			// One call, one more for each fault, and reads after replies that do not prove the expiry.
			if calls[simulator.Expire] > 1+strikes || calls[simulator.Observe] > 3+2*strikes || calls[simulator.Stray] > 0 {
				t.Errorf("%s took the calls %v, more than the faults explain", session.Name, calls)
			}
		}
		row.WriteString("      ")
	}
	return row.String()
}

// TestEndlessRepliesDoNotFillTheMemory has four providers send endless bodies and headers for 200 sessions, and
// measures the peak of the manager's memory. A manager without limits would use many times the limit of the test. The
// limit is generous because the race detector multiplies the memory that a program uses.
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
		if err := api.Patch(t.Context(), session, gen.Expire()); err != nil {
			t.Fatal(err)
		}
	}
	for _, session := range sessions {
		await.Until(t, api, session, "its status reports the bad reply", func(s *v1alpha1.PaymentSession) bool {
			ready := apimeta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
			reasons := []string{v1alpha1.ReasonUnexpectedResponse, v1alpha1.ReasonProviderUnavailable}
			return ready != nil && slices.Contains(reasons, ready.Reason)
		})
	}
	after := running.peakMemory(t)
	t.Logf("peak memory %d MiB before, %d MiB after", before>>20, after>>20)
	if grown := after - before; grown > 512<<20 {
		t.Errorf("the memory grew by %d MiB", grown>>20)
	}
}
