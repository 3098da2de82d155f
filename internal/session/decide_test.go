// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// states are all states of a session, the unknown one included.
var states = []v1alpha1.SessionState{"", active, processing, expired, completed, failed}

func TestDryRunNeverExpires(t *testing.T) {
	for reason := range table {
		for _, state := range states {
			for outcome := range reasonOf {
				for _, in := range []Input{
					given(dryRun, showing(reason, state)),
					given(dryRun, showing(reason, state), with(gen.ReconcileAt("1"))),
					given(dryRun, showing(reason, state), afterState(observe, state)),
					given(dryRun, showing(reason, state), afterOutcome(observe, outcome)),
					given(dryRun, showing(reason, state), with(gen.ExpireAt(now))),
				} {
					if action := Decide(in); action.Operation == expire {
						t.Errorf("showing %s, state %q: an expire call in a dry run", reason, state)
					}
				}
			}
		}
	}
}

// TestOnlyAProofClaimsExpired checks that no outcome without a state leads to Expired.
func TestOnlyAProofClaimsExpired(t *testing.T) {
	for reason := range table {
		for outcome := range reasonOf {
			for _, operation := range []v1alpha1.Operation{expire, observe} {
				verdict := Decide(given(showing(reason, active), afterOutcome(operation, outcome))).Verdict
				if verdict != nil && (verdict.Expired == yes || verdict.Reason == v1alpha1.ReasonExpired) {
					t.Errorf("showing %s, after %s of %s: the verdict claims Expired", reason, outcome, operation)
				}
			}
		}
	}
}

// TestSameFactsGiveTheSameVerdict decides again at another time and with another jitter. A verdict that differed
// would be written at every reconcile.
func TestSameFactsGiveTheSameVerdict(t *testing.T) {
	for outcome := range reasonOf {
		first := Decide(given(afterOutcome(expire, outcome)))
		if first.Verdict == nil {
			continue
		}
		later := func(f *Input) { f.Now, f.Jitter = f.Now.Add(30*time.Second), 0.9 }
		second := Decide(given(afterOutcome(expire, outcome), remembering(first.Memory), later))
		if diff := cmp.Diff(first.Verdict, second.Verdict); diff != "" {
			t.Errorf("%s (-first +second):\n%s", outcome, diff)
		}
	}
}

// TestHandledRefresh changes the annotation while the read for its previous value is in flight.
func TestHandledRefresh(t *testing.T) {
	requested := Decide(given(showing("Expired", expired), with(gen.ReconcileAt("at noon"))))
	done := Decide(given(showing("Expired", expired), with(gen.ReconcileAt("at one")),
		func(f *Input) { f.Memory = requested.Memory }, afterState(observe, expired)))
	if got := done.Verdict.Handled; got != "at noon" {
		t.Errorf("handled %q, want the value for which the call was made, not the newer one", got)
	}
	if done.Memory.Refresh != "" {
		t.Errorf("the refresh is done and the memory still has %q", done.Memory.Refresh)
	}
}

// TestRefreshThatWasNotMadeIsNotHandled has a refresh whose call was withdrawn by the decision or declined by the
// account.
func TestRefreshThatWasNotMadeIsNotHandled(t *testing.T) {
	refreshed := []func(*Input){with(gen.Active), showing("Observed", active), with(gen.ReconcileAt("at noon"))}
	requested := Decide(given(refreshed...))
	if requested.Operation != observe || requested.Memory.Refresh != "at noon" {
		t.Fatalf("call %q for %q, want a read for the annotation", requested.Operation, requested.Memory.Refresh)
	}
	declined := func(f *Input) {
		afterOutcome(observe, v1alpha1.OutcomeCredentialsRejected)(f)
		f.Outcome.Made = false
	}
	for reason, event := range map[string]func(*Input){
		"suspended": suspended, "the provider is gone": missing, "declined by the account": declined,
	} {
		action := Decide(given(append(refreshed, remembering(requested.Memory), event)...))
		if action.Verdict.Handled != "" {
			t.Errorf("%s: handled %q, want none", reason, action.Verdict.Handled)
		}
	}
	action := Decide(given(append(refreshed, remembering(requested.Memory), declined)...))
	if action.Wait < refreshInterval || action.Wait > probeInterval {
		t.Errorf("a declined refresh is repeated after %s, want %s to %s", action.Wait, refreshInterval, probeInterval)
	}
}

// TestDeclinedCallKeepsTheMessage has a call that the account declines, because its credentials are rejected. The
// status has the provider's words already, and must not change to and fro between them and none.
func TestDeclinedCallKeepsTheMessage(t *testing.T) {
	declined := func(f *Input) {
		f.Outcome = &call.Outcome{Operation: observe, Result: call.Result{Outcome: v1alpha1.OutcomeCredentialsRejected}}
	}
	shown := given(with(gen.Active), showing(v1alpha1.ReasonCredentialsRejected, active), declined)
	if got := Decide(shown).Verdict.Message; got != "shown before" {
		t.Errorf("message %q, want it as it was", got)
	}
	shown = given(with(gen.Active), showing(v1alpha1.ReasonObserved, active), declined)
	if got := Decide(shown).Verdict.Message; !strings.Contains(got, "does not accept") {
		t.Errorf("message %q, want one about the credentials", got)
	}
}

// TestShownStateIsWrittenBeforeTheNextCall combines all reasons and states. When a read shows another state than the
// status, the state is written before the next call, or together with it. The verdict never claims that an open session
// is closed.
func TestShownStateIsWrittenBeforeTheNextCall(t *testing.T) {
	changes := []func(*Input){with(gen.Active), protected, suspended, dryRun, with(gen.ReconcileAt("1")), outage}
	for reason := range table {
		for _, before := range states {
			for _, shown := range states[1:] {
				for _, change := range changes {
					action := Decide(given(showing(reason, before), change, afterState(observe, shown)))
					if before == shown {
						continue
					}
					verdict := action.Verdict
					if verdict == nil || verdict.Result == nil || verdict.Result.State != shown {
						t.Errorf("showing %s, state %q, read as %s: verdict %+v", reason, before, shown, verdict)
						continue
					}
					if action.Operation != "" && before.Closed() {
						t.Errorf("showing %s, state %q, read as %s: %s is called before the finalizer is added again", reason, before,
							shown, action.Operation)
					}
					if !shown.Closed() && action.Release {
						t.Errorf("showing %s, state %q, read as %s: the finalizer is released", reason, before, shown)
					}
					if !shown.Closed() && verdict.Expired == yes {
						t.Errorf("showing %s, state %q, read as %s: the verdict claims Expired", reason, before, shown)
					}
				}
			}
		}
	}
}

// TestDesiredSince checks the time from which the age of an overdue expiry is counted.
func TestDesiredSince(t *testing.T) {
	creation := now.Add(-2 * time.Hour)
	created := func(f *Input) { f.Session.CreationTimestamp = metav1.NewTime(creation) }
	for reason, tc := range map[string]struct {
		input Input
		want  time.Time
	}{
		"a new object": {given(created), creation},
		"expireAt has passed": {
			given(created, with(gen.ExpireAt(now.Add(-time.Minute)))), now.Add(-time.Minute),
		},
		"a deletion": {given(created, deleting), now.Add(-time.Second)},
		"after a restart, since the last transition": {
			given(created, showing("ProviderUnavailable", ""), transition(creation.Add(time.Hour))), creation.Add(time.Hour),
		},
		"the desired state was active until now": {
			given(created, showing("Observed", active), specEdited, pollScheduled), now,
		},
	} {
		if got := Decide(tc.input).Memory.DesiredSince; !got.Equal(tc.want) {
			t.Errorf("%s: since %s, want %s", reason, got, tc.want)
		}
	}
}

func transition(at time.Time) func(*Input) {
	return func(f *Input) { f.Session.Status.Conditions[0].LastTransitionTime = metav1.NewTime(at) }
}

// TestRefreshDuringACallIsMadeAfterIt sets the annotation while a poll is in flight. The poll does not handle it:
// another read follows at once.
func TestRefreshDuringACallIsMadeAfterIt(t *testing.T) {
	refreshed := []func(*Input){with(gen.Active), showing("Observed", active), with(gen.ReconcileAt("at noon"))}
	polled := Decide(given(append(refreshed, afterState(observe, active))...))
	if polled.Verdict.Handled != "" || polled.Wait != noDelay {
		t.Errorf("handled %q, the next read in %s; want nothing handled and a read at once", polled.Verdict.Handled,
			polled.Wait)
	}
	requested := Decide(given(append(refreshed, remembering(polled.Memory))...))
	if requested.Operation != observe {
		t.Errorf("call %q, want a read", requested.Operation)
	}
	done := Decide(given(append(refreshed, remembering(requested.Memory), afterState(observe, active))...))
	if done.Verdict.Handled != "at noon" || done.Wait <= noDelay {
		t.Errorf("handled %q, the next read in %s; want it handled and no read at once", done.Verdict.Handled, done.Wait)
	}
}

func TestShorterPollIntervalAppliesAtOnce(t *testing.T) {
	every := func(interval time.Duration) func(*Input) { return func(f *Input) { f.PollInterval = interval } }
	for reason, tc := range map[string]struct {
		shows string
		want  time.Duration
	}{
		"an active session":                    {"Observed", time.Minute},
		"a session that waits after an outage": {"ProviderUnavailable", 24 * time.Hour},
	} {
		before := remembering(Memory{NextCallAt: now.Add(24 * time.Hour)})
		wait := Decide(given(with(gen.Active), showing(tc.shows, active), before, every(time.Minute))).Wait
		if wait < tc.want*9/10 || wait > tc.want*11/10 {
			t.Errorf("%s is read after %s, want about %s", reason, wait, tc.want)
		}
	}
	soon := remembering(Memory{NextCallAt: now.Add(time.Second)})
	wait := Decide(given(with(gen.Active), showing("Observed", active), soon, every(time.Hour))).Wait
	if wait != time.Second {
		t.Errorf("a longer interval delays the next read to %s, want it unchanged after 1s", wait)
	}
}
