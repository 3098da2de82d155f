// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// LabelValue is the value of a label.
//
// +kubebuilder:validation:MaxLength=63
// +kubebuilder:validation:Pattern=`^([A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?)?$`
type LabelValue string

// NamespaceSelectorRequirement is one requirement on a label of a namespace.
//
// +kubebuilder:validation:XValidation:rule="self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0 : !has(self.values) || size(self.values) == 0",message="values must be given with the operators In and NotIn, and left out with Exists and DoesNotExist"
type NamespaceSelectorRequirement struct {
	// key is the key of the label.
	//
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=317
	// +kubebuilder:validation:Pattern=`^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$`
	// +required
	Key string `json:"key"`

	// operator relates key to values: In, NotIn, Exists or DoesNotExist.
	//
	// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist
	// +required
	Operator metav1.LabelSelectorOperator `json:"operator"`

	// values to compare the label with. Required with In and NotIn, and must be
	// left out with Exists and DoesNotExist.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +optional
	Values []LabelValue `json:"values,omitempty"`
}

// NamespaceSelector selects namespaces by their labels, with the meaning of
// a metav1.LabelSelector. The API server rejects selectors that could not be
// evaluated. An empty selector selects every namespace.
type NamespaceSelector struct {
	// matchLabels are labels that a namespace must have. Every namespace has the
	// label kubernetes.io/metadata.name with its own name.
	//
	// +kubebuilder:validation:MaxProperties=64
	// +kubebuilder:validation:XValidation:rule="self.all(key, size(key) <= 317 && key.matches('^([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$'))",message="every key of matchLabels must be a label key, such as team or example.com/team"
	// +optional
	MatchLabels map[string]LabelValue `json:"matchLabels,omitempty"`

	// matchExpressions are requirements that a namespace must all meet.
	//
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=64
	// +optional
	MatchExpressions []NamespaceSelectorRequirement `json:"matchExpressions,omitempty"`
}

// LabelSelector returns the same selector as the API machinery's type.
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

// ClusterPaymentProviderSpec describes an account and the namespaces that
// may use it.
//
// +kubebuilder:validation:XValidation:rule="!has(self.ownership) || !has(self.ownership.exclusive) || !self.ownership.exclusive",message="ownership.exclusive is only for a PaymentProvider: several namespaces may use a ClusterPaymentProvider"
type ClusterPaymentProviderSpec struct {
	PaymentProviderSpec `json:",inline"`

	// allowedNamespaces selects the namespaces whose sessions may use this
	// provider. If unset, no namespace may; {} allows every namespace.
	//
	// +optional
	AllowedNamespaces *NamespaceSelector `json:"allowedNamespaces,omitempty"`
}

// ClusterPaymentProvider represents an account at a payment provider, for
// the sessions of every namespace that it allows. Its credentials stay in
// the operator's namespace.
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

	// metadata is standard object metadata.
	//
	// +optional
	metav1.ObjectMeta `json:"metadata,omitzero"`

	// spec describes the account and the namespaces that may use it.
	//
	// +required
	Spec ClusterPaymentProviderSpec `json:"spec"`

	// status is the observed state of the account. Only the operator writes it.
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
