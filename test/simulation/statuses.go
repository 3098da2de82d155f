// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"reflect"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// checkStatus checks each write of a status. The API server is locked.
func (w *world) checkStatus(before, after *v1alpha1.PaymentSession) {
	if before == nil {
		return
	}
	same := reflect.DeepEqual(before.Status, after.Status)
	if !same || len(before.Finalizers) != len(after.Finalizers) {
		w.ledgers.object(after.UID, func(known *facts) { known.writes++ })
	}
	if same {
		return
	}
	w.detailf("%s of generation %d says %s, state %q: %s", nameOf(after), after.Generation, reasonOf(after),
		after.Status.State, messageOf(after))
	if reasonOf(before) != reasonOf(after) {
		w.ledgers.object(after.UID, func(known *facts) {
			known.reasonSince, known.messages, known.repeats = time.Now(), map[string]bool{}, 0
		})
	}
	w.checkMessage(before, after)
	w.checkClaim(before, after)
	w.checkRefresh(before, after)
	w.checkConditions(before, after)
	w.checkSecrecy(after)
}

// checkMessage refuses that a status goes to and fro between messages. The API server is locked.
func (w *world) checkMessage(before, after *v1alpha1.PaymentSession) {
	// What an announced call waits for changes with the account.
	if messageOf(before) == messageOf(after) || reasonOf(after) == v1alpha1.ReasonExpiring {
		return
	}
	known := w.ledgers.object(after.UID, func(known *facts) {
		if known.messages[messageOf(after)] {
			known.repeats++
		}
		known.messages[messageOf(after)] = true
	})
	if known.repeats == mostRepeats {
		w.findf("%s has returned to a former message %d times: %q", nameOf(after), known.repeats, messageOf(after))
	}
}

// checkClaim refuses a state in the status that the payment never had.
func (w *world) checkClaim(before, after *v1alpha1.PaymentSession) {
	state := after.Status.State
	if state == "" || before.Status.State == state {
		return
	}
	at, account := w.paymentOf(after)
	// A reply from the endpoint before counts until the operator can know that the account has moved.
	moved := !account.movedAt.IsZero() && time.Since(account.movedAt) < stale && !w.knowsMove(account)
	shown := w.ledgers.had(at, state) || moved && w.ledgers.had(payment{account.previous, at.id}, state)
	if !shown {
		w.findf("%s claims %s, which the provider has never shown", nameOf(after), state)
	}
	known := w.ledgers.payment(at, nil)
	left := known.left[state]
	isOld := w.shownAs(at, w.stateAt(at)) != state && !left.IsZero() && time.Since(left) > 2*time.Minute
	isOld = isOld && w.calmFor() > 2*time.Minute && time.Since(account.movedAt) > 2*time.Minute
	if isOld && !known.hidden && !unexpirable(known.variant) {
		w.findf("%s claims %s, which it was last %s ago", nameOf(after), state, time.Since(left))
	}
	if isClosed(state) != (after.Status.ClosedAt != nil) {
		w.findf("%s is %s and has closedAt %v", nameOf(after), state, after.Status.ClosedAt)
	}
	// Where no read came while it was open, closedAt stays as it was.
	wasSeenOpen := !isClosed(before.Status.State)
	if isClosed(state) && wasSeenOpen && known.reopened.After(after.Status.ClosedAt.Add(5*time.Minute)) {
		w.findf("%s is closed again, and has closedAt of before it was opened again", nameOf(after))
	}
}

// knowsMove reports whether the operator knows the present endpoint of an account, and has finished what it did before.
// A process that ends writes what its last calls have shown, and may not know the endpoint any more.
func (w *world) knowsMove(account accountFacts) bool {
	return w.isAlone(time.Second) && account.observedAt.After(account.movedAt) &&
		time.Since(account.observedAt) > 60*time.Millisecond
}

// checkRefresh refuses that a refresh counts as handled before a call has come back.
func (w *world) checkRefresh(before, after *v1alpha1.PaymentSession) {
	handled := after.Status.LastHandledReconcileAt
	if handled == before.Status.LastHandledReconcileAt || handled != after.Annotations[v1alpha1.ReconcileAtAnnotation] {
		return
	}
	at, account := w.paymentOf(after)
	known, object := w.ledgers.payment(at, nil), w.ledgers.object(after.UID, nil)
	previous := w.ledgers.payment(payment{account.previous, at.id}, nil)
	if w.valid(after) && known.lastEnd.Before(object.askedAt) && previous.lastEnd.Before(object.askedAt) {
		w.findf("%s says that a refresh was handled, and no call has come back since it was requested (%s)",
			nameOf(after), reasonOf(after))
	}
}

// checkConditions refuses conditions that disagree with each other, with the state or with the spec.
func (w *world) checkConditions(before, after *v1alpha1.PaymentSession) {
	if reflect.DeepEqual(before.Status.Conditions, after.Status.Conditions) {
		return
	}
	reason := reasonOf(after)
	row, listed := verdicts[reason]
	ready, expired := conditionOf(after, v1alpha1.ConditionReady), conditionOf(after, v1alpha1.ConditionExpired)
	if !listed || ready == nil || expired == nil {
		w.findf("%s has the conditions %v", nameOf(after), after.Status.Conditions)
		return
	}
	if after.Status.ObservedGeneration != after.Generation {
		w.findf("%s of generation %d gets a status of %d", nameOf(after), after.Generation, after.Status.ObservedGeneration)
	}
	var progress []string
	for _, kind := range either {
		if condition := conditionOf(after, kind); condition != nil && condition.Status == metav1.ConditionTrue {
			progress = append(progress, kind)
		}
	}
	known := len(row.states) == 0 || slices.Contains(row.states, after.Status.State)
	fits := len(progress) == min(len(row.progress), 1)
	fits = fits && (len(progress) == 0 || slices.Contains(row.progress, progress[0]))
	if ready.Status != row.ready || row.expired != "" && expired.Status != row.expired && !isDeleting(after) || !fits || !known {
		w.findf("%s says %s with Ready %s, Expired %s, %v and state %q", nameOf(after), reason, ready.Status, expired.Status,
			progress, after.Status.State)
	}
	w.checkReason(after, reason)
}

// checkReason refuses a reason that the spec contradicts.
func (w *world) checkReason(of *v1alpha1.PaymentSession, reason string) {
	before := time.Now().Add(-stale)
	late := before.Add(time.Until(w.clock()))
	isExpired := conditionOf(of, v1alpha1.ConditionExpired).Status == metav1.ConditionTrue
	switch {
	case isExpired && of.Status.State != v1alpha1.SessionStateExpired:
		w.findf("%s has Expired=True and the state %q", nameOf(of), of.Status.State)
	case reason == v1alpha1.ReasonSessionNotFound && !w.wasUnknown(of):
		w.findf("%s says that it does not exist, and the provider never did", nameOf(of))
	case reason == v1alpha1.ReasonAwaitingConfirmation && !w.wasCalled(of):
		w.findf("%s awaits the confirmation of an expiry, and no call to its endpoint was made", nameOf(of))
	case reason == v1alpha1.ReasonExpireRefused && w.wasLost(of):
		w.findf("%s says that the expiry is refused, and a call whose reply was lost has expired it", nameOf(of))
	case reason == v1alpha1.ReasonCredentialsRejected && !w.mayBeRejected(of):
		w.findf("%s says that the credentials are rejected because of another session", nameOf(of))
	case reason == v1alpha1.ReasonSuspended && !of.Spec.Suspend:
		w.findf("%s says that it is suspended, and is not", nameOf(of))
	case slices.Contains([]string{v1alpha1.ReasonObserved, v1alpha1.ReasonScheduled}, reason) && !endedInTime(of) &&
		wants(of, before) && wants(of, late):
		w.findf("%s should be expired and says %s", nameOf(of), reason)
	}
}

// wasUnknown reports whether a reply has ever said that a session does not exist.
func (w *world) wasUnknown(of *v1alpha1.PaymentSession) bool {
	at, _ := w.paymentOf(of)
	for _, site := range w.sites {
		if !w.ledgers.payment(payment{site.number, at.id}, nil).unknownAt.IsZero() {
			return true
		}
	}
	return false
}

// wasCalled reports whether an expire call about a session was made to the endpoint that the operator knows.
func (w *world) wasCalled(of *v1alpha1.PaymentSession) bool {
	at, account := w.paymentOf(of)
	isUnknown := !account.movedAt.IsZero() && !w.knowsMove(account)
	return isUnknown || w.ledgers.payment(at, nil).expireCalls > 0
}

// wasLost reports whether a moment ago a call expired a session and had no reply.
func (w *world) wasLost(of *v1alpha1.PaymentSession) bool {
	at, _ := w.paymentOf(of)
	running := w.running()
	if len(running) != 1 || w.hasSibling(of) {
		return false
	}
	lostAt := running[0].proved(at).lostAt
	// For a clock that was set forward, the time is over sooner.
	return time.Since(lostAt) < visible && !w.hasStepped(lostAt)
}

// endedInTime reports whether a session was closed before expireAt, which then is no cause.
func endedInTime(of *v1alpha1.PaymentSession) bool {
	return of.Spec.DesiredState != v1alpha1.DesiredStateExpired && of.Status.ClosedAt != nil && of.Spec.ExpireAt != nil &&
		of.Status.ClosedAt.Before(of.Spec.ExpireAt)
}
