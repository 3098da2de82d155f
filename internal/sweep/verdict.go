// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sweep

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

const (
	// maxPlanned is the number of sessions that a status names.
	maxPlanned = 50
	// listedAgain is the time after which the time of a pass is written although nothing else has changed.
	listedAgain = time.Hour

	waysOut = " The deletion of the namespace waits for that. To delete it and leave the sessions as they are, set " +
		"spec.deletionPolicy: Retain."
)

// Verdict is what the status should say.
type Verdict struct {
	// Reason and Message of the Ready condition.
	Reason, Message string
	// Ready and Expired are the statuses of these conditions.
	Ready, Expired metav1.ConditionStatus
	// Progress selects the condition that is True, Reconciling or Stalled, or neither.
	Progress session.Progress
	// Warn is true where a person should get an Event. Holds is true where the deletion of the namespace waits.
	Warn, Holds bool
	// List and Plan are those of the last pass; nil leaves the status as it is.
	List *v1alpha1.SweepListing
	Plan *v1alpha1.SweepPlan
	// Swept is the number of sessions that were expired. It is written with other changes while Working is true, or it
	// would be written for each of them.
	Swept   int32
	Working bool
	// Handled is the value of the reconcile-at annotation that this answers; empty for none.
	Handled string
}

// IsNews reports whether a verdict gives a person a reason to look again.
func (v *Verdict) IsNews(before []metav1.Condition) bool {
	ready := apimeta.FindStatusCondition(before, v1alpha1.ConditionReady)
	return ready == nil || ready.Reason != v.Reason || v.Holds && !strings.HasSuffix(ready.Message, waysOut)
}

// conclude sets the verdict of a reason of the sweep itself.
func (d *decision) conclude(reason, details string) { d.say(reason, table[reason], details) }

// concludeSession sets the verdict of a session that is not expired, in the words of its own verdict. The sweep may
// have the same reason for its passes, with other words.
func (d *decision) concludeSession() {
	says := row{ready: no, progress: session.Reconciling, message: "%s", warns: true}
	if d.Progress.Stalled {
		says.progress = session.Stalled
	}
	d.say(d.Progress.Reason, says, d.Progress.Message)
}

// say sets the verdict of a row.
func (d *decision) say(reason string, says row, details string) {
	if d.memory.Trouble != reason {
		d.memory.Trouble, d.memory.TroubleSince = reason, d.Now
	}
	if says.patient {
		says.progress = session.Reconciling
		if d.Now.Sub(d.memory.TroubleSince) >= session.Patience {
			says.progress = session.Stalled
		}
	}
	verdict := &Verdict{
		Reason: reason, Message: says.message, Ready: says.ready, Expired: unknown, Progress: says.progress,
		Warn: says.warns && says.progress == session.Stalled, Swept: int32(d.Progress.Expired), //nolint:gosec // At most 10000.
		Working: d.Progress.Open > 0, Handled: d.memory.Answers, Holds: d.deleting(),
	}
	if strings.Contains(says.message, "%s") {
		verdict.Message = fmt.Sprintf(says.message, details)
	}
	if verdict.Holds {
		verdict.Message += waysOut
	}
	if l := d.memory.Last; l != nil {
		d.describe(verdict, l)
	}
	d.action.Verdict = verdict
}

// describe adds what the last pass has shown.
func (d *decision) describe(verdict *Verdict, l *Listing) {
	verdict.List = &v1alpha1.SweepListing{
		At: second(l.Ended), Since: second(l.Since), Pages: int32(l.Pages), //nolint:gosec // At most 1000.
		Items: int32(l.Items), Complete: l.Complete, //nolint:gosec // At most 1000 pages of some MiB.
	}
	if !l.Complete {
		return
	}
	plan, left := d.planned(l)
	verdict.Plan = plan
	reason, _ := d.trouble(l)
	switch {
	case reason != "":
	case left > 0 || d.Progress.Open > 0:
		verdict.Expired = no
	case !d.deleting():
		// One pass is enough to say so, and not enough to let a namespace go.
		verdict.Expired = yes
	}
}

// planned returns the plan of a complete pass, and the number of sessions that are open and were not registered with
// Retain.
func (d *decision) planned(l *Listing) (plan *v1alpha1.SweepPlan, left int) {
	plan = &v1alpha1.SweepPlan{Foreign: int32(l.Foreign)} //nolint:gosec // At most 1000 pages.
	open := slices.Clone(l.Open)
	if d.Progress.Open == 0 {
		// While sessions are being expired the plan stays, or it would be written for each of them.
		open = slices.DeleteFunc(open, func(listed upstream.Listed) bool { return d.Progress.Closed[listed.ID] })
	}
	slices.SortStableFunc(open, func(a, b upstream.Listed) int { return a.CreatedAt.Compare(b.CreatedAt) })
	plan.Open = int32(l.Count - len(l.Open) + len(open)) //nolint:gosec // At most 1000 pages.
	left = int(plan.Open)
	for _, listed := range open {
		object := d.Objects[listed.ID]
		isRetained := d.Retained(listed.ID)
		if isRetained {
			left--
		}
		if isRetained || object.Active && !d.deleting() {
			plan.Claimed++
		}
		if listed.State == v1alpha1.SessionStateProcessing {
			plan.Processing++
		}
		shown := v1alpha1.PlannedSession{ID: listed.ID, State: listed.State, Object: object.Name}
		if !listed.CreatedAt.IsZero() {
			at := second(listed.CreatedAt)
			shown.CreatedAt = &at
			if plan.Oldest == nil {
				plan.Oldest = &at
			}
		}
		if len(plan.Sessions) < maxPlanned {
			plan.Sessions = append(plan.Sessions, shown)
		}
	}
	return plan, left
}

func second(at time.Time) metav1.Time { return metav1.NewTime(at).Rfc3339Copy() }

// Apply changes a status to what the verdict says, but for its conditions. What changes with each pass of a busy
// account is written with other changes, and at most once an hour without.
func (v *Verdict) Apply(status *v1alpha1.PaymentSweepStatus) {
	if !v.Working {
		status.Expired = v.Swept
	}
	if v.Handled != "" {
		status.LastHandledReconcileAt = v.Handled
	}
	if v.List == nil || status.List != nil && !v.isOld(status) && v.repeats(status) {
		return
	}
	status.List = v.List
	if v.Plan != nil {
		status.Plan = v.Plan
	}
}

// repeats reports whether the last pass says the same about the namespace as the status.
func (v *Verdict) repeats(status *v1alpha1.PaymentSweepStatus) bool {
	if v.Plan == nil || status.Plan == nil {
		return v.Plan == nil && !status.List.Complete
	}
	return status.List.Complete && isSamePlan(*v.Plan, *status.Plan)
}

// isOld reports whether the status shows a pass of long ago.
func (v *Verdict) isOld(status *v1alpha1.PaymentSweepStatus) bool {
	return v.List.At.Sub(status.List.At.Time) >= listedAgain
}

// isSamePlan compares what two plans say about the namespace. Others open and close sessions all the time.
func isSamePlan(a, b v1alpha1.SweepPlan) bool {
	isSame := (a.Foreign == 0) == (b.Foreign == 0)
	a.Foreign, b.Foreign = 0, 0
	return isSame && equality.Semantic.DeepEqual(a, b)
}
