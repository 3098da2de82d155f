// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestEveryReasonHasARow compares the reasons of a session in the API package with the table.
func TestEveryReasonHasARow(t *testing.T) {
	reasons := gen.Constants[string]("Reasons of a PaymentSession's conditions")
	slices.Sort(reasons)
	if !slices.Equal(reasons, Reasons()) || len(reasons) == 0 {
		t.Errorf("the API has the reasons %q, the table has %q", reasons, Reasons())
	}
}

// TestEveryReasonIsDocumented looks for each reason on the pages where users look it up.
func TestEveryReasonIsDocumented(t *testing.T) {
	for _, page := range []string{"README.md", "docs/spec/v1alpha1/paymentsessions.md", "docs/gitops.md"} {
		text, err := os.ReadFile(filepath.Join(gen.Root(), page))
		if err != nil {
			t.Fatal(err)
		}
		for _, reason := range Reasons() {
			if !strings.Contains(string(text), "`"+reason+"`") {
				t.Errorf("%s does not explain the reason %s", page, reason)
			}
		}
	}
}

// TestEveryOutcomeHasAReason walks the outcomes of the API. After Accepted and Refused the session's state decides.
func TestEveryOutcomeHasAReason(t *testing.T) {
	for _, outcome := range gen.Constants[v1alpha1.Outcome]("Outcome") {
		reason, ok := reasonOf[outcome]
		if decided := outcome == v1alpha1.OutcomeAccepted || outcome == v1alpha1.OutcomeRefused; ok == decided {
			t.Errorf("%s: reason %q", outcome, reason)
		}
		rejects := call.MeaningOf(outcome).RejectsAccount
		if probes := table[reason].next == probing; probes != rejects {
			t.Errorf("%s rejects the account: %v; its reason %s is probing: %v", outcome, rejects, reason, probes)
		}
	}
	for reason, row := range table {
		if row.next == probing && !slices.Contains(slices.Collect(maps.Values(reasonOf)), reason) {
			t.Errorf("%s is probing, and belongs to no outcome: the account would give no turns", reason)
		}
	}
}

// TestEveryRowIsComplete checks that each row has what every reason needs, and does not contradict itself.
func TestEveryRowIsComplete(t *testing.T) {
	for reason, row := range table {
		if row.ready == "" || row.next == 0 || row.message == "" {
			t.Errorf("%s: ready %q, next %d, message %q", reason, row.ready, row.next, row.message)
		}
		if row.ready == no && row.progress == Done && !row.patient {
			t.Errorf("%s: Ready=False and neither Reconciling nor Stalled, so that nobody knows who has to act", reason)
		}
		if row.next == never && row.ready == no && row.unexpirable == "" && !row.keepsObject {
			t.Errorf("%s: no call follows, so a deletion would wait forever", reason)
		}
		if row.final && row.next != never || row.stallsAfter > 0 && row.progress != Reconciling {
			t.Errorf("%s contradicts itself: %+v", reason, row)
		}
	}
}

// TestEveryRowReactsToEveryTrigger combines each row with each event that may end its wait.
func TestEveryRowReactsToEveryTrigger(t *testing.T) {
	later := Memory{NextCallAt: now.Add(24 * time.Hour), AccountEpoch: 1}
	callAtOnce := func(row) bool { return true }
	ifScheduled := func(row row) bool { return row.next != onChange }
	triggers := map[string]struct {
		change []func(*Input)
		// calls reports whether the event must lead to a call at once for an open row.
		calls func(row) bool
	}{
		"the spec was edited":     {[]func(*Input){specEdited}, callAtOnce},
		"the account changed":     {[]func(*Input){newAccount}, callAtOnce},
		"it is its turn to probe": {[]func(*Input){mayProbe}, callAtOnce},
		"the annotation changed":  {[]func(*Input){with(gen.ReconcileAt("1"))}, callAtOnce},
		"the object was deleted":  {[]func(*Input){deleting}, callAtOnce},
		"the next call is due":    {[]func(*Input){func(f *Input) { f.Memory.NextCallAt = f.Now }}, ifScheduled},
		"the desired state changed": {
			[]func(*Input){func(f *Input) { f.Memory.Desired = v1alpha1.DesiredStateActive }}, callAtOnce,
		},
		"the manager was restarted": {[]func(*Input){func(f *Input) { f.Memory = Memory{} }}, ifScheduled},
		"the endpoint was changed": {
			[]func(*Input){func(f *Input) { f.Memory.Endpoint, f.Endpoint = "before", "now" }}, ifScheduled,
		},
		"nothing happened":                {nil, func(row) bool { return false }},
		"an obstacle appeared":            {[]func(*Input){missing}, func(row) bool { return false }},
		"the session was suspended":       {[]func(*Input){suspended}, func(row) bool { return false }},
		"the manager runs with --dry-run": {[]func(*Input){dryRun}, func(row) bool { return false }},
		"an outage holds back all calls":  {[]func(*Input){outage}, func(row) bool { return false }},
		"the class rejects the id":        {[]func(*Input){invalidID}, func(row) bool { return false }},
		"the CRD is being deleted": {
			[]func(*Input){deleting, func(f *Input) { f.Uninstalling = true }}, func(row) bool { return false },
		},
		"the policy became Retain":   {[]func(*Input){deleting, retained}, func(row) bool { return false }},
		"an unknown outcome arrived": {[]func(*Input){afterOutcome(expire, "Novel")}, func(row) bool { return false }},
	}
	for reason, row := range table {
		// All other rows are closed, wait for a time, or occur only with --dry-run.
		open := row.ready != yes && !row.final && !row.keepsObject && !row.dryRun
		for what, trigger := range triggers {
			changes := []func(*Input){protected, showing(reason, active), remembering(later)}
			action := Decide(given(append(changes, trigger.change...)...))
			idle := action.Operation == "" && action.Wait == 0 && !action.Release
			switch {
			case action.Operation == "" && open && trigger.calls(row):
				t.Errorf("%s, and %s: no call, want one", reason, what)
			case row.final && action.Operation == expire:
				t.Errorf("%s, and %s: an expire call, which cannot help", reason, what)
			case open && idle && trigger.change == nil && row.next != onChange:
				t.Errorf("%s has neither a call nor a timer, so that it waits forever", reason)
			}
		}
	}
}
