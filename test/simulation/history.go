// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

type namespaceObject = corev1.Namespace

// plan is everything that is drawn for a history. The rest follows from it.
type plan struct {
	Seed           uint64
	Policy, DryRun bool
	Provider       string
	// Patient histories wait at their end until the longest backoff is over. The others change the accounts instead,
	// after which everything is tried at once.
	Patient bool
	Steps   []step
}

// step is one action, after a pause. The numbers choose among what exists then.
type step struct {
	Pause   time.Duration
	Action  string
	A, B, C int
}

// pauses are the times between two actions, from a moment to a week.
var pauses = []time.Duration{
	0, 3 * time.Millisecond, 40 * time.Millisecond, 300 * time.Millisecond,
	time.Second, 3 * time.Second, 10 * time.Second, 35 * time.Second,
	2 * time.Minute, 11 * time.Minute, time.Hour, 7 * time.Hour,
}

// drawPlan draws a history.
func drawPlan(t *rapid.T) plan {
	names := make([]string, 0, len(actions))
	for _, action := range actions {
		for range action.weight {
			names = append(names, action.name)
		}
	}
	steps := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) step {
		return step{
			Action: rapid.SampledFrom(names).Draw(t, "action"),
			Pause:  rapid.SampledFrom(pauses).Draw(t, "pause"),
			A: rapid.IntRange(0, 30).Draw(t,
				"a"), B: rapid.IntRange(0, 30).Draw(t, "b"), C: rapid.IntRange(0, 30).Draw(t, "c"),
		}
	}), 2, 24)
	return plan{
		Seed:     rapid.Uint64Max(1<<20).Draw(t, "seed"),
		Policy:   rapid.Bool().Draw(t, "policy"),
		DryRun:   rapid.IntRange(0, 19).Draw(t, "dryRun") == 19,
		Provider: rapid.SampledFrom(gen.Providers).Draw(t, "provider"),
		Patient:  rapid.IntRange(0, 3).Draw(t, "patient") == 3,
		Steps:    steps.Draw(t, "steps"),
	}
}

// epoch is when histories begin. The API admits no times before 2020, and a bubble's clock begins in 2000.
var epoch = time.Date(2026, 11, 26, 0, 0, 0, 0, time.UTC)

// run runs a history in a bubble, and returns the world with its story and findings.
func (p plan) run() *world {
	// The bubble's clock jumps.
	time.Sleep(time.Until(epoch))
	w := newWorld(p.Seed, p.Policy, p.DryRun)
	w.ctx, w.cancel = context.WithCancel(context.Background())
	w.provider = p.Provider
	for _, namespace := range namespaces {
		w.createAccount(namespace)
	}
	w.processes = append(w.processes, w.startProcess())
	for _, step := range p.Steps {
		if step.Pause > 0 {
			sleep(w.ctx, step.Pause)
		}
		for _, action := range actions {
			if action.name == step.Action {
				action.do(w, step)
			}
		}
	}
	w.heal(p.Patient)
	w.checkAtRest()
	w.checkIdle()
	w.cancel()
	w.background.Wait()
	for _, process := range w.processes {
		process.stop()
	}
	w.upstreams.Close()
	return w
}

func (w *world) alive() bool { return w.ctx.Err() == nil }

// createAccount creates a provider with its Secret in a namespace.
func (w *world) createAccount(namespace string) {
	_ = w.server.create(gen.Secret(namespace, w.provider))
	_ = w.server.create(gen.Provider(namespace, w.provider, gen.Endpoint(host+"/"+w.provider),
		gen.PollInterval(20*time.Minute)))
}

// all returns the sessions in the API server.
func (w *world) all() []*v1alpha1.PaymentSession {
	var found []*v1alpha1.PaymentSession
	for _, object := range w.server.list(v1alpha1.KindPaymentSession, "") {
		of, _ := object.(*v1alpha1.PaymentSession)
		found = append(found, of)
	}
	return found
}

// pick returns one of the sessions; nil if there is none.
func (w *world) pick(number int) *v1alpha1.PaymentSession {
	all := w.all()
	if len(all) == 0 {
		return nil
	}
	return all[number%len(all)]
}

// change patches an object as a user does.
func (w *world) change(object client.Object, patch string) {
	if err := w.server.patch(object, gen.MergePatch(patch), false); !ignoreGone(err) {
		panic(err)
	}
}

// heal ends every fault, and waits until everything can have come to rest.
func (w *world) heal(patient bool) {
	w.sayf("all faults end")
	w.chaos.set(trouble{})
	w.upstreams.SetOutage(w.provider, false)
	w.upstreams.ClearFaults()
	for name, value := range simulator.Keys()[w.provider] {
		w.upstreams.SetKey(w.provider, name, value)
	}
	for _, object := range w.upstreams.Objects() {
		if object.State == simulator.Pending {
			w.setState(object.Provider, object.ID, simulator.Paid)
		}
	}
	for len(w.processes) > 1 {
		w.processes[0].stop()
		w.processes = w.processes[1:]
	}
	if len(w.processes) == 0 {
		w.processes = append(w.processes, w.startProcess())
	}
	for _, namespace := range namespaces {
		w.restoreAccount(namespace)
	}
	if patient {
		sleep(w.ctx, 8*time.Hour)
		return
	}
	for _, object := range w.server.list(v1alpha1.KindPaymentProvider, "") {
		w.change(object, `{"spec":{"timeout":"13s"}}`)
	}
	sleep(w.ctx, 45*time.Minute)
}

// restoreAccount gives a namespace that is not being deleted its account back.
func (w *world) restoreAccount(namespace string) {
	name := types.NamespacedName{Namespace: namespace, Name: w.provider}
	secret := &corev1.Secret{}
	if w.server.get(name, secret) == nil {
		data, err := json.Marshal(simulator.Keys()[w.provider])
		w.must(err)
		w.change(secret, `{"stringData":`+string(data)+`}`)
	}
	w.createAccount(namespace)
	provider := &v1alpha1.PaymentProvider{}
	if w.server.get(name, provider) == nil {
		w.change(provider, `{"spec":{"pollInterval":"20m","rateLimit":{"requests":10,"per":"1s","burst":20}}}`)
	}
}

// excused are the reasons for which a session may stay as it is although all faults have ended.
var excused = []string{
	v1alpha1.ReasonSuspended, v1alpha1.ReasonWouldExpire, v1alpha1.ReasonExpireUnsupported,
	v1alpha1.ReasonInvalidSessionID,
	v1alpha1.ReasonProviderNotFound, v1alpha1.ReasonCredentialsMissing,
}

// checkAtRest checks what must hold once nothing has happened for hours.
func (w *world) checkAtRest() {
	for _, of := range w.all() {
		provider, id := of.Spec.ProviderRef.Name, of.Spec.SessionID
		state := w.upstreams.State(provider, id)
		known, _ := w.ledgers.of(provider, id, "")
		reason := reasonOf(of)
		if slices.Contains(excused, reason) {
			continue
		}
		if !of.DeletionTimestamp.IsZero() && session.HasFinalizer(of) {
			w.findf("%s still waits to be deleted, with the reason %s; %s is %q", nameOf(of), reason, id, state)
			continue
		}
		reopened := known.reopened && of.Status.State.Closed()
		if wants(of) && isPayable(state) && !reopened {
			w.findf("%s should be expired and %s is %s; status %q, %s", nameOf(of), id, state, of.Status.State, reason)
		}
		if !known.reopened && of.DeletionTimestamp.IsZero() && of.Status.State != stateOf(state) {
			w.findf("%s says %q (%s), and %s is %q", nameOf(of), of.Status.State, reason, id, state)
		}
		if of.DeletionTimestamp.IsZero() && of.Status.ObservedGeneration != of.Generation {
			w.findf("%s has generation %d, and its status is of %d", nameOf(of), of.Generation, of.Status.ObservedGeneration)
		}
	}
	w.checkSecrets()
}

// idleTime is how long nothing happens, to count what that costs. Active sessions are polled every 20 minutes.
const idleTime = 2 * time.Hour

// checkIdle refuses calls about closed sessions, and more calls about others than polls and retries need.
func (w *world) checkIdle() {
	before := len(w.upstreams.Calls())
	closed := map[string]bool{}
	for _, of := range w.all() {
		id := of.Spec.SessionID
		closed[id] = of.Status.State.Closed() && !w.isOpen(id, of)
	}
	sleep(w.ctx, idleTime)
	calls := map[string]int{}
	for _, call := range w.upstreams.Calls()[before:] {
		calls[call.ID]++
	}
	for id, count := range calls {
		if closed[id] || count > 2*w.objectsOf(id)*int(idleTime/(20*time.Minute))+8 {
			w.findf("%d calls about %s in two hours in which nothing happens (closed: %v)", count, id, closed[id])
		}
	}
}

// isOpen reports whether another object of a session is not closed.
func (w *world) isOpen(id string, of *v1alpha1.PaymentSession) bool {
	return slices.ContainsFunc(w.all(), func(other *v1alpha1.PaymentSession) bool {
		return other.UID != of.UID && other.Spec.SessionID == id && !other.Status.State.Closed()
	})
}

// objectsOf counts the objects of a session. A deletion that waits is tried again every 5 minutes, and counts as four.
func (w *world) objectsOf(id string) int {
	count := 0
	for _, of := range w.all() {
		switch {
		case of.Spec.SessionID != id:
		case of.DeletionTimestamp.IsZero():
			count++
		default:
			count += 4
		}
	}
	return max(count, 1)
}

// checkSecrets looks for credentials in every object but Secrets.
func (w *world) checkSecrets() {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	for key, object := range w.server.objects {
		if key.kind == "Secret" {
			continue
		}
		text, err := json.Marshal(object)
		w.must(err)
		for _, value := range simulator.Keys()[w.provider] {
			if strings.Contains(string(text), value) {
				w.findf("%s %s contains a credential", key.kind, nameOf(object))
			}
		}
	}
}

// at returns a time from now on as the API writes it.
func at(from time.Duration) *metav1.Time {
	moment := metav1.NewTime(time.Now().Add(from).Truncate(time.Second))
	return &moment
}
