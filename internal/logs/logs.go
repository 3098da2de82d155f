// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package logs creates the manager's two logs from the same flags: the usual log, which must not show secrets, and
// the audit log, which must be complete.
package logs

import (
	"github.com/go-logr/logr"
	"go.uber.org/zap/zapcore"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

const (
	// bodies is the verbosity from which on Kubernetes clients log the bodies of requests, including those of Secrets:
	// https://pkg.go.dev/k8s.io/client-go/transport#DebugWrappers
	bodies = 8
	// unsampled is the verbosity from which on zap logs every message. Below it, zap logs the first hundred equal
	// messages of a second and then every hundredth: https://pkg.go.dev/go.uber.org/zap/zapcore#NewSamplerWithOptions.
	unsampled = 2
)

// Usual returns the log for everything but the audit. Its verbosity stays below that of bodies, whatever the flags
// say.
func Usual(flags zap.Options) logr.Logger {
	if flags.Level != nil && flags.Level.Enabled(zapcore.Level(-bodies)) {
		flags.Level = zapcore.Level(1 - bodies)
	}
	return zap.New(zap.UseFlagOptions(&flags))
}

// Audit returns the log of calls that may have changed something at a provider. It writes every line, whatever the
// flags say and however many there are.
func Audit(flags zap.Options) logr.Logger {
	flags.Level = zapcore.Level(-unsampled)
	return zap.New(zap.UseFlagOptions(&flags)).WithName("audit")
}
