// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"slices"
	"testing"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// expiringNow makes a sweep that only reports expire in every pass what it finds.
func expiringNow(sweep *v1alpha1.PaymentSweep) {
	gen.Reporting(sweep)
	sweep.Spec.DesiredState = v1alpha1.DesiredStateExpired
}

// pass asks for a pass and waits for it.
func (w *world) pass(t *testing.T, sweep *v1alpha1.PaymentSweep, value string) {
	t.Helper()
	w.change(t, sweep, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.ReconcileAtAnnotation, value))
	await.Until(t, w, sweep, "the pass has ended", func(s *v1alpha1.PaymentSweep) bool {
		return s.Status.LastHandledReconcileAt == value
	})
}

// refusedSweep makes a sweep that tries to expire a session, which the provider refuses.
func (w *world) refusedSweep(t *testing.T) (sweep *v1alpha1.PaymentSweep, id string) {
	t.Helper()
	w.provide(t, "omise", gen.Swept("omise"))
	id = gen.ID("omise", 1)
	w.upstreams.Add(simulator.Object{Provider: "omise", ID: id, State: simulator.Pending, Owner: w.own()})
	sweep = gen.Sweep(w.namespace, "omise", "omise", expiringNow)
	w.create(t, sweep)
	return await.Reason(t, w, sweep, v1alpha1.ReasonExpireRefused), id
}

// TestSweepLeavesWhatBecomesRetained registers a session with Retain that a sweep tries to expire, and then deletes the
// object: the session is left alone from then on.
func TestSweepLeavesWhatBecomesRetained(t *testing.T) {
	w := newWorld(t, inCluster)
	sweep, id := w.refusedSweep(t)
	object := gen.Session(w.namespace, "keep", "omise", id, gen.Active, gen.Retained)
	w.create(t, object)
	await.Until(t, w, sweep, "it is retained", func(s *v1alpha1.PaymentSweep) bool {
		return slices.Contains(s.Status.Retained, id)
	})
	if err := w.Delete(t.Context(), object); err != nil {
		t.Fatal(err)
	}
	await.Gone(t, w, object)
	w.upstreams.SetState("omise", id, simulator.Open)
	other := w.open("omise", w.own(), 1)
	w.pass(t, sweep, "after the object is gone")
	await.True(t, "the other session is expired", func() bool {
		return w.upstreams.State("omise", other[0]) == simulator.Expired
	})
	w.assertStates(t, "omise", simulator.Open, id)
}

// TestSweepOfWhatChangesHands gives a session that holds a teardown to another owner: the teardown ends.
func TestSweepOfWhatChangesHands(t *testing.T) {
	w := newWorld(t, inCluster)
	w.provide(t, "omise", gen.Swept("omise"), w.quickly(t, "omise"))
	id := gen.ID("omise", 1)
	w.upstreams.Add(simulator.Object{Provider: "omise", ID: id, State: simulator.Pending, Owner: w.own()})
	sweep := gen.Sweep(w.namespace, "omise", "omise")
	w.create(t, sweep)
	await.Until(t, w, sweep, "it has the finalizer", func(s *v1alpha1.PaymentSweep) bool {
		return slices.Contains(s.Finalizers, v1alpha1.SweepFinalizer)
	})
	w.tearDown(t, sweep)
	await.Reason(t, w, sweep, v1alpha1.ReasonExpireRefused)
	w.upstreams.SetOwner("omise", id, "eu/another")
	await.Gone(t, w, sweep)
	w.assertStates(t, "omise", simulator.Pending, id)
}

// TestSweepUnderARuleThatWarns reads each session before it is expired, as under a rule that is enforced: for a session
// without an object, its owner is all that says that somebody wants it expired.
func TestSweepUnderARuleThatWarns(t *testing.T) {
	w := newWorld(t, inCluster)
	w.provide(t, "omise", gen.Swept("omise"), func(spec *v1alpha1.PaymentProviderSpec) {
		spec.Ownership.Action = v1alpha1.OwnershipWarn
	})
	id := w.open("omise", w.own(), 1)[0]
	sweep := gen.Sweep(w.namespace, "omise", "omise", expiringNow)
	w.create(t, sweep)
	await.Until(t, w, sweep, "it is expired", func(s *v1alpha1.PaymentSweep) bool { return s.Status.Expired >= 1 })
	if calls := w.upstreams.CallsOf("omise", id); !slices.Equal(calls, []string{observe, expire}) {
		t.Errorf("calls %q, want a read before the expiry", calls)
	}
}

// TestSweepOfAnExclusiveAccount expires everything of an account that is the namespace's alone.
func TestSweepOfAnExclusiveAccount(t *testing.T) {
	w := newWorld(t)
	w.provide(t, "txn", func(spec *v1alpha1.PaymentProviderSpec) {
		spec.Ownership.Exclusive, spec.SweepPolicy = true, v1alpha1.SweepAllow
	})
	ids := append(w.open("txn", "us/somebody", 2), w.open("txn", "", 1)...)
	sweep := gen.Sweep(w.namespace, "txn", "txn", expiringNow)
	w.create(t, sweep)
	await.Until(t, w, sweep, "all are expired", func(s *v1alpha1.PaymentSweep) bool { return s.Status.Expired >= 3 })
	w.assertStates(t, "txn", simulator.Expired, ids...)
}

// TestSweepIsStopped suspends a sweep, and takes away its permission, before it finds anything: nothing is expired.
func TestSweepIsStopped(t *testing.T) {
	w := newWorld(t, inCluster)
	provider := w.provide(t, "omise", gen.Swept("omise"))
	sweep := gen.Sweep(w.namespace, "omise", "omise", expiringNow)
	w.create(t, sweep)
	await.Reason(t, w, sweep, v1alpha1.ReasonPlanned)
	w.change(t, sweep, `{"spec":{"suspend":true}}`)
	await.Reason(t, w, sweep, v1alpha1.ReasonSuspended)
	own := w.open("omise", w.own(), 2)
	w.change(t, provider, `{"spec":{"sweepPolicy":"Deny"}}`)
	w.change(t, sweep, `{"spec":{"suspend":false}}`)
	await.Reason(t, w, sweep, v1alpha1.ReasonSweepNotAllowed)
	w.assertStates(t, "omise", simulator.Open, own...)
	w.change(t, sweep, `{"spec":{"desiredState":"active"}}`)
	said := await.Reason(t, w, sweep, v1alpha1.ReasonPlanned)
	if said.Status.Plan.Open != 2 {
		t.Errorf("the plan is %+v", said.Status.Plan)
	}
	w.assertStates(t, "omise", simulator.Open, own...)
}

// TestSweepLeavesObjectsOfOtherProviders registers a session through another provider object of the same account: the
// sweep leaves it alone.
func TestSweepLeavesObjectsOfOtherProviders(t *testing.T) {
	w := newWorld(t, inCluster)
	w.provide(t, "omise", gen.Swept("omise"))
	other := gen.Provider(w.namespace, "omise", gen.Endpoint(w.url+"/omise"), gen.Owned("omise"))
	other.Name = "omise-2"
	w.create(t, other)
	ids := w.open("omise", w.own(), 3)
	kept := gen.Session(w.namespace, "kept", other.Name, ids[0], gen.Active, gen.Retained)
	active := gen.Session(w.namespace, "active", other.Name, ids[1], gen.Active)
	w.create(t, kept, active)
	w.reason(t, kept, v1alpha1.ReasonObserved)
	sweep := gen.Sweep(w.namespace, "omise", "omise", expiringNow)
	w.create(t, sweep)
	await.Until(t, w, sweep, "the third session is expired", func(s *v1alpha1.PaymentSweep) bool {
		return s.Status.Expired >= 1
	})
	w.pass(t, sweep, "once more")
	w.assertStates(t, "omise", simulator.Open, ids[:2]...)
}

// TestSweepLeavesWhatWhereExcludes edits where while a session cannot be expired: the sweep does not try again.
func TestSweepLeavesWhatWhereExcludes(t *testing.T) {
	w := newWorld(t, inCluster)
	sweep, id := w.refusedSweep(t)
	w.change(t, sweep, fmt.Sprintf(`{"spec":{"where":"session.id != '%s'"}}`, id))
	w.upstreams.SetState("omise", id, simulator.Open)
	said := await.Reason(t, w, sweep, v1alpha1.ReasonPlanned)
	if said.Status.Plan.Open != 0 {
		t.Errorf("the plan is %+v", said.Status.Plan)
	}
	w.assertStates(t, "omise", simulator.Open, id)
}

// TestSweepWhoseStatusCannotBeWritten forbids the status of a sweep that expires what it finds: as soon as it can be
// written, everything is expired, and the status counts it.
func TestSweepWhoseStatusCannotBeWritten(t *testing.T) {
	w := newWorld(t, inCluster)
	w.provide(t, "omise", gen.Swept("omise"))
	own := w.open("omise", w.own(), 3)
	sweep := gen.Sweep(w.namespace, "omise", "omise", gen.Reporting)
	w.create(t, sweep)
	await.Reason(t, w, sweep, v1alpha1.ReasonPlanned)
	w.wire.forbid("/paymentsweeps/omise/status")
	w.change(t, sweep, `{"spec":{"desiredState":"expired"}}`)
	before := w.wire.refusals()
	await.True(t, "the operator has tried 5 times to write the status", func() bool { return w.wire.refusals() >= before+5 })
	w.wire.forbid("")
	said := await.Until(t, w, sweep, "all are expired", func(s *v1alpha1.PaymentSweep) bool {
		expired := apimeta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionExpired)
		return expired != nil && expired.Status == metav1.ConditionTrue
	})
	w.assertStates(t, "omise", simulator.Expired, own...)
	if said.Status.Expired != 3 {
		t.Errorf("the status counts %d expired sessions, want 3", said.Status.Expired)
	}
}
