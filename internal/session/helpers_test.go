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

var now = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

const (
	expire  = v1alpha1.OperationExpire
	observe = v1alpha1.OperationObserve
	poll    = 10 * time.Minute
)

// given returns the input for a new session that should be expired, with a jitter of one half.
func given(changes ...func(*Input)) Input {
	session := gen.Session("shop", "order", "omise", gen.ID("omise", 1))
	session.Generation = 1
	session.Status.ObservedGeneration = -1
	in := Input{Session: session, Now: now, Jitter: 0.5, PollInterval: poll, SessionIDName: "charge id", AccountEpoch: 1}
	for _, change := range changes {
		change(&in)
	}
	return in
}

// with applies options to the session.
func with(options ...gen.SessionOption) func(*Input) {
	return func(f *Input) {
		for _, option := range options {
			option(f.Session)
		}
	}
}

// showing gives the session a status with a reason and a state, for the current generation.
func showing(reason string, state v1alpha1.SessionState) func(*Input) {
	return func(f *Input) {
		row := table[reason]
		f.Session.Status = v1alpha1.PaymentSessionStatus{ObservedGeneration: 1, State: state, Conditions: []metav1.Condition{{
			Type: v1alpha1.ConditionReady, Status: row.ready, Reason: reason, Message: "shown before", ObservedGeneration: 1,
		}}}
		if row.progress != Done {
			f.Session.Status.Conditions = append(f.Session.Status.Conditions, metav1.Condition{
				Type: string(row.progress), Status: metav1.ConditionTrue, Reason: reason, ObservedGeneration: 1,
			})
		}
		if state.Closed() {
			f.Session.Status.ClosedAt = &metav1.Time{Time: now.Add(-time.Hour)}
		}
	}
}

// showingStalled gives the session a status that is Stalled for a reason.
func showingStalled(reason string) func(*Input) {
	return func(f *Input) {
		showing(reason, f.Session.Status.State)(f)
		alsoStalled(reason)(f)
	}
}

// after gives the decision the outcome of a call that was made. Only a refresh calls for a closed session.
func after(operation v1alpha1.Operation, result call.Result) func(*Input) {
	return func(f *Input) {
		f.Outcome = &call.Outcome{
			Operation: operation, Result: result, Made: true, Refresh: f.Session.Status.State.Closed(), EndedAt: f.Now,
			AccountEpoch: f.AccountEpoch,
		}
	}
}

// notForRefresh says that the call that has ended was made before the session was closed.
func notForRefresh(f *Input) { f.Outcome.Refresh = false }

// afterState gives it the outcome of a call that the provider accepted and whose reply shows a state.
func afterState(operation v1alpha1.Operation, state v1alpha1.SessionState) func(*Input) {
	return after(operation, call.Result{Outcome: v1alpha1.OutcomeAccepted, State: state, Status: string(state)})
}

// unexpirable says that the read shows that no call can expire the session.
func unexpirable(f *Input) { f.Outcome.Result.Unexpirable, f.ShowsExpirable = true, true }

// showsExpirable gives the session a class whose reads show whether a call can end it.
func showsExpirable(f *Input) { f.ShowsExpirable = true }

// afterOutcome gives it the outcome of a call whose reply shows no state.
func afterOutcome(operation v1alpha1.Operation, outcome v1alpha1.Outcome) func(*Input) {
	return after(operation, call.Result{Outcome: outcome, Message: "their words"})
}

// remembering gives the decision a memory of the same desired state and the same account.
func remembering(memory Memory) func(*Input) {
	return func(f *Input) {
		memory.Desired = Desired(f.Session, f.Now)
		if memory.AccountEpoch == 0 {
			memory.AccountEpoch = f.AccountEpoch
		}
		f.Memory = memory
	}
}

func suspended(f *Input)  { f.Session.Spec.Suspend = true }
func dryRun(f *Input)     { f.DryRun = true }
func invalidID(f *Input)  { f.InvalidSessionID = true }
func specEdited(f *Input) { f.Session.Generation = 2 }
func neverPolls(f *Input) { f.PollInterval = 0 }
func missing(f *Input) {
	f.Obstacle = &Obstacle{Reason: v1alpha1.ReasonProviderNotFound, Message: "no provider"}
}
func outage(f *Input)     { f.Hold = HoldOutage }
func newAccount(f *Input) { f.AccountEpoch = 2 }
func limited(f *Input)    { f.Hold = HoldRateLimit }
func mayProbe(f *Input)   { f.MayProbe = true }
func elsewhere(f *Input)  { f.Endpoint = "here" }
func found(f *Input)      { f.AccountFound = true }

// alsoStalled adds Stalled to the status.
func alsoStalled(reason string) func(*Input) {
	return func(f *Input) {
		f.Session.Status.Conditions = append(f.Session.Status.Conditions, metav1.Condition{
			Type: v1alpha1.ConditionStalled, Status: metav1.ConditionTrue, Reason: reason, ObservedGeneration: 1,
		})
	}
}

// pollScheduled remembers that the desired state was active and that the next poll is not due yet.
func pollScheduled(f *Input) {
	f.Memory = Memory{Desired: v1alpha1.DesiredStateActive, NextCallAt: now.Add(time.Minute)}
}

// Short names of the states for the tables.
const (
	active     = v1alpha1.SessionStateActive
	processing = v1alpha1.SessionStateProcessing
	expired    = v1alpha1.SessionStateExpired
	completed  = v1alpha1.SessionStateCompleted
	failed     = v1alpha1.SessionStateFailed
)

// decided is the part of an Action that a case expects.
type decided struct {
	Operation v1alpha1.Operation
	Confirm   bool
	Delete    bool
	Reason    string
	Ready     metav1.ConditionStatus
	Expired   metav1.ConditionStatus
	Progress  Progress
	Wait      time.Duration
}

// decideCase is a decision on a session that is not being deleted.
type decideCase struct {
	reason string
	input  Input
	want   decided
}

// decide checks the cases, and that no decision changes its input.
func decide(t *testing.T, cases []decideCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			before := tc.input.Session.DeepCopy()
			action := Decide(tc.input)
			got := decided{Operation: action.Operation, Confirm: action.Confirm, Delete: action.Delete, Wait: action.Wait}
			if verdict := action.Verdict; verdict != nil {
				got.Reason, got.Ready, got.Expired, got.Progress = verdict.Reason, verdict.Ready, verdict.Expired, verdict.Progress
				if strings.Contains(verdict.Message, "%") || verdict.Message == "" {
					t.Errorf("the message %q is empty or has a placeholder", verdict.Message)
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(before, tc.input.Session); diff != "" {
				t.Errorf("the decision changed its input:\n%s", diff)
			}
		})
	}
}
