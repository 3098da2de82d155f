// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"flag"
	"fmt"
	"testing"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/controlplane"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

var plane *controlplane.ControlPlane

func TestMain(m *testing.M) {
	controlplane.Main(m, controlplane.Options{
		CRDs: gen.CRDs(), After: everyRow,
	}, func(started *controlplane.ControlPlane) error {
		plane = started
		ctrl.SetLogger(logr.Discard())
		return nil
	})
}

// everyRow prints how GitOps tools read each reason, and fails if a run of all tests has not seen one of them.
func everyRow() error {
	if testing.Verbose() {
		fmt.Println(await.Table())
	}
	if flag.Lookup("test.run").Value.String() != "" {
		return nil
	}
	for _, reason := range session.Reasons() {
		if !await.Saw(reason) {
			return fmt.Errorf("no test has seen a session with the reason %s: add one that reaches it", reason)
		}
	}
	return nil
}
