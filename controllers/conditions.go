// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
)

// summary is what an object's conditions should say.
type summary struct {
	ready    metav1.ConditionStatus
	reason   string
	message  string
	progress session.Progress
	// warn is true where a person should get an Event.
	warn bool
}

// conditions writes the conditions of one object. No other code does.
type conditions struct {
	list       *[]metav1.Condition
	generation int64
	now        time.Time
}

// summarize writes Ready and, only while they are True, Reconciling and Stalled, as kstatus expects:
// https://github.com/kubernetes-sigs/cli-utils/blob/master/pkg/kstatus/README.md
func (c conditions) summarize(says summary) {
	c.set(v1alpha1.ConditionReady, says.ready, says.reason, says.message)
	for _, progress := range []session.Progress{session.Reconciling, session.Stalled} {
		if says.progress == progress {
			c.set(string(progress), metav1.ConditionTrue, says.reason, says.message)
		} else {
			apimeta.RemoveStatusCondition(c.list, string(progress))
		}
	}
}

// set writes one condition. Its time changes only with its status. Its generation is always the present one: kubectl
// wait ignores a condition of an older generation.
func (c conditions) set(kind string, status metav1.ConditionStatus, reason, message string) {
	apimeta.SetStatusCondition(c.list, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message,
		ObservedGeneration: c.generation, LastTransitionTime: metav1.NewTime(c.now).Rfc3339Copy(),
	})
}

// readyReason returns the reason of the Ready condition, or "".
func readyReason(list []metav1.Condition) string {
	if ready := apimeta.FindStatusCondition(list, v1alpha1.ConditionReady); ready != nil {
		return ready.Reason
	}
	return ""
}
