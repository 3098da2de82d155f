// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types. All five kinds follow kstatus: Ready is always present; Reconciling and Stalled are present
// only while they are True, and never together. See
// https://github.com/kubernetes-sigs/cli-utils/tree/master/pkg/kstatus.
const (
	// ConditionReady is True when the object is in the state that its spec asks for.
	ConditionReady = "Ready"
	// ConditionReconciling is True while the operator works on the object or will retry automatically.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when the operator cannot make progress until a person acts.
	ConditionStalled = "Stalled"
	// ConditionExpired is True when the provider has shown that the session is expired, False when it has shown that
	// the session is not expired, and Unknown otherwise.
	ConditionExpired = "Expired"
)

// Reasons of a PaymentSession's conditions. Those of the first block surface with Ready=True.
const (
	// ReasonExpired surfaces when the provider has shown that the session is expired.
	ReasonExpired = "Expired"
	// ReasonClosed surfaces when the session failed or was cancelled and can no longer be paid.
	ReasonClosed = "Closed"
	// ReasonObserved surfaces when the session should be active and the provider has reported its state.
	ReasonObserved = "Observed"
	// ReasonScheduled surfaces while expireAt is in the future.
	ReasonScheduled = "Scheduled"

	// ReasonSuspended surfaces while suspend is true. The user should set it to false to resume.
	ReasonSuspended = "Suspended"

	// ReasonExpiring surfaces when the session should be expired, is not known to be closed, and the expire call is
	// pending: because of a rate limit, a pause that the provider asked for, an outage, or the queue.
	ReasonExpiring = "Expiring"
	// ReasonAwaitingConfirmation surfaces when the provider accepted the expiry but does not show it yet.
	ReasonAwaitingConfirmation = "AwaitingConfirmation"
	// ReasonPaymentInProgress surfaces when a payment is in flight. The provider decides how it ends.
	ReasonPaymentInProgress = "PaymentInProgress"
	// ReasonPaymentCompleted surfaces when the session was paid or used before it could be expired. The user should
	// decide what to do with the payment.
	ReasonPaymentCompleted = "PaymentCompleted"
	// ReasonExpireRefused surfaces when the provider refuses to expire a session that it still reports as active.
	ReasonExpireRefused = "ExpireRefused"
	// ReasonExpireUnsupported surfaces when no call can expire the session, because of its payment method. The user
	// should let it run out.
	ReasonExpireUnsupported = "ExpireUnsupported"
	// ReasonSessionNotFound surfaces when the provider does not know the session. The user should check the session
	// id, the account and the environment.
	ReasonSessionNotFound = "SessionNotFound"
	// ReasonInvalidSessionID surfaces when the session id does not match the class's pattern. The user should create
	// another PaymentSession with a valid id.
	ReasonInvalidSessionID = "InvalidSessionID"
	// ReasonCredentialsRejected surfaces when the provider rejects the account's credentials. The user should fix the
	// Secret.
	ReasonCredentialsRejected = "CredentialsRejected"
	// ReasonNotAllowed surfaces when the provider accepts the credentials but not for this call. The user should check
	// the permissions of the key and which account owns the session.
	ReasonNotAllowed = "NotAllowed"
	// ReasonNotOwned surfaces when the account's ownership rule says that the session is not this namespace's. The user
	// should check the session id, and the marks that the application puts on its sessions.
	ReasonNotOwned = "NotOwned"
	// ReasonOwnershipIncomplete surfaces when the account's ownership rule gives the namespace no word of its own: the
	// operator runs without --cluster-name, or the Namespace lacks a label or an annotation. A provider has it, too.
	ReasonOwnershipIncomplete = "OwnershipIncomplete"
	// ReasonThrottled surfaces when the provider reports too many calls.
	ReasonThrottled = "Throttled"
	// ReasonProviderUnavailable surfaces when the provider cannot be reached, does not answer, or answers with a
	// server error.
	ReasonProviderUnavailable = "ProviderUnavailable"
	// ReasonUnexpectedResponse surfaces when neither the engine nor the class can interpret the reply.
	ReasonUnexpectedResponse = "UnexpectedResponse"
	// ReasonProviderNotFound surfaces when the provider object does not exist.
	ReasonProviderNotFound = "ProviderNotFound"
	// ReasonProviderNotReady surfaces when the provider object, or its class, is not ready.
	ReasonProviderNotReady = "ProviderNotReady"
	// ReasonCredentialsMissing surfaces when the Secret or one of its keys does not exist, or the operator may not
	// read it.
	ReasonCredentialsMissing = "CredentialsMissing"
	// ReasonNamespaceNotAllowed surfaces when a ClusterPaymentProvider does not allow the session's namespace.
	ReasonNamespaceNotAllowed = "NamespaceNotAllowed"
	// ReasonWouldExpire surfaces with --dry-run, where the operator would expire the session.
	ReasonWouldExpire = "WouldExpire"
)

// Reasons of a PaymentSweep's conditions, in addition to those of a PaymentSession that are about the provider, the
// account and the calls.
const (
	// ReasonPlanned surfaces with Ready=True when the last pass was complete and within the limits.
	ReasonPlanned = "Planned"
	// ReasonListing surfaces until the first pass has ended, and while a deletion waits for a pass.
	ReasonListing = "Listing"
	// ReasonSweeping surfaces while sessions are being expired.
	ReasonSweeping = "Sweeping"
	// ReasonListUnsupported surfaces when the class has no list. The user should register sessions as PaymentSessions.
	ReasonListUnsupported = "ListUnsupported"
	// ReasonOwnershipMissing surfaces when the provider object has no ownership rule, so that nothing says which sessions
	// are the namespace's.
	ReasonOwnershipMissing = "OwnershipMissing"
	// ReasonSweepNotAllowed surfaces when sessions should be expired and sweepPolicy of the provider object is Deny.
	ReasonSweepNotAllowed = "SweepNotAllowed"
	// ReasonTooManySessions surfaces when a pass has found more open sessions than limits.sessions. Nothing is expired.
	ReasonTooManySessions = "TooManySessions"
	// ReasonListTruncated surfaces when the list has more pages than limits.pages. Nothing is expired.
	ReasonListTruncated = "ListTruncated"
	// ReasonInvalidWhere surfaces when the expression in where does not compile.
	ReasonInvalidWhere = "InvalidWhere"
)

// Reasons of a provider's Ready condition, in addition to ReasonCredentialsMissing, ReasonCredentialsRejected,
// ReasonProviderUnavailable and ReasonOwnershipIncomplete.
const (
	// ReasonAccountReady surfaces when calls can be made with the account.
	ReasonAccountReady = "AccountReady"
	// ReasonClassNotFound surfaces when the class does not exist.
	ReasonClassNotFound = "ClassNotFound"
	// ReasonClassNotReady surfaces when the class is not valid.
	ReasonClassNotReady = "ClassNotReady"
	// ReasonInvalidEnvironment surfaces when the class does not have the environment that the provider names, or when
	// the provider names neither an environment nor an endpoint and the class has no default environment.
	ReasonInvalidEnvironment = "InvalidEnvironment"
	// ReasonEndpointNotAllowed surfaces when the endpoint uses plain http and the operator runs without
	// --allow-private-endpoints.
	ReasonEndpointNotAllowed = "EndpointNotAllowed"
	// ReasonCredentialsUnprotected surfaces when the operator cannot add its finalizer to the Secret. The Secret could
	// then be gone before the sessions that need it. The user should allow the operator's ServiceAccount to get and
	// patch it.
	ReasonCredentialsUnprotected = "CredentialsUnprotected"
	// ReasonInvalidOwnership surfaces when an expression of the ownership rule does not compile, or can say nothing
	// about the session or the namespace.
	ReasonInvalidOwnership = "InvalidOwnership"
	// ReasonInvalidCredentials surfaces when a credential contains characters that cannot be sent in a request.
	ReasonInvalidCredentials = "InvalidCredentials"
)

// Reasons of a PaymentProviderClass's Ready condition.
const (
	// ReasonCompiled surfaces when the class is valid.
	ReasonCompiled = "Compiled"
	// ReasonInvalidDefinition surfaces when a field of the class is not valid, such as an expression, the pattern, a
	// header or a reference to a credential. The user should fix the field that the message names.
	ReasonInvalidDefinition = "InvalidDefinition"
)
