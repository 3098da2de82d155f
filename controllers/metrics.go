// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/account"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// Labels of the metrics. There are as many values as there are classes, operations, outcomes, states and reasons: never one for
// each session, namespace or provider object.
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
		Help: "Calls made to providers, by class, operation (expire, observe) and outcome.",
	}, []string{labelClass, labelOperation, labelOutcome})

	upstreamSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "payops_upstream_call_duration_seconds",
		Help:    "How long calls to providers took until the reply was read, by class and operation.",
		Buckets: []float64{0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60},
	}, []string{labelClass, labelOperation})

	closingSeconds = prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "payops_session_closing_seconds",
		Help:    "How long it took from when a session should be expired (desiredState or the object was set, expireAt, the deletion) until the provider showed that it can no longer be paid, by class.",
		Buckets: []float64{0.1, 0.5, 1, 5, 15, 60, 300, 900, 3600, 21600, 86400},
	}, []string{labelClass})

	// deletionsHeld counts how often a deletion began to wait, or to wait for something else.
	deletionsHeld = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "payops_deletions_held_total",
		Help: "How often the deletion of a session began to wait for something, by the reason of its Ready condition.",
	}, []string{labelReason})

	// releasedPayable counts sessions that were released although something may still be payable.
	releasedPayable = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "payops_released_payable_total",
		Help: "How many sessions were released although they, or what came of them, may still be payable, because nothing can be done about it.",
	})

	handedOver = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "payops_deletions_handed_over_total",
		Help: "How many deletions left their session to another object of the same namespace that wants it active.",
	})

	sessionsDescription = prometheus.NewDesc("payops_sessions",
		"Sessions, by class (empty where the provider object is missing), the state that is wanted (expired by desiredState, a past expireAt or a deletion), and their state (unknown until the provider has told it).",
		[]string{labelClass, "desired", labelState}, nil)
	overdueDescription = prometheus.NewDesc("payops_expiry_overdue_sessions",
		"Sessions that should be expired for 5 minutes or more and are not closed, by class and by the reason of their Ready condition, or Queued where that still says what was before.",
		[]string{labelClass, labelReason}, nil)
	overdueSecondsDescription = prometheus.NewDesc("payops_expiry_overdue_seconds",
		"For how long the session that is overdue longest should be expired, by the same class and reason.", []string{labelClass, labelReason}, nil)
	blockedDescription = prometheus.NewDesc("payops_deletions_blocked",
		"Sessions whose deletion waits, by the reason of their Ready condition, or Queued in the moment before the conditions say what it waits for.", []string{labelReason}, nil)
	blockedSecondsDescription = prometheus.NewDesc("payops_deletions_blocked_seconds",
		"For how long the deletion that waits longest has waited, by the same reasons.", []string{labelReason}, nil)
	accountsDescription = prometheus.NewDesc("payops_accounts",
		"Provider objects, by class and what their account is doing: ready, limited (calls wait for the rate limit), paused (the provider asked for it), outage (the breaker is open), rejected (the credentials are), not_ready (something is missing).",
		[]string{labelClass, labelState}, nil)
	callsDescription = prometheus.NewDesc("payops_account_calls",
		"Calls that wait in the accounts' queues and calls in flight, by class.", []string{labelClass, "phase"}, nil)
)

//nolint:gochecknoinits // Metrics are registered once per process, as controller-runtime's own are.
func init() {
	metrics.Registry.MustRegister(upstreamCalls, upstreamSeconds, closingSeconds, deletionsHeld, releasedPayable, handedOver)
}

// auditor tells of a session's calls: each in the metrics, and those that may change something in the audit log too, with who wanted it.
func (r *PaymentSessionReconciler) auditor(scope *sessionScope, operation v1alpha1.Operation, cause string) func(upstream.Result, time.Duration) {
	class, of := scope.entry.class, scope.session
	return func(result upstream.Result, took time.Duration) {
		upstreamCalls.WithLabelValues(class, string(operation), string(result.Outcome)).Inc()
		upstreamSeconds.WithLabelValues(class, string(operation)).Observe(took.Seconds())
		if operation == v1alpha1.OperationExpire {
			r.Audit.Info("asked the provider to expire a session", append(auditedSession(of),
				"cause", cause, "class", class, "outcome", result.Outcome, "state", result.State, "requestID", result.RequestID, "seconds", took.Seconds())...)
		}
	}
}

// auditedSession is what every line of the audit log says of its session.
func auditedSession(of *v1alpha1.PaymentSession) []any {
	return []any{
		"namespace", of.Namespace, "name", of.Name, "uid", of.UID, "provider", providerOf(of).String(), "sessionID", of.Spec.SessionID,
	}
}

// overdue is for how long a session may be wanted expired before it is counted as one that is not.
const overdue = 5 * time.Minute

// Census counts sessions and accounts when the metrics are read. Only the leader does: another one would count the same again.
type Census struct {
	registry  prometheus.Registerer
	sessions  client.Reader
	directory *Directory
	// since is since when a session should be expired, as far as that is known.
	since func(*v1alpha1.PaymentSession) (time.Time, bool)
	now   func() time.Time
}

// Start adds the census to the metrics until ctx is done.
func (c *Census) Start(ctx context.Context) error {
	if err := c.registry.Register(c); err != nil {
		return fmt.Errorf("cannot add the census to the metrics: %w", err)
	}
	defer c.registry.Unregister(c)
	<-ctx.Done()
	return nil
}

// NeedLeaderElection is true.
func (c *Census) NeedLeaderElection() bool { return true }

// Describe tells what is counted.
func (c *Census) Describe(out chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{
		sessionsDescription, overdueDescription, overdueSecondsDescription, blockedDescription, blockedSecondsDescription, accountsDescription, callsDescription,
	} {
		out <- description
	}
}

// Collect counts.
func (c *Census) Collect(out chan<- prometheus.Metric) {
	classes := c.countAccounts(out)
	list := &v1alpha1.PaymentSessionList{}
	if err := c.sessions.List(context.Background(), list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.Log.Error(err, "cannot count the sessions")
		return
	}
	counted := tally{sessions: map[[3]string]int{}, overdue: ages[[2]string]{}, blocked: ages[[1]string]{}}
	for i := range list.Items {
		of := &list.Items[i]
		c.count(of, classes[providerOf(of)], counted)
	}
	for labels, count := range counted.sessions {
		out <- prometheus.MustNewConstMetric(sessionsDescription, prometheus.GaugeValue, float64(count), labels[:]...)
	}
	for labels, group := range counted.overdue {
		out <- prometheus.MustNewConstMetric(overdueDescription, prometheus.GaugeValue, float64(group.count), labels[:]...)
		out <- prometheus.MustNewConstMetric(overdueSecondsDescription, prometheus.GaugeValue, group.oldest.Seconds(), labels[:]...)
	}
	for labels, group := range counted.blocked {
		out <- prometheus.MustNewConstMetric(blockedDescription, prometheus.GaugeValue, float64(group.count), labels[:]...)
		out <- prometheus.MustNewConstMetric(blockedSecondsDescription, prometheus.GaugeValue, group.oldest.Seconds(), labels[:]...)
	}
}

// tally is what a census has counted, by labels.
type tally struct {
	sessions map[[3]string]int
	overdue  ages[[2]string]
	blocked  ages[[1]string]
}

// ages are how many there are of a kind, and how old the oldest is.
type ages[K comparable] map[K]struct {
	count  int
	oldest time.Duration
}

func (a ages[K]) add(kind K, age time.Duration) {
	group := a[kind]
	group.count, group.oldest = group.count+1, max(group.oldest, age)
	a[kind] = group
}

func (c *Census) count(of *v1alpha1.PaymentSession, class string, counted tally) {
	state := string(of.Status.State)
	if state == "" {
		state = "unknown"
	}
	desired := session.Desired(of, c.now())
	counted.sessions[[3]string{class, string(desired), state}]++
	if since, known := c.since(of); known && desired == v1alpha1.DesiredStateExpired && !of.Status.State.Closed() {
		if age := c.now().Sub(since); age >= overdue {
			counted.overdue.add([2]string{class, holding(of)}, age)
		}
	}
	// One that only others hold does not wait for us.
	if !of.DeletionTimestamp.IsZero() && session.HasFinalizer(of) {
		counted.blocked.add([1]string{holding(of)}, c.now().Sub(of.DeletionTimestamp.Time))
	}
}

// holding is the reason for which a session is not closed. In its first seconds the conditions say what they said before.
func holding(of *v1alpha1.PaymentSession) string {
	ready := apimeta.FindStatusCondition(of.Status.Conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status == metav1.ConditionTrue {
		return "Queued"
	}
	return ready.Reason
}

// countAccounts counts the accounts and their calls, and gives the class of each provider.
func (c *Census) countAccounts(out chan<- prometheus.Metric) map[providerKey]string {
	classes, accounts, calls := map[providerKey]string{}, map[[2]string]int{}, map[[2]string]int{}
	for key, known := range c.directory.all() {
		classes[key] = known.class
		if known.account == nil {
			accounts[[2]string{known.class, "not_ready"}]++
			continue
		}
		activity := known.account.Activity()
		accounts[[2]string{known.class, stateOf(activity)}]++
		calls[[2]string{known.class, "queued"}] += activity.Queued
		calls[[2]string{known.class, "in_flight"}] += activity.Flying
	}
	for labels, count := range accounts {
		out <- prometheus.MustNewConstMetric(accountsDescription, prometheus.GaugeValue, float64(count), labels[:]...)
	}
	for labels, count := range calls {
		out <- prometheus.MustNewConstMetric(callsDescription, prometheus.GaugeValue, float64(count), labels[:]...)
	}
	return classes
}

// stateOf is the one word for what an account is doing: the worst.
func stateOf(activity account.Activity) string {
	switch {
	case activity.Rejected:
		return "rejected"
	case activity.Outage:
		return "outage"
	case activity.Paused:
		return "paused"
	case activity.Limited:
		return "limited"
	default:
		return "ready"
	}
}
