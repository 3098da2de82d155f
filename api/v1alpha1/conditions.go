// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Condition types. All four kinds follow kstatus: Ready always, Reconciling and Stalled only while they are True and never
// together.
const (
	// ConditionReady is True when the object is as its spec wants it.
	ConditionReady = "Ready"
	// ConditionReconciling is True while the operator is at work on the object or will try again by itself.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is True when the operator cannot get any further unless a person acts.
	ConditionStalled = "Stalled"
	// ConditionExpired is True when the provider has shown that the session is expired, False when it has shown that it
	// is not, Unknown otherwise.
	ConditionExpired = "Expired"
)

// Reasons of a PaymentSession's conditions. The first block surfaces with Ready=True.
const (
	// ReasonExpired surfaces when the provider has shown that the session is expired.
	ReasonExpired = "Expired"
	// ReasonClosed surfaces when the session failed or was cancelled, so that it cannot be paid any more.
	ReasonClosed = "Closed"
	// ReasonObserved surfaces when desiredState is active and the provider has told the state.
	ReasonObserved = "Observed"
	// ReasonScheduled surfaces while expireAt lies ahead.
	ReasonScheduled = "Scheduled"

	// ReasonSuspended surfaces while suspend is true. The user should set it to false to let the operator go on.
	ReasonSuspended = "Suspended"

	// ReasonExpiring surfaces when the session should be expired, is not known to be closed, and the expire call is still
	// to come: behind a rate limit, a pause that the provider asked for, an outage, or a queue.
	ReasonExpiring = "Expiring"
	// ReasonAwaitingConfirmation surfaces when the provider accepted the expiry and does not show it yet.
	ReasonAwaitingConfirmation = "AwaitingConfirmation"
	// ReasonPaymentInProgress surfaces when a payment is in flight: the provider decides how it ends.
	ReasonPaymentInProgress = "PaymentInProgress"
	// ReasonPaymentCompleted surfaces when the session should be expired and was paid or used before. The user should
	// decide what to do with the payment.
	ReasonPaymentCompleted = "PaymentCompleted"
	// ReasonExpireRefused surfaces when the provider refuses to expire a session that it still calls active.
	ReasonExpireRefused = "ExpireRefused"
	// ReasonExpireUnsupported surfaces when the provider will never expire this session by a call, because of its payment
	// method. The user should let it run out.
	ReasonExpireUnsupported = "ExpireUnsupported"
	// ReasonSessionNotFound surfaces when the provider does not know the session. The user should check the session id,
	// the account and the environment.
	ReasonSessionNotFound = "SessionNotFound"
	// ReasonInvalidSessionID surfaces when the class's pattern refuses the session id. The user should create another
	// PaymentSession with the right one.
	ReasonInvalidSessionID = "InvalidSessionID"
	// ReasonCredentialsRejected surfaces when the provider does not accept the account's credentials. The user should
	// correct the Secret.
	ReasonCredentialsRejected = "CredentialsRejected"
	// ReasonNotAllowed surfaces when the account may not do this. The user should check the key's rights and whose
	// session it is.
	ReasonNotAllowed = "NotAllowed"
	// ReasonThrottled surfaces when the provider asks for fewer calls.
	ReasonThrottled = "Throttled"
	// ReasonProviderUnavailable surfaces when the provider does not answer, or answers that it cannot.
	ReasonProviderUnavailable = "ProviderUnavailable"
	// ReasonUnexpectedResponse surfaces when neither HTTP nor the class makes sense of the reply.
	ReasonUnexpectedResponse = "UnexpectedResponse"
	// ReasonProviderNotFound surfaces when the provider object does not exist.
	ReasonProviderNotFound = "ProviderNotFound"
	// ReasonProviderNotReady surfaces when the provider object, or its class, is not ready.
	ReasonProviderNotReady = "ProviderNotReady"
	// ReasonCredentialsMissing surfaces when the Secret, or a key of it, does not exist.
	ReasonCredentialsMissing = "CredentialsMissing"
	// ReasonNamespaceNotAllowed surfaces when a ClusterPaymentProvider does not allow the session's namespace.
	ReasonNamespaceNotAllowed = "NamespaceNotAllowed"
	// ReasonWouldExpire surfaces with --dry-run, where the operator would expire the session.
	ReasonWouldExpire = "WouldExpire"
)

// Reasons of a provider's Ready condition, beside ReasonCredentialsMissing and ReasonCredentialsRejected.
const (
	// ReasonAccountReady surfaces when calls can be made with the provider.
	ReasonAccountReady = "AccountReady"
	// ReasonClassNotFound surfaces when the class does not exist.
	ReasonClassNotFound = "ClassNotFound"
	// ReasonClassNotReady surfaces when the class does not compile.
	ReasonClassNotReady = "ClassNotReady"
	// ReasonInvalidEnvironment surfaces when the class has no such environment, or no default one and the provider names
	// none.
	ReasonInvalidEnvironment = "InvalidEnvironment"
	// ReasonEndpointNotAllowed surfaces when the endpoint is plain http and the operator runs without
	// --allow-private-endpoints.
	ReasonEndpointNotAllowed = "EndpointNotAllowed"
	// ReasonCredentialsUnprotected surfaces when the operator cannot put its finalizer on the Secret, which could then be gone
	// before the sessions that need it. The user should let the operator's ServiceAccount get and patch the Secret.
	ReasonCredentialsUnprotected = "CredentialsUnprotected"
	// ReasonInvalidCredentials surfaces when a credential holds characters that cannot be sent.
	ReasonInvalidCredentials = "InvalidCredentials"
)

// Reasons of a PaymentProviderClass's Ready condition.
const (
	// ReasonCompiled surfaces when every expression of the class compiles.
	ReasonCompiled = "Compiled"
	// ReasonInvalidDefinition surfaces when an expression, the pattern or a reference of the class is wrong.
	ReasonInvalidDefinition = "InvalidDefinition"
)
