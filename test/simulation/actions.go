// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// action is something that a user, a provider or the cluster does.
type action struct {
	name   string
	weight int
	do     func(w *world, s step)
}

// onSession makes an action of what is done to one session.
func onSession(do func(w *world, of *v1alpha1.PaymentSession, s step)) func(*world, step) {
	return func(w *world, s step) {
		if of := w.pick(s.A); of != nil {
			do(w, of, s)
		}
	}
}

// edit makes an action of a patch to a session.
func edit(sentence, patch string) func(*world, step) {
	return onSession(func(w *world, of *v1alpha1.PaymentSession, _ step) {
		w.sayf("a user "+sentence, nameOf(of))
		w.change(of, patch)
	})
}

// payer makes an action of a change at the provider, from some states.
func payer(sentence string, to simulator.State, from ...simulator.State) func(*world, step) {
	return onSession(func(w *world, of *v1alpha1.PaymentSession, _ step) {
		provider, id := of.Spec.ProviderRef.Name, of.Spec.SessionID
		state := w.upstreams.State(provider, id)
		if slices.Contains(from, state) {
			w.sayf(sentence, id)
			w.setState(provider, id, to)
		}
	})
}

// fault makes an action of faults of the next calls about a session.
func fault(sentence string, faults ...simulator.Fault) func(*world, step) {
	return onSession(func(w *world, of *v1alpha1.PaymentSession, s step) {
		provider, id := of.Spec.ProviderRef.Name, of.Spec.SessionID
		if w.upstreams.State(provider, id) == "" {
			// A provider answers about a session that it does not know as it always does: another reply would prove that it
			// knows it.
			return
		}
		w.sayf("the next %d calls about %s: "+sentence, 1+s.B%4, id)
		for _, each := range faults {
			each.Times = 1 + s.B%4
			w.upstreams.Script(provider, id, each)
		}
	})
}

var actions = []action{
	{"create", 10, (*world).createSession},
	{"rename", 2, onSession((*world).rename)},
	{"expire", 5, edit("sets desiredState: expired on %s", `{"spec":{"desiredState":"expired"}}`)},
	{"suspend", 1, edit("suspends %s", `{"spec":{"suspend":true}}`)},
	{"resume", 2, edit("resumes %s", `{"spec":{"suspend":false}}`)},
	{"retain", 1, edit("sets deletionPolicy: Retain on %s", `{"spec":{"deletionPolicy":"Retain"}}`)},
	{"unretain", 1, edit("sets deletionPolicy: Expire on %s", `{"spec":{"deletionPolicy":"Expire"}}`)},
	{"unschedule", 1, edit("removes expireAt of %s", `{"spec":{"expireAt":null}}`)},
	{"schedule", 2, onSession(func(w *world, of *v1alpha1.PaymentSession, s step) {
		at := at([]time.Duration{0, time.Second, 5 * time.Second, time.Minute, time.Hour}[s.B%5])
		w.sayf("a user sets expireAt of %s to %s", nameOf(of), at.Format(time.RFC3339))
		w.change(of, fmt.Sprintf(`{"spec":{"expireAt":%q}}`, at.UTC().Format(time.RFC3339)))
	})},
	{"refresh", 3, onSession(func(w *world, of *v1alpha1.PaymentSession, _ step) {
		w.sayf("a user asks for a refresh of %s", nameOf(of))
		w.change(of, fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, v1alpha1.ReconcileAtAnnotation, time.Now().String()))
	})},
	{"replace", 1, onSession((*world).replaceManifest)},
	{"delete", 6, onSession(func(w *world, of *v1alpha1.PaymentSession, _ step) {
		w.sayf("a user deletes %s", nameOf(of))
		_ = w.server.delete(of, client.DeleteOptions{})
	})},
	{"delete namespace", 2, func(w *world, s step) { w.deleteNamespace(namespaces[s.A%len(namespaces)]) }},
	{"create namespace", 2, func(w *world, s step) {
		name := namespaces[s.A%len(namespaces)]
		if w.server.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}) == nil {
			w.sayf("a user creates namespace %s with its account", name)
			w.createAccount(name)
		}
	}},
	{"delete provider", 1, func(w *world, s step) { w.deleteNamed(&v1alpha1.PaymentProvider{}, s) }},
	{"delete Secret", 1, func(w *world, s step) { w.deleteNamed(&corev1.Secret{}, s) }},
	{"recreate account", 2, func(w *world, s step) {
		w.sayf("a user applies the account of %s again", namespaces[s.A%len(namespaces)])
		w.createAccount(namespaces[s.A%len(namespaces)])
	}},
	{"change provider", 2, func(w *world, s step) {
		provider := &v1alpha1.PaymentProvider{}
		name := types.NamespacedName{Namespace: namespaces[s.A%len(namespaces)], Name: w.provider}
		if w.server.get(name, provider) == nil {
			patch := []string{
				`{"spec":{"timeout":"11s"}}`, `{"spec":{"timeout":"12s"}}`, `{"spec":{"rateLimit":{"requests":1,"per":"1m","burst":1}}}`,
				`{"spec":{"rateLimit":{"requests":10,"per":"1s","burst":20}}}`, `{"spec":{"pollInterval":"1m"}}`,
			}[s.B%5]
			w.sayf("a user changes provider %s: %s", name, patch)
			w.change(provider, patch)
		}
	}},

	{"pay", 4, payer("%s is paid", simulator.Paid, simulator.Open, simulator.Pending)},
	{"begin to pay", 3, payer("a payment of %s begins", simulator.Pending, simulator.Open)},
	{"fail to pay", 2, payer("the payment of %s fails, and it is open again", simulator.Open, simulator.Pending)},
	{"fail", 1, func(w *world, s step) {
		// The others have no word for it: a failed payment leaves their sessions open.
		if w.provider == "circle" || w.provider == "omise" {
			payer("%s fails for good", simulator.Failed, simulator.Open, simulator.Pending)(w, s)
		}
	}},
	{"run out", 2, payer("%s runs out at the provider", simulator.Expired, simulator.Open)},
	{"reopen", 1, onSession(func(w *world, of *v1alpha1.PaymentSession, _ step) {
		provider, id := of.Spec.ProviderRef.Name, of.Spec.SessionID
		if w.upstreams.State(provider, id) == simulator.Expired {
			w.sayf("the provider opens %s again", id)
			w.ledgers.update(provider, id, func(l *ledger) { l.reopened = true })
			w.setState(provider, id, simulator.Open)
		}
	})},
	{"outage", 2, func(w *world, _ step) { w.sayf("the provider is down"); w.upstreams.SetOutage(w.provider, true) }},
	{"outage ends", 3, func(w *world, _ step) { w.sayf("the provider is back"); w.upstreams.SetOutage(w.provider, false) }},
	{"rotate key", 1, func(w *world, _ step) {
		w.sayf("the provider rejects the credentials")
		for name := range simulator.Keys()[w.provider] {
			w.upstreams.SetKey(w.provider, name, "rotated-away")
		}
	}},
	{"restore key", 2, func(w *world, _ step) {
		w.sayf("the provider accepts the credentials again")
		for name, value := range simulator.Keys()[w.provider] {
			w.upstreams.SetKey(w.provider, name, value)
		}
	}},
	{"drop", 2, fault("the connection is dropped", simulator.Fault{Drop: true})},
	{
		"drop after effect", 3,
		fault("the connection is dropped after the effect", simulator.Fault{Drop: true, Effect: true}),
	},
	{
		"500 after effect", 2,
		fault("500 after the effect", simulator.Fault{Effect: true, Reply: simulator.Reply{Code: 500}}),
	},
	{"hang", 1, fault("no reply", simulator.Fault{Hang: true})},
	{
		"throttle", 2,
		fault("429", simulator.Fault{Reply: simulator.Reply{Code: 429, Header: map[string]string{"Retry-After": "30"}}}),
	},
	{"page", 1, fault("a page", simulator.Fault{Reply: simulator.Reply{Code: 404, Body: "<html>not found</html>"}})},
	{"refuse", 2, fault("refused", simulator.Fault{
		Operation: simulator.Expire, Reply: simulator.Reply{Code: 400, Body: map[string]any{"message": "no"}},
	})},
	{"reject", 2, fault("401", simulator.Fault{Reply: simulator.Reply{Code: 401, Body: map[string]any{"message": "no"}}})},
	{"forbid", 1, fault("403", simulator.Fault{Reply: simulator.Reply{Code: 403, Body: map[string]any{"message": "no"}}})},

	{"stale caches", 3, func(w *world, s step) {
		lag := []time.Duration{time.Second, 5 * time.Second, 15 * time.Second}[s.A%3]
		w.sayf("caches are up to %s behind", lag)
		w.chaos.set(trouble{lag: lag, watches: 10})
	}},
	{"failing API", 3, func(w *world, _ step) {
		w.sayf("requests to the API server fail")
		w.chaos.set(trouble{lag: time.Second, watches: 20, requests: 25})
	}},
	{"calm", 3, func(w *world, _ step) { w.sayf("the cluster works well"); w.chaos.set(trouble{}) }},
	{"kill", 3, func(w *world, _ step) {
		if len(w.processes) > 0 {
			w.sayf("the manager is killed, and another one starts")
			w.processes[0].kill()
			w.processes = append(w.processes[1:], w.startProcess())
		}
	}},
	{"restart", 2, func(w *world, _ step) {
		if len(w.processes) > 0 {
			w.sayf("the manager is restarted")
			w.processes[0].stop()
			w.processes = append(w.processes[1:], w.startProcess())
		}
	}},
	{"two leaders", 1, func(w *world, _ step) {
		if len(w.processes) == 1 {
			w.sayf("a second manager believes that it is the leader")
			w.processes = append(w.processes, w.startProcess())
		}
	}},
	{"one leader", 2, func(w *world, _ step) {
		if len(w.processes) == 2 {
			w.sayf("the first of two managers ends")
			w.processes[0].stop()
			w.processes = w.processes[1:]
		}
	}},
}

// createSession creates a session, most often of a new, open payment.
func (w *world) createSession(s step) {
	w.sessions++
	namespace := namespaces[s.A%len(namespaces)]
	id := gen.ID(w.provider, w.sessions)
	switch s.B % 10 {
	case 0, 1, 2, 3, 4, 5:
		w.addUpstream(simulator.Object{Provider: w.provider, ID: id, State: simulator.Open})
	case 6:
		w.addUpstream(simulator.Object{Provider: w.provider, ID: id, State: simulator.Open, HiddenReads: 1 + s.C%3})
	case 7:
		w.addUpstream(simulator.Object{Provider: w.provider, ID: id, State: simulator.Paid})
	case 8:
		variant := ""
		if w.provider == "omise" {
			variant = simulator.Card
		}
		w.addUpstream(simulator.Object{Provider: w.provider, ID: id, State: simulator.Open, Variant: variant})
	default:
		// The provider does not know it.
	}
	options := []gen.SessionOption{}
	if s.C%3 == 0 {
		options = append(options, gen.Active)
	}
	if s.C%7 == 1 {
		options = append(options, gen.ExpireAt(time.Now().Add(time.Duration(s.A)*time.Second)))
	}
	if s.C%9 == 2 {
		options = append(options, gen.TTLAfterClosed(time.Duration(s.A)*time.Minute))
	}
	if s.C%11 == 3 {
		options = append(options, gen.Retained)
	}
	of := gen.Session(namespace, fmt.Sprintf("session-%d", w.sessions), w.provider, id, options...)
	w.sayf("a user creates %s for %s (%s): %s", nameOf(of), id, w.upstreams.State(w.provider, id), of.Spec.DesiredState)
	if err := w.server.create(of); !ignoreGone(err) {
		panic(err)
	}
}

func (w *world) addUpstream(object simulator.Object) {
	w.upstreams.Add(object)
	w.ledgers.update(object.Provider, object.ID, func(l *ledger) {
		l.had[stateOf(object.State)], l.variant = true, object.Variant
	})
}

// rename creates another object of the same session, and deletes the old one, as GitOps tools do.
func (w *world) rename(of *v1alpha1.PaymentSession, s step) {
	renamed := gen.Session(of.Namespace, of.Name+"-renamed", of.Spec.ProviderRef.Name, of.Spec.SessionID)
	renamed.Spec = *of.Spec.DeepCopy()
	w.sayf("a user renames %s to %s", nameOf(of), nameOf(renamed))
	if s.B%2 == 0 {
		_ = w.server.create(renamed)
	}
	_ = w.server.delete(of, client.DeleteOptions{})
	if s.B%2 == 1 {
		_ = w.server.create(renamed)
	}
}

// replaceManifest replaces a session by its manifest, which has no finalizers and no status.
func (w *world) replaceManifest(of *v1alpha1.PaymentSession, _ step) {
	w.sayf("a user replaces %s by its manifest", nameOf(of))
	manifest := gen.Session(of.Namespace, of.Name, of.Spec.ProviderRef.Name, of.Spec.SessionID)
	manifest.Spec = *of.Spec.DeepCopy()
	if !w.policy {
		// Without the policy there is a moment in which a deletion goes through.
		w.ledgers.force(of.UID)
	}
	if err := w.server.update(manifest); !ignoreGone(err) {
		panic(err)
	}
}

// deleteNamed deletes the provider or the Secret of a namespace.
func (w *world) deleteNamed(object client.Object, s step) {
	name := types.NamespacedName{Namespace: namespaces[s.A%len(namespaces)], Name: w.provider}
	if w.server.get(name, object) == nil {
		w.sayf("a user deletes %s %s", w.server.kindOf(object).Kind, name)
		_ = w.server.delete(object, client.DeleteOptions{})
	}
}
