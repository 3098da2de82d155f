// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// patchStatus writes what has changed of an object's status, if the object is still the one that was read. A conflict is no
// error: the watch brings the newer object, and with it another reconcile. Neither is an object that has gone.
func patchStatus(ctx context.Context, writer client.Client, object, before client.Object) error {
	patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
	err := writer.Status().Patch(ctx, object, patch)
	switch {
	case err == nil:
		return nil
	case apierrors.IsConflict(err), apierrors.IsNotFound(err):
		return errOutdated
	default:
		return fmt.Errorf("cannot write the status: %w", err)
	}
}

// errOutdated is a write that came too late. It is told to the caller and ends there.
var errOutdated = errors.New("the object has changed since it was read")
