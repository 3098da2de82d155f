// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"strconv"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// sweepActions are what happens to sweeps, and to the payments that they are about.
var sweepActions = map[string]action{
	"open strays": {6, func(w *world, s step) {
		namespace := choose(s, "namespace", namespaces...)
		if w.isTerminating(namespace) {
			return
		}
		for i := range 1 + s.roll("many", 3) {
			owner := choose(s, fmt.Sprint("owner", i), clusterName+"/"+namespace, clusterName+"/"+namespace,
				clusterName+"/"+namespace, "other/"+namespace, "", clusterName+"/elsewhere")
			w.openStray(owner)
		}
	}},
	"create sweep": {5, func(w *world, s step) {
		namespace := choose(s, "namespace", namespaces...)
		made := gen.Sweep(namespace, fmt.Sprint("sweep-", s.roll("name", 2)), sweptProvider)
		made.Spec.ProviderRef.Kind = v1alpha1.KindClusterPaymentProvider
		if s.roll("policy", 4) == 0 {
			gen.Reporting(made)
		}
		made.Spec.DesiredState = choose(s, "state", v1alpha1.DesiredStateActive, v1alpha1.DesiredStateActive,
			v1alpha1.DesiredStateExpired)
		made.Spec.Limits = v1alpha1.SweepLimits{Sessions: choose[int32](s, "limit", 200, 200, 2), Pages: 100}
		if w.server.create(made) == nil {
			w.sayf("a user creates sweep %s: %s, %s, %d sessions", nameOf(made), made.Spec.DeletionPolicy,
				made.Spec.DesiredState, made.Spec.Limits.Sessions)
		}
	}},
	"change sweep": {3, onSweep(func(w *world, of *v1alpha1.PaymentSweep, s step) {
		patch := choose(s, "patch", `{"spec":{"suspend":true}}`, `{"spec":{"suspend":false}}`,
			`{"spec":{"deletionPolicy":"Retain"}}`, `{"spec":{"deletionPolicy":"Expire"}}`,
			`{"spec":{"desiredState":"expired"}}`, `{"spec":{"desiredState":"active"}}`,
			`{"spec":{"limits":{"sessions":2}}}`, `{"spec":{"limits":{"sessions":200}}}`,
			`{"spec":{"where":"session.state == 'active'"}}`, `{"metadata":{"annotations":{"payments.payops.dev/reconcile-at":"`+
				strconv.FormatUint(s.Salt, 10)+`"}}}`)
		w.sayf("a user changes sweep %s: %s", nameOf(of), patch)
		w.change(of, patch)
	})},
	"delete sweep": {2, onSweep(func(w *world, of *v1alpha1.PaymentSweep, _ step) {
		w.sayf("a user deletes sweep %s", nameOf(of))
		w.remove(of)
	})},
	"change swept": {2, func(w *world, s step) {
		patch := choose(s, "patch", `{"spec":{"sweepPolicy":"Deny"}}`, `{"spec":{"sweepPolicy":"Allow"}}`,
			`{"spec":{"ownership":{"owner":"'' + string(body.nothing)"}}}`, `{"spec":{"ownership":{"self":"'no' + namespaceObject.metadata.name"}}}`,
			fmt.Sprintf(`{"spec":{"ownership":{"owner":%q,"self":""}}}`, gen.Marks(w.strays.class)),
			`{"spec":{"rateLimit":{"requests":1,"per":"2s","burst":1}}}`)
		w.sayf("a user changes the provider object of the sweeps: %s", patch)
		w.change(w.sweptAt(), patch)
	}},
	"lag": {2, func(w *world, s step) {
		lag := choose(s, "lag", 0, 5*time.Second, 25*time.Second)
		w.sayf("new sessions are listed %s late", lag)
		w.sites[0].upstreams.SetListLag(lag)
	}},
	"break strays": {3, func(w *world, s step) {
		w.breakStrays(1+s.roll("many", 6), choose(s, "how", "500", "429", "drop", "401", "page", "late"))
	}},
	"tear down":  {4, onSweep((*world).tearDown)},
	"stop sweep": {4, (*world).stopSweep},
	"pay stray": {2, func(w *world, s step) {
		if id := w.pickStray(s); id != "" {
			w.sayf("stray %s is paid", id)
			w.sites[0].upstreams.SetState(w.strays.class, id, simulator.Paid)
		}
	}},
}

// tearDown deletes the namespace of a sweep just after an application has opened its last payments there.
func (w *world) tearDown(of *v1alpha1.PaymentSweep, s step) {
	if w.isTerminating(of.Namespace) {
		return
	}
	lag := choose(s, "lag", 0, 5*time.Second, 25*time.Second)
	w.sayf("new sessions are listed %s late", lag)
	w.sites[0].upstreams.SetListLag(lag)
	for range 1 + s.roll("many", 3) {
		w.openStray(clusterName + "/" + of.Namespace)
	}
	sleep(w.ctx, choose(s, "moment", 0, 20*time.Millisecond, 300*time.Millisecond, 4*time.Second))
	if s.roll("broken", 2) == 0 {
		w.breakStrays(1+s.roll("fails", 8), choose(s, "how", "500", "429", "drop", "page", "late"))
	}
	w.deleteNamespace(of.Namespace)
}

// stopSweep lets a sweep expire payments, and stops it while it does.
func (w *world) stopSweep(s step) {
	namespace := choose(s, "namespace", namespaces...)
	if w.isTerminating(namespace) {
		return
	}
	if s.roll("slow", 2) == 0 {
		w.change(w.sweptAt(), `{"spec":{"rateLimit":{"requests":1,"per":"2s","burst":1}}}`)
	}
	for range 2 + s.roll("many", 3) {
		w.openStray(clusterName + "/" + namespace)
	}
	made := gen.Sweep(namespace, "stopped", sweptProvider, gen.Reporting)
	made.Spec.ProviderRef.Kind, made.Spec.DesiredState = v1alpha1.KindClusterPaymentProvider, v1alpha1.DesiredStateExpired
	w.sayf("a user creates sweep %s, which expires what it finds", nameOf(made))
	_ = w.server.create(made)
	sleep(w.ctx, choose(s, "gap", 100*time.Millisecond, 400*time.Millisecond, 2*time.Second, 5*time.Second))
	if s.roll("stale", 2) == 0 {
		w.stall(s)
	}
	patch := choose(s, "patch", `{"spec":{"suspend":true}}`, `{"spec":{"desiredState":"active"}}`, "")
	if patch == "" {
		w.sayf("a user deletes sweep %s", nameOf(made))
		w.remove(made)
		return
	}
	w.sayf("a user changes sweep %s: %s", nameOf(made), patch)
	w.change(made, patch)
}

// breakStrays lets the next calls of sweeps fail.
func (w *world) breakStrays(count int, how string) {
	w.strays.mu.Lock()
	w.strays.fails, w.strays.how = count, how
	w.strays.mu.Unlock()
	w.sayf("the next %d calls of sweeps end with: %s", count, how)
}

// sweepThemes are sets of actions around sweeps.
var sweepThemes = [][]string{
	{"open strays", "create sweep", "delete namespace", "create namespace"},
	{"create sweep", "tear down", "create namespace"},
	{"create sweep", "tear down", "create namespace", "two leaders", "one leader", "kill soon", "failing API"},
	{"stop sweep"},
	{"stop sweep", "stale caches", "conflicts", "calm", "restart"},
	{"open strays", "create sweep", "delete namespace", "break strays", "lag"},
	{"open strays", "create sweep", "change sweep", "delete namespace", "create namespace"},
	{"open strays", "create sweep", "change sweep", "delete sweep", "create namespace"},
	{"open strays", "create sweep", "change swept", "delete namespace", "create namespace"},
	{"open strays", "create sweep", "delete namespace", "kill soon", "restart", "failing API"},
	{"open strays", "create sweep", "delete namespace", "two leaders", "one leader", "stale caches"},
	{"open strays", "create sweep", "change sweep", "stale caches", "conflicts", "calm", "delete namespace"},
	{"open strays", "create sweep", "delete namespace", "pay stray", "break strays", "lag", "change sweep"},
	{"register stray", "change registered", "delete registered"},
	{"register stray", "change registered", "delete registered", "break strays", "pay stray"},
	{"register stray", "change registered", "delete registered", "change hands"},
	{"register stray", "change registered", "delete registered", "change swept"},
	{"register stray", "change registered", "delete namespace", "create namespace", "break strays"},
	{"register stray", "open strays", "create sweep", "tear down", "create namespace"},
	{"register stray", "open strays", "create sweep", "change sweep", "change registered", "delete registered"},
	{"register stray", "open strays", "create sweep", "change registered", "change hands", "delete namespace"},
	{"register stray", "change registered", "delete registered", "two leaders", "one leader", "stale caches"},
	{"register stray", "change registered", "delete registered", "kill soon", "restart", "failing API", "conflicts"},
}

func onSweep(do func(w *world, of *v1alpha1.PaymentSweep, s step)) func(*world, step) {
	return func(w *world, s step) {
		if all := w.sweeps(); len(all) > 0 {
			do(w, all[s.roll("sweep", len(all))], s)
		}
	}
}
