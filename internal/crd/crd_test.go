// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package crd_test

import (
	"context"
	"errors"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/crd"
)

// TestDeleted reads a CRD in each state. A CRD that is gone has taken its objects with it: nobody wanted their sessions
// expired.
func TestDeleted(t *testing.T) {
	resource := schema.GroupResource{Group: crd.GroupVersionKind.Group, Resource: "customresourcedefinitions"}
	for state, tc := range map[string]struct {
		deleting bool
		err      error
		want     bool
		fails    bool
	}{
		"it is there":          {},
		"it is being deleted":  {deleting: true, want: true},
		"it is gone":           {err: apierrors.NewNotFound(resource, "paymentsessions"), want: true},
		"it cannot be read":    {err: errors.New("no connection"), fails: true},
		"it may not be read":   {err: apierrors.NewForbidden(resource, "paymentsessions", nil), fails: true},
		"the API server waits": {err: apierrors.NewTooManyRequests("wait", 1), fails: true},
	} {
		get := func(
			_ context.Context, _ client.WithWatch, name client.ObjectKey, into client.Object, _ ...client.GetOption,
		) error {
			if name.Name != "paymentsessions.payments.payops.dev" {
				t.Errorf("%s: reads %s", state, name.Name)
			}
			if tc.deleting {
				now := metav1.Now()
				into.SetDeletionTimestamp(&now)
			}
			return tc.err
		}
		reader := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{Get: get}).Build()
		deleted, err := crd.Deleted(t.Context(), reader, v1alpha1.KindPaymentSession)
		if deleted != tc.want || (err != nil) != tc.fails {
			t.Errorf("%s: deleted %v, error %v", state, deleted, err)
		}
	}
}
