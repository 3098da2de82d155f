// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Kinds of this package, beside KindPaymentProvider and KindClusterPaymentProvider.
const (
	KindPaymentSession       = "PaymentSession"
	KindPaymentSweep         = "PaymentSweep"
	KindPaymentProviderClass = "PaymentProviderClass"
)

// Field selectors that the API server supports: FieldDesiredState for PaymentSessions, FieldDeletionPolicy for
// PaymentSweeps, the others for both. They repeat the selectablefield markers of these kinds.
const (
	FieldDesiredState   = "spec.desiredState"
	FieldDeletionPolicy = "spec.deletionPolicy"
	FieldProviderKind   = "spec.providerRef.kind"
	FieldProviderName   = "spec.providerRef.name"
)

// plurals maps the kinds to their resources.
var plurals = map[string]string{
	KindPaymentSession:         "paymentsessions",
	KindPaymentSweep:           "paymentsweeps",
	KindPaymentProvider:        "paymentproviders",
	KindClusterPaymentProvider: "clusterpaymentproviders",
	KindPaymentProviderClass:   "paymentproviderclasses",
}

// CRDName returns the name of a kind's CustomResourceDefinition.
func CRDName(kind string) string { return plurals[kind] + "." + GroupVersion.Group }
