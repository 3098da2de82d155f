// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package await

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/fluxcd/cli-utils/pkg/kstatus/status"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/argocd"
)

// rows maps each combination of kind, Ready condition and progress that was seen to the verdicts of kstatus and Argo
// CD.
var rows = struct {
	sync.Mutex
	of map[string]string
}{of: map[string]string{}}

// checkGitOps computes the verdicts of kstatus and Argo CD on an object and compares them with what its conditions
// mean.
func checkGitOps(t *testing.T, object client.Object) {
	t.Helper()
	list := Conditions(t, object)
	if _, ours := object.(*v1alpha1.PaymentSession); list == nil && !ours {
		return
	}
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(object)
	if err != nil {
		t.Fatal(err)
	}
	computed, err := status.Compute(&unstructured.Unstructured{Object: content})
	if err != nil {
		t.Fatalf("kstatus cannot read %s: %v", object.GetName(), err)
	}
	health, err := argocd.HealthOf(content)
	if err != nil {
		t.Fatalf("Argo CD cannot read %s: %v", object.GetName(), err)
	}
	flux, argo := meaning(object, list, content)
	if computed.Status != flux || health.Status != argo {
		t.Errorf("kstatus calls %s %s and Argo CD calls it %s, want %s and %s: %s",
			object.GetName(), computed.Status, health.Status, flux, argo, fmt.Sprint(list))
	}
	if apimeta.IsStatusConditionTrue(list, v1alpha1.ConditionReconciling) &&
		apimeta.IsStatusConditionTrue(list, v1alpha1.ConditionStalled) {
		t.Errorf("%s is both Reconciling and Stalled", object.GetName())
	}
	remember(object, list, content, fmt.Sprintf("%-12s %s", computed.Status, health.Status))
}

// meaning returns what the conditions of an object mean, in the vocabulary of kstatus and of Argo CD.
func meaning(object client.Object, list []metav1.Condition, content map[string]any) (flux status.Status, argo string) {
	ready := apimeta.FindStatusCondition(list, v1alpha1.ConditionReady)
	stalled := apimeta.IsStatusConditionTrue(list, v1alpha1.ConditionStalled)
	switch {
	case object.GetDeletionTimestamp() != nil && stalled:
		return status.TerminatingStatus, "Degraded"
	case object.GetDeletionTimestamp() != nil:
		return status.TerminatingStatus, "Progressing"
	case observed(content) != object.GetGeneration() || ready == nil:
		return status.InProgressStatus, "Progressing"
	case stalled:
		return status.FailedStatus, "Degraded"
	case ready.Status == metav1.ConditionTrue:
		return status.CurrentStatus, "Healthy"
	case ready.Reason == v1alpha1.ReasonSuspended:
		return status.InProgressStatus, "Suspended"
	default:
		return status.InProgressStatus, "Progressing"
	}
}

func observed(content map[string]any) int64 {
	generation, _, _ := unstructured.NestedInt64(content, "status", "observedGeneration")
	return generation
}

// remember adds a row to the table. It leaves out a status about an older generation.
func remember(object client.Object, list []metav1.Condition, content map[string]any, verdict string) {
	ready := apimeta.FindStatusCondition(list, v1alpha1.ConditionReady)
	if ready == nil || observed(content) != object.GetGeneration() {
		return
	}
	kind, progress := "PaymentSession", ""
	switch object := object.(type) {
	case v1alpha1.GenericProvider:
		kind = object.ProviderKind()
	case *v1alpha1.PaymentProviderClass:
		kind = "PaymentProviderClass"
	}
	for _, condition := range []string{v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled} {
		if apimeta.IsStatusConditionTrue(list, condition) {
			progress = condition
		}
	}
	if object.GetDeletionTimestamp() != nil {
		progress += ", being deleted"
	}
	rows.Lock()
	defer rows.Unlock()
	row := fmt.Sprintf("%-23s %-22s %-8s %-26s", kind, ready.Reason, ready.Status, strings.TrimPrefix(progress, ", "))
	rows.of[row] = verdict
}

// Table returns the verdicts of kstatus and Argo CD on everything that the tests have seen so far.
func Table() string {
	rows.Lock()
	defer rows.Unlock()
	var text strings.Builder
	fmt.Fprintf(&text, "%-23s %-22s %-8s %-26s %-12s %s\n", "kind", "reason", "Ready", "besides", "kstatus", "Argo CD")
	for _, row := range slices.Sorted(maps.Keys(rows.of)) {
		fmt.Fprintf(&text, "%s %s\n", row, rows.of[row])
	}
	return text.String()
}

// Saw reports whether a test has seen a session with the reason.
func Saw(reason string) bool {
	rows.Lock()
	defer rows.Unlock()
	for row := range rows.of {
		if strings.HasPrefix(row, fmt.Sprintf("%-23s %-22s", "PaymentSession", reason)) {
			return true
		}
	}
	return false
}
