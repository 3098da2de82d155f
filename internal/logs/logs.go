// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package logs makes the manager's two logs from the same flags: the usual one, which must not show too much, and the audit log,
// which must not leave anything out.
package logs

import (
	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

const (
	// bodies is the verbosity from which on Kubernetes clients write the bodies of their requests to the log, those of Secrets
	// included.
	bodies = 8
	// unsampled is the verbosity from which on nothing is left out. Below it, of equal messages within a second the first hundred
	// are written and then each hundredth: https://pkg.go.dev/go.uber.org/zap/zapcore#NewSamplerWithOptions.
	unsampled = 2
)

// Usual is the log of everything but the audit. Its verbosity stays below that of bodies, whatever the flags say.
func Usual(flags zap.Options) logr.Logger {
	if flags.Level != nil && flags.Level.Enabled(zapcore.Level(-bodies)) {
		flags.Level = zapcore.Level(1 - bodies)
	}
	return zap.New(zap.UseFlagOptions(&flags))
}

// Audit is the log of what may have changed something at a provider. Each line is written, whatever verbosity the flags ask for and
// however many there are.
func Audit(flags zap.Options) logr.Logger {
	flags.Level = zapcore.Level(-unsampled)
	return zap.New(zap.UseFlagOptions(&flags)).WithName("audit")
}
