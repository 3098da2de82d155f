// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"cmp"
	"maps"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// action is something that a user, a provider or the cluster does.
type action struct {
	weight int
	do     func(w *world, s step)
}

// actions are all actions, by name. The name is a part of the seeds that are kept.
var actions = merge(userActions, accountActions, providerActions, clusterActions, sweepActions, ownedActions)

// focuses are sets of actions for one history each. A history in which everything happens is too busy for some things
// to happen to one session in a row. Each name is in a set as often as its weight says.
var focuses = func() [][]string {
	var all [][]string
	for _, others := range []map[string]action{
		{}, accountActions, providerActions, clusterActions, merge(accountActions, providerActions, clusterActions),
	} {
		weights := map[string]int{}
		for name, action := range merge(userActions, others) {
			weights[name] = action.weight
		}
		all = append(all, weighted(weights))
	}
	return all
}()

// themes are sets of actions that have to do with each other.
var themes = [][]string{
	{"create a copy", "rename", "delete", "conflicts"},
	{"rename", "undo rename", "replace", "retain"},
	{"outdate", "recreate", "stale caches"},
	{"outdate", "rename", "undo rename"},
	{"requeue behind", "outdate", "delete"},
	{"reject together", "restore key", "refresh"},
	{"uninstall", "delete", "delete namespace", "create namespace"},
	{"uninstall", "delete", "restart", "kill soon"},
	{"rotate key", "restore key", "expire", "refresh"},
	{"exchange key", "wrong Secret", "right Secret", "bad Secret"},
	{"reject", "haunt", "refresh"},
	{"reject storm", "calm"},
	{"flood", "rotate key", "restore key"},
	{"move provider", "fix account", "delete"},
	{"move rejected", "move meanwhile", "expire", "failing API"},
	{"keep longer", "recreate", "stale caches"},
	{"move at once"},
	{"schedule", "refresh", "pause", "throttle by hour"},
	{"throttle", "throttle by 503", "outage", "suspend", "schedule"},
	{"schedule", "change mind", "suspend", "unschedule", "stale caches"},
	{"pay", "begin to pay", "fail to pay", "expire", "void"},
	{"reopen", "run out", "twist", "delete"},
	{"outage", "outage ends", "storm", "suspend", "resume"},
	{"flood", "throttle", "delete"},
	{"flood", "move provider", "restart"},
	{"delete provider", "retain", "expire"},
	{"delete provider", "stale caches", "calm"},
	{"delete provider", "delete namespace", "create namespace", "outage"},
	{"delete Secret", "recreate account", "delete", "refresh"},
	{"hesitate", "delete Secret", "kill soon"},
	{"two leaders", "one leader", "kill", "delete"},
	{"kill soon", "failing API", "drop after all", "500 after all"},
	{"twist", "refuse", "forbid", "refresh"},
	{"twist", "forget", "conflicts"},
	{"stop polling", "change provider", "refresh", "run out"},
	{"ignore", "drop after all", "500 after all", "hang", "expire"},
}

// merge returns the entries of several maps.
func merge(all ...map[string]action) map[string]action {
	merged := map[string]action{}
	for _, each := range all {
		maps.Copy(merged, each)
	}
	return merged
}

// weighted returns each key as often as its weight says, in order.
func weighted[T cmp.Ordered](weights map[T]int) []T {
	var all []T
	for _, key := range slices.Sorted(maps.Keys(weights)) {
		all = append(all, slices.Repeat([]T{key}, weights[key])...)
	}
	return all
}

// all returns the sessions in the API server, but for those of the account that has a rule of ownership.
func (w *world) all() []*v1alpha1.PaymentSession {
	return slices.DeleteFunc(w.everySession(), isOwned)
}

func (w *world) everySession() []*v1alpha1.PaymentSession {
	var found []*v1alpha1.PaymentSession
	for _, object := range w.server.list(v1alpha1.KindPaymentSession, "") {
		of, _ := object.(*v1alpha1.PaymentSession)
		found = append(found, of)
	}
	return found
}

// pick returns one of the sessions, most often one of the newest; nil if there is none.
func (w *world) pick(s step) *v1alpha1.PaymentSession {
	all := w.all()
	if len(all) == 0 {
		return nil
	}
	slices.SortFunc(all, func(a, b *v1alpha1.PaymentSession) int {
		return cmp.Or(cmp.Compare(len(b.UID), len(a.UID)), cmp.Compare(b.UID, a.UID))
	})
	return all[s.roll("session", choose(s, "which sessions", 1, min(3, len(all)), len(all)))]
}

// onSession makes an action of what is done to one session.
func onSession(do func(w *world, of *v1alpha1.PaymentSession, s step)) func(*world, step) {
	return func(w *world, s step) {
		if of := w.pick(s); of != nil {
			do(w, of, s)
		}
	}
}

// change patches an object as a user does.
func (w *world) change(object client.Object, patch string) {
	w.touch(object)
	if err := w.server.patch(object, gen.MergePatch(patch), false); !ignoreGone(err) {
		panic(err)
	}
}

// remove deletes an object as a user does.
func (w *world) remove(object client.Object) {
	w.touch(object)
	if err := w.server.delete(object, client.DeleteOptions{}); !ignoreGone(err) {
		panic(err)
	}
}

// touch records that a user changes an object.
func (w *world) touch(object metav1.Object) {
	now := time.Now()
	w.ledgers.object(object.GetUID(), func(known *facts) { known.touched, known.edited, known.disturbed = now, now, true })
}

// at returns a time from now on as the API writes it.
func at(from time.Duration) *metav1.Time {
	moment := metav1.NewTime(time.Now().Add(from).Truncate(time.Second))
	return &moment
}
