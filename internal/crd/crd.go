// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package crd names and reads the CustomResourceDefinitions of the operator.
package crd

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// GroupVersionKind of CustomResourceDefinitions.
var GroupVersionKind = schema.GroupVersionKind{
	Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition",
}

// Of returns the CustomResourceDefinition of a kind of v1alpha1, with nothing but its name.
func Of(kind string) *unstructured.Unstructured {
	object := &unstructured.Unstructured{}
	object.SetGroupVersionKind(GroupVersionKind)
	object.SetName(v1alpha1.CRDName(kind))
	return object
}

// Deleted reports whether the CustomResourceDefinition of a kind is being deleted or gone: an uninstall. It reads the
// metadata alone, without the large schema.
func Deleted(ctx context.Context, reader client.Reader, kind string) (bool, error) {
	object := &metav1.PartialObjectMetadata{}
	object.SetGroupVersionKind(GroupVersionKind)
	err := reader.Get(ctx, types.NamespacedName{Name: v1alpha1.CRDName(kind)}, object)
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("cannot check whether the CRD of %s is being deleted: %w", kind, err)
	default:
		return !object.GetDeletionTimestamp().IsZero(), nil
	}
}
