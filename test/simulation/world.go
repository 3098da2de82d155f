// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package simulation runs the real controllers, accounts and engine against an API server in memory and the simulated
// providers, on the clock of a testing/synctest bubble, through histories that are drawn at random. It checks after
// each step, and at rest, what must hold in every history.
package simulation

import (
	"context"
	"flag"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/controllers"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const operatorNamespace = "payops-system"

// namespaces are the namespaces of the tenants.
var namespaces = []string{"ns-a", "ns-b"}

// definitions are compiled once for all histories, and scheme is built once. Neither ever changes.
var (
	definitions = controllers.NewDefinitions()
	scheme      = gen.Scheme()
)

// world is one history: a cluster, the providers, and what is known about both.
type world struct {
	server *apiServer
	chaos  *chaos
	sites  []*site
	// provider is the class of all accounts of this history.
	provider string
	// favourite is the number of the account that most sessions use.
	favourite int
	ctx       context.Context //nolint:containedctx // It ends with the history.
	cancel    context.CancelFunc
	// background runs what happens beside the actions.
	background sync.WaitGroup
	dryRun     bool
	policy     bool
	// tight and serial are what the plan says of the accounts.
	tight, serial bool

	began   time.Time
	ledgers *ledgers
	// sessions counts the sessions that were created.
	sessions int

	// mu guards the rest.
	mu        sync.Mutex
	processes []*process
	// endedAt is when a process ended beside another one, whose caches may not have its last writes yet.
	endedAt  time.Time
	story    []string
	findings []string
	// ids has the form in the books of each id, by its one form.
	ids map[string]string
	// skew is the difference between the managers' clock and the others', since steppedAt.
	skew      time.Duration
	steppedAt time.Time
	// uneasy is when the cluster last did not work well.
	uneasy time.Time
	// isDown is true while the provider answers no call.
	isDown bool
	// isRotated is true while the provider rejects the right credentials.
	isRotated bool
	// rejected holds the payments for which a 401 was drawn.
	rejected map[string]bool
	// haunted is the payment whose calls the provider always rejects; empty for none.
	haunted string
	// flood is the flood that runs; nil for none. A history has one at most.
	flood   *flood
	flooded bool
	// uninstalled is when the CRD of sessions was deleted; zero where it was not.
	uninstalled time.Time

	// strays are the payments that sweeps are about; nil for a history without sweeps.
	strays *strays
}

func newWorld(p plan) *world {
	w := &world{
		server: newAPIServer(scheme), chaos: newChaos(p.Seed), policy: p.Policy, dryRun: p.DryRun, provider: p.Provider,
		tight: p.Tight, serial: p.Serial, began: time.Now(), ledgers: newLedgers(p.Provider != "omise"),
		favourite: p.Favourite, ids: map[string]string{}, rejected: map[string]bool{},
	}
	w.ctx, w.cancel = context.WithCancel(context.Background())
	for number := range hosts {
		w.sites = append(w.sites, newSite(number))
	}
	w.server.admit = append(w.server.admit, immutableFields)
	if w.policy {
		w.server.admit = append(w.server.admit, finalizerPolicy)
	}
	w.server.observe = w.checkChange
	for _, name := range append([]string{operatorNamespace}, namespaces...) {
		w.must(w.server.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}))
	}
	for _, kind := range []string{
		v1alpha1.KindPaymentSession, v1alpha1.KindPaymentProvider, v1alpha1.KindClusterPaymentProvider,
		v1alpha1.KindPaymentProviderClass, v1alpha1.KindPaymentSweep,
	} {
		w.must(w.server.create(crdOf(kind)))
	}
	// Histories share the compiled classes, which are known by UID and generation.
	w.must(w.server.create(gen.Class(w.provider)))
	w.server.setUID(&v1alpha1.PaymentProviderClass{ObjectMeta: metav1.ObjectMeta{Name: w.provider}},
		types.UID("class-"+w.provider))
	w.setKeys(simulator.Keys()[w.provider])
	w.addDecoys()
	if p.Sweeps {
		w.addSwept()
	}
	return w
}

// addDecoys adds the payments that replies about another session are about.
func (w *world) addDecoys() {
	empty := simulator.New()
	for number, state := range map[int]simulator.State{
		paidDecoy: simulator.Paid, expiredDecoy: simulator.Expired, openDecoy: simulator.Open,
	} {
		for _, site := range w.sites {
			site.upstreams.Add(simulator.Object{Provider: w.provider, ID: w.decoy(number), State: state})
			site.empty = empty.Handler()
		}
	}
}

func (w *world) decoy(number int) string { return gen.ID(w.provider, number) }

// credential returns the account's most secret credential.
func (w *world) credential() string {
	keys := simulator.Keys()[w.provider]
	for _, name := range []string{"secretKey", "apiKey"} {
		if keys[name] != "" {
			return keys[name]
		}
	}
	panic("the provider has no credential")
}

// running returns the manager processes.
func (w *world) running() []*process {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.processes)
}

// start starts another manager process.
func (w *world) start() {
	started := w.startProcess()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.processes = append(w.processes, started)
}

// end ends the oldest manager process, by stop or by kill.
func (w *world) end(how func(*process)) {
	w.mu.Lock()
	oldest := w.processes[0]
	w.processes = slices.Clone(w.processes[1:])
	w.mu.Unlock()
	// It finishes what it has begun beside another one.
	w.noteEnd()
	how(oldest)
	w.noteEnd()
}

func (w *world) noteEnd() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.processes) > 0 {
		w.endedAt = time.Now()
	}
}

// isAlone reports whether one process runs, and no other one did for a while.
func (w *world) isAlone(duration time.Duration) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.processes) == 1 && time.Since(w.endedAt) > duration
}

// replace starts another manager process in the place of one that has died.
func (w *world) replace(died *process) {
	w.sayf("the manager dies, and another one starts")
	started := w.startProcess()
	w.mu.Lock()
	if i := slices.Index(w.processes, died); i >= 0 {
		w.processes[i] = started
	} else {
		w.processes = append(w.processes, started)
	}
	w.mu.Unlock()
	died.stop()
}

// forgetProofs drops what replies have proven about a payment, or about all: calls about it may be right again.
func (w *world) forgetProofs(which func(payment) bool) {
	for _, process := range w.running() {
		process.forgetProofs(which)
	}
}

// setKeys changes the credentials that the sites accept.
func (w *world) setKeys(keys map[string]string) {
	w.mu.Lock()
	w.isRotated = !maps.Equal(keys, simulator.Keys()[w.provider])
	w.mu.Unlock()
	for _, site := range w.sites {
		for _, name := range slices.Sorted(maps.Keys(keys)) {
			site.upstreams.SetKey(w.provider, name, keys[name])
		}
	}
}

func (w *world) must(err error) {
	if err != nil {
		panic(err)
	}
}

// sayf adds a sentence to the story.
func (w *world) sayf(format string, arguments ...any) {
	at := time.Since(w.began).Round(time.Millisecond)
	w.mu.Lock()
	defer w.mu.Unlock()
	w.story = append(w.story, fmt.Sprintf("at %s %s", at, fmt.Sprintf(format, arguments...)))
}

// details is true where stories have the calls and the statuses, too.
var details = flag.Bool("details", false, "Show calls and statuses in the story of a failed history.")

// detailf adds a sentence about what the operator does.
func (w *world) detailf(format string, arguments ...any) {
	if *details {
		w.sayf("    "+format, arguments...)
	}
}

// findf adds a finding.
func (w *world) findf(format string, arguments ...any) {
	at := time.Since(w.began).Round(time.Millisecond)
	finding := fmt.Sprintf("at %s: %s", at, fmt.Sprintf(format, arguments...))
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.findings) < 10 {
		w.findings = append(w.findings, finding)
		w.story = append(w.story, "  !! "+finding)
	}
}

// siteOf returns where the endpoint of an account is.
func (w *world) siteOf(key objectKey) *site { return w.sites[w.ledgers.account(key, nil).site] }

// addUpstream adds a payment to a site.
func (w *world) addUpstream(at *site, object simulator.Object) {
	object.Provider = w.provider
	at.upstreams.Add(object)
	shown := stateOf(w.provider, object.State)
	w.ledgers.payment(payment{at.number, object.ID}, func(l *ledger) {
		l.had[shown], l.variant = true, object.Variant
		if object.Variant == simulator.Authorized {
			// Its money is reserved and not captured yet.
			l.had[v1alpha1.SessionStateProcessing] = true
		}
		l.hidden = object.HiddenReads > 0
		l.troubled = l.troubled || object.Variant != "" || object.HiddenReads > 0 || object.State != simulator.Open
	})
}

// setState changes a payment at its provider, as its payer or the provider would.
func (w *world) setState(at *site, id string, state simulator.State) {
	changed := payment{at.number, id}
	shown, before := w.shownAs(changed, state), w.shownAs(changed, w.stateAt(changed))
	w.ledgers.payment(changed, func(l *ledger) {
		l.had[shown], l.left[before], l.troubled = true, time.Now(), true
	})
	at.upstreams.SetState(w.provider, id, state)
}

// register makes an id known, and returns its form in the books.
func (w *world) register(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.ids[w.ledgers.fold(id)] = id
}

// idOf returns the form in the books of an id; false for a text that is none.
func (w *world) idOf(text string) (string, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	id, ok := w.ids[w.ledgers.fold(text)]
	return id, ok
}

// clock returns the managers' time.
func (w *world) clock() time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Add(w.skew)
}

// hasStepped reports whether the managers' clock was set since a time.
func (w *world) hasStepped(since time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.steppedAt.After(since)
}

// disturb records that the cluster does not work well, and that nothing has to be done in time.
func (w *world) disturb() {
	w.mu.Lock()
	w.uneasy = time.Now()
	w.mu.Unlock()
	w.ledgers.disturbAll(false)
}

// disturbAccounts records that the provider does not work well.
func (w *world) disturbAccounts() { w.ledgers.disturbAll(true) }

// calmFor returns how long the cluster has worked well.
func (w *world) calmFor() time.Duration {
	if w.chaos.troubled() || len(w.running()) > 1 {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Since(w.uneasy)
}

// paymentOf returns the payment of a session at the present endpoint of its provider.
func (w *world) paymentOf(of *v1alpha1.PaymentSession) (payment, accountFacts) {
	known := w.ledgers.account(accountOf(of), nil)
	id, ok := w.idOf(of.Spec.SessionID)
	if !ok {
		id = of.Spec.SessionID
	}
	return payment{known.site, id}, known
}

// stateAt returns the state of a payment in the books.
func (w *world) stateAt(at payment) simulator.State {
	return w.sites[at.site].upstreams.State(w.provider, at.id)
}

// accountOf returns the provider object of a session.
func accountOf(of *v1alpha1.PaymentSession) objectKey {
	key := objectKey{kind: of.Spec.ProviderRef.Kind}
	key.Name = of.Spec.ProviderRef.Name
	if key.kind == v1alpha1.KindPaymentProvider {
		key.Namespace = of.Namespace
	}
	return key
}

// sameSession reports whether two objects name one payment.
func (w *world) sameSession(a, b *v1alpha1.PaymentSession) bool {
	return a.UID != b.UID && accountOf(a) == accountOf(b) &&
		w.ledgers.fold(a.Spec.SessionID) == w.ledgers.fold(b.Spec.SessionID)
}

// rivals reports whether two objects decide together about one payment. Those of other namespaces have no say.
func (w *world) rivals(a, b *v1alpha1.PaymentSession) bool {
	return a.Namespace == b.Namespace && w.sameSession(a, b)
}

func nameOf(of client.Object) string { return of.GetNamespace() + "/" + of.GetName() }

// ignoreGone ignores that an object is gone or has changed: users' actions race with the cluster's.
func ignoreGone(err error) bool {
	return err == nil || apierrors.IsNotFound(err) || apierrors.IsConflict(err) || apierrors.IsForbidden(err) ||
		apierrors.IsAlreadyExists(err) || apierrors.IsInvalid(err)
}
