// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Kinds of this package, beside KindPaymentProvider and KindClusterPaymentProvider.
const (
	KindPaymentSession       = "PaymentSession"
	KindPaymentProviderClass = "PaymentProviderClass"
)

// Field selectors of PaymentSessions that the API server supports. They repeat the selectablefield markers of
// PaymentSession.
const (
	FieldDesiredState = "spec.desiredState"
	FieldProviderKind = "spec.providerRef.kind"
	FieldProviderName = "spec.providerRef.name"
)

// plurals maps the kinds to their resources.
var plurals = map[string]string{
	KindPaymentSession:         "paymentsessions",
	KindPaymentProvider:        "paymentproviders",
	KindClusterPaymentProvider: "clusterpaymentproviders",
	KindPaymentProviderClass:   "paymentproviderclasses",
}

// CRDName returns the name of a kind's CustomResourceDefinition.
func CRDName(kind string) string { return plurals[kind] + "." + GroupVersion.Group }
