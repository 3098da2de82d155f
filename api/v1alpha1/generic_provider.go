// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// GenericProvider is implemented by both kinds of provider, for code that
// serves both.
//
// +kubebuilder:object:generate=false
type GenericProvider interface {
	metav1.Object
	runtime.Object

	// ProviderSpec returns the part of the spec that both kinds have.
	ProviderSpec() *PaymentProviderSpec
	// ProviderStatus returns the status for reading and writing.
	ProviderStatus() *PaymentProviderStatus
	// ProviderKind returns the kind. It does not use the object's TypeMeta,
	// because decoding into a typed object clears it:
	// https://github.com/kubernetes/kubernetes/issues/80609.
	ProviderKind() string
}

var (
	_ GenericProvider = &PaymentProvider{}
	_ GenericProvider = &ClusterPaymentProvider{}
)

// ProviderSpec returns the spec.
func (p *PaymentProvider) ProviderSpec() *PaymentProviderSpec { return &p.Spec }

// ProviderStatus returns the status.
func (p *PaymentProvider) ProviderStatus() *PaymentProviderStatus { return &p.Status }

// ProviderKind returns PaymentProvider.
func (p *PaymentProvider) ProviderKind() string { return KindPaymentProvider }

// ProviderSpec returns the part of the spec that both kinds have.
func (p *ClusterPaymentProvider) ProviderSpec() *PaymentProviderSpec {
	return &p.Spec.PaymentProviderSpec
}

// ProviderStatus returns the status.
func (p *ClusterPaymentProvider) ProviderStatus() *PaymentProviderStatus { return &p.Status }

// ProviderKind returns ClusterPaymentProvider.
func (p *ClusterPaymentProvider) ProviderKind() string { return KindClusterPaymentProvider }
