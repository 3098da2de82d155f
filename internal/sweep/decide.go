// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sweep

import (
	"slices"
	"strings"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

const (
	// MaxHold is the longest time between two tries of a deletion that waits, and minRetry the shortest.
	MaxHold, minRetry = 5 * time.Minute, 5 * time.Second
)

// Action is what to do now.
type Action struct {
	// Join takes part in the passes of the account. List asks for one that begins at Memory.From or later.
	Join, List bool
	// Drop forgets the sessions that were to be expired: what allowed their calls counts no more.
	Drop bool
	// Expire are the sessions to expire, in place of those before; nil leaves all as they are.
	Expire []upstream.Listed
	// Verdict to write into the status; nil leaves the status unchanged.
	Verdict *Verdict
	// AddFinalizer and Release change the finalizer. LeavesPayable is why a release may leave sessions payable.
	AddFinalizer, Release bool
	LeavesPayable         string
	// Wait is the time until the next decision unless something happens before; 0 for no timer.
	Wait   time.Duration
	Memory Memory
}

// decision is the working state of one decision.
type decision struct {
	Input

	memory Memory
	action Action
}

// HasFinalizer reports whether a sweep has our finalizer.
func HasFinalizer(of *v1alpha1.PaymentSweep) bool {
	return slices.Contains(of.Finalizers, v1alpha1.SweepFinalizer)
}

// WantsExpiry reports whether a sweep is to expire sessions, now or when its namespace is deleted.
func WantsExpiry(of *v1alpha1.PaymentSweep) bool {
	return of.Spec.DeletionPolicy == v1alpha1.DeletionPolicyExpire || of.Spec.DesiredState == v1alpha1.DesiredStateExpired
}

// ReleasedAtOnce reports whether a sweep that is being deleted is released before its provider is looked up.
func ReleasedAtOnce(of *v1alpha1.PaymentSweep, uninstalling, terminating bool) bool {
	return of.Spec.DeletionPolicy != v1alpha1.DeletionPolicyExpire || uninstalling || !terminating
}

// Decide returns what to do about a sweep.
func Decide(in Input) Action {
	d := &decision{Input: in, memory: in.Memory}
	d.catchUp()
	d.judge()
	d.action.Memory = d.memory
	return d.action
}

// catchUp drops memory that belongs to another time.
func (d *decision) catchUp() {
	if d.memory.Outdated(d.Sweep, d.Access) {
		d.memory = Memory{
			Generation: d.Sweep.Generation, Deleting: d.deleting(), Access: max(d.Access, d.memory.Access),
			AccountEpoch: d.AccountEpoch, Trouble: d.memory.Trouble, TroubleSince: d.memory.TroubleSince,
		}
		d.again()
	}
	if l := d.memory.Last; l != nil && d.Obstacle == nil && !l.Scope.isSame(d.Scope) {
		// The namespace's word is another one.
		d.again()
	}
	if d.AccountEpoch != 0 && d.memory.AccountEpoch != d.AccountEpoch {
		if l := d.memory.Last; l != nil && l.Failure != nil {
			d.memory.From = d.Now
		}
		d.memory.AccountEpoch = d.AccountEpoch
	}
	if value := d.refresh(); value != "" && value != d.memory.Refresh {
		d.memory.Refresh, d.memory.RefreshAt, d.memory.From = value, d.Now, d.Now
	}
}

// again forgets what was listed, and what was to be expired because of that.
func (d *decision) again() {
	d.action.Drop = true
	d.memory.Since, d.memory.From, d.memory.Last, d.memory.Empty = d.Now, d.Now, nil, time.Time{}
	d.memory.Attempts, d.memory.Waiting, d.memory.Own = 0, false, 0
}

func (d *decision) deleting() bool { return !d.Sweep.DeletionTimestamp.IsZero() }

// refresh returns the value of the reconcile-at annotation if it has not been handled yet, else "".
func (d *decision) refresh() string {
	return session.Refresh(d.Sweep.Annotations, d.Sweep.Status.LastHandledReconcileAt)
}

// judge goes from what ends a decision early to the sessions.
func (d *decision) judge() {
	isHeld := HasFinalizer(d.Sweep)
	switch {
	case d.deleting() && !isHeld:
		d.action.Drop = true
		return
	case d.deleting() && ReleasedAtOnce(d.Sweep, d.Uninstalling, d.Terminating):
		d.release("")
		return
	case !d.deleting():
		d.action.Release = isHeld && d.Sweep.Spec.DeletionPolicy != v1alpha1.DeletionPolicyExpire
		d.action.AddFinalizer = !isHeld && d.Sweep.Spec.DeletionPolicy == v1alpha1.DeletionPolicyExpire && d.Obstacle == nil
	}
	switch {
	case d.Sweep.Spec.Suspend:
		d.stop(v1alpha1.ReasonSuspended, "")
	case d.Obstacle != nil && d.deleting() && table[d.Obstacle.Reason].unsweepable != "":
		d.release(table[d.Obstacle.Reason].unsweepable)
	case d.Obstacle != nil:
		d.stop(d.Obstacle.Reason, d.Obstacle.Message)
	default:
		d.action.Join = true
		d.pass()
	}
}

// release removes the finalizer. leavesPayable is why sessions may stay payable; empty where none does.
func (d *decision) release(leavesPayable string) {
	d.action.Release, d.action.Drop, d.action.LeavesPayable, d.action.Expire = true, true, leavesPayable, nil
}

// stop makes no call until something changes. What was listed before then allows none.
func (d *decision) stop(reason, message string) {
	d.again()
	d.conclude(reason, message)
	if table[reason].patient {
		d.wait(d.memory.TroubleSince.Add(session.Patience).Sub(d.Now))
	}
	if d.deleting() {
		d.wait(MaxHold)
	}
}

// wait decides again after a time at the latest.
func (d *decision) wait(pause time.Duration) {
	if pause > 0 && (d.action.Wait == 0 || pause < d.action.Wait) {
		d.action.Wait = pause
	}
}

// pass judges the pass that was handed out last, and asks for the next one where it is due.
func (d *decision) pass() {
	if d.isNew() {
		d.memory.Last = d.Listing
		d.handle(d.Listing)
	}
	if d.action.Release && d.deleting() {
		return
	}
	d.plan()
	d.weigh()
}

// isNew reports whether a pass was handed out that counts and was not handled yet. Passes that others ask for count as
// well.
func (d *decision) isNew() bool {
	l := d.Listing
	return l != nil && l.Scope.isSame(d.Scope) && !l.Began.Before(d.memory.Since) &&
		(d.memory.Last == nil || l.Began.After(d.memory.Last.Began))
}

// handle judges a pass that was handed out since the last decision.
func (d *decision) handle(l *Listing) {
	d.memory.Waiting, d.memory.Own = false, 0
	if l.Failure == nil && d.memory.Refresh == d.refresh() && !l.Began.Before(d.memory.RefreshAt) {
		d.memory.Answers = d.memory.Refresh
	}
	if reason, _ := d.trouble(l); reason != "" {
		d.memory.Empty = time.Time{}
		d.memory.From = d.Now.Add(d.untilRetry(l))
		return
	}
	if d.expires() {
		d.action.Expire = slices.DeleteFunc(append([]upstream.Listed{}, l.Open...), d.leaves)
	}
	if d.deleting() {
		d.handleDeletion(l)
		return
	}
	d.memory.Attempts = 0
	d.memory.From = l.Began.Add(d.interval())
	if d.refresh() != "" && d.memory.Answers != d.memory.Refresh {
		d.memory.From = d.Now
	}
}

// untilRetry returns the time until the next pass after one that allows nothing.
func (d *decision) untilRetry(l *Listing) time.Duration {
	pause := d.backoff()
	if isStable := l.Failure == nil && l.Unreadable == 0; isStable && !d.deleting() {
		// Another pass shows the same until somebody changes something.
		return max(pause, d.interval())
	}
	return pause
}

// handleDeletion says when a deletion lists again, and ends it after two passes in a row that show nothing to wait for.
func (d *decision) handleDeletion(l *Listing) {
	open, own := d.remaining(l)
	switch {
	case open > 0, d.Progress.Open > 0, l.Began.Before(d.Progress.Ended):
		d.memory.Empty, d.memory.Waiting, d.memory.Own = time.Time{}, true, own
		d.memory.From = d.Now.Add(d.backoff())
	case d.memory.Empty.IsZero():
		d.memory.Attempts, d.memory.Empty, d.memory.From = 0, l.Ended, l.Ended.Add(d.Lag)
	case l.Began.Before(d.memory.Empty.Add(d.Lag)):
		d.memory.From = d.memory.Empty.Add(d.Lag)
	default:
		d.conclude(v1alpha1.ReasonPlanned, "Two passes in a row have shown nothing that can be expired.")
		verdict := d.action.Verdict
		verdict.Message, verdict.Holds = strings.TrimSuffix(verdict.Message, waysOut), false
		if d.release(d.leftPayable()); d.action.LeavesPayable != "" {
			verdict.Message += " Something may still be payable: " + d.action.LeavesPayable + "."
		}
		verdict.Expired = yes
		if len(d.Progress.Unsupported) > 0 {
			verdict.Expired = no
		}
	}
}

// backoff returns the time until the next pass after one that was cut short, or after which a deletion waits.
func (d *decision) backoff() time.Duration {
	d.memory.Attempts++
	return min(minRetry<<min(d.memory.Attempts-1, 10), MaxHold)
}

// plan asks for a pass where one is due.
func (d *decision) plan() {
	if d.memory.Waiting && len(d.action.Expire) == 0 && d.Progress.Open == 0 && d.memory.Attempts <= 1 {
		if _, own := d.remaining(d.memory.Last); own < d.memory.Own || d.memory.Own == 0 {
			// What it has waited for is done: the next pass shows it. A list that lags would show it as open again and again,
			// so that this counts once.
			d.memory.Waiting, d.memory.From = false, d.Now
		}
	}
	onRequest := d.interval() == 0 && !d.deleting() && d.refresh() == ""
	switch {
	case onRequest:
	case d.memory.From.After(d.Now):
		d.wait(d.memory.From.Sub(d.Now))
	default:
		d.action.List = true
	}
}

// remaining counts the sessions of a pass that a deletion waits for, and those of them that have an object.
func (d *decision) remaining(l *Listing) (open, own int) {
	for _, listed := range l.Open {
		_, has := d.Objects[listed.ID]
		switch {
		case d.Retained(listed.ID), d.Progress.Unsupported[listed.ID], d.Progress.Settled[listed.ID]:
		case has:
			open, own = open+1, own+1
		default:
			open++
		}
	}
	return open, own
}

func (d *decision) leftPayable() string {
	if len(d.Progress.Unsupported) > 0 {
		return "the provider cannot expire some of them through its API: they stay payable until they run out"
	}
	return session.LeavesPayable(d.Progress.StillPayable)
}

// expires reports whether the sessions of a pass are to be expired now.
func (d *decision) expires() bool {
	return d.deleting() || d.Sweep.Spec.DesiredState == v1alpha1.DesiredStateExpired
}

// leaves reports whether a session is not the sweep's to expire: it was registered with Retain, has an object, or is
// closed although the list shows it as open.
func (d *decision) leaves(listed upstream.Listed) bool {
	_, has := d.Objects[listed.ID]
	return has || d.Retained(listed.ID) || d.Progress.Settled[listed.ID]
}

// weigh says how far the sessions of the last pass are.
func (d *decision) weigh() {
	l := d.memory.Last
	switch {
	case l == nil && d.interval() == 0 && !d.deleting() && d.refresh() == "":
		d.conclude(v1alpha1.ReasonPlanned, "Passes are made only while the namespace is being deleted.")
		return
	case l == nil:
		d.conclude(v1alpha1.ReasonListing, "")
		return
	}
	reason, details := d.trouble(l)
	switch {
	case reason != "":
		d.conclude(reason, details)
	case d.Progress.Acting > 0, len(d.action.Expire) > 0 && d.Progress.Open == 0:
		d.conclude(v1alpha1.ReasonSweeping, "")
	case d.Progress.Open > 0:
		d.concludeSession()
	case d.deleting() && d.memory.Own > 0:
		d.conclude(v1alpha1.ReasonSweeping, " by the deletion of their own objects")
	case d.deleting():
		d.conclude(v1alpha1.ReasonListing, "")
	default:
		d.conclude(v1alpha1.ReasonPlanned, "The list of the account was read to its end; status.plan says what was found.")
	}
}

func (d *decision) interval() time.Duration {
	if given := d.Sweep.Spec.Interval; given != nil {
		return given.Duration
	}
	return 10 * time.Minute
}

// trouble returns why a pass allows nothing, and details; no reason where it allows what it shows.
func (d *decision) trouble(l *Listing) (reason, details string) {
	count := l.Count
	for _, listed := range l.Open {
		if d.Retained(listed.ID) {
			count--
		}
	}
	switch {
	case l.Failure != nil:
		reason, _ = session.Explain(l.Failure.Outcome)
		return reason, quoted(l.Failure.Message)
	case l.Truncated:
		return v1alpha1.ReasonListTruncated, ""
	case l.Unreadable > 0:
		return v1alpha1.ReasonUnexpectedResponse, quoted("it has sessions that the class cannot read")
	case count > int(max(d.Sweep.Spec.Limits.Sessions, 1)), l.Count > len(l.Open):
		return v1alpha1.ReasonTooManySessions, "The namespace has more open sessions than limits.sessions. Nothing is " +
			"expired. Raise the limit if those in status.plan are the namespace's, or fix the ownership rule."
	default:
		return "", ""
	}
}

func quoted(words string) string {
	if words == "" {
		return ""
	}
	return " (" + words + ")"
}
