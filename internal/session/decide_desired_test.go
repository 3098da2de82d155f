// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"testing"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestDecideClosed decides on closed sessions.
func TestDecideClosed(t *testing.T) {
	decide(t, []decideCase{
		{"expired before: no call, not even after a restart",
			given(showing("Expired", expired)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"expired before, and the provider is gone",
			given(showing("Expired", expired), missing), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"paid while its desired state was active, and now it is expired: no call",
			given(showing("Observed", completed), specEdited),
			decided{Reason: "PaymentCompleted", Ready: no, Expired: no, Progress: Stalled}},
		{"closed, before ttlAfterClosed has passed",
			given(showing("Expired", expired), with(gen.TTLAfterClosed(2*time.Hour))),
			decided{Reason: "Expired", Ready: yes, Expired: yes, Wait: time.Hour}},
		{"closed, and ttlAfterClosed has passed",
			given(showing("Expired", expired), with(gen.TTLAfterClosed(time.Hour))),
			decided{Reason: "Expired", Ready: yes, Expired: yes, Delete: true}},
		{"closed, and the annotation requests a refresh",
			given(showing("Expired", expired), with(gen.ReconcileAt("1"))), decided{Operation: observe}},
		{"closed, and the refresh cannot be made",
			given(showing("Expired", expired), with(gen.ReconcileAt("1")), missing),
			decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"closed, and the refresh fails",
			given(showing("Expired", expired), with(gen.ReconcileAt("1")), remembering(Memory{Refresh: "1"}),
				afterOutcome(observe, v1alpha1.OutcomeUnavailable)),
			decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"closed, and the refresh shows it active again: write that before the next call",
			given(showing("Expired", expired), with(gen.ReconcileAt("1")), afterState(observe, active)),
			decided{Reason: "Expiring", Ready: no, Expired: no, Progress: Reconciling, Wait: noDelay}},
		{"closed by another manager process, after this one has read it as active",
			given(showing("Expired", expired), afterState(observe, active), notForRefresh),
			decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"closed by another manager process, and this one proves another end",
			given(showing("Expired", expired), afterState(observe, completed), notForRefresh),
			decided{Reason: "PaymentCompleted", Ready: no, Expired: no, Progress: Stalled}},
	})
}

// TestDecideActive decides on sessions whose desired state is active.
func TestDecideActive(t *testing.T) {
	inAnHour := now.Add(time.Hour)
	decide(t, []decideCase{
		{"active, as desired",
			given(with(gen.Active), afterState(observe, active)),
			decided{Reason: "Observed", Ready: yes, Expired: no, Wait: poll}},
		{"paid, which is a good end",
			given(with(gen.Active), afterState(observe, completed)), decided{Reason: "Observed", Ready: yes, Expired: no}},
		{"expired by the provider, which is a good end",
			given(with(gen.Active), afterState(observe, expired)), decided{Reason: "Observed", Ready: yes, Expired: yes}},
		{"active, before expireAt",
			given(with(gen.ExpireAt(inAnHour)), afterState(observe, active)),
			decided{Reason: "Scheduled", Ready: yes, Expired: no, Wait: poll}},
		{"active, with expireAt before the next poll",
			given(with(gen.ExpireAt(now.Add(time.Minute))), afterState(observe, active)),
			decided{Reason: "Scheduled", Ready: yes, Expired: no, Wait: time.Minute}},
		{"active, and expireAt has passed",
			given(with(gen.ExpireAt(now)), showing("Scheduled", active), pollScheduled),
			decided{Operation: expire, Confirm: true, Wait: pendingGrace}},
		{"active, the poll is not due",
			given(with(gen.Active), showing("Observed", active), remembering(Memory{NextCallAt: now.Add(time.Minute)})),
			decided{Reason: "Observed", Ready: yes, Expired: no, Wait: time.Minute}},
		{"active, the poll is due",
			given(with(gen.Active), showing("Observed", active), remembering(Memory{NextCallAt: now})),
			decided{Operation: observe}},
		{"active, after a restart: the polls are spread out",
			given(with(gen.Active), showing("Observed", active)),
			decided{Reason: "Observed", Ready: yes, Expired: no, Wait: poll / 2}},
		{"active, never polled",
			given(with(gen.Active), showing("Observed", active), neverPolls),
			decided{Reason: "Observed", Ready: yes, Expired: no}},
		{"active, and the provider is unavailable",
			given(with(gen.Active), afterOutcome(observe, v1alpha1.OutcomeUnavailable)),
			decided{Reason: "ProviderUnavailable", Ready: no, Expired: unknown, Progress: Reconciling, Wait: time.Second}},
		{"active before, and the desired state becomes expired: at once",
			given(showing("Observed", active), specEdited, pollScheduled), decided{Operation: expire, Wait: pendingGrace}},
		{"unavailable before, and the spec was edited: try at once",
			given(showing("ProviderUnavailable", ""), specEdited, remembering(Memory{NextCallAt: now.Add(time.Hour)})),
			decided{Operation: expire, Wait: pendingGrace}},
	})
}

// TestDecideRefresh decides on the reconcile-at annotation.
func TestDecideRefresh(t *testing.T) {
	decide(t, []decideCase{
		{"an active session that is never polled",
			given(with(gen.Active), showing("Observed", active), neverPolls, with(gen.ReconcileAt("1"))),
			decided{Operation: observe}},
		{"another refresh within 10 s",
			given(with(gen.Active), showing("Observed", active), neverPolls, with(gen.ReconcileAt("2")),
				remembering(Memory{NextRefreshAt: now.Add(7 * time.Second)})),
			decided{Reason: "Observed", Ready: yes, Expired: no, Wait: 7 * time.Second}},
		{"another refresh of a closed session within 10 s",
			given(showing("Expired", expired), with(gen.ReconcileAt("2")),
				remembering(Memory{NextRefreshAt: now.Add(7 * time.Second)})),
			decided{Reason: "Expired", Ready: yes, Expired: yes, Wait: 7 * time.Second}},
	})
}

// TestDecideTimeToLive decides on ttlAfterClosed.
func TestDecideTimeToLive(t *testing.T) {
	decide(t, []decideCase{
		{"paid instead of expired: the object stays",
			given(showing("PaymentCompleted", completed), with(gen.TTLAfterClosed(0))),
			decided{Reason: "PaymentCompleted", Ready: no, Expired: no, Progress: Stalled}},
		{"paid while its desired state was active: the object is deleted",
			given(with(gen.Active), showing("Observed", completed), with(gen.TTLAfterClosed(0))),
			decided{Reason: "Observed", Ready: yes, Expired: no, Delete: true}},
	})
}

// TestDecideSuspendedOrDryRun decides on suspended sessions, and with --dry-run.
func TestDecideSuspendedOrDryRun(t *testing.T) {
	decide(t, []decideCase{
		{"a dry run of an active session",
			given(dryRun, showing("Observed", active), specEdited),
			decided{Reason: "WouldExpire", Ready: no, Expired: no, Progress: Reconciling, Wait: poll}},
		{"a dry run of a session that is never polled",
			given(dryRun, neverPolls, showing("Observed", active), specEdited),
			decided{Reason: "WouldExpire", Ready: no, Expired: no, Progress: Reconciling}},
		{"a dry run of a session whose expireAt has passed",
			given(dryRun, with(gen.ExpireAt(now)), showing("Scheduled", active), pollScheduled),
			decided{Reason: "WouldExpire", Ready: no, Expired: no, Progress: Reconciling, Wait: poll}},
		{"a dry run of a session whose expiry was refused before",
			given(dryRun, showing("ExpireRefused", active)),
			decided{Reason: "WouldExpire", Ready: no, Expired: no, Progress: Reconciling, Wait: poll}},
		{"a dry run whose read of an active session is pending",
			given(dryRun, showing("UnexpectedResponse", active), specEdited, limited,
				remembering(Memory{Next: observe, PendingSince: now.Add(-pendingGrace)})),
			decided{Operation: observe, Reason: "WouldExpire", Ready: no, Expired: no, Progress: Reconciling}},
		{"a dry run that has reported it before", given(dryRun, neverPolls, showing("WouldExpire", active)), decided{}},
		{"suspended", given(suspended), decided{Reason: "Suspended", Ready: unknown}},
		{"resumed, and it should be active: the status says so before the read",
			given(with(gen.Active), showing("Suspended", active), specEdited),
			decided{Operation: observe, Reason: "Observed", Ready: yes, Expired: no}},
		{"resumed before it was ever seen: the status does not repeat that it is suspended",
			given(with(gen.Active), showing("Suspended", ""), specEdited), decided{Operation: observe}},
		{"suspended, with a refresh request",
			given(suspended, with(gen.ReconcileAt("1"))), decided{Reason: "Suspended", Ready: unknown}},
		{"suspended while the call that proves the expiry was in flight",
			given(suspended, afterState(expire, expired)), decided{Reason: "Suspended", Ready: unknown, Expired: yes}},
		{"a dry run finds it active",
			given(dryRun, afterState(observe, active)),
			decided{Reason: "WouldExpire", Ready: no, Expired: no, Progress: Reconciling, Wait: poll}},
		{"a dry run finds it expired",
			given(dryRun, afterState(observe, expired)), decided{Reason: "Expired", Ready: yes, Expired: yes}},
		{"a dry run finds a payment in flight",
			given(dryRun, afterState(observe, processing)),
			decided{Reason: "PaymentInProgress", Ready: no, Expired: no, Progress: Reconciling, Wait: time.Second}},
	})
}
