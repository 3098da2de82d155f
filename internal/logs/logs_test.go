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

var levels = []string{
	"", "--zap-log-level=error", "--zap-log-level=info", "--zap-log-level=debug", "--zap-log-level=10", "--zap-devel",
}

// TestAuditLogIsComplete checks that no level and no sampling drops a line of the audit log.
func TestAuditLogIsComplete(t *testing.T) {
	for _, level := range levels {
		t.Run(level, func(t *testing.T) {
			options, written := parse(t, level)
			audit := logs.Audit(options)
			const many = 1000
			for range many {
				audit.Info("expired")
			}
			if lines := strings.Count(written.String(), "expired"); lines != many {
				t.Errorf("%d of %d lines were written, want all", lines, many)
			}
			if !strings.Contains(written.String(), "audit") {
				t.Error("the lines do not have the name of the log")
			}
		})
	}
}

// TestUsualLogHasNoBodies checks that no level makes the log contain the bodies of requests to the API server, which
// client-go logs at verbosity 8.
func TestUsualLogHasNoBodies(t *testing.T) {
	for _, level := range levels {
		t.Run(level, func(t *testing.T) {
			options, written := parse(t, level)
			usual := logs.Usual(options)
			usual.V(8).Info("Request Body")
			if usual.V(8).Enabled() || written.Len() > 0 {
				t.Errorf("verbosity 8 is enabled, or a line at that verbosity was written: %s", written)
			}
			usual.Error(nil, "trouble")
			if !strings.Contains(written.String(), "trouble") {
				t.Error("an error was not written")
			}
		})
	}
}

// parse parses a flag as the manager does. It returns the options and the buffer to which they write.
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
