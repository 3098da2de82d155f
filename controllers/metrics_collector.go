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

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/account"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/sweep"
)

// overdue is the age from which on an expiry counts as overdue.
const overdue = 5 * time.Minute

// Collector counts sessions and accounts when the metrics are scraped. Only the leader's does: others would count the
// same objects again.
type Collector struct {
	registry  prometheus.Registerer
	sessions  client.Reader
	directory *Directory
	// since returns when a session should have been expired, as far as that is known.
	since func(*v1alpha1.PaymentSession) (time.Time, bool)
	now   func() time.Time
}

// Start registers the collector until ctx is done.
func (c *Collector) Start(ctx context.Context) error {
	if err := c.registry.Register(c); err != nil {
		return fmt.Errorf("cannot register the collector of sessions and accounts: %w", err)
	}
	defer c.registry.Unregister(c)
	<-ctx.Done()
	return nil
}

// NeedLeaderElection returns true.
func (c *Collector) NeedLeaderElection() bool { return true }

// Describe implements prometheus.Collector.
func (c *Collector) Describe(out chan<- *prometheus.Desc) {
	for _, description := range []*prometheus.Desc{
		sessionsDescription, overdueDescription, overdueSecondsDescription, blockedDescription, blockedSecondsDescription,
		sweepOpenDescription, sweepForeignDescription, accountsDescription, callsDescription,
	} {
		out <- description
	}
}

// Collect implements prometheus.Collector.
func (c *Collector) Collect(out chan<- prometheus.Metric) {
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
	c.countSweeps(classes, counted, out)
	gauge := func(description *prometheus.Desc, value float64, labels []string) {
		out <- prometheus.MustNewConstMetric(description, prometheus.GaugeValue, value, labels...)
	}
	for labels, count := range counted.sessions {
		gauge(sessionsDescription, float64(count), labels[:])
	}
	for labels, group := range counted.overdue {
		gauge(overdueDescription, float64(group.count), labels[:])
		gauge(overdueSecondsDescription, group.oldest.Seconds(), labels[:])
	}
	for labels, group := range counted.blocked {
		gauge(blockedDescription, float64(group.count), labels[:])
		gauge(blockedSecondsDescription, group.oldest.Seconds(), labels[:])
	}
}

// tally holds counts by labels.
type tally struct {
	sessions map[[3]string]int
	overdue  ages[[2]string]
	blocked  ages[[1]string]
}

// ages holds, for each kind, the number of objects and the age of the oldest.
type ages[K comparable] map[K]struct {
	count  int
	oldest time.Duration
}

func (a ages[K]) add(kind K, age time.Duration) {
	group := a[kind]
	group.count, group.oldest = group.count+1, max(group.oldest, age)
	a[kind] = group
}

func (c *Collector) count(of *v1alpha1.PaymentSession, class string, counted tally) {
	state := string(of.Status.State)
	if state == "" {
		state = "unknown"
	}
	desired := session.Desired(of, c.now())
	counted.sessions[[3]string{class, string(desired), state}]++
	if since, known := c.since(of); known && desired == v1alpha1.DesiredStateExpired && !of.Status.State.Closed() {
		if age := c.now().Sub(since); age >= overdue {
			counted.overdue.add([2]string{class, holding(of.Status.Conditions)}, age)
		}
	}
	// An object that only others hold does not wait for the operator.
	if !of.DeletionTimestamp.IsZero() && session.HasFinalizer(of) {
		counted.blocked.add([1]string{holding(of.Status.Conditions)}, c.now().Sub(of.DeletionTimestamp.Time))
	}
}

// countSweeps counts what sweeps have found, and the deletions that wait for them.
func (c *Collector) countSweeps(classes map[providerKey]string, counted tally, out chan<- prometheus.Metric) {
	list := &v1alpha1.PaymentSweepList{}
	if err := c.sessions.List(context.Background(), list, client.UnsafeDisableDeepCopy); err != nil {
		ctrl.Log.Error(err, "cannot count the sweeps")
		return
	}
	open, foreign := map[string]int{}, map[string]int{}
	for i := range list.Items {
		of := &list.Items[i]
		if !of.DeletionTimestamp.IsZero() && sweep.HasFinalizer(of) {
			counted.blocked.add([1]string{holding(of.Status.Conditions)}, c.now().Sub(of.DeletionTimestamp.Time))
		}
		if plan := of.Status.Plan; plan != nil {
			class := classes[referenced(of.Spec.ProviderRef, of.Namespace)]
			open[class] += int(plan.Open)
			foreign[class] += int(plan.Foreign)
		}
	}
	for class := range open {
		out <- prometheus.MustNewConstMetric(sweepOpenDescription, prometheus.GaugeValue, float64(open[class]), class)
		out <- prometheus.MustNewConstMetric(sweepForeignDescription, prometheus.GaugeValue, float64(foreign[class]), class)
	}
}

// holding returns the reason why a session is not closed, or a namespace not swept. In the first seconds the conditions
// may still say that it is Ready.
func holding(conditions []metav1.Condition) string {
	ready := apimeta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
	if ready == nil || ready.Status == metav1.ConditionTrue {
		return "Queued"
	}
	return ready.Reason
}

// countAccounts counts the accounts and their calls, and returns the class of each provider.
func (c *Collector) countAccounts(out chan<- prometheus.Metric) map[providerKey]string {
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
		calls[[2]string{known.class, "in_flight"}] += activity.InFlight
	}
	for labels, count := range accounts {
		out <- prometheus.MustNewConstMetric(accountsDescription, prometheus.GaugeValue, float64(count), labels[:]...)
	}
	for labels, count := range calls {
		out <- prometheus.MustNewConstMetric(callsDescription, prometheus.GaugeValue, float64(count), labels[:]...)
	}
	return classes
}

// stateOf returns the most serious state of an account.
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
