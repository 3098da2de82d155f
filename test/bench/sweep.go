// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const (
	// strays is the number of sessions of a namespace that no object names.
	strays = 1000
	// manyNamespaces is the number of namespaces whose sweeps share an account.
	manyNamespaces = 200
	// counted is the provider whose lists are counted. It has no sessions: a pass is one page.
	counted = "txn"
	// listedFor is how long the calls that list an account are counted, with a pass a minute.
	listedFor = 5 * time.Minute
)

// sweeps measures, for each provider that can list sessions, the teardown of a namespace whose sessions no object
// names, beside that of one which has an object for each. It also counts the calls that list an account, for one
// namespace and for many.
func sweeps(lab *lab, runs int) ([]*Figure, error) {
	ctx := context.Background()
	var figures []*Figure
	for _, provider := range []string{"circle", "omise", "txn"} {
		swept := timed("%s: teardown of a namespace with %d sessions that no object names", provider, strays)
		registered := newTeardowns(strays, fmt.Sprintf("%s: teardown of a namespace with %d active sessions", provider, strays))
		for range runs {
			if err := lab.sweepNamespace(ctx, provider, swept); err != nil {
				return nil, err
			}
			if err := lab.tearRegisteredDown(ctx, provider, registered); err != nil {
				return nil, err
			}
		}
		swept.beside(registered.ours)
		figures = append(figures, swept, registered.ours)
	}
	one := &Figure{Name: fmt.Sprintf("calls that list an account in %s, 1 namespace", listedFor)}
	many := &Figure{Name: fmt.Sprintf("calls that list an account in %s, %d namespaces", listedFor, manyNamespaces)}
	if err := lab.addSystem(ctx); err != nil {
		return nil, err
	}
	for range runs {
		if err := lab.countLists(ctx, 1, one); err != nil {
			return nil, err
		}
		if err := lab.countLists(ctx, manyNamespaces, many); err != nil {
			return nil, err
		}
	}
	many.beside(one)
	return append(figures, one, many), nil
}

// tearRegisteredDown deletes a namespace with an object for each of its sessions, at an account with the same rule.
func (l *lab) tearRegisteredDown(ctx context.Context, provider string, figures *teardowns) error {
	namespace, err := l.shop(ctx, provider, gen.Swept(provider))
	if err != nil {
		return err
	}
	if err := l.fillActive(ctx, namespace, provider, strays); err != nil {
		return err
	}
	return l.measureTeardown(ctx, figures, namespace)
}

// addSystem creates the namespace of the operator with a Secret for ClusterPaymentProviders.
func (l *lab) addSystem(ctx context.Context) error {
	const system = "payops-system"
	if err := l.api.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: system}}); err != nil {
		return err
	}
	return l.api.Create(ctx, gen.Secret(system, counted))
}

// sweepNamespace deletes a namespace whose sessions no object names.
func (l *lab) sweepNamespace(ctx context.Context, provider string, figure *Figure) error {
	namespace, err := l.shop(ctx, provider, gen.Swept(provider))
	if err != nil {
		return err
	}
	first := l.last
	l.last += strays
	for number := first; number < l.last; number++ {
		l.open(namespace, provider, number)
	}
	sweep := gen.Sweep(namespace, "shop", provider)
	sweep.Spec.Limits.Sessions = strays
	if err := l.api.Create(ctx, sweep); err != nil {
		return err
	}
	if err := l.awaitPlanned(ctx, sweep); err != nil {
		return err
	}
	begin := time.Now()
	if err := l.tearDown(ctx, namespace); err != nil {
		return err
	}
	figure.add(time.Since(begin).Seconds())
	return l.checkExpired(provider, first, strays)
}

// awaitPlanned waits until a sweep shows the result of a pass.
func (l *lab) awaitPlanned(ctx context.Context, sweep *v1alpha1.PaymentSweep) error {
	isPlanned := func(ctx context.Context) (bool, error) {
		err := l.api.Get(ctx, client.ObjectKeyFromObject(sweep), sweep)
		return sweep.Status.Plan != nil, err
	}
	return wait.PollUntilContextTimeout(ctx, 100*time.Millisecond, patience, true, isPlanned)
}

// countLists counts the calls that list one account while namespaces have a sweep of it each.
func (l *lab) countLists(ctx context.Context, namespaces int, figure *Figure) error {
	shared := gen.ClusterPaymentProvider("", counted, &v1alpha1.NamespaceSelector{}, gen.Endpoint(l.url+"/"+counted),
		gen.Swept(counted))
	shared.GenerateName = "shared-"
	if err := l.api.Create(ctx, shared); err != nil {
		return err
	}
	made := make([]*v1alpha1.PaymentSweep, namespaces)
	err := parallel(namespaces, func(i int) error {
		namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "shop-"}}
		if err := l.api.Create(ctx, namespace); err != nil {
			return err
		}
		made[i] = gen.Sweep(namespace.Name, "shop", counted, gen.Reporting)
		made[i].Spec.ProviderRef = v1alpha1.ProviderReference{Kind: v1alpha1.KindClusterPaymentProvider, Name: shared.Name}
		made[i].Spec.Interval = &metav1.Duration{Duration: time.Minute}
		return l.api.Create(ctx, made[i])
	})
	if err != nil {
		return err
	}
	for _, sweep := range made {
		if err := l.awaitPlanned(ctx, sweep); err != nil {
			return err
		}
	}
	before := l.lists()
	time.Sleep(listedFor)
	figure.add(float64(l.lists() - before))
	return parallel(namespaces, func(i int) error { return l.tearDown(ctx, made[i].Namespace) })
}

// lists counts the calls that have listed sessions so far.
func (l *lab) lists() int {
	count := 0
	for _, call := range l.upstreams.Calls() {
		if call.Operation == simulator.List {
			count++
		}
	}
	return count
}
