// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// listed are the providers that can list sessions.
var listed = []string{"circle", "omise", "txn"}

// quickly gives a provider a class whose list lags for a moment only, so that a teardown does not take half a minute.
func (w *world) quickly(t *testing.T, provider string) gen.ProviderOption {
	t.Helper()
	class := gen.Class(provider)
	class.Name = provider + "-" + w.namespace
	class.Spec.List.Lag = &metav1.Duration{Duration: 100 * time.Millisecond}
	w.create(t, class)
	return func(spec *v1alpha1.PaymentProviderSpec) { spec.ClassName = class.Name }
}

// open adds sessions of an owner to the provider's books, as an application does, and returns their ids.
func (w *world) open(provider, owner string, count int) []string {
	ids := make([]string, 0, count)
	first := len(w.upstreams.Objects()) + 1
	for i := range count {
		id := gen.ID(provider, first+i)
		w.upstreams.Add(simulator.Object{Provider: provider, ID: id, State: simulator.Open, Owner: owner})
		ids = append(ids, id)
	}
	return ids
}

// assertStates compares the states of sessions in the provider's books.
func (w *world) assertStates(t *testing.T, provider string, want simulator.State, ids ...string) {
	t.Helper()
	for _, id := range ids {
		if got := w.upstreams.State(provider, id); got != want {
			t.Errorf("%s: session %s is %s, want %s", provider, id, got, want)
		}
	}
}

// tearDown deletes the namespace and then, in place of the namespace controller, the sweep.
func (w *world) tearDown(t *testing.T, sweep *v1alpha1.PaymentSweep) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	if err := w.Delete(t.Context(), namespace); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(t.Context(), sweep); err != nil {
		t.Fatal(err)
	}
}

// TestSweepReports finds what a namespace has open, and changes nothing.
func TestSweepReports(t *testing.T) {
	w := newWorld(t, inCluster)
	for _, provider := range listed {
		t.Run(provider, func(t *testing.T) {
			w.provide(t, provider, gen.Owned(provider))
			own := w.open(provider, w.own(), 2)
			w.open(provider, "us/"+w.namespace, 3)
			w.open(provider, "", 1)
			sweep := gen.Sweep(w.namespace, provider, provider, gen.Reporting)
			w.create(t, sweep)
			said := await.Reason(t, w, sweep, v1alpha1.ReasonPlanned)
			plan := said.Status.Plan
			if plan == nil || plan.Open != 2 || plan.Foreign != 4 || len(plan.Sessions) != 2 {
				t.Errorf("the plan is %+v, want 2 open and 4 foreign sessions", plan)
			}
			if len(said.Finalizers) > 0 {
				t.Errorf("a sweep that only reports has the finalizers %q", said.Finalizers)
			}
			w.assertStates(t, provider, simulator.Open, own...)
		})
	}
}

// TestSweepTeardown deletes the namespace: what it owns is expired first, and everything else stays as it is.
func TestSweepTeardown(t *testing.T) {
	for _, provider := range listed {
		t.Run(provider, func(t *testing.T) {
			w := newWorld(t, inCluster)
			w.provide(t, provider, gen.Swept(provider), w.quickly(t, provider))
			own := w.open(provider, w.own(), 5)
			foreign := slices.Concat(w.open(provider, "us/"+w.namespace, 3), w.open(provider, "", 2))
			sweep := gen.Sweep(w.namespace, provider, provider)
			w.create(t, sweep)
			await.Until(t, w, sweep, "it has the finalizer", func(s *v1alpha1.PaymentSweep) bool {
				return slices.Contains(s.Finalizers, v1alpha1.SweepFinalizer)
			})
			late := w.open(provider, w.own(), 2)
			w.tearDown(t, sweep)
			await.Gone(t, w, sweep)
			w.assertStates(t, provider, simulator.Expired, slices.Concat(own, late)...)
			w.assertStates(t, provider, simulator.Open, foreign...)
			for _, id := range foreign {
				if calls := w.upstreams.CallsOf(provider, id); len(calls) > 0 {
					t.Errorf("calls %q about a foreign session", calls)
				}
			}
		})
	}
}

// TestSweepDeletedAlone deletes the sweep in a namespace that lives on: nothing is expired.
func TestSweepDeletedAlone(t *testing.T) {
	w := newWorld(t, inCluster)
	w.provide(t, "omise", gen.Swept("omise"))
	own := w.open("omise", w.own(), 2)
	sweep := gen.Sweep(w.namespace, "omise", "omise")
	w.create(t, sweep)
	await.Reason(t, w, sweep, v1alpha1.ReasonPlanned)
	if err := w.Delete(t.Context(), sweep); err != nil {
		t.Fatal(err)
	}
	await.Gone(t, w, sweep)
	w.assertStates(t, "omise", simulator.Open, own...)
}

// TestSweepExpiresNow expires in every pass what the namespace owns and has no object.
func TestSweepExpiresNow(t *testing.T) {
	w := newWorld(t, inCluster)
	w.provide(t, "omise", gen.Swept("omise"))
	own := w.open("omise", w.own(), 3)
	foreign := w.open("omise", "eu/another", 2)
	registered := w.markedSession(t, "omise", w.own(), gen.Active)
	kept := w.markedSession(t, "omise", w.own(), gen.Active, gen.Retained)
	w.reason(t, registered, v1alpha1.ReasonObserved)
	w.reason(t, kept, v1alpha1.ReasonObserved)
	if err := w.Delete(t.Context(), kept); err != nil {
		t.Fatal(err)
	}
	await.Gone(t, w, kept)
	sweep := gen.Sweep(w.namespace, "omise", "omise", gen.Reporting)
	sweep.Spec.DesiredState = v1alpha1.DesiredStateExpired
	again := w.markedSession(t, "omise", w.own(), gen.Active, gen.Retained)
	w.create(t, sweep)
	said := await.Until(t, w, sweep, "three sessions are expired", func(s *v1alpha1.PaymentSweep) bool {
		return s.Status.Expired >= 3
	})
	w.assertStates(t, "omise", simulator.Expired, own...)
	w.assertStates(t, "omise", simulator.Open, append(foreign, registered.Spec.SessionID, again.Spec.SessionID)...)
	if !slices.Contains(said.Status.Retained, again.Spec.SessionID) {
		t.Errorf("status.retained is %q, want %s in it", said.Status.Retained, again.Spec.SessionID)
	}
}

// TestSweepsThatCannotBe checks what a sweep says that can expire nothing, and that it has no finalizer.
func TestSweepsThatCannotBe(t *testing.T) {
	w := newWorld(t, inCluster)
	w.provide(t, "omise", gen.Owned("omise"))
	w.provide(t, "txn")
	w.provide(t, "helio", gen.Swept("helio"))
	w.provide(t, "circle", gen.Swept("circle"))
	for _, tc := range []struct {
		reason, provider string
		where            v1alpha1.Expression
		want             string
	}{
		{"sweeps are not allowed", "omise", "", v1alpha1.ReasonSweepNotAllowed},
		{"there is no rule", "txn", "", v1alpha1.ReasonOwnershipMissing},
		{"there is no list", "helio", "", v1alpha1.ReasonListUnsupported},
		{"where does not compile", "circle", "session.", v1alpha1.ReasonInvalidWhere},
		{"there is no provider", "stripe", "", v1alpha1.ReasonProviderNotFound},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			sweep := gen.Sweep(w.namespace, tc.provider, tc.provider)
			sweep.Spec.Where = tc.where
			w.create(t, sweep)
			said := await.Reason(t, w, sweep, tc.want)
			if len(said.Finalizers) > 0 {
				t.Errorf("it has the finalizers %q", said.Finalizers)
			}
		})
	}
}

// TestSweepHolds tears a namespace down whose sessions cannot all be expired at once: it waits, says for what, and goes
// on when that is over.
func TestSweepHolds(t *testing.T) {
	for _, tc := range []struct {
		because, provider, reason string
		disturb, undo             func(t *testing.T, w *world, sweep *v1alpha1.PaymentSweep, ids []string)
		want                      simulator.State
	}{
		{
			"a payment is in flight", "circle", v1alpha1.ReasonPaymentInProgress,
			func(_ *testing.T, w *world, _ *v1alpha1.PaymentSweep, ids []string) {
				w.upstreams.SetState("circle", ids[0], simulator.Pending)
			},
			func(_ *testing.T, w *world, _ *v1alpha1.PaymentSweep, ids []string) {
				w.upstreams.SetState("circle", ids[0], simulator.Paid)
			}, simulator.Paid,
		},
		{
			"there are more than the limit", "omise", v1alpha1.ReasonTooManySessions,
			func(t *testing.T, w *world, sweep *v1alpha1.PaymentSweep, _ []string) {
				t.Helper()
				w.change(t, sweep, `{"spec":{"limits":{"sessions":1}}}`)
			},
			func(t *testing.T, w *world, sweep *v1alpha1.PaymentSweep, _ []string) {
				t.Helper()
				w.change(t, sweep, `{"spec":{"limits":{"sessions":100}}}`)
			}, simulator.Expired,
		},
		{
			"it is suspended", "omise", v1alpha1.ReasonSuspended,
			func(t *testing.T, w *world, sweep *v1alpha1.PaymentSweep, _ []string) {
				t.Helper()
				w.change(t, sweep, `{"spec":{"suspend":true}}`)
			},
			func(t *testing.T, w *world, sweep *v1alpha1.PaymentSweep, _ []string) {
				t.Helper()
				w.change(t, sweep, `{"spec":{"suspend":false}}`)
			}, simulator.Expired,
		},
		{
			"the provider is away", "omise", v1alpha1.ReasonProviderUnavailable,
			func(_ *testing.T, w *world, _ *v1alpha1.PaymentSweep, _ []string) {
				w.upstreams.SetOutage("omise", true)
			},
			func(_ *testing.T, w *world, _ *v1alpha1.PaymentSweep, _ []string) {
				w.upstreams.SetOutage("omise", false)
			},
			simulator.Expired,
		},
		{
			"Retain ends the wait", "omise", v1alpha1.ReasonSuspended,
			func(t *testing.T, w *world, sweep *v1alpha1.PaymentSweep, _ []string) {
				t.Helper()
				w.change(t, sweep, `{"spec":{"suspend":true}}`)
			},
			func(t *testing.T, w *world, sweep *v1alpha1.PaymentSweep, _ []string) {
				t.Helper()
				w.change(t, sweep, `{"spec":{"deletionPolicy":"Retain"}}`)
			}, simulator.Open,
		},
	} {
		t.Run(tc.because, func(t *testing.T) {
			w := newWorld(t, inCluster)
			w.provide(t, tc.provider, gen.Swept(tc.provider), w.quickly(t, tc.provider))
			ids := w.open(tc.provider, w.own(), 2)
			sweep := gen.Sweep(w.namespace, tc.provider, tc.provider)
			w.create(t, sweep)
			await.Reason(t, w, sweep, v1alpha1.ReasonPlanned)
			tc.disturb(t, w, sweep, ids)
			w.tearDown(t, sweep)
			await.Until(t, w, sweep, "its deletion waits: "+tc.reason, func(s *v1alpha1.PaymentSweep) bool {
				ready := apimeta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
				return !s.DeletionTimestamp.IsZero() && ready.Reason == tc.reason && strings.Contains(ready.Message, "Retain")
			})
			tc.undo(t, w, sweep, ids)
			await.Gone(t, w, sweep)
			w.assertStates(t, tc.provider, tc.want, ids[0])
		})
	}
}

// TestSweepAfterRestart stops the manager while sessions are being expired: the next one finishes.
func TestSweepAfterRestart(t *testing.T) {
	w := newWorld(t, inCluster)
	w.provide(t, "omise", gen.Swept("omise"), w.quickly(t, "omise"), gen.RateLimit(10, time.Second))
	own := w.open("omise", w.own(), 30)
	sweep := gen.Sweep(w.namespace, "omise", "omise")
	w.create(t, sweep)
	await.Reason(t, w, sweep, v1alpha1.ReasonPlanned)
	w.tearDown(t, sweep)
	await.True(t, "the first session is expired", func() bool {
		return slices.ContainsFunc(own, func(id string) bool { return w.upstreams.State("omise", id) == simulator.Expired })
	})
	w.stop()
	w.start(t)
	await.Gone(t, w, sweep)
	w.assertStates(t, "omise", simulator.Expired, own...)
}

// TestSweepKeepsWhatIsNeeded deletes the provider and the Secret before the sweep: both stay until it is done.
func TestSweepKeepsWhatIsNeeded(t *testing.T) {
	w := newWorld(t, inCluster)
	provider := w.provide(t, "omise", gen.Swept("omise"), w.quickly(t, "omise"))
	own := w.open("omise", w.own(), 2)
	sweep := gen.Sweep(w.namespace, "omise", "omise")
	w.create(t, sweep)
	await.Reason(t, w, sweep, v1alpha1.ReasonPlanned)
	for _, object := range []client.Object{provider, gen.Secret(w.namespace, "omise")} {
		if err := w.Delete(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	w.tearDown(t, sweep)
	await.Gone(t, w, sweep)
	await.Gone(t, w, provider)
	w.assertStates(t, "omise", simulator.Expired, own...)
}

// TestSweepOfAnotherCluster restarts the manager with another name of the cluster, and then without one: what the
// application has marked with the first name belongs to nobody here, and is left alone.
func TestSweepOfAnotherCluster(t *testing.T) {
	w := newWorld(t, inCluster)
	w.provide(t, "omise", gen.Swept("omise"), w.quickly(t, "omise"))
	marked := w.open("omise", w.own(), 2)
	sweep := gen.Sweep(w.namespace, "omise", "omise", expiringNow)
	sweep.Spec.Suspend = true
	w.create(t, sweep)
	await.Reason(t, w, sweep, v1alpha1.ReasonSuspended)
	w.stop()
	w.options.ClusterName = "us"
	w.start(t)
	w.change(t, sweep, `{"spec":{"suspend":false}}`)
	said := await.Reason(t, w, sweep, v1alpha1.ReasonPlanned)
	if plan := said.Status.Plan; plan.Open != 0 || plan.Foreign != 2 {
		t.Errorf("the plan has %d open and %d foreign sessions, want 0 and 2", plan.Open, plan.Foreign)
	}
	w.stop()
	w.options.ClusterName = ""
	w.start(t)
	w.touch(t, sweep)
	said = await.Reason(t, w, sweep, v1alpha1.ReasonOwnershipIncomplete)
	ready := apimeta.FindStatusCondition(said.Status.Conditions, v1alpha1.ConditionReady)
	if !strings.Contains(ready.Message, "--cluster-name") {
		t.Errorf("the message is %q, want it to name --cluster-name", ready.Message)
	}
	w.assertStates(t, "omise", simulator.Open, marked...)
}

// TestSweepInDryRun expires nothing and says what it would do.
func TestSweepInDryRun(t *testing.T) {
	w := newWorld(t, inCluster, dryRun)
	w.provide(t, "omise", gen.Swept("omise"), w.quickly(t, "omise"))
	own := w.open("omise", w.own(), 2)
	sweep := gen.Sweep(w.namespace, "omise", "omise")
	w.create(t, sweep)
	await.Reason(t, w, sweep, v1alpha1.ReasonPlanned)
	w.tearDown(t, sweep)
	await.Reason(t, w, sweep, v1alpha1.ReasonWouldExpire)
	w.assertStates(t, "omise", simulator.Open, own...)
	w.removeFinalizers(t, sweep)
}

// TestSweepsTogether has two sweeps of one account in a namespace, and finds 50 sessions among 10,000 of others.
func TestSweepsTogether(t *testing.T) {
	w := newWorld(t, inCluster)
	w.provide(t, "omise", gen.Swept("omise"), w.quickly(t, "omise"), gen.RateLimit(10000, time.Second))
	foreign := w.open("omise", "us/"+w.namespace, 5000)
	own := w.open("omise", w.own(), 50)
	foreign = append(foreign, w.open("omise", "eu/another", 5000)...)
	sweep, other := gen.Sweep(w.namespace, "omise", "omise"), gen.Sweep(w.namespace, "other", "omise")
	sweep.Spec.Limits.Pages, other.Spec.Limits.Pages = 200, 200
	w.create(t, sweep, other)
	said := await.Reason(t, w, sweep, v1alpha1.ReasonPlanned)
	if plan := said.Status.Plan; plan.Open != 50 || plan.Foreign != 10000 || len(plan.Sessions) != 50 {
		t.Errorf("the plan has %d open, %d foreign and %d sessions", plan.Open, plan.Foreign, len(plan.Sessions))
	}
	w.tearDown(t, sweep)
	if err := w.Delete(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	await.Gone(t, w, sweep)
	await.Gone(t, w, other)
	w.assertStates(t, "omise", simulator.Expired, own...)
	w.assertStates(t, "omise", simulator.Open, foreign...)
}
