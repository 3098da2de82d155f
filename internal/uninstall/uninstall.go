// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package uninstall deletes the definitions of the four kinds, so that nothing is expired by it and no finalizer of the operator
// stays behind, on sessions or on Secrets, whether an operator runs or not.
package uninstall

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

const (
	// patience is how long an operator that runs may take to let everything go by itself.
	patience = 10 * time.Second
	// stripping is how long it may take with the finalizers being taken off here.
	stripping = 5 * time.Minute
	interval  = 500 * time.Millisecond
	page      = 500
)

var (
	definitionKind = schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"}
	secretKind     = schema.GroupVersionKind{Version: "v1", Kind: "Secret"}

	// kinds are deleted in this order: the sessions first, then what they needed.
	kinds = []struct{ kind, resource, finalizer string }{
		{"PaymentSession", "paymentsessions", v1alpha1.ExpireFinalizer},
		{v1alpha1.KindPaymentProvider, "paymentproviders", v1alpha1.InUseFinalizer},
		{v1alpha1.KindClusterPaymentProvider, "clusterpaymentproviders", v1alpha1.InUseFinalizer},
		{"PaymentProviderClass", "paymentproviderclasses", ""},
	}
)

// Run deletes the definitions with all of their objects. It needs the right to delete the definitions, and to list and patch their
// objects and Secrets.
//
// A definition that is being deleted tells an operator that this is an uninstall: it lets everything go and makes no call. Where none
// runs, the finalizers are taken off here.
func Run(ctx context.Context, api client.Client, log logr.Logger) error {
	for _, each := range kinds {
		log.Info("deleting a definition with its objects", "kind", each.kind)
		if err := deleteDefinition(ctx, api, log, each.resource, each.kind, each.finalizer); err != nil {
			return err
		}
	}
	return strip(ctx, api, secretKind, v1alpha1.InUseFinalizer)
}

func deleteDefinition(ctx context.Context, api client.Client, log logr.Logger, resource, kind, finalizer string) error {
	definition := &unstructured.Unstructured{}
	definition.SetGroupVersionKind(definitionKind)
	definition.SetName(resource + "." + v1alpha1.GroupVersion.Group)
	if err := api.Delete(ctx, definition); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("cannot delete the definition of %s: %w", kind, err)
	}
	err := awaitGone(ctx, api, definition, patience, func(context.Context) {})
	if err == nil || !wait.Interrupted(err) {
		return err
	}
	return awaitGone(ctx, api, definition, stripping, func(ctx context.Context) {
		if finalizer == "" {
			return
		}
		if err := strip(ctx, api, v1alpha1.GroupVersion.WithKind(kind), finalizer); err != nil {
			log.Error(err, "trying again")
		}
	})
}

// awaitGone waits until an object no longer exists, and tries to help before each look.
func awaitGone(ctx context.Context, api client.Client, object client.Object, timeout time.Duration, help func(context.Context)) error {
	err := wait.PollUntilContextTimeout(ctx, interval, timeout, true, func(ctx context.Context) (bool, error) {
		help(ctx)
		err := api.Get(ctx, client.ObjectKeyFromObject(object), object)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	if err != nil {
		return fmt.Errorf("%s is still there: %w", object.GetName(), err)
	}
	return nil
}

// strip takes a finalizer off every object of a kind that bears it.
func strip(ctx context.Context, api client.Client, kind schema.GroupVersionKind, finalizer string) error {
	for more := ""; ; {
		// A list that is decoded into twice keeps of the first page what the second does not say.
		list := &metav1.PartialObjectMetadataList{}
		list.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
		err := api.List(ctx, list, client.Limit(page), client.Continue(more))
		if apimeta.IsNoMatchError(err) || apierrors.IsNotFound(err) {
			return nil
		}
		if err != nil {
			return fmt.Errorf("cannot list the objects of kind %s: %w", kind.Kind, err)
		}
		for i := range list.Items {
			object := &list.Items[i]
			object.SetGroupVersionKind(kind)
			if err := stripOne(ctx, api, object, finalizer); err != nil {
				return fmt.Errorf("cannot take %s off %s %s: %w", finalizer, kind.Kind, client.ObjectKeyFromObject(object), err)
			}
		}
		if more = list.Continue; more == "" {
			return nil
		}
	}
}

// stripOne takes the finalizer off one object. What others have changed meanwhile is read again, and not overwritten.
func stripOne(ctx context.Context, api client.Client, object *metav1.PartialObjectMetadata, finalizer string) error {
	err := retry.RetryOnConflict(retry.DefaultBackoff, func() error {
		before := object.DeepCopy()
		if !controllerutil.RemoveFinalizer(object, finalizer) {
			return nil
		}
		conflict := api.Patch(ctx, object, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		if !apierrors.IsConflict(conflict) {
			return conflict
		}
		if err := api.Get(ctx, client.ObjectKeyFromObject(object), object); err != nil {
			return err
		}
		return conflict
	})
	return client.IgnoreNotFound(err)
}
