// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package v1alpha1 contains the kinds of payments.payops.dev/v1alpha1: PaymentSession, PaymentProvider,
// ClusterPaymentProvider and PaymentProviderClass.
//
// Field comments are user documentation: kubectl explain shows them, and docs/api.md is generated from them. They are
// wrapped at the width of kubectl explain, which keeps line breaks.
//
// +kubebuilder:object:generate=true
// +groupName=payments.payops.dev
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the group and version of every kind in this package.
	GroupVersion = schema.GroupVersion{Group: "payments.payops.dev", Version: "v1alpha1"}

	schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme adds the kinds of this package to a scheme.
	AddToScheme = schemeBuilder.AddToScheme
)

func addKnownTypes(scheme *runtime.Scheme) error {
	scheme.AddKnownTypes(GroupVersion,
		&PaymentSession{}, &PaymentSessionList{},
		&PaymentSweep{}, &PaymentSweepList{},
		&PaymentProvider{}, &PaymentProviderList{},
		&ClusterPaymentProvider{}, &ClusterPaymentProviderList{},
		&PaymentProviderClass{}, &PaymentProviderClassList{},
	)
	metav1.AddToGroupVersion(scheme, GroupVersion)
	return nil
}
