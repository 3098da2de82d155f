// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ReconcileAtAnnotation asks for one fresh look at the provider, now: give
// it a value that it did not have before, by custom the current time. The
// last value handled stands in status.lastHandledReconcileAt.
const ReconcileAtAnnotation = "payments.payops.dev/reconcile-at"

// ExpireFinalizer holds a session that is being deleted until it can no
// longer be paid.
const ExpireFinalizer = "payments.payops.dev/expire-upstream"

// DesiredState is what a session should be at its provider.
//
// +kubebuilder:validation:Enum=active;expired
type DesiredState string

const (
	// DesiredStateActive leaves the session alone and reports what the provider
	// says of it.
	DesiredStateActive DesiredState = "active"
	// DesiredStateExpired makes the provider expire the session.
	DesiredStateExpired DesiredState = "expired"
)

// DeletionPolicy is what happens to the provider's session when its object
// is deleted.
//
// +kubebuilder:validation:Enum=Expire;Retain
type DeletionPolicy string

const (
	// DeletionPolicyExpire expires the session at the provider before the object
	// is gone.
	DeletionPolicyExpire DeletionPolicy = "Expire"
	// DeletionPolicyRetain lets the object go and leaves the session at the
	// provider as it is.
	DeletionPolicyRetain DeletionPolicy = "Retain"
)

// SessionState is the state of a session, in one vocabulary for all
// providers.
//
// +kubebuilder:validation:Enum="";active;processing;expired;completed;failed
type SessionState string

const (
	// SessionStateUnknown stands until the provider has said something that its
	// class understands.
	SessionStateUnknown SessionState = ""
	// SessionStateActive can be paid.
	SessionStateActive SessionState = "active"
	// SessionStateProcessing has a payment in flight.
	SessionStateProcessing SessionState = "processing"
	// SessionStateExpired is closed without a payment.
	SessionStateExpired SessionState = "expired"
	// SessionStateCompleted was paid or used.
	SessionStateCompleted SessionState = "completed"
	// SessionStateFailed failed or was cancelled and cannot be paid any more.
	SessionStateFailed SessionState = "failed"
)

// Closed reports whether a session in this state can no longer be paid.
func (s SessionState) Closed() bool {
	return s == SessionStateExpired || s == SessionStateCompleted || s == SessionStateFailed
}

// ProviderReference names the account that a session lives in.
type ProviderReference struct {
	// kind is PaymentProvider, in the session's own namespace, or
	// ClusterPaymentProvider, which must allow the session's namespace.
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

// PaymentSessionSpec is what should be true of one payable thing at a
// payment provider.
type PaymentSessionSpec struct {
	// providerRef names the account that the session lives in. It cannot be
	// changed: a session does not move between accounts.
	//
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="providerRef cannot be changed: a session does not move between accounts. Create another PaymentSession with the new providerRef, and delete this one with deletionPolicy: Retain if the session must stay as it is."
	// +required
	ProviderRef ProviderReference `json:"providerRef"`

	// sessionID is the provider's own id of the session: a Circle payment
	// intent's id, a Helio charge token, an Omise charge id, a Txn payment link
	// id. It cannot be changed. The provider's class may narrow the pattern; a
	// session that fails the class's pattern is Stalled with reason
	// InvalidSessionID and is never sent.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=255
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9_.:~-]*$`
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="sessionID cannot be changed: it is the identity of the session. Create another PaymentSession for the other id."
	// +required
	SessionID string `json:"sessionID"`

	// desiredState is active (the default: the session is left alone and
	// reported on) or expired (the provider is made to expire it). From expired
	// there is no way back, as there is none at the provider.
	//
	// +kubebuilder:default=active
	// +kubebuilder:validation:XValidation:rule="oldSelf != 'expired' || self == 'expired'",message="desiredState cannot leave expired, and cannot be removed once it is expired: an expired session does not come back. Create a new session at the provider and a new PaymentSession for it."
	// +optional
	DesiredState DesiredState `json:"desiredState,omitempty"`

	// expireAt is a time from which on the session is treated as if desiredState
	// were expired. It may be moved or removed at any time. Between 2020 and
	// 2100, in RFC 3339 with a time zone, for example 2026-12-01T00:00:00Z.
	//
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:MaxLength=40
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?(Z|[+-][0-9]{2}:[0-9]{2})$`
	// +kubebuilder:validation:XValidation:rule="self >= timestamp('2020-01-01T00:00:00Z') && self < timestamp('2100-01-01T00:00:00Z')",message="expireAt must lie between 2020-01-01 and 2100-01-01. To expire the session now, set desiredState: expired; to keep it open, leave expireAt out."
	// +optional
	ExpireAt *metav1.Time `json:"expireAt,omitempty"`

	// deletionPolicy is Expire (the default: the session is expired at the
	// provider before this object is gone) or Retain (the object goes and the
	// session stays as it is). It may be changed while the object is being
	// deleted.
	//
	// +kubebuilder:default=Expire
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// ttlAfterClosed deletes this object that long after the session was closed,
	// a duration such as 24h. If unset, or with reason PaymentCompleted, it stays.
	//
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="ttlAfterClosed must be a duration from 0s up, such as 30m or 24h"
	// +optional
	TTLAfterClosed *metav1.Duration `json:"ttlAfterClosed,omitempty"`

	// suspend stops every call to the provider for this session, those of a
	// deletion included, until it is false again.
	//
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// UpstreamStatus is what the provider said of the session, in its own words.
type UpstreamStatus struct {
	// status is the provider's own word for the session's state, or its class's
	// word where the provider has none.
	//
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Status string `json:"status,omitempty"`

	// expiredAt is when the session expired, where the provider says so.
	//
	// +optional
	ExpiredAt *metav1.Time `json:"expiredAt,omitempty"`

	// requestID is the provider's id of the call that settled the state, for a
	// talk with its support.
	//
	// +kubebuilder:validation:MaxLength=128
	// +optional
	RequestID string `json:"requestID,omitempty"`

	// stillPayable says what can still be paid elsewhere although this session
	// is closed: a payment link that was used may leave an invoice behind.
	// Empty where nothing can.
	//
	// +kubebuilder:validation:MaxLength=120
	// +optional
	StillPayable string `json:"stillPayable,omitempty"`
}

// PaymentSessionStatus is what is known of the session.
type PaymentSessionStatus struct {
	// observedGeneration is the generation of the spec that this status speaks
	// of; -1 until the first one does.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// state is active, processing (a payment is in flight), expired, completed
	// (paid, or used) or failed (cannot be paid any more); empty until it is
	// known. It is what the provider last said, never what was asked of it.
	//
	// +optional
	State SessionState `json:"state,omitempty"`

	// upstream is what the provider said, in its own words.
	//
	// +optional
	Upstream *UpstreamStatus `json:"upstream,omitempty"`

	// recognized is true once the provider has answered an expire call as for a
	// session that it knows, although no reply has shown the session's state
	// yet. A deletion of such a session is not released because a later read
	// does not find it.
	//
	// +optional
	Recognized bool `json:"recognized,omitempty"`

	// closedAt is when the operator first knew that the session can no longer be
	// paid.
	//
	// +optional
	ClosedAt *metav1.Time `json:"closedAt,omitempty"`

	// lastHandledReconcileAt is the last value of the annotation
	// payments.payops.dev/reconcile-at for which the session was read.
	//
	// +kubebuilder:validation:MaxLength=256
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// conditions of the session. Ready is True when the session is as the spec
	// wants it. Expired is True when the provider has shown that it is expired.
	// Reconciling and Stalled are there only while they are True: the first
	// while the operator is at work or retries, the second when a person must
	// act.
	//
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PaymentSession names one payable thing at a payment provider: a Circle
// payment intent, a Helio charge, an Omise charge, a Txn payment link. With
// desiredState: expired the provider is made to expire it; deleting the
// object expires it first.
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

	// metadata is the standard object's metadata.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is what should be true of the session.
	//
	// +required
	Spec PaymentSessionSpec `json:"spec"`

	// status is what is known of the session. It is written by the operator
	// alone.
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
