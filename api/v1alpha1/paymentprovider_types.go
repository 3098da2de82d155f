// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	// KindPaymentProvider is the kind of a provider in a namespace.
	KindPaymentProvider = "PaymentProvider"
	// KindClusterPaymentProvider is the kind of a provider for several
	// namespaces.
	KindClusterPaymentProvider = "ClusterPaymentProvider"
)

// InUseFinalizer holds a provider and its Secret while sessions still need
// them.
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

// RateLimit bounds the calls to an account. The defaults, 10 a second with
// bursts of 20, are below what the providers are known to bear.
type RateLimit struct {
	// requests is how many calls may be made in the time that per says.
	//
	// +kubebuilder:default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +optional
	Requests int32 `json:"requests,omitempty"`

	// per is the time that requests counts for, from 1s to 1h.
	//
	// +kubebuilder:default="1s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1s') && duration(self) <= duration('1h')",message="per must be a duration from 1s to 1h, such as 1s or 1m"
	// +optional
	Per *metav1.Duration `json:"per,omitempty"`

	// burst is how many calls may be made at once after a pause.
	//
	// +kubebuilder:default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=10000
	// +optional
	Burst int32 `json:"burst,omitempty"`
}

// PaymentProviderSpec is an account at a payment provider and how gently to
// use it.
type PaymentProviderSpec struct {
	// className names the PaymentProviderClass that says how to talk to the
	// provider: circle, helio, omise and txn are shipped.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$`
	// +required
	ClassName string `json:"className"`

	// environment is one of the class's environments, such as production or
	// sandbox. Left out, the class's default.
	//
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +optional
	Environment string `json:"environment,omitempty"`

	// endpoint replaces the environment's base URL: https, a host, an optional
	// port and path, nothing more. Plain http, and hosts that resolve to
	// loopback or private addresses, need the operator's flag
	// --allow-private-endpoints.
	//
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https?://[A-Za-z0-9.:\[\]-]+(/[A-Za-z0-9._~/-]*)?$`
	// +kubebuilder:validation:XValidation:rule="isURL(self) && url(self).getHostname() != ''",message="endpoint must be a URL such as https://api.example.com: scheme http or https, a host, optionally a port and a path, and no user, query or fragment"
	// +optional
	Endpoint string `json:"endpoint,omitempty"`

	// credentialsSecretRef names the Secret with the account's credentials; the
	// class says which keys it must hold. It lies in the provider's namespace,
	// or for a ClusterPaymentProvider in the operator's. White space around a
	// value is trimmed. Change a credential in place: the operator notices
	// within a minute.
	//
	// +required
	CredentialsSecretRef SecretReference `json:"credentialsSecretRef"`

	// rateLimit bounds the calls to the account, by default to 10 a second with
	// bursts of 20.
	//
	// +kubebuilder:default={}
	// +optional
	RateLimit RateLimit `json:"rateLimit,omitzero"`

	// maxConcurrentRequests is how many calls may be in flight at once.
	//
	// +kubebuilder:default=16
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1024
	// +optional
	MaxConcurrentRequests int32 `json:"maxConcurrentRequests,omitempty"`

	// timeout of a whole call, from 100ms to 60s.
	//
	// +kubebuilder:default="10s"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('100ms') && duration(self) <= duration('60s')",message="timeout must be a duration from 100ms to 60s, such as 10s"
	// +optional
	Timeout *metav1.Duration `json:"timeout,omitempty"`

	// pollInterval is how often an active session is read again; 0s never. The
	// providers ask not to be polled needlessly.
	//
	// +kubebuilder:default="10m"
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=32
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ns|us|µs|ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('0s')",message="pollInterval must be a duration from 0s up, such as 10m; 0s never reads again"
	// +optional
	PollInterval *metav1.Duration `json:"pollInterval,omitempty"`
}

// PaymentProviderStatus is what is known of an account.
type PaymentProviderStatus struct {
	// observedGeneration is the generation of the spec that this status speaks
	// of; -1 until the first one does.
	//
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// heldSecrets are the Secrets that bear the finalizer
	// payments.payops.dev/in-use because of this provider: the one that the spec
	// names, and for a moment the one that it named before.
	//
	// +listType=set
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MaxLength=253
	// +optional
	HeldSecrets []string `json:"heldSecrets,omitempty"`

	// outageSince is when the provider ceased to answer: of ten or more calls in
	// half a minute, four of five were in vain. The operator then holds the
	// account's calls back but for one that tries, after 5s, 10s, 20s and so on
	// up to each 30s. Absent while the provider answers, and once nobody has
	// asked for a call in ten minutes.
	//
	// +optional
	OutageSince *metav1.Time `json:"outageSince,omitempty"`

	// conditions of the provider. Ready is True when calls can be made with it.
	// Reconciling and Stalled are there only while they are True.
	//
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PaymentProvider is an account at a payment provider, for the sessions of
// its own namespace.
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

	// metadata is the standard object's metadata.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the account and how gently to use it.
	//
	// +required
	Spec PaymentProviderSpec `json:"spec"`

	// status is what is known of the account. It is written by the operator
	// alone.
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

// LabelValue is a label's value.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`
type LabelValue string

// NamespaceSelectorRequirement is one requirement on a namespace's label.
//
// +kubebuilder:validation:XValidation:rule="self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",message="values must be given with the operators In and NotIn, and left out with Exists and DoesNotExist"
type NamespaceSelectorRequirement struct {
	// key is the label's key.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`
	// +required
	Key string `json:"key"`

	// operator is In, NotIn, Exists or DoesNotExist.
	//
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	// +required
	Operator metav1.LabelSelectorOperator `json:"operator"`

	// values to compare with, for In and NotIn.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Values []LabelValue `json:"values,omitempty"`
}

// NamespaceSelector selects namespaces by their labels, as a
// metav1.LabelSelector does; what it cannot mean, the API server refuses. An
// empty one selects every namespace.
type NamespaceSelector struct {
	// matchLabels must all be on the namespace. Every namespace bears
	// kubernetes.io/metadata.name with its own name.
	//
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(key, size(key) <= 317 && key.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$'))",message="every key of matchLabels must be a label key, such as team or example.com/team"
	// +optional
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`

	// matchExpressions must all hold.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +optional
	MatchExpressions []NamespaceSelectorRequirement `json:"matchExpressions,omitempty"`
}

// LabelSelector gives the same selection as the API machinery's type.
func (s *NamespaceSelector) LabelSelector() *metav1.LabelSelector {
	selector := &metav1.LabelSelector{MatchLabels: make(map[string]string, len(s.MatchLabels))}
	for key, value := range s.MatchLabels {
		selector.MatchLabels[key] = string(value)
	}
	for _, expression := range s.MatchExpressions {
		requirement := metav1.LabelSelectorRequirement{Key: expression.Key, Operator: expression.Operator}
		for _, value := range expression.Values {
			requirement.Values = append(requirement.Values, string(value))
		}
		selector.MatchExpressions = append(selector.MatchExpressions, requirement)
	}
	return selector
}

// ClusterPaymentProviderSpec is an account and who may use it.
type ClusterPaymentProviderSpec struct {
	PaymentProviderSpec `json:",inline"`

	// allowedNamespaces selects the namespaces whose sessions may use this
	// provider. Left out, none may; {} allows all.
	//
	// +optional
	AllowedNamespaces *NamespaceSelector `json:"allowedNamespaces,omitempty"`
}

// ClusterPaymentProvider is an account at a payment provider for the
// sessions of every namespace that it allows. Its credentials stay in the
// operator's namespace.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:scope=Cluster,shortName=cpayprov,categories=payops
// +kubebuilder:selectablefield:JSONPath=`.spec.className`
// +kubebuilder:selectablefield:JSONPath=`.spec.credentialsSecretRef.name`
// +kubebuilder:printcolumn:name="Class",type=string,JSONPath=`.spec.className`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Reason",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].reason`
// +kubebuilder:printcolumn:name="Secret",type=string,priority=1,JSONPath=`.spec.credentialsSecretRef.name`
// +kubebuilder:printcolumn:name="Environment",type=string,priority=1,JSONPath=`.spec.environment`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ClusterPaymentProvider struct {
	metav1.TypeMeta `json:",inline"`

	// metadata is the standard object's metadata.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec is the account and who may use it.
	//
	// +required
	Spec ClusterPaymentProviderSpec `json:"spec"`

	// status is what is known of the account. It is written by the operator
	// alone.
	//
	// +kubebuilder:default={observedGeneration:-1}
	// +optional
	Status PaymentProviderStatus `json:"status,omitzero"`
}

// ClusterPaymentProviderList is a list of ClusterPaymentProviders.
//
// +kubebuilder:object:root=true
type ClusterPaymentProviderList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ClusterPaymentProvider `json:"items"`
}

// GenericProvider is what the two kinds of provider share, for code that
// serves both.
//
// +kubebuilder:object:generate=false
type GenericProvider interface {
	metav1.Object
	runtime.Object

	// ProviderSpec is the part of the spec that both kinds have.
	ProviderSpec() *PaymentProviderSpec
	// ProviderStatus is the status, to be read and written.
	ProviderStatus() *PaymentProviderStatus
	// ProviderKind is the kind, also where the object's own TypeMeta is empty,
	// as it is on objects read from a cache.
	ProviderKind() string
}

var (
	_ GenericProvider = &PaymentProvider{}
	_ GenericProvider = &ClusterPaymentProvider{}
)

// ProviderSpec is the spec.
func (p *PaymentProvider) ProviderSpec() *PaymentProviderSpec { return &p.Spec }

// ProviderStatus is the status.
func (p *PaymentProvider) ProviderStatus() *PaymentProviderStatus { return &p.Status }

// ProviderKind is PaymentProvider.
func (p *PaymentProvider) ProviderKind() string { return KindPaymentProvider }

// ProviderSpec is the part of the spec that a PaymentProvider has too.
func (p *ClusterPaymentProvider) ProviderSpec() *PaymentProviderSpec {
	return &p.Spec.PaymentProviderSpec
}

// ProviderStatus is the status.
func (p *ClusterPaymentProvider) ProviderStatus() *PaymentProviderStatus { return &p.Status }

// ProviderKind is ClusterPaymentProvider.
func (p *ClusterPaymentProvider) ProviderKind() string { return KindClusterPaymentProvider }
