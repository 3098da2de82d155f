// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
)

var (
	// deletionsHeld counts how often a deletion began to wait, or to wait for something else.
	deletionsHeld = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "payops_deletions_held_total",
		Help: "How often the deletion of a session began to wait for something, by the reason of its Ready condition.",
	}, []string{"reason"})

	// releasedPayable counts sessions that were let go although they may still be payable.
	releasedPayable = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "payops_released_payable_total",
		Help: "How many sessions were let go although they may still be payable, because nothing can be done about them.",
	})
)

//nolint:gochecknoinits // Metrics are registered once per process, as controller-runtime's own are.
func init() {
	metrics.Registry.MustRegister(deletionsHeld, releasedPayable)
}
