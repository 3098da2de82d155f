// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// conflictDelay is the time until an object is reconciled again after a conflict. The watch usually triggers that
// sooner, but not where the API server reports something else as a conflict.
const conflictDelay = time.Second

// errConflict reports that the object has changed since it was read. It ends the reconcile.
var errConflict = errors.New("the object has changed since it was read")

// patchStatus writes the changes of an object's status, if the object has not changed since it was read.
func patchStatus(ctx context.Context, writer client.Client, object, before client.Object) error {
	return wrapConflict(writer.Status().Patch(ctx, object, optimisticPatch(before)), "the status")
}

// patchFinalizers writes the changes of an object's finalizers, if the object has not changed since it was read. A
// merge patch replaces the whole list, and would otherwise remove a finalizer that somebody else has just added.
func patchFinalizers(ctx context.Context, writer client.Client, object, before client.Object) error {
	return wrapConflict(writer.Patch(ctx, object, optimisticPatch(before)), "the finalizers")
}

// optimisticPatch returns a merge patch that carries the resourceVersion.
func optimisticPatch(before client.Object) client.Patch {
	return client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
}

func wrapConflict(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return errConflict
	default:
		return fmt.Errorf("cannot write %s: %w", what, err)
	}
}
