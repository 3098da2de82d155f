// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
)

const (
	// Patience is how long the operator waits for something that may resolve itself: an accepted expiry that is not
	// visible, a session or a provider that does not exist yet.
	Patience = 2 * time.Minute
	// pendingGrace is how long a call may be pending before the status says what it waits for.
	pendingGrace = 10 * time.Second

	minBackoff = time.Second
	maxBackoff = 5 * time.Minute
	// patientBackoff is the longest delay between two attempts at what is most likely wrong for good.
	patientBackoff = 6 * time.Hour

	probeInterval, refreshInterval = call.ProbeInterval, call.RefreshInterval
)

// next is when the next call is made.
type next int

const (
	// A row without a next is incomplete. TestEveryRowIsComplete refuses it.
	_ next = iota
	// never: only a change of the spec or the reconcile-at annotation leads to another call.
	never
	// immediately: as soon as the status is written and the account allows it.
	immediately
	// onChange: when the obstacle changes.
	onChange
	// backingOff from one second to five minutes.
	backingOff
	// backingOffToPoll from one second to the provider's pollInterval.
	backingOffToPoll
	// backingOffPatiently from one second to six hours, and at once when the account changes.
	backingOffPatiently
	// searching: backing off while the session may still appear, then to pollInterval where it was seen before, else to
	// six hours.
	searching
	// polling at the provider's pollInterval.
	polling
	// probing: when the account changes, and otherwise in turn with the account's other sessions. It belongs to the
	// outcomes with call.Meaning.RejectsAccount, for which the account gives turns.
	probing
)

// row says everything that follows from a reason. A decision must not compare reasons: what sets one reason apart is
// a column.
type row struct {
	// The first five columns are required in each row, but for progress: no progress means that nobody has to act.
	ready    metav1.ConditionStatus
	expired  metav1.ConditionStatus
	progress Progress
	next     next
	// message for a person. %s is replaced by details.
	message string

	// patient rows are Reconciling for as long as Patience, and then Stalled.
	patient bool
	// stallsAfter is the number of accepted expire calls without effect after which the row is Stalled; 0 for no limit.
	stallsAfter int
	// warns is true where an Event is due once the row is Stalled.
	warns bool

	// acting rows belong to an expiry that is under way.
	acting bool
	// readFirst rows read the session before another expire call, because it may have settled meanwhile.
	readFirst bool
	// final rows are followed by no further call, although the session is not closed.
	final bool
	// checked rows come from a check of the operator's own, which each decision repeats unless an obstacle prevents it.
	// A session that the provider has shown disproves the check.
	checked bool
	// dryRun rows exist with --dry-run only.
	dryRun bool

	// keepsObject is true where ttlAfterClosed must not delete the object.
	keepsObject bool
	// unexpirable is why no call can ever expire the session, so that its deletion is released; empty where a call may.
	unexpirable string
	// servedAnyway is true for an obstacle that does not stop the deletion of a session that the provider has shown.
	servedAnyway bool
}

const (
	yes     = metav1.ConditionTrue
	no      = metav1.ConditionFalse
	unknown = metav1.ConditionUnknown
	// asItWas leaves the Expired condition unchanged.
	asItWas = metav1.ConditionStatus("")
	// asShown derives the Expired condition from the session's state.
	asShown = metav1.ConditionStatus("as the state shows")
)

// table maps each reason to conditions, Events, messages and the next call. No other place does.
var table = map[string]row{
	v1alpha1.ReasonExpired: {
		ready: yes, expired: yes, next: never,
		message: "The provider shows the session as expired.",
	},
	v1alpha1.ReasonClosed: {
		ready: yes, expired: no, next: never,
		message: "The session failed or was cancelled: it cannot be paid any more.",
	},
	v1alpha1.ReasonObserved: {
		ready: yes, expired: asShown, next: polling,
		message: "The provider shows the session as %s.",
	},
	v1alpha1.ReasonScheduled: {
		ready: yes, expired: no, next: polling,
		message: "The session will be expired at spec.expireAt.",
	},
	v1alpha1.ReasonExpiring: {
		ready: no, expired: asShown, progress: Reconciling, next: immediately, acting: true,
		message: "The session should be expired. The call to the provider waits %s.",
	},
	v1alpha1.ReasonAwaitingConfirmation: {
		ready: no, expired: no, progress: Reconciling, next: backingOffToPoll,
		acting: true, readFirst: true, stallsAfter: 3, warns: true,
		message: "The provider was asked to expire the session and does not show it as expired yet. The operator reads it " +
			"again.%s",
	},
	v1alpha1.ReasonPaymentInProgress: {
		ready: no, expired: no, progress: Reconciling, next: backingOff, readFirst: true,
		message: "A payment is in flight. The operator reads the session again until the provider has settled the payment.",
	},
	v1alpha1.ReasonPaymentCompleted: {
		ready: no, expired: no, progress: Stalled, next: never, warns: true, keepsObject: true,
		message: "The session was paid or used before it could be expired. Refund the payment at the provider if it is " +
			"not wanted.",
	},
	v1alpha1.ReasonExpireRefused: {
		ready: no, expired: no, progress: Stalled, next: backingOffToPoll, acting: true, readFirst: true, warns: true,
		message: "The provider refuses to expire the session and still shows it as active%s. The operator tries again. " +
			"Check the session in the provider's dashboard.",
	},
	v1alpha1.ReasonExpireUnsupported: {
		ready: no, expired: no, progress: Stalled, next: never, final: true, warns: true,
		message: "The provider cannot expire this session through its API, because of its payment method%s. The session " +
			"ends when it runs out.",
		unexpirable: "the provider cannot expire it through its API: it stays payable until it runs out",
	},
	v1alpha1.ReasonSessionNotFound: {
		ready: no, expired: unknown, next: searching, patient: true, warns: true,
		message: "The provider does not know the session. Check spec.sessionID, and that the provider object uses the " +
			"right account and environment. The operator tries again, with growing delays; a new value of the annotation " +
			v1alpha1.ReconcileAtAnnotation + " makes it try at once.",
	},
	v1alpha1.ReasonInvalidSessionID: {
		ready: no, expired: unknown, progress: Stalled, next: never, checked: true, warns: true,
		message:     "spec.sessionID is not a valid %s and was not sent. Create another PaymentSession with the right id.",
		unexpirable: "its id is not valid for the provider",
	},
	v1alpha1.ReasonCredentialsRejected: {
		ready: no, expired: unknown, progress: Stalled, next: probing, warns: true,
		message: "The provider does not accept the account's credentials%s. Fix the Secret of the provider object; the " +
			"operator notices the change.",
	},
	v1alpha1.ReasonNotAllowed: {
		ready: no, expired: unknown, progress: Stalled, next: backingOffPatiently, warns: true,
		message: "The account may not do this with the session%s. Check the key's permissions, and that the session " +
			"belongs to the account. The operator tries again, with growing delays.",
	},
	v1alpha1.ReasonNotOwned: {
		ready: no, expired: unknown, progress: Stalled, next: backingOffPatiently, warns: true,
		message: "The ownership rule of the provider object says that the session is not this namespace's. The operator " +
			"does not expire it. Check spec.sessionID, and the marks that the application puts on its sessions. The operator " +
			"reads the session again, with growing delays.",
	},
	v1alpha1.ReasonThrottled: {
		ready: no, expired: unknown, progress: Reconciling, next: backingOff,
		message: "The provider asks for fewer calls. The operator tries again later. A lower rateLimit of the provider " +
			"object avoids this.",
	},
	v1alpha1.ReasonProviderUnavailable: {
		ready: no, expired: unknown, progress: Reconciling, next: backingOff,
		message: "The provider cannot be reached or cannot answer%s. The operator tries again.",
	},
	v1alpha1.ReasonUnexpectedResponse: {
		ready: no, expired: unknown, progress: Reconciling, next: backingOff,
		message: "The operator cannot interpret the provider's reply%s, and tries again. Check the endpoint, and whatever " +
			"is between it and the operator.",
	},
	v1alpha1.ReasonProviderNotFound:   {ready: no, expired: unknown, next: onChange, patient: true, message: "%s"},
	v1alpha1.ReasonProviderNotReady:   {ready: no, expired: unknown, next: onChange, patient: true, message: "%s"},
	v1alpha1.ReasonCredentialsMissing: {ready: no, expired: unknown, next: onChange, patient: true, message: "%s"},
	v1alpha1.ReasonNamespaceNotAllowed: {
		ready: no, expired: unknown, next: onChange, patient: true, servedAnyway: true, message: "%s",
	},
	v1alpha1.ReasonOwnershipIncomplete: {ready: no, expired: unknown, progress: Stalled, next: onChange, message: "%s"},
	v1alpha1.ReasonSuspended: {
		ready: unknown, expired: asItWas, next: onChange,
		message: "spec.suspend is true. The operator makes no call for the session until it is false.",
	},
	v1alpha1.ReasonWouldExpire: {
		ready: no, expired: no, progress: Reconciling, next: polling, dryRun: true,
		message: "The operator runs with --dry-run. It would expire the session now.",
	},
}

// reasonOf maps the outcomes that prove no state to reasons.
var reasonOf = map[v1alpha1.Outcome]string{
	v1alpha1.OutcomeUnsupported:         v1alpha1.ReasonExpireUnsupported,
	v1alpha1.OutcomeNotFound:            v1alpha1.ReasonSessionNotFound,
	v1alpha1.OutcomeCredentialsRejected: v1alpha1.ReasonCredentialsRejected,
	v1alpha1.OutcomeNotAllowed:          v1alpha1.ReasonNotAllowed,
	v1alpha1.OutcomeThrottled:           v1alpha1.ReasonThrottled,
	v1alpha1.OutcomeUnavailable:         v1alpha1.ReasonProviderUnavailable,
	v1alpha1.OutcomeUnexpectedResponse:  v1alpha1.ReasonUnexpectedResponse,
}

// reasonForClosed maps the closed states to reasons, where the session should be expired.
var reasonForClosed = map[v1alpha1.SessionState]string{
	v1alpha1.SessionStateExpired:   v1alpha1.ReasonExpired,
	v1alpha1.SessionStateCompleted: v1alpha1.ReasonPaymentCompleted,
	v1alpha1.SessionStateFailed:    v1alpha1.ReasonClosed,
}

// Explain returns the reason and the message for an outcome that is not one session's alone.
func Explain(outcome v1alpha1.Outcome) (reason, text string) {
	reason = reasonOf[outcome]
	return reason, message(table[reason], "")
}

// Reasons returns every reason that a session's Ready condition can have, sorted.
func Reasons() []string { return slices.Sorted(maps.Keys(table)) }
