// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/internal/sweep"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

const (
	// sweptProvider is the provider object of the account that sweeps list, and cluster the name of the cluster.
	sweptProvider, clusterName = "swept", "sim"
	// settled is how long after the end of all faults sweeps may still wait: passes back off up to five minutes.
	settled = 15 * time.Minute
	// proofAge is how old the read may be that shows whose a session is when it is expired.
	proofAge = 6*time.Minute + time.Second
)

// strays are the payments that an application has opened and that no object names. They are at an account of their own,
// so that nothing else is about them.
type strays struct {
	class string

	mu sync.Mutex
	// owners are whose they are, by id, had whose they have ever been, and marked when that was changed last.
	owners map[string]string
	had    map[string]bool
	marked map[string]time.Time
	// registered are until when an object of its namespace wanted a stray expired, by id, and retained the strays whose
	// object is gone and had the policy Retain.
	registered map[string]time.Time
	retained   map[string]bool
	// reads are the last reads of each process.
	reads map[reader]ownerRead
	count int
	// wanted is until when a sweep of a namespace wanted its sessions expired, and denied since when the provider object
	// does not allow it; zero while it does.
	wanted map[string]time.Time
	denied time.Time
	// fails is the number of calls that fail from now on, and how.
	fails int
	how   string
	// pages counts the calls to list.
	pages int
	// ruledAt is when the rule was changed last.
	ruledAt time.Time
}

// addSwept creates the account of the strays. Its class is another one than that of the other accounts.
func (w *world) addSwept() {
	class := "omise"
	if w.provider == class {
		class = "txn"
	}
	w.strays = &strays{
		class: class, owners: map[string]string{}, had: map[string]bool{}, marked: map[string]time.Time{},
		wanted: map[string]time.Time{}, registered: map[string]time.Time{}, retained: map[string]bool{},
		reads: map[reader]ownerRead{},
	}
	w.must(w.server.create(gen.Class(class)))
	w.server.setUID(&v1alpha1.PaymentProviderClass{ObjectMeta: metav1.ObjectMeta{Name: class}}, types.UID("class-"+class))
	secret := gen.Secret(operatorNamespace, class)
	w.must(w.server.create(secret))
	provider := gen.ClusterPaymentProvider(sweptProvider, class, &v1alpha1.NamespaceSelector{},
		gen.Endpoint(hosts[0]+"/"+class), gen.Swept(class))
	w.must(w.server.create(provider))
}

// sweptAt reads the provider object of the strays.
func (w *world) sweptAt() *v1alpha1.ClusterPaymentProvider {
	provider := &v1alpha1.ClusterPaymentProvider{}
	w.must(w.server.get(types.NamespacedName{Name: sweptProvider}, provider))
	return provider
}

// isStray reports whether a call is about the account of the strays.
func (w *world) isStray(made *exchange) bool {
	return w.strays != nil && made.provider == w.strays.class
}

// sweeps returns the sweeps in the API server.
func (w *world) sweeps() []*v1alpha1.PaymentSweep {
	var found []*v1alpha1.PaymentSweep
	for _, object := range w.server.list(v1alpha1.KindPaymentSweep, "") {
		of, _ := object.(*v1alpha1.PaymentSweep)
		found = append(found, of)
	}
	return found
}

// openStray opens a payment, and returns its id.
func (w *world) openStray(owner string) string {
	known := w.strays
	known.mu.Lock()
	known.count++
	id := gen.ID(known.class, 100+known.count)
	known.mark(id, owner)
	known.mu.Unlock()
	w.register(id)
	w.sayf("an application opens stray %s of %q", id, owner)
	w.sites[0].upstreams.Add(simulator.Object{Provider: known.class, ID: id, State: simulator.Open, Owner: owner})
	return id
}

// mark says whose a stray is. The strays are locked.
func (s *strays) mark(id, owner string) {
	s.owners[id], s.had[id+" "+owner] = owner, true
}

func (w *world) pickStray(s step) string {
	w.strays.mu.Lock()
	defer w.strays.mu.Unlock()
	ids := slices.Sorted(maps.Keys(w.strays.owners))
	if len(ids) == 0 {
		return ""
	}
	return ids[s.roll("stray", len(ids))]
}

// ownedOpen returns the ids of the strays of a namespace that can be paid and that are left to no object of it. The API
// server is locked.
func (w *world) ownedOpen(namespace string) []string {
	named := w.namedIn(namespace)
	w.strays.mu.Lock()
	defer w.strays.mu.Unlock()
	var open []string
	for _, id := range slices.Sorted(maps.Keys(w.strays.owners)) {
		isOpen := isPayable(w.sites[0].upstreams.State(w.strays.class, id))
		isOwn := w.strays.owners[id] == clusterName+"/"+namespace
		if isOwn && isOpen && !named[id] && !w.strays.retained[id] {
			open = append(open, id)
		}
	}
	return open
}

// wantsSweep reports whether a sweep wants its sessions expired now. The API server is locked.
func (w *world) wantsSweep(of *v1alpha1.PaymentSweep) bool {
	if !isDeletingObject(of) {
		return of.Spec.DesiredState == v1alpha1.DesiredStateExpired && !of.Spec.Suspend && !w.dryRun
	}
	return w.holdsNamespace(of) && !of.Spec.Suspend
}

// holdsNamespace reports whether a namespace that is being deleted waits for a sweep. The API server is locked.
func (w *world) holdsNamespace(of *v1alpha1.PaymentSweep) bool {
	namespace := w.server.objects[objectKey{"Namespace", types.NamespacedName{Name: of.Namespace}}]
	return of.Spec.DeletionPolicy == v1alpha1.DeletionPolicyExpire && sweep.HasFinalizer(of) && !w.dryRun &&
		namespace != nil && !namespace.GetDeletionTimestamp().IsZero()
}

func isDeletingObject(object client.Object) bool { return !object.GetDeletionTimestamp().IsZero() }

// noteSweep keeps what is known about sweeps and their provider object up to date, and checks the end of a sweep. The
// API server is locked.
func (w *world) noteSweep(changed change) {
	if w.strays == nil {
		return
	}
	if provider, ok := changed.after.(*v1alpha1.ClusterPaymentProvider); ok && provider.Name == sweptProvider {
		allows := provider.Spec.SweepPolicy == v1alpha1.SweepAllow
		before, _ := changed.before.(*v1alpha1.ClusterPaymentProvider)
		w.strays.mu.Lock()
		if before != nil && !reflect.DeepEqual(before.Spec.Ownership, provider.Spec.Ownership) {
			w.strays.ruledAt = time.Now()
		}
		switch {
		case allows:
			w.strays.denied = time.Time{}
		case w.strays.denied.IsZero():
			w.strays.denied = time.Now()
		}
		w.strays.mu.Unlock()
	}
	// Where an object goes, before is what was left of it.
	before, _ := changed.was.(*v1alpha1.PaymentSweep)
	after, _ := changed.after.(*v1alpha1.PaymentSweep)
	if before != nil && w.wantsSweep(before) {
		w.strays.mu.Lock()
		w.strays.wanted[before.Namespace] = time.Now()
		w.strays.mu.Unlock()
	}
	if after != nil {
		w.checkPlan(after)
	}
	wasHeld := before != nil && isDeletingObject(before) && sweep.HasFinalizer(before)
	if wasHeld && (after == nil || !sweep.HasFinalizer(after)) {
		w.checkSwept(before)
	}
}

// checkPlan refuses that a plan names a session that was never that of its namespace: it is as old as the last pass.
func (w *world) checkPlan(of *v1alpha1.PaymentSweep) {
	if of.Status.Plan == nil {
		return
	}
	w.strays.mu.Lock()
	defer w.strays.mu.Unlock()
	for _, planned := range of.Status.Plan.Sessions {
		if !w.strays.had[planned.ID+" "+clusterName+"/"+of.Namespace] {
			w.findf("the plan of sweep %s names stray %s of %q", nameOf(of), planned.ID, w.strays.owners[planned.ID])
		}
	}
}

// checkSwept refuses that a sweep which holds its namespace is released while a session of the namespace can be paid.
// The API server is locked.
func (w *world) checkSwept(of *v1alpha1.PaymentSweep) {
	w.strays.mu.Lock()
	isDenied := !w.strays.denied.IsZero()
	w.strays.mu.Unlock()
	if !w.holdsNamespace(of) || isDenied || w.ruleChanged() {
		return
	}
	if open := w.ownedOpen(of.Namespace); len(open) > 0 {
		w.findf("sweep %s is released, and %q can still be paid", nameOf(of), open)
	}
}

// ruleChanged reports whether the rule says something else than the owners in the books. The API server is locked.
func (w *world) ruleChanged() bool {
	key := objectKey{v1alpha1.KindClusterPaymentProvider, types.NamespacedName{Name: sweptProvider}}
	provider, _ := w.server.objects[key].(*v1alpha1.ClusterPaymentProvider)
	return provider == nil || provider.Spec.Ownership.Owner != gen.Marks(w.strays.class) || provider.Spec.Ownership.Self != ""
}

// serveStray makes a call of a sweep, with the faults that were drawn for it.
func (d *door) serveStray(made *exchange) (*httpx.Reply, error) {
	world := d.process.world
	known := world.strays
	isList := made.id == ""
	if made.operation == simulator.Expire {
		world.checkStray(d.process, made)
	}
	known.mu.Lock()
	how := ""
	if isList {
		known.pages++
	}
	if known.fails > 0 && (known.how != "page" || isList) {
		known.fails--
		how = known.how
	}
	known.mu.Unlock()
	reply := httptest.NewRecorder()
	switch how {
	case "500", "429", "401":
		codes := map[string]int{"500": http.StatusInternalServerError, "429": http.StatusTooManyRequests, "401": http.StatusUnauthorized}
		reply.WriteHeader(codes[how])
	case "page":
		reply.Header().Set("Content-Type", "text/html")
		_, _ = reply.WriteString("<html>maintenance</html>")
	case "late":
		made.site.handler.ServeHTTP(httptest.NewRecorder(), made.request)
		return nil, errTimeout
	case "drop":
		return nil, errors.New("EOF")
	default:
		owner := known.ownerOf(made.id)
		made.site.handler.ServeHTTP(reply, made.request)
		if made.operation == simulator.Observe && reply.Code == http.StatusOK {
			known.note(reader{d.process, made.id}, ownerRead{time.Now(), owner})
		}
	}
	world.detailf("sweep: %s %s: %d %s", made.operation, made.id, reply.Code, how)
	return &httpx.Reply{Code: reply.Code, Header: reply.Header(), Body: reply.Body.Bytes()}, nil
}

// checkStray refuses an expire call about a stray that the last read has not shown as a namespace's own, and one that
// nothing in that namespace wants.
func (w *world) checkStray(process *process, made *exchange) {
	const late = 3 * time.Second
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	w.strays.mu.Lock()
	read, denied := w.strays.reads[reader{process, made.id}], w.strays.denied
	w.strays.mu.Unlock()
	cluster, namespace, _ := strings.Cut(read.owner, "/")
	switch {
	case w.dryRun:
		w.findf("a dry run expires stray %s", made.id)
		return
	case time.Since(read.at) > proofAge:
		w.findf("stray %s is to be expired, and this process has read it last %s ago", made.id, time.Since(read.at))
		return
	case cluster != clusterName || namespace == "":
		w.findf("stray %s is to be expired, and is that of %q", made.id, read.owner)
		return
	case w.wantsRegistered(made.id, namespace):
		return
	case w.isKept(made.id, namespace):
		w.findf("stray %s is to be expired, and an object of %s keeps it", made.id, namespace)
	case !denied.IsZero() && time.Since(denied) > stale:
		w.findf("stray %s is to be expired, and sweeps have not been allowed for %s", made.id, time.Since(denied))
	}
	for _, object := range w.server.objects {
		if of, ok := object.(*v1alpha1.PaymentSweep); ok && of.Namespace == namespace && w.wantsSweep(of) {
			return
		}
	}
	w.strays.mu.Lock()
	since := time.Since(w.strays.wanted[namespace])
	w.strays.mu.Unlock()
	if since > late {
		w.findf("stray %s of %q is to be expired, and no sweep has wanted that for %s", made.id, read.owner, since)
	}
}

// healSweeps ends what disturbs sweeps.
func (w *world) healSweeps() {
	if w.strays == nil {
		return
	}
	w.strays.mu.Lock()
	w.strays.fails = 0
	w.strays.mu.Unlock()
	w.sites[0].upstreams.SetListLag(0)
	w.change(w.sweptAt(), fmt.Sprintf(`{"spec":{"sweepPolicy":"Allow","ownership":{"owner":%q,"self":null},`+
		`"rateLimit":{"requests":10,"per":"1s","burst":20}}}`, gen.Marks(w.strays.class)))
	for _, of := range w.sweeps() {
		w.change(of, `{"spec":{"suspend":false,"limits":{"sessions":200}}}`)
	}
	w.healOwned()
	sleep(w.ctx, settled)
	w.checkOwnedAtRest()
}

// checkSweepsAtRest refuses that a sweep waits although nothing disturbs it, and that one which expires in each pass
// has left something.
func (w *world) checkSweepsAtRest() {
	if w.strays == nil || w.dryRun {
		return
	}
	for _, of := range w.sweeps() {
		ready, left := readyOf(of), w.leftOpen(of.Namespace)
		switch {
		case isDeletingObject(of):
			w.findf("sweep %s is not gone: %s", nameOf(of), ready)
		case !strings.HasPrefix(ready, v1alpha1.ReasonPlanned):
			w.findf("sweep %s is not Ready: %s", nameOf(of), ready)
		case of.Spec.DesiredState == v1alpha1.DesiredStateExpired && len(left) > 0:
			w.findf("sweep %s has left %q", nameOf(of), left)
		case of.Status.Plan == nil || int(of.Status.Plan.Open) < len(left):
			w.findf("the plan of sweep %s is %+v, and %q are open", nameOf(of), of.Status.Plan, left)
		}
	}
	w.strays.mu.Lock()
	before := w.strays.pages
	w.strays.mu.Unlock()
	sleep(w.ctx, time.Hour)
	w.strays.mu.Lock()
	defer w.strays.mu.Unlock()
	// A page has 50 items or more, and some lists end with an empty one.
	if pages := w.strays.pages - before; pages > 8*(2+w.strays.count/50) {
		w.findf("sweeps have made %d calls to list in an hour in which nothing happens", pages)
	}
}

func (w *world) leftOpen(namespace string) []string {
	w.server.mu.Lock()
	defer w.server.mu.Unlock()
	return w.ownedOpen(namespace)
}

// readyOf returns the reason and the message of a sweep.
func readyOf(of *v1alpha1.PaymentSweep) string {
	for _, condition := range of.Status.Conditions {
		if condition.Type == v1alpha1.ConditionReady {
			return condition.Reason + ": " + condition.Message
		}
	}
	return "no status"
}
