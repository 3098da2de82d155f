// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package logs_test

import (
	"bytes"
	"flag"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/payops-dev/payment-session-operator/internal/logs"
)

var levels = []string{"", "--zap-log-level=error", "--zap-log-level=info", "--zap-log-level=debug", "--zap-log-level=10", "--zap-devel"}

func TestTheAuditLogLeavesNothingOut(t *testing.T) {
	for _, level := range levels {
		t.Run(level, func(t *testing.T) {
			options, written := parse(t, level)
			audit := logs.Audit(options)
			const many = 1000
			for range many {
				audit.Info("asked")
			}
			if lines := strings.Count(written.String(), "asked"); lines != many {
				t.Errorf("%d of %d lines were written", lines, many)
			}
			if !strings.Contains(written.String(), "audit") {
				t.Error("the lines do not bear the log's name")
			}
		})
	}
}

func TestTheUsualLogEndsBeforeBodies(t *testing.T) {
	for _, level := range levels {
		t.Run(level, func(t *testing.T) {
			options, written := parse(t, level)
			usual := logs.Usual(options)
			usual.V(8).Info("Request Body")
			if usual.V(8).Enabled() || written.Len() > 0 {
				t.Errorf("a line at the verbosity of bodies was written: %s", written)
			}
			usual.Error(nil, "trouble")
			if !strings.Contains(written.String(), "trouble") {
				t.Error("an error was not written")
			}
		})
	}
}

// parse gives the options of a flag, as the manager parses it, and what is written with them.
func parse(t *testing.T, level string) (zap.Options, *bytes.Buffer) {
	t.Helper()
	written := &bytes.Buffer{}
	options := zap.Options{DestWriter: written}
	flags := flag.NewFlagSet(t.Name(), flag.ContinueOnError)
	options.BindFlags(flags)
	if err := flags.Parse(strings.Fields(level)); err != nil {
		t.Fatal(err)
	}
	return options, written
}
