// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package simulation runs the real controllers, accounts and engine against an API server in memory and the simulated
// providers, on the clock of a testing/synctest bubble, through histories that are drawn at random. It checks after
// each step, and at rest, what must hold in every history.
package simulation

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/controllers"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const operatorNamespace = "payops-system"

// namespaces are the namespaces of the tenants.
var namespaces = []string{"ns-a", "ns-b"}

// definitions are compiled once for all histories. The classes never change.
var definitions = controllers.NewDefinitions()

// world is one history: a cluster, the providers, and what is known about both.
type world struct {
	server    *apiServer
	chaos     *chaos
	upstreams *simulator.Simulator
	handler   http.Handler
	processes []*process
	// provider is the name of the provider of this history, whose account each namespace has.
	provider string
	ctx      context.Context //nolint:containedctx // It ends with the history.
	cancel   context.CancelFunc
	// background runs what happens beside the actions.
	background sync.WaitGroup
	dryRun     bool
	policy     bool

	began time.Time
	// writing guards the story and the findings.
	writing  sync.Mutex
	story    []string
	findings []string
	ledgers  *ledgers
	sessions int
}

func newWorld(seed uint64, policy, dryRun bool) *world {
	w := &world{
		server: newAPIServer(gen.Scheme()), chaos: newChaos(seed), upstreams: simulator.New(), policy: policy, dryRun: dryRun,
		began: time.Now(), ledgers: newLedgers(),
	}
	w.handler = w.upstreams.Handler()
	w.server.admit = append(w.server.admit, immutableFields)
	if policy {
		w.server.admit = append(w.server.admit, finalizerPolicy)
	}
	w.server.observe = w.checkChange
	for _, name := range append([]string{operatorNamespace}, namespaces...) {
		w.must(w.server.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	for _, kind := range []string{
		v1alpha1.KindPaymentSession, v1alpha1.KindPaymentProvider, v1alpha1.KindClusterPaymentProvider,
		v1alpha1.KindPaymentProviderClass,
	} {
		w.must(w.server.create(crdOf(kind)))
	}
	for _, provider := range gen.Providers {
		class := gen.Class(provider)
		// Histories share the compiled classes, which are known by UID and generation.
		w.must(w.server.create(class))
		w.server.setUID(class, types.UID("class-"+provider))
	}
	return w
}

func (w *world) must(err error) {
	if err != nil {
		panic(err)
	}
}

// sayf adds a sentence to the story.
func (w *world) sayf(format string, arguments ...any) {
	at := time.Since(w.began).Round(time.Millisecond)
	w.writing.Lock()
	defer w.writing.Unlock()
	w.story = append(w.story, fmt.Sprintf("at %s %s", at, fmt.Sprintf(format, arguments...)))
}

// findf adds a finding.
func (w *world) findf(format string, arguments ...any) {
	at := time.Since(w.began).Round(time.Millisecond)
	finding := fmt.Sprintf("at %s: %s", at, fmt.Sprintf(format, arguments...))
	w.writing.Lock()
	defer w.writing.Unlock()
	if len(w.findings) < 10 {
		w.findings = append(w.findings, finding)
		w.story = append(w.story, "  !! "+finding)
	}
}

// setState changes a session at its provider, as its payer or the provider would.
func (w *world) setState(provider, id string, state simulator.State) {
	w.upstreams.SetState(provider, id, state)
	w.ledgers.update(provider, id, func(l *ledger) { l.had[stateOf(state)] = true })
}

// stateOf returns the operator's word for a state in the books.
func stateOf(state simulator.State) v1alpha1.SessionState {
	switch state {
	case simulator.Open:
		return v1alpha1.SessionStateActive
	case simulator.Pending:
		return v1alpha1.SessionStateProcessing
	case simulator.Paid, simulator.Refunded:
		return v1alpha1.SessionStateCompleted
	case simulator.Expired:
		return v1alpha1.SessionStateExpired
	case simulator.Failed:
		return v1alpha1.SessionStateFailed
	default:
		return v1alpha1.SessionStateUnknown
	}
}

func isPayable(state simulator.State) bool {
	return state == simulator.Open || state == simulator.Pending
}

// checkChange checks each change of an object. The API server is locked meanwhile.
func (w *world) checkChange(changed change) {
	after, _ := changed.after.(*v1alpha1.PaymentSession)
	before, _ := changed.before.(*v1alpha1.PaymentSession)
	if before == nil && after == nil {
		return
	}
	if after != nil {
		if session.HasFinalizer(after) {
			w.ledgers.protect(after.UID)
		}
		w.checkClaim(before, after)
	}
	if before != nil {
		if wants(before) {
			now := time.Now()
			w.ledgers.update(before.Spec.ProviderRef.Name, before.Spec.SessionID, func(l *ledger) { l.wantedUntil = now })
		}
	}
	if after == nil && changed.removed {
		w.checkRemoval(before)
	}
}

// wants reports whether an object wants its session expired now.
func wants(of *v1alpha1.PaymentSession) bool {
	return session.Desired(of, time.Now()) == v1alpha1.DesiredStateExpired && !of.Spec.Suspend
}

// checkClaim refuses a state in the status that the session never had.
func (w *world) checkClaim(before, after *v1alpha1.PaymentSession) {
	state := after.Status.State
	if state == "" || before != nil && before.Status.State == state {
		return
	}
	if _, had := w.ledgers.of(after.Spec.ProviderRef.Name, after.Spec.SessionID, state); !had {
		w.findf("%s claims %s, which the provider has never shown", nameOf(after), state)
	}
}

// checkRemoval refuses that an object with the policy Expire is gone while its session can be paid.
func (w *world) checkRemoval(last *v1alpha1.PaymentSession) {
	provider, id := last.Spec.ProviderRef.Name, last.Spec.SessionID
	state := w.upstreams.State(provider, id)
	known, _ := w.ledgers.of(provider, id, "")
	protected, forced := w.ledgers.wasProtected(last.UID)
	switch {
	case !isPayable(state), last.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain, forced:
		return
	case !protected && !w.policy:
		// It was deleted before an operator saw it.
		return
	case last.Status.State.Closed(), known.reopened:
		return
	case known.variant == simulator.Card && state == simulator.Open:
		return
	case session.DesiredBySpec(last, time.Now()) == v1alpha1.DesiredStateActive && w.takenOver(last):
		return
	}
	w.findf("%s is gone, and %s at %s is %s (status %q, %s)", nameOf(last), id, provider, state, last.Status.State,
		reasonOf(last))
}

// takenOver reports whether another object of the namespace wants the session active.
func (w *world) takenOver(of *v1alpha1.PaymentSession) bool {
	for _, object := range w.server.objects {
		other, ok := object.(*v1alpha1.PaymentSession)
		if ok && other.UID != of.UID && other.Namespace == of.Namespace && sameSession(
			other, of,
		) && other.DeletionTimestamp.IsZero() &&
			session.DesiredBySpec(other, time.Now()) == v1alpha1.DesiredStateActive &&
			(session.HasFinalizer(other) || other.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain) {
			return true
		}
	}
	return false
}

func sameSession(a, b *v1alpha1.PaymentSession) bool {
	return a.Spec.ProviderRef == b.Spec.ProviderRef && strings.EqualFold(a.Spec.SessionID, b.Spec.SessionID)
}

// expiredByCall checks a session that a call has just expired.
func (w *world) expiredByCall(provider, id string) {
	w.ledgers.update(provider, id, func(l *ledger) { l.had[v1alpha1.SessionStateExpired] = true })
	known, _ := w.ledgers.of(provider, id, "")
	if w.dryRun {
		w.findf("a dry run has expired %s at %s", id, provider)
		return
	}
	for _, object := range w.server.list(v1alpha1.KindPaymentSession, "") {
		of, _ := object.(*v1alpha1.PaymentSession)
		if of.Spec.ProviderRef.Name == provider && of.Spec.SessionID == id && wants(of) {
			return
		}
	}
	if since := time.Since(known.wantedUntil); since > stale {
		w.findf("%s at %s was expired, and no object has wanted that for %s", id, provider, since)
	}
}

// checkCall refuses a call about a session before its object has the finalizer: the manager could be gone before the
// object is deleted.
func (w *world) checkCall(provider string, request *http.Request) {
	for _, object := range w.server.list(v1alpha1.KindPaymentSession, "") {
		of, _ := object.(*v1alpha1.PaymentSession)
		about := of.Spec.ProviderRef.Name == provider && strings.Contains(request.URL.Path, of.Spec.SessionID)
		if about && session.WantsFinalizer(of) && of.DeletionTimestamp.IsZero() && !w.wasProtected(of) {
			w.findf("%s is about %s, which has no finalizer yet", request.URL.Path, nameOf(of))
		}
	}
}

// wasProtected reports whether an object has ever had the finalizer, or another object of the same session has it.
func (w *world) wasProtected(of *v1alpha1.PaymentSession) bool {
	if protected, forced := w.ledgers.wasProtected(of.UID); protected || forced {
		return true
	}
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	for _, object := range w.server.objects {
		other, ok := object.(*v1alpha1.PaymentSession)
		if ok && other.UID != of.UID && sameSession(other, of) {
			return true
		}
	}
	return false
}

// stale is how long after a change a call may still act on what was before: the cache may be behind, and calls take
// time.
const stale = 20 * time.Second

func nameOf(of client.Object) string { return of.GetNamespace() + "/" + of.GetName() }

func reasonOf(of *v1alpha1.PaymentSession) string {
	for _, condition := range of.Status.Conditions {
		if condition.Type == v1alpha1.ConditionReady {
			return condition.Reason
		}
	}
	return "no reason"
}

// ignoreGone ignores that an object is gone or has changed: users' actions race with the cluster's.
func ignoreGone(err error) bool {
	return err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsForbidden(err) ||
		apierrors.IsAlreadyExists(err) || apierrors.IsInvalid(err)
}
