// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

const (
	// KindPaymentProvider is the kind of a provider that serves its own
	// namespace.
	KindPaymentProvider = "PaymentProvider"
	// KindClusterPaymentProvider is the kind of a provider that serves several
	// namespaces.
	KindClusterPaymentProvider = "ClusterPaymentProvider"
)

// InUseFinalizer keeps a provider and its Secret while sessions need them.
const InUseFinalizer = "payments.payops.dev/in-use"

// SecretReference names a Secret.
type SecretReference struct {
	// name of the Secret.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +required
	Name string `json:"name"`
}

// RateLimit limits the rate of calls to an account. The defaults, 10 calls a
// second with bursts of 20, are below the known limits of the shipped
// providers.
type RateLimit struct {
	// requests is the number of calls allowed in each period of the length per,
	// from 1 to 10000. Defaults to 10.
	//
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +optional
	Requests int32 `json:"requests,omitempty"`

	// per is the length of the period for requests, a duration from 1s to 1h.
	// Defaults to 1s.
	//
	// +kubebuilder:default="1s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="per must be a duration from 1s to 1h, such as 1s or 1m"
	// +optional
	Per *metav1.Duration `json:"per,omitempty"`

	// burst is the maximum number of calls that may be made at once after a
	// pause, from 1 to 10000. Defaults to 20.
	//
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +optional
	Burst int32 `json:"burst,omitempty"`
}

// PaymentProviderSpec describes an account at a payment provider and the
// limits for using it.
type PaymentProviderSpec struct {
	// className is the name of the PaymentProviderClass that describes the
	// provider's API. The classes circle, helio, omise and txn are shipped.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +required
	ClassName string `json:"className"`

	// environment is the name of one of the class's environments, such as
	// production or sandbox. Defaults to the class's default environment.
	//
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +optional
	Environment string `json:"environment,omitempty"`

	// endpoint replaces the base URL of the environment. It is an https URL with
	// a host and optionally a port and a path. Plain http, and hosts that
	// resolve to loopback or private addresses, require that the operator runs
	// with --allow-private-endpoints.
	//
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?$`
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getHostname() != ''",message="endpoint must be a URL such as https://api.example.com: scheme http or https, a host, optionally a port and a path, and no user, query or fragment"
	// +optional
	Endpoint string `json:"endpoint,omitempty"`

	// credentialsSecretRef names the Secret with the account's credentials. The
	// class lists the keys that it must have. The Secret is in the namespace of
	// the PaymentProvider, or in the operator's namespace for a
	// ClusterPaymentProvider. White space around a value is removed. To rotate a
	// credential, change the Secret in place: the operator reads it again within
	// a minute.
	//
	// +required
	CredentialsSecretRef SecretReference `json:"credentialsSecretRef"`

	// rateLimit limits the rate of calls to the account. Defaults to 10 calls a
	// second with bursts of 20.
	//
	// +kubebuilder:default={}
	// +optional
	RateLimit RateLimit `json:"rateLimit,omitzero"`

	// maxConcurrentRequests is the maximum number of calls in flight, from 1 to
	// 1024. Defaults to 16.
	//
	// +kubebuilder:default=16
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	// +optional
	MaxConcurrentRequests int32 `json:"maxConcurrentRequests,omitempty"`

	// timeout is the maximum duration of a call, from 100ms to 60s. It includes
	// connecting and reading the reply. Defaults to 10s.
	//
	// +kubebuilder:default="10s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('100ms') && duration(self) <= duration('60s')",message="timeout must be a duration from 100ms to 60s, such as 10s"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// pollInterval is the time between two reads of a session that should be
	// active and is not closed; 0s disables these reads. It is also the longest
	// pause between retries of an expiry that the provider refused, or accepted
	// without effect (5m with 0s). Providers ask not to be polled more often
	// than needed. Defaults to 10m.
	//
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="pollInterval must be a duration of 0s or more, such as 10m; 0s disables polling"
	// +optional
	PollInterval *metav1.Duration `json:"pollInterval,omitempty"`

	// ownership says whose the sessions of the account are. If unset, every
	// namespace that may use the account may expire every session of it. With an
	// owner rule a session is read before each expire call.
	//
	// +optional
	Ownership Ownership `json:"ownership,omitzero"`

	// sweepPolicy says whether PaymentSweeps may expire sessions of the account:
	// Allow or Deny. They list them with both. Unset is Deny.
	//
	// +optional
	SweepPolicy SweepPolicy `json:"sweepPolicy,omitempty"`
}

// PaymentProviderStatus is the observed state of an account.
type PaymentProviderStatus struct {
	// observedGeneration is the metadata.generation that this status was
	// computed from; -1 until the first reconciliation.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// heldSecrets are the names of the Secrets that have the finalizer
	// payments.payops.dev/in-use because of this provider: the Secret that the
	// spec names and, for a moment after a change, the previous one.
	//
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=253
	// +optional
	HeldSecrets []string `json:"heldSecrets,omitempty"`

	// outageSince is the time since which the provider has not answered: at
	// least 80 percent of the calls of the last 30 seconds failed, of 10 or
	// more. The operator then holds the account's calls back, except for one
	// that tries again after 5s, 10s, 20s and then every 30s. Absent while the
	// provider answers, and after 10 minutes in which no call was due.
	//
	// +optional
	OutageSince *metav1.Time `json:"outageSince,omitempty"`

	// conditions of the provider. Ready is True when calls can be made with the
	// account. Reconciling is present while the operator works or retries, and
	// Stalled while a person must act; both only with status True, and never
	// together.
	//
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PaymentProvider represents an account at a payment provider, for the
// sessions of its own namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=payprov,categories=payops
// +kubebuilder:selectablefield:JSONPath=`.spec.className`
// +kubebuilder:selectablefield:JSONPath=`.spec.credentialsSecretRef.name`
// +kubebuilder:printcolumn:name="Class",type=string,JSONPath=`.spec.className`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Secret",type=string,priority=1,JSONPath=`.spec.credentialsSecretRef.name`
// +kubebuilder:printcolumn:name="Environment",type=string,priority=1,JSONPath=`.spec.environment`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type PaymentProvider struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is standard object metadata.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec describes the account and the limits for using it.
	//
	// +required
	Spec PaymentProviderSpec `json:"spec"`

	// status is the observed state of the account. Only the operator writes it.
	//
	// +kubebuilder:default={observedGeneration:-1}
	// +optional
	Status PaymentProviderStatus `json:"status,omitzero"`
}

// PaymentProviderList is a list of PaymentProviders.
//
// +kubebuilder:object:root=true
type PaymentProviderList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []PaymentProvider `json:"items"`
}
