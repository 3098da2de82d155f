// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sweep

import (
	"maps"
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

const (
	yes     = metav1.ConditionTrue
	no      = metav1.ConditionFalse
	unknown = metav1.ConditionUnknown
)

// row says everything that follows from a reason.
type row struct {
	ready    metav1.ConditionStatus
	progress session.Progress
	// message for a person. %s is replaced by details.
	message string
	// patient rows are Reconciling for as long as session.Patience, and then Stalled.
	patient bool
	// warns is true where an Event is due once the row is Stalled.
	warns bool
	// unsweepable is why nothing can or may be expired, so that a deletion is released; empty where something may.
	unsweepable string
}

// table maps each reason of a sweep to conditions, Events and messages. A session that is not expired is shown with its
// own reason and message instead.
var table = map[string]row{
	v1alpha1.ReasonPlanned: {
		ready: yes, message: "%s",
	},
	v1alpha1.ReasonListing: {
		ready: unknown, progress: session.Reconciling, message: "The list of the account is being read.",
	},
	v1alpha1.ReasonSweeping: {
		ready: no, progress: session.Reconciling, message: "Sessions of the namespace are being expired%s.",
	},
	v1alpha1.ReasonListUnsupported: {
		ready: no, progress: session.Stalled, warns: true, message: "%s",
		unsweepable: "the provider has no list of sessions",
	},
	v1alpha1.ReasonSweepNotAllowed: {
		ready: no, progress: session.Stalled, warns: true, message: "%s",
		unsweepable: "the provider object does not allow sweeps",
	},
	v1alpha1.ReasonOwnershipMissing: {ready: no, progress: session.Stalled, warns: true, message: "%s"},
	v1alpha1.ReasonInvalidWhere:     {ready: no, progress: session.Stalled, warns: true, message: "%s"},
	v1alpha1.ReasonTooManySessions: {
		ready: no, progress: session.Stalled, warns: true, message: "%s",
	},
	v1alpha1.ReasonListTruncated: {
		ready: no, progress: session.Stalled, warns: true,
		message: "The list has more pages than limits.pages. Nothing is expired. Raise the limit, or shorten lookback.",
	},
	v1alpha1.ReasonSuspended: {
		ready: unknown, message: "spec.suspend is true. The operator makes no call for the sweep until it is false.",
	},
	v1alpha1.ReasonCredentialsRejected: {
		ready: no, progress: session.Stalled, warns: true,
		message: "The provider does not accept the account's credentials%s. Fix the Secret of the provider object.",
	},
	v1alpha1.ReasonNotAllowed: {
		ready: no, progress: session.Stalled, warns: true,
		message: "The account may not list its sessions%s. Check the key's permissions.",
	},
	v1alpha1.ReasonThrottled: {
		ready: no, progress: session.Reconciling,
		message: "The provider asks for fewer calls. The operator tries again later.",
	},
	v1alpha1.ReasonProviderUnavailable: {
		ready: no, progress: session.Reconciling,
		message: "The provider cannot be reached or cannot answer%s. The operator tries again.",
	},
	v1alpha1.ReasonUnexpectedResponse: {
		ready: no, progress: session.Reconciling,
		message: "The operator cannot interpret the list%s. Nothing is expired. It tries again. Check the class, and " +
			"whatever is between the provider and the operator.",
	},
	v1alpha1.ReasonProviderNotFound:    {ready: no, patient: true, message: "%s"},
	v1alpha1.ReasonProviderNotReady:    {ready: no, patient: true, message: "%s"},
	v1alpha1.ReasonCredentialsMissing:  {ready: no, patient: true, message: "%s"},
	v1alpha1.ReasonNamespaceNotAllowed: {ready: no, patient: true, warns: true, message: "%s"},
	v1alpha1.ReasonOwnershipIncomplete: {ready: no, progress: session.Stalled, warns: true, message: "%s"},
}

// Reasons returns every reason that a sweep's Ready condition can have beside those of sessions that are not expired,
// sorted.
func Reasons() []string { return slices.Sorted(maps.Keys(table)) }
