// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sweep

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

var now = time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)

const lag = 30 * time.Second

// given returns the input for a sweep that has asked for its first pass.
func given(changes ...func(*Input)) Input {
	sweep := gen.Sweep("shop", "omise", "omise")
	sweep.Generation, sweep.Finalizers = 1, []string{v1alpha1.SweepFinalizer}
	sweep.Spec.Limits = v1alpha1.SweepLimits{Sessions: 3, Pages: 10}
	in := Input{
		Sweep: sweep, Now: now, Lag: lag, Access: 1, AccountEpoch: 1, Retained: func(string) bool { return false },
		Memory: Memory{
			Generation: 1, Access: 1, AccountEpoch: 1, Since: now.Add(-time.Minute), From: now.Add(-time.Minute),
		},
	}
	for _, change := range changes {
		change(&in)
	}
	return in
}

// deleted says that the sweep is being deleted with its namespace.
func deleted(in *Input) {
	in.Sweep.DeletionTimestamp = &metav1.Time{Time: now.Add(-time.Minute)}
	in.Terminating, in.Memory.Deleting = true, true
}

func alone(in *Input)        { in.Terminating = false }
func uninstalling(in *Input) { in.Uninstalling = true }
func suspended(in *Input)    { in.Sweep.Spec.Suspend = true }
func unheld(in *Input)       { in.Sweep.Finalizers = nil }
func edited(in *Input)       { in.Sweep.Generation = 2 }
func newAccount(in *Input)   { in.AccountEpoch = 2 }
func newAccess(in *Input)    { in.Access = 2 }

// otherScope says that the pass was made for another word of the namespace.
func otherScope(in *Input) { in.Listing.Scope.Self = "eu/before" }

// asked asks for a pass.
func asked(in *Input) {
	in.Sweep.Annotations = map[string]string{v1alpha1.ReconcileAtAnnotation: "now"}
	in.Memory.Refresh, in.Memory.RefreshAt = "now", now.Add(-time.Minute)
}

// reporting makes the sweep report only.
func reporting(in *Input) { in.Sweep.Spec.DeletionPolicy = v1alpha1.DeletionPolicyRetain }

// expiring makes the sweep expire in every pass.
func expiring(in *Input) { in.Sweep.Spec.DesiredState = v1alpha1.DesiredStateExpired }

// never makes passes only while the namespace is being deleted.
func never(in *Input) { in.Sweep.Spec.Interval = &metav1.Duration{} }

func obstructed(reason string) func(*Input) {
	return func(in *Input) { in.Obstacle = &session.Obstacle{Reason: reason, Message: "Do this."} }
}

// found hands out a complete pass that has ended now, with open sessions of these ids.
func found(ids ...string) func(*Input) {
	return func(in *Input) {
		listing := &Listing{
			Began: now.Add(-2 * time.Second), Ended: now, Since: now.Add(-time.Hour), Pages: 1, Items: 9, Complete: true,
			Count: len(ids), Foreign: 5,
		}
		for _, id := range ids {
			listing.Open = append(listing.Open, upstream.Listed{ID: id, State: v1alpha1.SessionStateActive})
		}
		in.Listing = listing
	}
}

// spoiled changes the pass that was handed out.
func spoiled(change func(*Listing)) func(*Input) {
	return func(in *Input) { change(in.Listing) }
}

func failed(outcome v1alpha1.Outcome) func(*Input) {
	return spoiled(func(l *Listing) {
		l.Complete, l.Failure = false, &call.Result{Outcome: outcome, Message: "their words"}
	})
}

// handled says that the pass was handled by an earlier decision.
func handled(in *Input) { in.Memory.Last, in.Memory.From = in.Listing, now.Add(time.Minute) }

// waiting says that an earlier decision has seen the sessions of the pass, and waits for them.
func waiting(in *Input) {
	handled(in)
	in.Memory.Waiting, in.Memory.Attempts = true, 1
}

func remembering(change func(*Memory)) func(*Input) { return func(in *Input) { change(&in.Memory) } }

// emptyAt says that a pass which ended at a time has shown nothing.
func emptyAt(at time.Time) func(*Input) {
	return remembering(func(m *Memory) { m.Empty, m.From = at, at.Add(lag) })
}

func retained(ids ...string) func(*Input) {
	return func(in *Input) { in.Retained = func(id string) bool { return slices.Contains(ids, id) } }
}

func objects(ids ...string) func(*Input) {
	return func(in *Input) {
		in.Objects = map[string]Object{}
		for _, id := range ids {
			in.Objects[id] = Object{Name: "order-" + id, Active: true}
		}
	}
}

func progress(made Progress) func(*Input) { return func(in *Input) { in.Progress = made } }

// decided is what a case expects of an action.
type decided struct {
	Reason  string
	Expired metav1.ConditionStatus
	Stalled bool
	// List, Release, Drop and Finalizer are as in Action.
	List, Release, Drop, Finalizer bool
	// Payable is true where the release may leave sessions payable.
	Payable bool
	// Answers is true where the verdict answers the reconcile-at annotation.
	Answers bool
	Expire  []string
	Wait    time.Duration
}

type decideCase struct {
	because string
	in      Input
	want    decided
}

func decide(t *testing.T, cases []decideCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.because, func(t *testing.T) {
			action := Decide(tc.in)
			got := decided{
				List: action.List, Release: action.Release, Drop: action.Drop, Finalizer: action.AddFinalizer,
				Payable: action.LeavesPayable != "", Wait: action.Wait,
			}
			if verdict := action.Verdict; verdict != nil {
				got.Reason, got.Expired, got.Stalled = verdict.Reason, verdict.Expired, verdict.Progress == session.Stalled
				got.Answers = verdict.Handled != ""
			}
			for _, listed := range action.Expire {
				got.Expire = append(got.Expire, listed.ID)
			}
			if difference := cmp.Diff(tc.want, got); difference != "" {
				t.Errorf("(-want +got)\n%s%s", difference, fmt.Sprintf("%+v", action.Memory))
			}
		})
	}
}
