// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package session

import (
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

const (
	// Patience is how long something that may come right by itself is waited for: an accepted expiry that does not show,
	// a session or a provider that does not exist yet.
	Patience = 2 * time.Minute
	// silence is how long a call may be pending before the status says what it waits for.
	silence = 10 * time.Second
	// probeInterval is how often a session whose credentials were rejected is tried again.
	probeInterval = 10 * time.Minute
	// refreshInterval is how rarely a session is read again for the reconcile-at annotation's sake.
	refreshInterval = 10 * time.Second

	minBackoff = time.Second
	maxBackoff = 5 * time.Minute
	// patientBackoff is the longest time between two tries of what is most likely wrong for good.
	patientBackoff = 6 * time.Hour
)

// next is when the following call is made.
type next int

const (
	// never: only a change of the spec or a reconcile-at annotation leads to another call.
	never next = iota
	// immediately: as soon as the status is written and the account allows.
	immediately
	// onChange: when what is in the way changes.
	onChange
	// backingOff from one second to five minutes.
	backingOff
	// backingOffToPoll from one second to the provider's pollInterval.
	backingOffToPoll
	// backingOffPatiently from one second to six hours.
	backingOffPatiently
	// polling at the provider's pollInterval.
	polling
	// probing: when the credentials change, and rarely besides, in turn with the account's other sessions.
	probing
)

// row says what a reason means for the conditions and for the next call.
type row struct {
	ready    metav1.ConditionStatus
	expired  metav1.ConditionStatus
	progress Progress
	// patient rows are Reconciling until patience is over and Stalled then.
	patient bool
	next    next
	// alarming rows are worth an Event, once they are Stalled.
	alarming bool
	// acting rows belong to an expiry that is under way.
	acting bool
	// readFirst rows read the session before another expire call: it may have settled by itself.
	readFirst bool
	// final rows are followed by no further call, although the session is not closed.
	final bool
	// kept rows keep the object when its time to live is over.
	kept bool
	// message for a person. %s stands for details, where there are any.
	message string
}

const (
	yes     = metav1.ConditionTrue
	no      = metav1.ConditionFalse
	unknown = metav1.ConditionUnknown
	asItWas = metav1.ConditionStatus("")
)

// table is the one place that maps reasons to conditions and requeues (design, section 3).
var table = map[string]row{
	v1alpha1.ReasonExpired:  {ready: yes, expired: yes, next: never, message: "The provider shows the session as expired."},
	v1alpha1.ReasonClosed:   {ready: yes, expired: no, next: never, message: "The session failed or was cancelled: it cannot be paid any more."},
	v1alpha1.ReasonObserved: {ready: yes, expired: no, next: polling, message: "The provider shows the session as %s."},
	v1alpha1.ReasonScheduled: {
		ready: yes, expired: no, next: polling,
		message: "The session will be expired at expireAt.",
	},
	v1alpha1.ReasonExpiring: {
		ready: no, expired: no, progress: Reconciling, next: immediately, acting: true,
		message: "The session should be expired. The call to the provider waits %s.",
	},
	v1alpha1.ReasonAwaitingConfirmation: {
		ready: no, expired: no, progress: Reconciling, next: backingOffToPoll, alarming: true, acting: true, readFirst: true,
		message: "The provider was asked to expire the session and does not show it yet; reading it again.%s",
	},
	v1alpha1.ReasonPaymentInProgress: {
		ready: no, expired: no, progress: Reconciling, next: backingOff, readFirst: true,
		message: "A payment is in flight. The session is read again until the provider has settled it.",
	},
	v1alpha1.ReasonPaymentCompleted: {
		ready: no, expired: no, progress: Stalled, next: never, alarming: true, kept: true,
		message: "The session was paid or used before it could be expired. Refund the payment at the provider if it is not wanted.",
	},
	v1alpha1.ReasonExpireRefused: {
		ready: no, expired: no, progress: Stalled, next: backingOffToPoll, alarming: true, acting: true, readFirst: true,
		message: "The provider refuses to expire the session and still shows it as active%s. It is tried again; look at the session in the provider's dashboard.",
	},
	v1alpha1.ReasonExpireUnsupported: {
		ready: no, expired: no, progress: Stalled, next: never, alarming: true, final: true,
		message: "The provider cannot expire this session by a call, because of its payment method%s. It ends when it runs out.",
	},
	v1alpha1.ReasonSessionNotFound: {
		ready: no, expired: unknown, patient: true, next: backingOff, alarming: true,
		message: "The provider does not know the session. Check spec.sessionID, and that the provider object is for the right account and environment. It is looked for again, ever more rarely; a new value of the annotation " + v1alpha1.ReconcileAtAnnotation + " asks for that at once.",
	},
	v1alpha1.ReasonInvalidSessionID: {
		ready: no, expired: unknown, progress: Stalled, next: never, alarming: true,
		message: "spec.sessionID is not a valid %s, and was not sent. Create another PaymentSession with the right id.",
	},
	v1alpha1.ReasonCredentialsRejected: {
		ready: no, expired: unknown, progress: Stalled, next: probing, alarming: true,
		message: "The provider does not accept the account's credentials%s. Correct the Secret of the provider object; a change is noticed by itself.",
	},
	v1alpha1.ReasonNotAllowed: {
		ready: no, expired: unknown, progress: Stalled, next: backingOffPatiently, alarming: true,
		message: "The account may not do this with the session%s. Check the key's rights and whose session it is. It is tried again, ever more rarely.",
	},
	v1alpha1.ReasonThrottled: {
		ready: no, expired: unknown, progress: Reconciling, next: backingOff,
		message: "The provider asks for fewer calls; trying again later. A lower rateLimit of the provider object avoids this.",
	},
	v1alpha1.ReasonProviderUnavailable: {
		ready: no, expired: unknown, progress: Reconciling, next: backingOff,
		message: "The provider cannot be reached or cannot answer%s; trying again.",
	},
	v1alpha1.ReasonUnexpectedResponse: {
		ready: no, expired: unknown, progress: Reconciling, next: backingOff,
		message: "The provider's reply makes no sense%s; trying again. Check the endpoint, and what stands between it and the operator.",
	},
	v1alpha1.ReasonProviderNotFound:    {ready: no, expired: unknown, patient: true, next: onChange, message: "%s"},
	v1alpha1.ReasonProviderNotReady:    {ready: no, expired: unknown, patient: true, next: onChange, message: "%s"},
	v1alpha1.ReasonCredentialsMissing:  {ready: no, expired: unknown, patient: true, next: onChange, message: "%s"},
	v1alpha1.ReasonNamespaceNotAllowed: {ready: no, expired: unknown, patient: true, next: onChange, message: "%s"},
	v1alpha1.ReasonSuspended: {
		ready: unknown, expired: asItWas, next: never,
		message: "spec.suspend is true: no call is made to the provider until it is false.",
	},
	v1alpha1.ReasonWouldExpire: {
		ready: no, expired: no, progress: Reconciling, next: polling,
		message: "The operator runs with --dry-run: it would expire the session now.",
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

// reasonForClosed maps the states that are final to reasons, where the session should be expired.
var reasonForClosed = map[v1alpha1.SessionState]string{
	v1alpha1.SessionStateExpired:   v1alpha1.ReasonExpired,
	v1alpha1.SessionStateCompleted: v1alpha1.ReasonPaymentCompleted,
	v1alpha1.SessionStateFailed:    v1alpha1.ReasonClosed,
}

// Reasons are all that a session's Ready condition can have.
func Reasons() []string { return slices.Sorted(maps.Keys(table)) }
