// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"

	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// costly is how many sessions of each provider the cost is counted over.
const costly = 100

// cost counts, for each provider, the upstream calls and the writes to the API server that a session's life takes, the
// creation apart: by the simulator's log and by the API server's own metrics.
func cost(lab *lab, _ int) ([]*Figure, error) {
	ctx := context.Background()
	var figures []*Figure
	for _, provider := range gen.Providers {
		namespace, err := lab.shop(ctx, provider)
		if err != nil {
			return nil, err
		}
		before, err := lab.writes(ctx)
		if err != nil {
			return nil, err
		}
		if err := lab.fill(ctx, namespace, provider, costly); err != nil {
			return nil, err
		}
		if err := lab.awaitFinished(ctx, namespace, costly); err != nil {
			return nil, err
		}
		after, err := lab.writes(ctx)
		if err != nil {
			return nil, err
		}
		calls := 0
		for _, call := range lab.upstreams.Calls() {
			if call.Provider == provider && call.Operation != simulator.Stray {
				calls++
			}
		}
		figures = append(figures,
			&Figure{Name: provider + ": upstream calls a session", Values: []float64{float64(calls) / costly}},
			&Figure{Name: provider + ": writes a session", Values: []float64{(after - before) / costly}},
		)
	}
	return figures, nil
}

// writes is how many requests have changed sessions so far, creations apart.
func (l *lab) writes(ctx context.Context) (float64, error) {
	clients, err := kubernetes.NewForConfig(l.config)
	if err != nil {
		return 0, err
	}
	text, err := clients.RESTClient().Get().AbsPath("/metrics").SetHeader("Accept", "text/plain").DoRaw(ctx)
	if err != nil {
		return 0, err
	}
	parser := expfmt.NewTextParser(model.LegacyValidation)
	families, err := parser.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		return 0, fmt.Errorf("cannot read the API server's metrics: %w", err)
	}
	total := 0.0
	for _, metric := range families["apiserver_request_total"].GetMetric() {
		labels := map[string]string{}
		for _, label := range metric.GetLabel() {
			labels[label.GetName()] = label.GetValue()
		}
		if labels["resource"] == "paymentsessions" && slices.Contains([]string{"PATCH", "PUT", "DELETE"}, labels["verb"]) {
			total += metric.GetCounter().GetValue()
		}
	}
	return total, nil
}
