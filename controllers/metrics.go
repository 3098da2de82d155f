// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"time"

	"github.com/go-logr/logr"
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
)

// Labels of the metrics. Their values are classes, operations, outcomes, states and reasons. No label may have a
// value for each session, namespace or provider object: https://prometheus.io/docs/practices/naming/#labels
const (
	labelClass     = "class"
	labelOperation = "operation"
	labelOutcome   = "outcome"
	labelReason    = "reason"
	labelState     = "state"
)

var (
	upstreamCalls = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "payops_upstream_calls_total",
		Help: "Calls made to providers, by class, operation (expire, observe, list) and outcome.",
	}, []string{labelClass, labelOperation, labelOutcome})

	upstreamSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "payops_upstream_call_duration_seconds",
		Help:    "Duration of calls to providers until the reply was read, by class and operation.",
		Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
	}, []string{labelClass, labelOperation})

	closingSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: "payops_session_closing_seconds",
		Help: "Time from the moment when a session should be expired (creation, change of desiredState, expireAt, or " +
			"deletion) until the provider showed that it can no longer be paid, by class.",
		Buckets: []float64{0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 21600, 86400},
	}, []string{labelClass})

	// deletionsHeld counts the deletions that began to wait, or to wait for something else.
	deletionsHeld = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "payops_deletions_held_total",
		Help: "Deletions of sessions and sweeps that began to wait, by the reason of the Ready condition.",
	}, []string{labelReason})

	releasedPayable = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "payops_released_payable_total",
		Help: "Sessions that were released although they, or what came of them, may still be payable, because no call can " +
			"change that.",
	})

	handedOver = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "payops_deletions_handed_over_total",
		Help: "Deletions that left their session to another object of the same namespace that wants it active.",
	})

	sweptSessions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "payops_sweep_sessions_total",
		Help: "Sessions without an object that sweeps were to expire, by class and outcome (expired, completed, failed, " +
			"unsupported).",
	}, []string{labelClass, labelOutcome})

	sessionsDescription = prometheus.NewDesc("payops_sessions",
		"Sessions, by class (empty if the provider object is missing), desired state (expired because of desiredState, a "+
			"past expireAt or a "+
			"deletion), and state (unknown until the provider has shown it).",
		[]string{labelClass, "desired", labelState}, nil)
	overdueDescription = prometheus.NewDesc("payops_expiry_overdue_sessions",
		"Sessions that should have been expired for 5 minutes or more and are not closed, by class and reason of the "+
			"Ready condition, or "+
			"Queued while the condition is still True.",
		[]string{labelClass, labelReason}, nil)
	overdueSecondsDescription = prometheus.NewDesc("payops_expiry_overdue_seconds",
		"Time for which the most overdue session should have been expired, by the same class and reason.",
		[]string{labelClass, labelReason}, nil)
	blockedDescription = prometheus.NewDesc("payops_deletions_blocked",
		"Sessions and sweeps whose deletion waits, by the reason of the Ready condition, or Queued before the conditions show it.",
		[]string{labelReason}, nil)
	blockedSecondsDescription = prometheus.NewDesc("payops_deletions_blocked_seconds",
		"Time for which the longest waiting deletion has waited, by the same reasons.", []string{labelReason}, nil)
	sweepOpenDescription = prometheus.NewDesc("payops_sweep_open_sessions",
		"Open sessions that sweeps have found as their namespaces' own, by class.", []string{labelClass}, nil)
	sweepForeignDescription = prometheus.NewDesc("payops_sweep_foreign_sessions",
		"Open sessions of others that sweeps have found, by class. Each sweep counts those of its account.",
		[]string{labelClass}, nil)
	accountsDescription = prometheus.NewDesc("payops_accounts",
		"Provider objects, by class and state of their account: ready, limited (calls wait for the rate limit), paused "+
			"(the provider asked for "+
			"a pause), outage (the provider does not answer), rejected (the credentials are rejected), not_ready (something "+
			"is missing).",
		[]string{labelClass, labelState}, nil)
	callsDescription = prometheus.NewDesc("payops_account_calls",
		"Calls that wait in the queues of the accounts, and calls in flight, by class.", []string{labelClass, "phase"}, nil)
)

//nolint:gochecknoinits // Metrics are registered once per process, as controller-runtime's own are.
func init() {
	metrics.Registry.MustRegister(upstreamCalls, upstreamSeconds, closingSeconds, deletionsHeld, releasedPayable,
		handedOver, sweptSessions)
}

// reportCall returns the callback that reports a session's calls. Each call counts in the metrics. Calls that may
// change something are lines of the audit log too, with their cause.
func reportCall(
	audit logr.Logger, of *v1alpha1.PaymentSession, operation v1alpha1.Operation, class, cause string,
) func(call.Result, time.Duration) {
	count := countCall(class, operation)
	return func(result call.Result, took time.Duration) {
		count(result, took)
		if operation == v1alpha1.OperationExpire {
			audit.Info("asked the provider to expire a session", append(auditedSession(of),
				"cause", cause, "class", class, "outcome", result.Outcome, "state", result.State,
				"requestID", result.RequestID, "seconds", took.Seconds())...)
		}
	}
}

// countCall returns the callback that counts calls in the metrics.
func countCall(class string, operation v1alpha1.Operation) func(call.Result, time.Duration) {
	return func(result call.Result, took time.Duration) {
		upstreamCalls.WithLabelValues(class, string(operation), string(result.Outcome)).Inc()
		upstreamSeconds.WithLabelValues(class, string(operation)).Observe(took.Seconds())
	}
}

// auditedSession returns what every line of the audit log contains about its session.
func auditedSession(of *v1alpha1.PaymentSession) []any {
	return []any{
		"namespace", of.Namespace, "name", of.Name, "uid", of.UID,
		"provider", providerOf(of).String(), "sessionID", of.Spec.SessionID,
	}
}
