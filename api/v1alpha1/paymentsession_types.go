// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ReconcileAtAnnotation requests one refresh from the provider. Each new
// value is a new request; by convention it is the current time.
// status.lastHandledReconcileAt holds the last value handled.
const ReconcileAtAnnotation = "payments.payops.dev/reconcile-at"

// ExpireFinalizer holds a session that is being deleted until it can no
// longer be paid.
const ExpireFinalizer = "payments.payops.dev/expire-upstream"

// DesiredState is the state that a session should have at its provider.
//
// +kubebuilder:validation:Enum=active;expired
type DesiredState string

const (
	// DesiredStateActive never changes the session at the provider and reports
	// its state.
	DesiredStateActive DesiredState = "active"
	// DesiredStateExpired makes the provider expire the session.
	DesiredStateExpired DesiredState = "expired"
)

// DeletionPolicy says what happens to the session at the provider when its
// object is deleted.
//
// +kubebuilder:validation:Enum=Expire;Retain
type DeletionPolicy string

const (
	// DeletionPolicyExpire expires the session at the provider before the object
	// is removed.
	DeletionPolicyExpire DeletionPolicy = "Expire"
	// DeletionPolicyRetain removes the object and leaves the session at the
	// provider unchanged.
	DeletionPolicyRetain DeletionPolicy = "Retain"
)

// ProviderReference names the account that a session belongs to.
type ProviderReference struct {
	// kind of the provider object: PaymentProvider, in the session's own
	// namespace, or ClusterPaymentProvider, which must allow the session's
	// namespace. Defaults to PaymentProvider.
	//
	// +kubebuilder:validation:Enum=PaymentProvider;ClusterPaymentProvider
	// +kubebuilder:default=PaymentProvider
	// +optional
	Kind string `json:"kind,omitempty"`

	// name of the provider object.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +required
	Name string `json:"name"`
}

// PaymentSessionSpec is the desired state of one payable object at a payment
// provider.
type PaymentSessionSpec struct {
	// providerRef names the provider object whose account the session belongs
	// to. It is immutable: a session does not move between accounts.
	//
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="providerRef cannot be changed: a session does not move between accounts. Create another PaymentSession with the new providerRef, and delete this one with deletionPolicy: Retain if the session must stay as it is."
	// +required
	ProviderRef ProviderReference `json:"providerRef"`

	// sessionID is the provider's own id of the session: a Circle payment intent
	// id, a Helio charge token, an Omise charge id, a Txn payment link id. It is
	// immutable. The provider's class may narrow the pattern. An id that does
	// not match the class's pattern is never sent, and the session is Stalled
	// with reason InvalidSessionID.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9_.:~-]*$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="sessionID cannot be changed: it is the identity of the session. Create another PaymentSession for the other id."
	// +required
	SessionID string `json:"sessionID"`

	// desiredState is active or expired. With active, the operator reads the
	// session and reports its state, and never changes it. With expired, the
	// operator makes the provider expire it. Once desiredState is expired it
	// cannot be changed back, because providers do not reopen a session.
	// Defaults to active.
	//
	// +kubebuilder:default=active
	// +kubebuilder:validation:XValidation:rule="oldSelf != 'expired' || self == 'expired'",message="desiredState cannot leave expired, and cannot be removed once it is expired: providers do not reopen an expired session. Create a new session at the provider and a new PaymentSession for it."
	// +optional
	DesiredState DesiredState `json:"desiredState,omitempty"`

	// expireAt is the time from which the session is treated as if desiredState
	// were expired. It may be changed or removed at any time; that does not
	// reopen a session that has been expired. It must be between 2020 and 2100,
	// in RFC 3339 format with a time zone, for example 2026-12-01T00:00:00Z.
	//
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$`
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2020-01-01T00:00:00Z') && self < timestamp('2100-01-01T00:00:00Z')",message="expireAt must be between 2020-01-01 and 2100-01-01. To expire the session now, set desiredState: expired; to keep it open, leave expireAt out."
	// +optional
	ExpireAt *metav1.Time `json:"expireAt,omitempty"`

	// deletionPolicy is Expire or Retain. With Expire, the session is expired at
	// the provider before this object is removed. With Retain, the object is
	// removed and the session is left unchanged. It may be changed while the
	// object is being deleted. Defaults to Expire.
	//
	// +kubebuilder:default=Expire
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// ttlAfterClosed is the time after which this object is deleted once its
	// session is closed, a duration such as 30m or 24h. If unset, the object is
	// kept. An object with reason PaymentCompleted is always kept.
	//
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="ttlAfterClosed must be a duration of 0s or more, such as 30m or 24h"
	// +optional
	TTLAfterClosed *metav1.Duration `json:"ttlAfterClosed,omitempty"`

	// suspend stops every call to the provider for this session, including the
	// calls of a deletion, until it is false again. Defaults to false.
	//
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// PaymentSession represents one payable object at a payment provider: a
// Circle payment intent, a Helio charge, an Omise charge or a Txn payment
// link. With desiredState: expired, the operator makes the provider expire
// it. Deleting the PaymentSession expires it first, unless its
// deletionPolicy is Retain.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=paysess,categories=payops
// +kubebuilder:selectablefield:JSONPath=`.spec.providerRef.kind`
// +kubebuilder:selectablefield:JSONPath=`.spec.providerRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.sessionID`
// +kubebuilder:selectablefield:JSONPath=`.spec.desiredState`
// +kubebuilder:selectablefield:JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Provider",type=string,JSONPath=`.spec.providerRef.name`
// +kubebuilder:printcolumn:name="Desired",type=string,JSONPath=`.spec.desiredState`
// +kubebuilder:printcolumn:name="State",type=string,JSONPath=`.status.state`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Session ID",type=string,priority=1,JSONPath=`.spec.sessionID`
// +kubebuilder:printcolumn:name="Upstream",type=string,priority=1,JSONPath=`.status.upstream.status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type PaymentSession struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the desired state of the session.
	//
	// +required
	Spec PaymentSessionSpec `json:"spec"`

	// status is the observed state of the session. Only the operator writes it.
	//
	// +kubebuilder:default={observedGeneration:-1}
	// +optional
	Status PaymentSessionStatus `json:"status,omitzero"`
}

// PaymentSessionList is a list of PaymentSessions.
//
// +kubebuilder:object:root=true
type PaymentSessionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PaymentSession `json:"items"`
}
