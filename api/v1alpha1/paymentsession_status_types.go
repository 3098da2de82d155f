// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SessionState is the state of a session, in one vocabulary for all
// providers.
//
// +kubebuilder:validation:Enum="";active;processing;expired;completed;failed
type SessionState string

const (
	// SessionStateUnknown is the state until the provider has sent a reply that
	// its class can read.
	SessionStateUnknown SessionState = ""
	// SessionStateActive can be paid.
	SessionStateActive SessionState = "active"
	// SessionStateProcessing has a payment in flight.
	SessionStateProcessing SessionState = "processing"
	// SessionStateExpired is closed without a payment.
	SessionStateExpired SessionState = "expired"
	// SessionStateCompleted was paid or used.
	SessionStateCompleted SessionState = "completed"
	// SessionStateFailed failed or was cancelled and can no longer be paid.
	SessionStateFailed SessionState = "failed"
)

// Closed reports whether a session in this state can no longer be paid.
func (s SessionState) Closed() bool {
	return s == SessionStateExpired || s == SessionStateCompleted || s == SessionStateFailed
}

// UpstreamStatus is what the provider reported about the session, in its own
// words.
type UpstreamStatus struct {
	// status is the provider's own word for the session's state. Where the
	// provider has no such word, it is the word that its class defines.
	//
	// +kubebuilder:validation:MaxLength=64
	// +optional
	Status string `json:"status,omitempty"`

	// expiredAt is the time at which the session expired, if the provider
	// reports it.
	//
	// +optional
	ExpiredAt *metav1.Time `json:"expiredAt,omitempty"`

	// requestID is the provider's id of the call that first showed this state.
	// Quote it when you contact the provider's support.
	//
	// +kubebuilder:validation:MaxLength=128
	// +optional
	RequestID string `json:"requestID,omitempty"`

	// stillPayable says what can still be paid elsewhere although this session
	// is closed. For example, a payment link that was used may leave an invoice
	// behind. Empty if nothing can.
	//
	// +kubebuilder:validation:MaxLength=120
	// +optional
	StillPayable string `json:"stillPayable,omitempty"`
}

// PaymentSessionStatus is the observed state of the session.
type PaymentSessionStatus struct {
	// observedGeneration is the metadata.generation that this status was
	// computed from; -1 until the first reconciliation.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// state is the state that the provider last reported: active, processing (a
	// payment is in flight), expired, completed (paid or used) or failed (can no
	// longer be paid). Empty until it is known. It never reflects a request
	// alone, only what the provider has shown.
	//
	// +optional
	State SessionState `json:"state,omitempty"`

	// upstream is what the provider reported, in its own words.
	//
	// +optional
	Upstream *UpstreamStatus `json:"upstream,omitempty"`

	// recognized is true once the provider has answered an expire call in a way
	// that shows that it knows the session, while no reply has shown the
	// session's state yet. The deletion of such a session is not released when a
	// later read does not find it.
	//
	// +optional
	Recognized bool `json:"recognized,omitempty"`

	// closedAt is the time at which the operator first learned that the session
	// can no longer be paid.
	//
	// +optional
	ClosedAt *metav1.Time `json:"closedAt,omitempty"`

	// lastHandledReconcileAt is the last value of the annotation
	// payments.payops.dev/reconcile-at for which the session was read. Only the
	// first 256 bytes of the annotation count.
	//
	// +kubebuilder:validation:MaxLength=256
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// conditions of the session. Ready is True when the session is in the state
	// that the spec asks for. Expired is True when the provider has shown that
	// the session is expired. Reconciling is present while the operator works or
	// retries, and Stalled while a person must act; both only with status True,
	// and never together.
	//
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}
