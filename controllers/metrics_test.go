// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr/funcr"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/controllers"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestTheCensus counts sessions in several states, a deletion that waits, and accounts that do and do not work.
func TestTheCensus(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	w.create(t, gen.Provider(w.namespace, "txn"))
	w.reason(t, w.session(t, "omise", simulator.Open), v1alpha1.ReasonExpired)
	w.reason(t, w.session(t, "omise", simulator.Paid), v1alpha1.ReasonPaymentCompleted)
	w.reason(t, w.session(t, "omise", simulator.Open, gen.Active), v1alpha1.ReasonObserved)
	w.reason(t, w.session(t, "helio", simulator.Open), v1alpha1.ReasonProviderNotFound)
	held := w.session(t, "omise", simulator.Open, gen.Suspended)
	w.reason(t, held, v1alpha1.ReasonSuspended)
	if err := w.Delete(t.Context(), held); err != nil {
		t.Fatal(err)
	}
	held = await.Until(t, w, held, "its deletion is said to wait", func(s *v1alpha1.PaymentSession) bool {
		return strings.Contains(s.Status.Conditions[0].Message, "deletion")
	})
	w.event(t, held, v1alpha1.ReasonSuspended)
	w.awaitCached(t, held)
	const want = `
# HELP payops_account_calls Calls that wait in the accounts' queues and calls in flight, by class.
# TYPE payops_account_calls gauge
payops_account_calls{class="omise",phase="in_flight"} 0
payops_account_calls{class="omise",phase="queued"} 0
# HELP payops_accounts Provider objects, by class and what their account is doing: ready, limited (calls wait for the rate limit), paused (the provider asked for it), outage (the breaker is open), rejected (the credentials are), not_ready (something is missing).
# TYPE payops_accounts gauge
payops_accounts{class="omise",state="ready"} 1
payops_accounts{class="txn",state="not_ready"} 1
# HELP payops_deletions_blocked Sessions whose deletion waits, by the reason of their Ready condition, or Queued in the moment before the conditions say what it waits for.
# TYPE payops_deletions_blocked gauge
payops_deletions_blocked{reason="Suspended"} 1
# HELP payops_sessions Sessions, by class (empty where the provider object is missing), the state that is wanted (expired by desiredState, a past expireAt or a deletion), and their state (unknown until the provider has told it).
# TYPE payops_sessions gauge
payops_sessions{class="",desired="expired",state="unknown"} 1
payops_sessions{class="omise",desired="active",state="active"} 1
payops_sessions{class="omise",desired="expired",state="completed"} 1
payops_sessions{class="omise",desired="expired",state="expired"} 1
payops_sessions{class="omise",desired="expired",state="unknown"} 1
`
	if err := testutil.GatherAndCompare(w.metrics, strings.NewReader(want), "payops_account_calls", "payops_accounts", "payops_deletions_blocked", "payops_sessions"); err != nil {
		t.Error(err)
	}
	w.clock.step(time.Hour)
	if waited := w.counted(t, "payops_deletions_blocked_seconds", "Suspended"); waited < 3600 {
		t.Errorf("the deletion waits for an hour, not for %v s", waited)
	}
}

// TestADeletionThatIsOnlyQueuedIsCountedApart has an account that may make one call an hour.
func TestADeletionThatIsOnlyQueuedIsCountedApart(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise", gen.RateLimit(1, time.Hour))
	session := w.reason(t, w.session(t, "omise", simulator.Open, gen.Active), v1alpha1.ReasonObserved)
	if err := w.Delete(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	awaitTrue(t, "its call is queued", func() bool { return w.counted(t, "payops_account_calls", "queued") == 1 })
	if count := w.counted(t, "payops_deletions_blocked", "Queued"); count != 1 {
		t.Errorf("%v deletions are said to be queued, want 1", count)
	}
}

// flying is how many calls are in flight.
func (w *world) flying(t *testing.T) float64 {
	t.Helper()
	return w.counted(t, "payops_account_calls", "in_flight")
}

// counted is what a manager counts where a label has a value; 0 where there is no such thing.
func (w *world) counted(t *testing.T, name, value string) float64 {
	t.Helper()
	families, err := w.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			for _, label := range metric.GetLabel() {
				if family.GetName() == name && label.GetValue() == value {
					return metric.GetGauge().GetValue()
				}
			}
		}
	}
	return 0
}

// TestTheAuditLog expires a session for each cause. Each expire call is a line, and no other call is.
func TestTheAuditLog(t *testing.T) {
	lines := make(chan string, 100)
	w := newWorld(t, func(options *controllers.Options) {
		options.Audit = funcr.NewJSON(func(line string) { lines <- line }, funcr.Options{})
	})
	w.provide(t, "omise")
	observed := w.reason(t, w.session(t, "omise", simulator.Open, gen.Active), v1alpha1.ReasonObserved)

	asked := w.reason(t, w.session(t, "omise", simulator.Open), v1alpha1.ReasonExpired)
	assertAudited(t, lines, asked, "desiredState")
	due := w.reason(t, w.session(t, "omise", simulator.Open, gen.ExpireAt(w.clock.now().Add(-time.Hour))), v1alpha1.ReasonExpired)
	assertAudited(t, lines, due, "expireAt")
	if err := w.Delete(t.Context(), observed); err != nil {
		t.Fatal(err)
	}
	await.Gone(t, w, observed)
	assertAudited(t, lines, observed, "deletion")
	if len(lines) > 0 {
		t.Errorf("a line too many: %s", <-lines)
	}
}

// assertAudited takes the next line of the audit log, which is to be the call that expired a session. It is there before the status is.
func assertAudited(t *testing.T, lines <-chan string, session *v1alpha1.PaymentSession, cause string) {
	t.Helper()
	if len(lines) == 0 {
		t.Fatalf("no line for %s, expired because of %s", session.Name, cause)
	}
	line := map[string]any{}
	if err := json.Unmarshal([]byte(<-lines), &line); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{
		"namespace": session.Namespace, "name": session.Name, "uid": string(session.UID), "cause": cause,
		"provider": "PaymentProvider/" + session.Namespace + "/omise", "class": "omise", "sessionID": session.Spec.SessionID,
		"outcome": "Accepted", "state": "expired",
	} {
		if line[key] != want {
			t.Errorf("%s: %s is %v, not %s", cause, key, line[key], want)
		}
	}
}
