// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"testing"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestHistories takes a session through events that come at a bad moment.
func TestHistories(t *testing.T) {
	const active, processing, expired, completed = v1alpha1.SessionStateActive, v1alpha1.SessionStateProcessing, v1alpha1.SessionStateExpired, v1alpha1.SessionStateCompleted
	minute, hourAgo := time.Minute, now.Add(-time.Hour)

	t.Run("expireAt comes while a poll is queued", func(t *testing.T) {
		a := Decide(given(with(gen.ExpireAt(now.Add(minute))), told("Scheduled", active), limited, remembering(Memory{NextCallAt: now})))
		if a.Call != observe || a.Wait == 0 || a.Wait > minute {
			t.Errorf("call %q, wait %s: nothing looks at the session when expireAt comes", a.Call, a.Wait)
		}
	})
	t.Run("the call of a deletion that is held stays queued", func(t *testing.T) {
		a := Decide(given(deleting, told("Expiring", active), func(f *Input) { f.Session.Status.Conditions[0].ObservedGeneration = 2 }, limited,
			remembering(Memory{Deleting: true, Next: expire, PendingSince: hourAgo})))
		if a.Wait == 0 || a.Wait > maxHold {
			t.Errorf("wait %s", a.Wait)
		}
	})
	t.Run("paid before expireAt came: that was wanted, and the time to live counts", func(t *testing.T) {
		a := Decide(given(with(gen.ExpireAt(now.Add(-minute))), told("Observed", completed), with(gen.TTLAfterClosed(minute))))
		if a.Verdict.Reason != v1alpha1.ReasonObserved || !a.Delete {
			t.Errorf("%s ready=%s alarming=%v delete=%v: %q", a.Verdict.Reason, a.Verdict.Ready, a.Verdict.Alarming, a.Delete, a.Verdict.Message)
		}
	})
	t.Run("suspended while a look was on its way that shows it open again", func(t *testing.T) {
		a := Decide(given(told("Expired", expired), suspended, cameState(observe, active)))
		if a.Verdict.Expired == asItWas {
			t.Error("Expired is left as it was, True, beside state active")
		}
	})
	t.Run("a restart after an expire call that was accepted and proved nothing", func(t *testing.T) {
		posted := Decide(given(deleting, found, cameState(expire, "")))
		if posted.Verdict == nil || !posted.Verdict.Recognized {
			t.Errorf("verdict %+v; want it in the status that the provider knows the session", posted.Verdict)
		}
	})
	t.Run("a dry run of a session with a payment in flight", func(t *testing.T) {
		for what, in := range map[string]Input{
			"asked":    given(dryRun, neverPolls, told("Observed", processing), specEdited),
			"deleting": given(deleting, dryRun, neverPolls, told("Observed", processing)),
		} {
			a := Decide(in)
			if a.Verdict == nil || a.Verdict.Ready == yes || in.Session.DeletionTimestamp != nil && !a.Verdict.Holds {
				t.Errorf("%s: %+v", what, a.Verdict)
			}
		}
		if a := Decide(given(dryRun, neverPolls, with(gen.ExpireAt(now)), told("Scheduled", processing), scheduledBefore)); a.Verdict == nil {
			t.Error("expireAt has come: the status goes on saying Scheduled, Ready=True, without timer or call")
		}
	})
	t.Run("a dry run whose read of a deleted session stays queued", func(t *testing.T) {
		if a := Decide(given(deleting, dryRun, limited, remembering(Memory{Deleting: true, Next: observe, PendingSince: hourAgo}))); a.Verdict == nil {
			t.Error("a deletion is held for an hour and nothing is told")
		}
	})
}

// TestHistoriesOfLooks does the same with looks, edits and what is final.
func TestHistoriesOfLooks(t *testing.T) {
	const active, processing, expired = v1alpha1.SessionStateActive, v1alpha1.SessionStateProcessing, v1alpha1.SessionStateExpired
	hourAgo := now.Add(-time.Hour)
	at := func(d time.Duration) func(*Input) { return func(f *Input) { f.Now = now.Add(d) } }
	queued := func(operation v1alpha1.Operation) func(*Input) {
		return remembering(Memory{Next: operation, PendingSince: hourAgo})
	}

	t.Run("an obstacle has gone, and the call stays queued", func(t *testing.T) {
		if a := Decide(given(told("ProviderNotFound", ""), limited, queued(expire))); a.Verdict == nil {
			t.Error("ProviderNotFound stands although the provider is there")
		}
		for what, in := range map[string]Input{
			"edited":   given(told("ProviderNotFound", ""), specEdited, limited, queued(expire)),
			"deleting": given(deleting, told("ProviderNotFound", ""), limited, remembering(Memory{Deleting: true, Next: expire, PendingSince: hourAgo})),
		} {
			if a := Decide(in); a.Verdict.Reason == v1alpha1.ReasonProviderNotFound {
				t.Errorf("%s: ProviderNotFound is told anew although the provider is there", what)
			}
		}
	})
	t.Run("a look at a session that cannot be expired by a call", func(t *testing.T) {
		if a := Decide(given(told("ExpireUnsupported", active), with(gen.ReconcileAt("1")), remembering(Memory{Refresh: "1"}), cameState(observe, active))); a.Call == expire {
			t.Error("POST")
		}
	})
	t.Run("suspended, or without a provider, after it was refused for good", func(t *testing.T) {
		if a := Decide(given(told("ExpireUnsupported", active), suspended)); a.Call != "" || a.Verdict != nil {
			t.Errorf("suspended: call %q, verdict %+v; want what is final left alone", a.Call, a.Verdict)
		}
		if a := Decide(given(told("ExpireUnsupported", active), missing)); a.Verdict != nil {
			t.Errorf("no provider: verdict %+v, want what is final left alone", a.Verdict)
		}
		if a := Decide(given(deleting, told("ExpireUnsupported", active), missing)); !a.Release {
			t.Error("deleted while the provider is missing: held, not released")
		}
	})
	t.Run("something else wakes a closed session while a look at it is queued", func(t *testing.T) {
		closed := []func(*Input){told("Expired", expired), with(gen.ReconcileAt("1")), limited}
		asked := Decide(given(closed...))
		again := Decide(given(append(closed, remembering(asked.Memory), at(time.Second))...))
		if again.Call != observe {
			t.Errorf("call %q", again.Call)
		}
		back := Decide(given(append(closed, remembering(again.Memory), cameState(observe, expired), at(2*time.Second))...))
		if back.Verdict.Handled != "1" {
			t.Error("the look has come back and is not handled")
		}
	})
	t.Run("a dry run, and expireAt is taken back", func(t *testing.T) {
		if a := Decide(given(dryRun, with(gen.Active), told("WouldExpire", active), specEdited, neverPolls)); a.Call == "" && a.Verdict.Reason == v1alpha1.ReasonWouldExpire {
			t.Error("expireAt was removed, and the status says, of the new generation, that it would expire the session now")
		}
	})
	t.Run("the spec is edited while a poll is queued", func(t *testing.T) {
		for _, reason := range []string{"Observed", "Expiring", "ExpireRefused"} {
			if a := Decide(given(with(gen.Active), told(reason, active), specEdited, limited, queued(observe))); a.Verdict == nil {
				t.Errorf("told %s of the spec before, and silent", reason)
			}
		}
	})
	t.Run("open again, where it should be active", func(t *testing.T) {
		in := given(with(gen.Active), told("Observed", expired), with(gen.ReconcileAt("1")), cameState(observe, active))
		if a := Decide(in); !a.Verdict.News(in.Session.Status.Conditions) {
			t.Error("alarming, and no news")
		}
	})
	t.Run("expireAt comes while a look is on its way", func(t *testing.T) {
		scheduled := []func(*Input){with(gen.ExpireAt(now.Add(time.Second))), told("Scheduled", active), with(gen.ReconcileAt("1"))}
		asked := Decide(given(scheduled...))
		in := given(append(scheduled, cameState(observe, processing), at(2*time.Second))...)
		in.Memory = asked.Memory
		if got := Decide(in).Verdict.Handled; got != "1" {
			t.Errorf("handled %q", got)
		}
	})
	t.Run("a payment was in flight when it was last read", func(t *testing.T) {
		if a := Decide(given(deleting, told("Observed", processing))); a.Call == expire {
			t.Error("POST")
		}
	})
}
