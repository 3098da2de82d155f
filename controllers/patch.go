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

// outdatedDelay is until an object is looked at again whose write came too late. The watch usually brings the newer one before
// that; it brings none where the API server called something else a conflict.
const outdatedDelay = time.Second

// errOutdated is a write that came too late. It ends the reconcile.
var errOutdated = errors.New("the object has changed since it was read")

// patchStatus writes what has changed of an object's status, if the object is still the one that was read.
func patchStatus(ctx context.Context, writer client.Client, object, before client.Object) error {
	return outdated(writer.Status().Patch(ctx, object, guarded(before)), "the status")
}

// patchFinalizers writes what has changed of an object's finalizers, if the object is still the one that was read: a list is
// never overwritten blindly.
func patchFinalizers(ctx context.Context, writer client.Client, object, before client.Object) error {
	return outdated(writer.Patch(ctx, object, guarded(before)), "the finalizers")
}

// guarded is a patch that carries the resourceVersion.
func guarded(before client.Object) client.Patch {
	return client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
}

func outdated(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return errOutdated
	default:
		return fmt.Errorf("cannot write %s: %w", what, err)
	}
}
