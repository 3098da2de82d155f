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

// TestCollector compares the metrics of sessions in several states, of a held deletion, and of accounts that work and
// that do not.
func TestCollector(t *testing.T) {
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
	held = await.Until(t, w, held, "the message mentions the deletion", func(s *v1alpha1.PaymentSession) bool {
		return strings.Contains(s.Status.Conditions[0].Message, "deletion")
	})
	w.event(t, held, v1alpha1.ReasonSuspended)
	w.awaitCached(t, held)
	const want = `
# HELP payops_account_calls Calls that wait in the queues of the accounts, and calls in flight, by class.
# TYPE payops_account_calls gauge
payops_account_calls{class="omise",phase="in_flight"} 0
payops_account_calls{class="omise",phase="queued"} 0
# HELP payops_accounts Provider objects, by class and state of their account: ready, limited (calls wait for the rate limit), paused (the provider asked for a pause), outage (the provider does not answer), rejected (the credentials are rejected), not_ready (something is missing).
# TYPE payops_accounts gauge
payops_accounts{class="omise",state="ready"} 1
payops_accounts{class="txn",state="not_ready"} 1
# HELP payops_deletions_blocked Sessions and sweeps whose deletion waits, by the reason of the Ready condition, or Queued before the conditions show it.
# TYPE payops_deletions_blocked gauge
payops_deletions_blocked{reason="Suspended"} 1
# HELP payops_sessions Sessions, by class (empty if the provider object is missing), desired state (expired because of desiredState, a past expireAt or a deletion), and state (unknown until the provider has shown it).
# TYPE payops_sessions gauge
payops_sessions{class="",desired="expired",state="unknown"} 1
payops_sessions{class="omise",desired="active",state="active"} 1
payops_sessions{class="omise",desired="expired",state="completed"} 1
payops_sessions{class="omise",desired="expired",state="expired"} 1
payops_sessions{class="omise",desired="expired",state="unknown"} 1
`
	if err := testutil.GatherAndCompare(w.metrics, strings.NewReader(want), "payops_account_calls", "payops_accounts",
		"payops_deletions_blocked", "payops_sessions"); err != nil {
		t.Error(err)
	}
	w.clock.step(time.Hour)
	if waited := w.gauge(t, "payops_deletions_blocked_seconds", "Suspended"); waited < 3600 {
		t.Errorf("the deletion has waited for %v s, want at least 3600", waited)
	}
}

// TestQueuedDeletionsAreCountedApart has an account that may make one call an hour.
func TestQueuedDeletionsAreCountedApart(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise", gen.RateLimit(1, time.Hour))
	session := w.reason(t, w.session(t, "omise", simulator.Open, gen.Active), v1alpha1.ReasonObserved)
	if err := w.Delete(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	await.True(t, "its call is queued", func() bool { return w.gauge(t, "payops_account_calls", "queued") == 1 })
	if count := w.gauge(t, "payops_deletions_blocked", "Queued"); count != 1 {
		t.Errorf("%v deletions are counted as queued, want 1", count)
	}
}

// TestOverdueSessionsAreCounted delays an expiry by an outage.
func TestOverdueSessionsAreCounted(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "omise")
	w.upstreams.SetOutage("omise", true)
	session := w.session(t, "omise", simulator.Open)
	w.awaitCached(t, w.reason(t, session, v1alpha1.ReasonProviderUnavailable))
	if count := w.gauge(t, "payops_expiry_overdue_sessions", v1alpha1.ReasonProviderUnavailable); count != 0 {
		t.Errorf("%v sessions are overdue at first, want none", count)
	}
	w.clock.step(20 * time.Minute)
	if count := w.gauge(t, "payops_expiry_overdue_sessions", v1alpha1.ReasonProviderUnavailable); count != 1 {
		t.Errorf("%v sessions are overdue after 20 minutes, want 1", count)
	}
	if oldest := w.gauge(t, "payops_expiry_overdue_seconds", v1alpha1.ReasonProviderUnavailable); oldest < 1200 {
		t.Errorf("the oldest session is overdue for %v s, want at least 1200", oldest)
	}
	// A restart does not reset its age.
	w.stop()
	w.start(t)
	w.clock.step(time.Minute)
	await.True(t, "the session is counted after the restart", func() bool {
		return w.gauge(t, "payops_expiry_overdue_seconds", v1alpha1.ReasonProviderUnavailable) > 1200
	})
	w.upstreams.SetOutage("omise", false)
	w.touch(t, session)
	w.awaitCached(t, w.reason(t, session, v1alpha1.ReasonExpired))
	if count := w.gauge(t, "payops_expiry_overdue_sessions", v1alpha1.ReasonProviderUnavailable); count != 0 {
		t.Errorf("%v sessions are overdue after the expiry, want none", count)
	}
}

// TestAuditLog expires a session for each cause. The audit log has one line for each expire call and no other line.
func TestAuditLog(t *testing.T) {
	lines := make(chan string, 100)
	w := newWorld(t, func(options *controllers.Options) {
		options.Audit = funcr.NewJSON(func(line string) { lines <- line }, funcr.Options{})
	})
	w.provide(t, "omise")
	observed := w.reason(t, w.session(t, "omise", simulator.Open, gen.Active), v1alpha1.ReasonObserved)

	desired := w.reason(t, w.session(t, "omise", simulator.Open), v1alpha1.ReasonExpired)
	assertAudited(t, lines, desired, "desiredState")
	due := w.reason(t, w.session(t, "omise", simulator.Open, gen.ExpireAt(w.clock.now().Add(-time.Hour))),
		v1alpha1.ReasonExpired)
	assertAudited(t, lines, due, "expireAt")
	if err := w.Delete(t.Context(), observed); err != nil {
		t.Fatal(err)
	}
	await.Gone(t, w, observed)
	assertAudited(t, lines, observed, "deletion")
	if len(lines) > 0 {
		t.Errorf("one more line than expire calls: %s", <-lines)
	}
}

// assertAudited checks that the next line of the audit log is the call that expired a session. The line is written
// before the status.
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
			t.Errorf("%s: %s is %v, want %s", cause, key, line[key], want)
		}
	}
}
