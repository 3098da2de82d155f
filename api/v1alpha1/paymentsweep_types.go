// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// SweepFinalizer keeps a PaymentSweep, and so its namespace, until nothing
// that the namespace owns is open.
const SweepFinalizer = "payments.payops.dev/sweep"

// SweepPolicy says whether PaymentSweeps may expire sessions of an account.
//
// +kubebuilder:validation:Enum=Deny;Allow
type SweepPolicy string

const (
	// SweepDeny lets PaymentSweeps list the sessions of the account, and expire
	// none.
	SweepDeny SweepPolicy = "Deny"
	// SweepAllow lets PaymentSweeps expire the sessions that their namespaces
	// own.
	SweepAllow SweepPolicy = "Allow"
)

// SweepLimits bound a pass of a PaymentSweep. Beyond them nothing is expired.
type SweepLimits struct {
	// sessions is the number of open sessions that a pass may find, from 1 to
	// 10000. Defaults to 200.
	//
	// +kubebuilder:default=200
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +optional
	Sessions int32 `json:"sessions,omitempty"`

	// pages is the number of pages of the account's list that a pass may read,
	// from 1 to 1000. Defaults to 100.
	//
	// +kubebuilder:default=100
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +optional
	Pages int32 `json:"pages,omitempty"`
}

// PaymentSweepSpec says what becomes of the sessions that a namespace has
// opened at an account and that have no object.
type PaymentSweepSpec struct {
	// providerRef names the provider object of the account. It is immutable: a
	// sweep does not move between accounts.
	//
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="providerRef cannot be changed: a sweep does not move between accounts. Create another PaymentSweep."
	// +required
	ProviderRef ProviderReference `json:"providerRef"`

	// desiredState is active to report the open sessions, or expired to expire
	// in every pass what it finds. Defaults to active.
	//
	// +kubebuilder:default=active
	// +optional
	DesiredState DesiredState `json:"desiredState,omitempty"`

	// deletionPolicy says what happens when the namespace is deleted. Retain,
	// the default, leaves its sessions as they are. Expire lets the namespace
	// wait until nothing that it owns is open. Deleting this object alone
	// expires nothing.
	//
	// +kubebuilder:default=Retain
	// +optional
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// where is a CEL condition over session, with the fields id, state, status,
	// owner and createdAt, that a session must meet to be swept. It narrows what
	// the namespace owns, and never widens it. A session for which it fails is
	// not swept.
	//
	// +optional
	Where Expression `json:"where,omitempty"`

	// interval is the time between two passes, from 1m to 24h; 0s makes passes
	// only while the namespace is being deleted. Defaults to 10m.
	//
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) == duration('0s') || duration(self) >= duration('1m') && duration(self) <= duration('24h')",message="interval must be a duration from 1m to 24h, such as 10m, or 0s"
	// +optional
	Interval *metav1.Duration `json:"interval,omitempty"`

	// lookback is how far back the account's sessions are listed, from 1h to
	// 2160h (90 days). Defaults to 168h (7 days).
	//
	// +kubebuilder:default="168h"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1h') && duration(self) <= duration('2160h')",message="lookback must be a duration from 1h to 2160h, such as 168h"
	// +optional
	Lookback *metav1.Duration `json:"lookback,omitempty"`

	// limits bound a pass. Beyond them nothing is expired, and the status says
	// so.
	//
	// +kubebuilder:default={}
	// +optional
	Limits SweepLimits `json:"limits,omitzero"`

	// suspend makes no call for this sweep until it is false again. A namespace
	// that is being deleted waits. Defaults to false.
	//
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// SweepListing is what the last pass has read.
type SweepListing struct {
	// at is when the pass ended. It is written with other changes only, and at
	// most once an hour without.
	//
	// +required
	At metav1.Time `json:"at"`

	// since is the time from which on the pass has listed sessions.
	//
	// +required
	Since metav1.Time `json:"since"`

	// pages is the number of pages that were read.
	//
	// +optional
	Pages int32 `json:"pages"`

	// items is the number of sessions in them, of all owners.
	//
	// +optional
	Items int32 `json:"items"`

	// complete is true where the list was read to its end. Nothing is expired
	// otherwise.
	//
	// +optional
	Complete bool `json:"complete"`
}

// PlannedSession is a session that a sweep has found.
type PlannedSession struct {
	// id is the provider's id of the session.
	//
	// +kubebuilder:validation:MaxLength=255
	// +required
	ID string `json:"id"`

	// state of the session: active or processing.
	//
	// +required
	State SessionState `json:"state"`

	// createdAt is when the session was created, as far as the provider shows
	// it.
	//
	// +optional
	CreatedAt *metav1.Time `json:"createdAt,omitempty"`

	// object is the name of the PaymentSession of this namespace for the
	// session; empty for none. The session is left to it.
	//
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Object string `json:"object,omitempty"`
}

// SweepPlan is what the namespace has open at the account.
type SweepPlan struct {
	// open is the number of open sessions that the namespace owns.
	//
	// +optional
	Open int32 `json:"open"`

	// processing is the number of those with a payment in flight.
	//
	// +optional
	Processing int32 `json:"processing"`

	// foreign is the number of open sessions of others, or of nobody. They are
	// never touched.
	//
	// +optional
	Foreign int32 `json:"foreign"`

	// claimed is the number of the namespace's open sessions that are kept,
	// because an object retains them or wants them active.
	//
	// +optional
	Claimed int32 `json:"claimed"`

	// oldest is when the oldest of the open sessions was created.
	//
	// +optional
	Oldest *metav1.Time `json:"oldest,omitempty"`

	// sessions are the open sessions, at most 50 of them, the oldest first.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=50
	// +optional
	Sessions []PlannedSession `json:"sessions,omitempty"`
}

// PaymentSweepStatus is the observed state of a sweep.
type PaymentSweepStatus struct {
	// observedGeneration is the metadata.generation that this status was
	// computed from; -1 until the first reconciliation.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// list is what the last pass has read.
	//
	// +optional
	List *SweepListing `json:"list,omitempty"`

	// plan is what the last complete pass has found.
	//
	// +optional
	Plan *SweepPlan `json:"plan,omitempty"`

	// retained are the ids of sessions that PaymentSessions of this namespace
	// have registered with deletionPolicy: Retain. They are never swept, also
	// when the object is gone.
	//
	// +listType=set
	// +kubebuilder:validation:MaxItems=500
	// +kubebuilder:validation:items:MaxLength=255
	// +optional
	Retained []string `json:"retained,omitempty"`

	// expired is the number of sessions that the running teardown, or the last
	// pass, has expired.
	//
	// +optional
	Expired int32 `json:"expired,omitempty"`

	// lastHandledReconcileAt is the last value of the annotation
	// payments.payops.dev/reconcile-at that a listing has answered.
	//
	// +kubebuilder:validation:MaxLength=256
	// +optional
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// conditions of the sweep. Ready is True when the last pass was complete and
	// within the limits. Expired is True when nothing that the namespace owns is
	// open. Reconciling is present while the operator works or retries, and
	// Stalled while a person must act; both only with status True.
	//
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PaymentSweep says what becomes of the sessions that its namespace has opened
// at an account and that have no PaymentSession: those that an application
// opens at run time.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=paysweep,categories=payops
// +kubebuilder:selectablefield:JSONPath=`.spec.providerRef.kind`
// +kubebuilder:selectablefield:JSONPath=`.spec.providerRef.name`
// +kubebuilder:selectablefield:JSONPath=`.spec.deletionPolicy`
// +kubebuilder:printcolumn:name="Provider",type=string,JSONPath=`.spec.providerRef.name`
// +kubebuilder:printcolumn:name="Open",type=integer,JSONPath=`.status.plan.open`
// +kubebuilder:printcolumn:name="Foreign",type=integer,JSONPath=`.status.plan.foreign`
// +kubebuilder:printcolumn:name="Deletion",type=string,JSONPath=`.spec.deletionPolicy`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type PaymentSweep struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec says what becomes of the namespace's sessions.
	//
	// +required
	Spec PaymentSweepSpec `json:"spec"`

	// status is what the last pass has found. Only the operator writes it.
	//
	// +kubebuilder:default={observedGeneration:-1}
	// +optional
	Status PaymentSweepStatus `json:"status,omitzero"`
}

// PaymentSweepList is a list of PaymentSweeps.
//
// +kubebuilder:object:root=true
type PaymentSweepList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PaymentSweep `json:"items"`
}
