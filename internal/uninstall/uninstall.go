// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package uninstall deletes the CRDs of the five kinds. Nothing is expired, and no finalizer of the operator remains
// on sessions or on Secrets, whether or not an operator runs.
package uninstall

import (
	"context"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/crd"
)

const (
	// patience is how long a running operator may take to release everything.
	patience = 10 * time.Second
	// removal is how long the removal of the finalizers may take here.
	removal  = 5 * time.Minute
	interval = 500 * time.Millisecond
	page     = 500
)

// kinds are deleted in this order: sweeps and sessions first, then what they needed.
var kinds = []struct{ kind, finalizer string }{
	{v1alpha1.KindPaymentSweep, v1alpha1.SweepFinalizer},
	{v1alpha1.KindPaymentSession, v1alpha1.ExpireFinalizer},
	{v1alpha1.KindPaymentProvider, v1alpha1.InUseFinalizer},
	{v1alpha1.KindClusterPaymentProvider, v1alpha1.InUseFinalizer},
	{v1alpha1.KindPaymentProviderClass, ""},
}

// Run deletes the CRDs with all of their objects. It needs the right to delete the CRDs, and to list and patch their
// objects and Secrets.
//
// A running operator recognizes the uninstall by a CRD that is being deleted. It then releases every object and makes
// no call. Without an operator, the finalizers are removed here.
func Run(ctx context.Context, api client.Client, log logr.Logger) error {
	for _, each := range kinds {
		log.Info("deleting a CRD with its objects", "kind", each.kind)
		if err := deleteCRD(ctx, api, log, each.kind, each.finalizer); err != nil {
			return err
		}
	}
	return removeFinalizers(ctx, api, corev1.SchemeGroupVersion.WithKind("Secret"), v1alpha1.InUseFinalizer)
}

func deleteCRD(ctx context.Context, api client.Client, log logr.Logger, kind, finalizer string) error {
	object := crd.Of(kind)
	if err := api.Delete(ctx, object); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("cannot delete the CRD of %s: %w", kind, err)
	}
	err := awaitGone(ctx, api, object, patience, func(context.Context) {})
	if err == nil || !wait.Interrupted(err) {
		return err
	}
	return awaitGone(ctx, api, object, removal, func(ctx context.Context) {
		if finalizer == "" {
			return
		}
		if err := removeFinalizers(ctx, api, v1alpha1.GroupVersion.WithKind(kind), finalizer); err != nil {
			log.Error(err, "trying again")
		}
	})
}

// awaitGone waits until an object no longer exists. It runs help before each check.
func awaitGone(ctx context.Context, api client.Client, object client.Object, timeout time.Duration,
	help func(context.Context)) error {
	err := wait.PollUntilContextTimeout(ctx, interval, timeout, true, func(ctx context.Context) (bool, error) {
		help(ctx)
		err := api.Get(ctx, client.ObjectKeyFromObject(object), object)
		return apierrors.IsNotFound(err), client.IgnoreNotFound(err)
	})
	if err != nil {
		return fmt.Errorf("%s still exists: %w", object.GetName(), err)
	}
	return nil
}

// removeFinalizers removes a finalizer from every object of a kind.
func removeFinalizers(ctx context.Context, api client.Client, kind schema.GroupVersionKind, finalizer string) error {
	for more := ""; ; {
		// Decoding into a reused list keeps stale fields of the previous page.
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
			if err := removeFinalizer(ctx, api, object, finalizer); err != nil {
				return fmt.Errorf("cannot remove the finalizer %s from %s %s: %w", finalizer, kind.Kind,
					client.ObjectKeyFromObject(object), err)
			}
		}
		if more = list.Continue; more == "" {
			return nil
		}
	}
}

// removeFinalizer removes a finalizer from one object. It reads the object again after a conflict, so that it
// overwrites no change.
func removeFinalizer(ctx context.Context, api client.Client, object *metav1.PartialObjectMetadata,
	finalizer string) error {
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
