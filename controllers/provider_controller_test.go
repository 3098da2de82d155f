// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// TestSummariesCauseNoReconcile changes a provider object in one way after another. Two managers that both believe to
// be the leader would otherwise answer each other's summaries of the account forever.
func TestSummariesCauseNoReconcile(t *testing.T) {
	for change, tc := range map[string]struct {
		make func(*v1alpha1.PaymentProvider)
		want bool
	}{
		"the summary of the account": {func(p *v1alpha1.PaymentProvider) {
			p.Status.ObservedGeneration = 1
			p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady}}
			p.Status.OutageSince = &metav1.Time{Time: time.Unix(1, 0)}
		}, false},
		"what each write changes":  {func(p *v1alpha1.PaymentProvider) { p.ResourceVersion = "2" }, false},
		"the spec":                 {func(p *v1alpha1.PaymentProvider) { p.Spec.Endpoint = "https://elsewhere.example" }, true},
		"a finalizer":              {func(p *v1alpha1.PaymentProvider) { p.Finalizers = []string{v1alpha1.InUseFinalizer} }, true},
		"the Secrets that it held": {func(p *v1alpha1.PaymentProvider) { p.Status.HeldSecrets = []string{"before"} }, true},
		"an annotation":            {func(p *v1alpha1.PaymentProvider) { p.Annotations = map[string]string{"a": "b"} }, true},
	} {
		before, after := &v1alpha1.PaymentProvider{}, &v1alpha1.PaymentProvider{}
		tc.make(after)
		if got := moreThanSummary.Update(event.UpdateEvent{ObjectOld: before, ObjectNew: after}); got != tc.want {
			t.Errorf("%s: reconciled %v, want %v", change, got, tc.want)
		}
	}
}
