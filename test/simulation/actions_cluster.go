// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// clusterActions are what the cluster and its administrators do.
var clusterActions = map[string]action{
	"stale caches": {3, func(w *world, s step) {
		lag := choose(s, "lag", time.Second, 5*time.Second, 15*time.Second)
		w.sayf("caches are up to %s behind", lag)
		w.setTrouble(trouble{lag: lag, watches: 10})
	}},
	"failing API": {3, func(w *world, _ step) {
		w.sayf("requests to the API server fail")
		w.setTrouble(trouble{lag: time.Second, watches: 20, requests: 25})
	}},
	"conflicts": {1, func(w *world, _ step) {
		w.sayf("requests to the API server fail, and watches do not")
		w.setTrouble(trouble{requests: 40})
	}},
	"calm": {4, func(w *world, _ step) {
		w.sayf("the cluster works well")
		w.setTrouble(trouble{})
	}},
	"kill": {3, func(w *world, _ step) {
		w.sayf("the manager is killed, and another one starts")
		w.end((*process).kill)
		w.start()
	}},
	"kill soon": {3, func(w *world, s step) {
		count := 1 + s.roll("effects", 6)
		w.sayf("the manager will die of its side effect number %d", count)
		w.running()[0].fuse.Store(int32(count))
	}},
	"restart": {2, func(w *world, _ step) {
		w.sayf("the manager is restarted")
		w.end((*process).stop)
		w.start()
	}},
	"two leaders": {1, func(w *world, _ step) {
		if len(w.running()) == 1 {
			w.sayf("a second manager believes that it is the leader")
			w.start()
		}
	}},
	"one leader": {2, func(w *world, _ step) {
		if len(w.running()) == 2 {
			w.sayf("the first of two managers ends")
			w.end((*process).stop)
			w.disturb()
		}
	}},
	"clock": {1, func(w *world, s step) {
		skew := choose(s, "skew", 0, 2*time.Minute, -2*time.Minute)
		w.sayf("the managers' clock differs by %s", skew)
		w.setSkew(skew)
	}},
	"uninstall": {1, (*world).uninstall},
}

func (w *world) setTrouble(drawn trouble) {
	w.disturb()
	w.chaos.set(drawn)
}

func (w *world) setSkew(skew time.Duration) {
	// A call may be on its way that was right by the clock as it was.
	w.server.mu.Lock()
	for _, object := range w.server.objects {
		if of, ok := object.(*v1alpha1.PaymentSession); ok {
			w.noteUntilNow(of)
		}
	}
	w.server.mu.Unlock()
	w.mu.Lock()
	if w.skew != skew {
		// What waits for a time of a clock that was set back waits longer.
		w.uneasy, w.steppedAt = time.Now().Add(3*time.Minute), time.Now()
	}
	w.skew = skew
	w.mu.Unlock()
}

// stall lets all caches stop a moment later, in some of the cases: what was done before is seen, and what is done then
// is not. https://github.com/kubernetes/kubernetes/issues/59848 has such cases.
func (w *world) stall(s step) {
	if s.roll("stalls", 3) > 0 {
		return
	}
	sleep(w.ctx, 2*time.Millisecond)
	w.stopCaches()
}

func (w *world) stopCaches() {
	w.sayf("all caches stop for a while")
	w.setTrouble(trouble{lag: 16 * time.Second, stalls: true})
}

// uninstall deletes the CRD of sessions. The API server deletes its objects then, and removes it when they are gone.
func (w *world) uninstall(_ step) {
	if w.isUninstalling() {
		return
	}
	w.sayf("somebody deletes the CRD of sessions")
	w.disturb()
	w.mu.Lock()
	w.uninstalled = time.Now()
	w.mu.Unlock()
	definition := crdOf(v1alpha1.KindPaymentSession)
	definition.SetFinalizers([]string{"customresourcecleanup.apiextensions.k8s.io"})
	w.must(w.server.update(definition))
	w.must(w.server.delete(definition, client.DeleteOptions{}))
	w.background.Go(func() {
		for w.alive() {
			all := w.all()
			for _, of := range all {
				if !isDeleting(of) && sleep(w.ctx, w.chaos.between(0, 20*time.Millisecond)) {
					_ = w.server.delete(of, client.DeleteOptions{})
				}
			}
			if len(all) == 0 {
				w.server.removeFinalized(definition)
				return
			}
			if !sleep(w.ctx, time.Second) {
				return
			}
		}
	})
}

// reinstall waits until the CRD of sessions is gone, if it was deleted, and creates it again.
func (w *world) reinstall() {
	if !w.isUninstalling() {
		return
	}
	sleep(w.ctx, 10*time.Minute)
	for _, of := range w.all() {
		w.findf("%s is left by the uninstall: %s", nameOf(of), reasonOf(of))
	}
	if err := w.server.create(crdOf(v1alpha1.KindPaymentSession)); !ignoreGone(err) {
		panic(err)
	}
	w.mu.Lock()
	w.uninstalled = time.Time{}
	w.mu.Unlock()
}
