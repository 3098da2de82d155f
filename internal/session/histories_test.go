// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"testing"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestHistories takes a session through events that happen at a bad moment.
func TestHistories(t *testing.T) {
	minute, hourAgo := time.Minute, now.Add(-time.Hour)

	t.Run("expireAt passes while a poll is queued", func(t *testing.T) {
		a := Decide(given(with(gen.ExpireAt(now.Add(minute))), showing("Scheduled", active), limited,
			remembering(Memory{NextCallAt: now})))
		if a.Operation != observe || a.Wait == 0 || a.Wait > minute {
			t.Errorf("call %q, wait %s: the session is not reconciled when expireAt passes", a.Operation, a.Wait)
		}
	})
	t.Run("the call of a held deletion stays queued", func(t *testing.T) {
		observed := func(f *Input) { f.Session.Status.Conditions[0].ObservedGeneration = 2 }
		a := Decide(given(deleting, showing("Expiring", active), observed, limited,
			remembering(Memory{Deleting: true, Next: expire, PendingSince: hourAgo})))
		if a.Wait == 0 || a.Wait > maxHold {
			t.Errorf("wait %s, want at most %s", a.Wait, maxHold)
		}
	})
	t.Run("paid before expireAt passed: that is a good end, and ttlAfterClosed counts", func(t *testing.T) {
		a := Decide(given(with(gen.ExpireAt(now.Add(-minute))), showing("Observed", completed),
			with(gen.TTLAfterClosed(minute))))
		if a.Verdict.Reason != v1alpha1.ReasonObserved || !a.Delete {
			t.Errorf("reason %s, Ready %s, warn %v, delete %v, message %q; want Observed and a deletion", a.Verdict.Reason,
				a.Verdict.Ready, a.Verdict.Warn, a.Delete, a.Verdict.Message)
		}
	})
	t.Run("suspended while a refresh is in flight that shows it active again", func(t *testing.T) {
		a := Decide(given(showing("Expired", expired), suspended, afterState(observe, active)))
		if a.Verdict.Expired == asItWas {
			t.Error("Expired stays True while the state is active")
		}
	})
	t.Run("a restart after an expire call that was accepted without a proof", func(t *testing.T) {
		posted := Decide(given(deleting, found, afterState(expire, "")))
		if posted.Verdict == nil || !posted.Verdict.Recognized {
			t.Errorf("verdict %+v, want the status to record that the provider knows the session", posted.Verdict)
		}
	})
	t.Run("a dry run of a session with a payment in flight", func(t *testing.T) {
		for what, in := range map[string]Input{
			"expiring": given(dryRun, neverPolls, showing("Observed", processing), specEdited),
			"deleting": given(deleting, dryRun, neverPolls, showing("Observed", processing)),
		} {
			a := Decide(in)
			if a.Verdict == nil || a.Verdict.Ready == yes || in.Session.DeletionTimestamp != nil && !a.Verdict.Holds {
				t.Errorf("%s: verdict %+v, want one that is not Ready and holds a deletion", what, a.Verdict)
			}
		}
		if a := Decide(given(dryRun, neverPolls, with(gen.ExpireAt(now)), showing("Scheduled", processing),
			pollScheduled)); a.Verdict == nil {
			t.Error("expireAt has passed, and the status still shows Scheduled with Ready=True, without a timer or a call")
		}
	})
	t.Run("the read of a deleted session in a dry run stays queued", func(t *testing.T) {
		if a := Decide(given(deleting, dryRun, limited,
			remembering(Memory{Deleting: true, Next: observe, PendingSince: hourAgo}))); a.Verdict == nil {
			t.Error("a deletion has been held for an hour, and the status does not show it")
		}
	})
}

// TestHistoriesOfRefreshes does the same with refreshes, edits and final verdicts.
func TestHistoriesOfRefreshes(t *testing.T) {
	hourAgo := now.Add(-time.Hour)
	at := func(d time.Duration) func(*Input) { return func(f *Input) { f.Now = now.Add(d) } }
	queued := func(operation v1alpha1.Operation) func(*Input) {
		return remembering(Memory{Next: operation, PendingSince: hourAgo})
	}

	t.Run("an obstacle is resolved, and the call stays queued", func(t *testing.T) {
		if a := Decide(given(showing("ProviderNotFound", ""), limited, queued(expire))); a.Verdict == nil {
			t.Error("the status still shows ProviderNotFound, although the provider exists")
		}
		for what, in := range map[string]Input{
			"edited": given(showing("ProviderNotFound", ""), specEdited, limited, queued(expire)),
			"deleting": given(deleting, showing("ProviderNotFound", ""), limited,
				remembering(Memory{Deleting: true, Next: expire, PendingSince: hourAgo})),
		} {
			if a := Decide(in); a.Verdict.Reason == v1alpha1.ReasonProviderNotFound {
				t.Errorf("%s: the verdict is ProviderNotFound again, although the provider exists", what)
			}
		}
	})
	t.Run("a refresh of a session that cannot be expired by a call", func(t *testing.T) {
		if a := Decide(given(showing("ExpireUnsupported", active), with(gen.ReconcileAt("1")),
			remembering(Memory{Refresh: "1"}), afterState(observe, active))); a.Operation == expire {
			t.Error("an expire call, want none")
		}
	})
	t.Run("suspended or without a provider, when it cannot be expired by a call", func(t *testing.T) {
		if a := Decide(given(showing("ExpireUnsupported", active), suspended)); a.Operation != "" || a.Verdict != nil {
			t.Errorf("suspended: call %q, verdict %+v; want no change of a final status", a.Operation, a.Verdict)
		}
		if a := Decide(given(showing("ExpireUnsupported", active), missing)); a.Verdict != nil {
			t.Errorf("no provider: verdict %+v, want no change of a final status", a.Verdict)
		}
		if a := Decide(given(deleting, showing("ExpireUnsupported", active), missing)); !a.Release {
			t.Error("deleted while the provider is missing: held, want it released")
		}
	})
	t.Run("a closed session is requeued while its refresh is queued", func(t *testing.T) {
		closed := []func(*Input){showing("Expired", expired), with(gen.ReconcileAt("1")), limited}
		requested := Decide(given(closed...))
		again := Decide(given(append(closed, remembering(requested.Memory), at(time.Second))...))
		if again.Operation != observe {
			t.Errorf("call %q, want the same read", again.Operation)
		}
		done := Decide(given(append(closed, remembering(again.Memory), afterState(observe, expired), at(2*time.Second))...))
		if done.Verdict.Handled != "1" {
			t.Errorf("handled %q, want 1", done.Verdict.Handled)
		}
	})
	t.Run("a dry run, and expireAt is removed", func(t *testing.T) {
		if a := Decide(given(dryRun, with(gen.Active), showing("WouldExpire", active), specEdited,
			neverPolls)); a.Operation == "" && a.Verdict.Reason == v1alpha1.ReasonWouldExpire {
			t.Error("expireAt was removed, and the status of the new generation still shows WouldExpire")
		}
	})
	t.Run("the spec is edited while a poll is queued", func(t *testing.T) {
		for _, reason := range []string{"Observed", "Expiring", "ExpireRefused"} {
			if a := Decide(given(with(gen.Active), showing(reason, active), specEdited, limited,
				queued(observe))); a.Verdict == nil {
				t.Errorf("showing %s for the previous generation: no verdict, want one", reason)
			}
		}
	})
	t.Run("active again, when the desired state is active", func(t *testing.T) {
		in := given(with(gen.Active), showing("Observed", expired), with(gen.ReconcileAt("1")), afterState(observe, active))
		if a := Decide(in); !a.Verdict.IsNews(in.Session.Status.Conditions) {
			t.Error("the verdict is not news, so that no Event is recorded")
		}
	})
	t.Run("expireAt passes while a refresh is in flight", func(t *testing.T) {
		expireAt := with(gen.ExpireAt(now.Add(time.Second)))
		scheduled := []func(*Input){expireAt, showing("Scheduled", active), with(gen.ReconcileAt("1"))}
		requested := Decide(given(scheduled...))
		in := given(append(scheduled, afterState(observe, processing), at(2*time.Second))...)
		in.Memory = requested.Memory
		if got := Decide(in).Verdict.Handled; got != "1" {
			t.Errorf("handled %q, want 1", got)
		}
	})
	t.Run("deleted when a payment was in flight at the last read", func(t *testing.T) {
		if a := Decide(given(deleting, showing("Observed", processing))); a.Operation == expire {
			t.Error("an expire call, want a read first")
		}
	})
}
