// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"k8s.io/client-go/kubernetes"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// costly is the number of sessions of each provider that the cost is averaged over.
const costly = 100

// cost counts, for each provider, the upstream calls and the writes to the API server that a session needs after its
// creation, from the simulator's log and the API server's metrics. It does so with the finalizer added at creation,
// as by the admission policy, and without; and with a rule that says who owns a session.
func cost(lab *lab, runs int) ([]*Figure, error) {
	var figures []*Figure
	without := func(session *v1alpha1.PaymentSession) { session.Finalizers = nil }
	for _, provider := range gen.Providers {
		calls := &Figure{Name: provider + ": upstream calls per session"}
		writes := &Figure{Name: provider + ": writes per session"}
		unaided := &Figure{Name: provider + ": writes per session, without the admission policy"}
		owned := &Figure{Name: provider + ": upstream calls per session, with an ownership rule"}
		for range runs {
			if err := lab.costOf(context.Background(), provider, calls, writes, nil); err != nil {
				return nil, err
			}
			if err := lab.costOf(context.Background(), provider, &Figure{}, unaided, nil, without); err != nil {
				return nil, err
			}
			rule := []gen.ProviderOption{gen.Owned(provider)}
			if err := lab.costOf(context.Background(), provider, owned, &Figure{}, rule); err != nil {
				return nil, err
			}
		}
		figures = append(figures, calls, writes, unaided, owned)
	}
	return figures, nil
}

// costOf expires sessions of a provider, and adds their calls and writes to the figures.
func (l *lab) costOf(
	ctx context.Context, provider string, calls, writes *Figure,
	account []gen.ProviderOption, options ...gen.SessionOption,
) error {
	namespace, err := l.shop(ctx, provider, account...)
	if err != nil {
		return err
	}
	before, err := l.writes(ctx)
	if err != nil {
		return err
	}
	called := l.upstreams.CallCount()
	if err := l.fill(ctx, namespace, provider, costly, options...); err != nil {
		return err
	}
	if err := l.awaitFinished(ctx, namespace, costly); err != nil {
		return err
	}
	// The API server counts a request after its reply. The watch may deliver the event before that.
	time.Sleep(time.Second)
	after, err := l.writes(ctx)
	if err != nil {
		return err
	}
	calls.add(float64(l.upstreams.CallCount()-called) / costly)
	writes.add((after - before) / costly)
	return nil
}

// writes returns the number of requests that have changed sessions so far, without creations.
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
