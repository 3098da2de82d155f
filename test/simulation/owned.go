// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// ownedActions are what happens to the sessions of the account that has a rule of ownership. They are about strays, so
// that objects and sweeps meet.
var ownedActions = map[string]action{
	"register stray": {5, func(w *world, s step) {
		namespace := choose(s, "namespace", namespaces...)
		if w.isTerminating(namespace) {
			return
		}
		own := clusterName + "/" + namespace
		id := w.openStray(choose(s, "owner", own, own, own, "other/"+namespace, "", clusterName+"/elsewhere"))
		made := gen.Session(namespace, "registered-"+id[len(id)-4:], sweptProvider, id, gen.ClusterProvider(sweptProvider))
		made.Spec.DesiredState = choose(s, "state", v1alpha1.DesiredStateActive, v1alpha1.DesiredStateExpired)
		if s.roll("policy", 4) == 0 {
			gen.Retained(made)
		}
		if w.server.create(made) == nil {
			w.sayf("a user registers %s for stray %s: %s, %s", nameOf(made), id, made.Spec.DesiredState,
				made.Spec.DeletionPolicy)
		}
	}},
	"change registered": {3, onOwned(func(w *world, of *v1alpha1.PaymentSession, s step) {
		patch := choose(s, "patch", `{"spec":{"desiredState":"expired"}}`, `{"spec":{"desiredState":"expired"}}`,
			`{"spec":{"suspend":true}}`, `{"spec":{"suspend":false}}`, `{"spec":{"deletionPolicy":"Retain"}}`,
			`{"spec":{"deletionPolicy":"Expire"}}`)
		if of.Spec.DesiredState == v1alpha1.DesiredStateActive && s.roll("expireAt", 4) == 0 {
			patch = fmt.Sprintf(`{"spec":{"expireAt":%q}}`, time.Now().Add(20*time.Second).UTC().Format(time.RFC3339))
		}
		w.sayf("a user changes %s: %s", nameOf(of), patch)
		w.change(of, patch)
	})},
	"delete registered": {2, onOwned(func(w *world, of *v1alpha1.PaymentSession, _ step) {
		w.sayf("a user deletes %s", nameOf(of))
		w.remove(of)
	})},
	"change hands": {2, func(w *world, s step) {
		id, namespace := w.pickStray(s), choose(s, "namespace", namespaces...)
		if id == "" {
			return
		}
		owner := choose(s, "owner", clusterName+"/"+namespace, "", "other/"+namespace)
		w.sayf("somebody with the key marks stray %s as that of %q", id, owner)
		w.strays.mu.Lock()
		w.strays.mark(id, owner)
		w.strays.marked[id] = time.Now()
		w.strays.mu.Unlock()
		w.sites[0].upstreams.SetOwner(w.strays.class, id, owner)
	}},
}

func onOwned(do func(w *world, of *v1alpha1.PaymentSession, s step)) func(*world, step) {
	return func(w *world, s step) {
		if all := w.owned(); len(all) > 0 {
			do(w, all[s.roll("registered", len(all))], s)
		}
	}
}

// isOwned reports whether a session is of the account that has a rule of ownership.
func isOwned(of *v1alpha1.PaymentSession) bool { return of.Spec.ProviderRef.Name == sweptProvider }

// owned returns the sessions of the account that has a rule of ownership.
func (w *world) owned() []*v1alpha1.PaymentSession {
	return slices.DeleteFunc(w.everySession(), func(of *v1alpha1.PaymentSession) bool { return !isOwned(of) })
}

// noteOwned keeps up to date what is known about the objects of strays, and checks their end. The API server is locked.
func (w *world) noteOwned(changed change) {
	was, _ := changed.was.(*v1alpha1.PaymentSession)
	after, _ := changed.after.(*v1alpha1.PaymentSession)
	if after != nil && *details {
		w.detailf("%s says %s: %s", nameOf(after), reasonOf(after), messageOf(after))
	}
	if after != nil && after.Status.State == v1alpha1.SessionStateExpired {
		if state := w.sites[0].upstreams.State(w.strays.class, after.Spec.SessionID); isPayable(state) {
			w.findf("%s says that it is expired, and stray %s is %s", nameOf(after), after.Spec.SessionID, state)
		}
	}
	if was == nil {
		return
	}
	if after == nil && was.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain {
		w.strays.mu.Lock()
		w.strays.retained[was.Spec.SessionID] = true
		w.strays.mu.Unlock()
	}
	if wants(was, time.Now()) || wants(was, w.clock()) {
		w.strays.mu.Lock()
		w.strays.registered[was.Spec.SessionID] = time.Now()
		w.strays.mu.Unlock()
	}
	if isDeleting(was) && hasFinalizer(was) && (after == nil || !hasFinalizer(after)) {
		w.checkOwnedRelease(was)
	}
}

// isOwn reports whether a stray belongs to the namespace of its object. The strays are locked.
func (w *world) isOwn(of *v1alpha1.PaymentSession) bool {
	return w.strays.owners[of.Spec.SessionID] == clusterName+"/"+of.Namespace
}

// namedIn returns the ids that objects of a namespace name. The API server is locked.
func (w *world) namedIn(namespace string) map[string]bool {
	named := map[string]bool{}
	for _, object := range w.server.objects {
		if of, ok := object.(*v1alpha1.PaymentSession); ok && isOwned(of) && of.Namespace == namespace {
			named[of.Spec.SessionID] = true
		}
	}
	return named
}

// isKept reports whether an object has named a stray for a while and has not wanted it expired. The API server is
// locked.
func (w *world) isKept(id, namespace string) bool {
	for _, object := range w.server.objects {
		of, ok := object.(*v1alpha1.PaymentSession)
		if ok && isOwned(of) && of.Spec.SessionID == id && of.Namespace == namespace {
			return time.Since(of.CreationTimestamp.Time) > stale
		}
	}
	return false
}

// reader is a process that reads a stray, and ownerRead whose the stray was then.
type (
	reader struct {
		process *process
		id      string
	}
	ownerRead struct {
		at    time.Time
		owner string
	}
)

func (s *strays) ownerOf(id string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.owners[id]
}

// note keeps a read.
func (s *strays) note(by reader, read ownerRead) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads[by] = read
}

// wantsRegistered reports whether an object of the owner's namespace wants a stray expired, or did a moment ago. The
// API server is locked.
func (w *world) wantsRegistered(id, namespace string) bool {
	for _, object := range w.server.objects {
		of, ok := object.(*v1alpha1.PaymentSession)
		if ok && isOwned(of) && of.Spec.SessionID == id && of.Namespace == namespace &&
			(wants(of, time.Now()) || wants(of, w.clock())) {
			return true
		}
	}
	w.strays.mu.Lock()
	defer w.strays.mu.Unlock()
	return time.Since(w.strays.registered[id]) < stale
}

// checkOwnedRelease refuses that an object is gone while its session belongs to its namespace and can be paid. The API
// server is locked.
func (w *world) checkOwnedRelease(last *v1alpha1.PaymentSession) {
	const twice = 30 * time.Second
	state := w.sites[0].upstreams.State(w.strays.class, last.Spec.SessionID)
	w.strays.mu.Lock()
	isOwn := w.isOwn(last) && time.Since(w.strays.marked[last.Spec.SessionID]) > twice
	w.strays.mu.Unlock()
	isWaiting := last.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain && !w.isUninstalling() && !w.ruleChangedLately()
	if isOwn && isWaiting && isPayable(state) && !isClosed(last.Status.State) {
		w.findf("%s is gone, and stray %s of its namespace is %s (%s)", nameOf(last), last.Spec.SessionID, state,
			reasonOf(last))
	}
}

// healOwned resumes the sessions of the account, and asks for a refresh of each.
func (w *world) healOwned() {
	for _, of := range w.owned() {
		w.change(of, fmt.Sprintf(`{"spec":{"suspend":false},"metadata":{"annotations":{%q:"healed"}}}`,
			v1alpha1.ReconcileAtAnnotation))
	}
}

// checkOwnedAtRest refuses that a session of the namespace is left as it is although it should be expired, and that one
// of somebody else does not say so.
func (w *world) checkOwnedAtRest() {
	if w.dryRun {
		return
	}
	for _, of := range w.owned() {
		state := w.sites[0].upstreams.State(w.strays.class, of.Spec.SessionID)
		w.strays.mu.Lock()
		isOwn := w.isOwn(of)
		w.strays.mu.Unlock()
		reason := reasonOf(of)
		switch wanted := wants(of, time.Now()); {
		case isDeleting(of):
			w.findf("%s is not gone: %s", nameOf(of), reason)
		case isClosed(of.Status.State):
		case isOwn && wanted && isPayable(state):
			w.findf("%s should be expired, and stray %s is %s (%s)", nameOf(of), of.Spec.SessionID, state, reason)
		case isOwn && reason == v1alpha1.ReasonNotOwned:
			w.findf("%s says that it is not its namespace's, and it is", nameOf(of))
		case !isOwn && reason != v1alpha1.ReasonNotOwned:
			w.findf("%s of somebody else says %s", nameOf(of), strings.Join([]string{reason, messageOf(of)}, ": "))
		}
	}
}

// ruleChangedLately reports whether the rule says something else than the owners in the books, or did a moment ago. The
// API server is locked.
func (w *world) ruleChangedLately() bool {
	return w.ruleChanged() || time.Since(w.strays.ruledAt) < stale
}
