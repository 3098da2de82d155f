// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/controllers"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// inCluster gives the cluster the name eu.
func inCluster(options *controllers.Options) { options.ClusterName = "eu" }

// markedSession creates a session that has an owner's mark at the provider.
func (w *world) markedSession(t *testing.T, provider, owner string,
	options ...gen.SessionOption) *v1alpha1.PaymentSession {
	t.Helper()
	id := gen.ID(provider, len(w.upstreams.Objects())+1)
	w.upstreams.Add(simulator.Object{Provider: provider, ID: id, State: simulator.Open, Owner: owner})
	session := gen.Session(w.namespace, "", provider, id, options...)
	session.GenerateName = provider + "-"
	w.create(t, session)
	return session
}

// own returns the namespace's own word by the default rule.
func (w *world) own() string { return "eu/" + w.namespace }

// TestOwnershipOfEveryProvider expires the sessions whose marks name the namespace, with exactly one call more, and
// leaves all others alone.
func TestOwnershipOfEveryProvider(t *testing.T) {
	w := newWorld(t, inCluster)
	for _, provider := range gen.Providers {
		w.provide(t, provider, gen.Owned(provider))
	}
	for _, provider := range gen.Providers {
		t.Run(provider, func(t *testing.T) {
			calls := []string{observe, expire}
			if provider == "circle" {
				calls = append(calls, observe)
			}
			session := w.markedSession(t, provider, w.own())
			w.reason(t, session, v1alpha1.ReasonExpired)
			if got := w.calls(session); !slices.Equal(got, calls) {
				t.Errorf("calls %q, want %q", got, calls)
			}
			for whose, owner := range map[string]string{
				"another cluster's": "us/" + w.namespace, "another namespace's": "eu/another", "nobody's": "",
			} {
				foreign := w.markedSession(t, provider, owner)
				said := w.reason(t, foreign, v1alpha1.ReasonNotOwned)
				w.assertNeverExpired(t, foreign)
				if said.Status.State != "" || said.Status.Upstream != nil {
					t.Errorf("%s: the status shows %q, %+v", whose, said.Status.State, said.Status.Upstream)
				}
				if message := readyOf(said).Message; strings.Contains(message, "another") || strings.Contains(message, "us/") {
					t.Errorf("%s: the message names another namespace: %s", whose, message)
				}
			}
		})
	}
}

// TestDeletionOfForeignSessions deletes sessions of a shared account: the namespace's own is expired first, and others
// are left alone.
func TestDeletionOfForeignSessions(t *testing.T) {
	w := newWorld(t, inCluster)
	w.provide(t, "omise", gen.Owned("omise"))
	own := w.markedSession(t, "omise", w.own(), gen.Active)
	foreign := w.markedSession(t, "omise", "us/"+w.namespace, gen.Active)
	unmarked := w.markedSession(t, "omise", "", gen.Active)
	w.reason(t, own, v1alpha1.ReasonObserved)
	for _, session := range []*v1alpha1.PaymentSession{foreign, unmarked} {
		w.reason(t, session, v1alpha1.ReasonNotOwned)
		w.event(t, session, v1alpha1.ReasonNotOwned)
	}
	for _, session := range []*v1alpha1.PaymentSession{own, foreign, unmarked} {
		if err := w.Delete(t.Context(), session); err != nil {
			t.Fatal(err)
		}
		await.Gone(t, w, session)
	}
	if got := stateOf(w, own); got != simulator.Expired {
		t.Errorf("the namespace's own session is %s after its deletion", got)
	}
	w.assertNeverExpired(t, foreign)
	w.assertNeverExpired(t, unmarked)
}

// TestMarksAndRulesChange changes the marks of a session, the rule, and the namespace's own word.
func TestMarksAndRulesChange(t *testing.T) {
	w := newWorld(t, inCluster)
	provider := w.provide(t, "omise", gen.Owned("omise"))

	session := w.markedSession(t, "omise", "")
	w.reason(t, session, v1alpha1.ReasonNotOwned)
	w.upstreams.SetOwner("omise", session.Spec.SessionID, w.own())
	w.refresh(t, session, "the mark is there now")
	w.reason(t, session, v1alpha1.ReasonExpired)

	session = w.markedSession(t, "omise", "of/this.team")
	w.reason(t, session, v1alpha1.ReasonNotOwned)
	w.change(t, provider, `{"spec":{"ownership":{"self":"'of/' + namespaceObject.metadata.annotations['owner']"}}}`)
	w.reason(t, session, v1alpha1.ReasonOwnershipIncomplete)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	w.change(t, namespace, `{"metadata":{"annotations":{"owner":"that.team"}}}`)
	w.reason(t, session, v1alpha1.ReasonNotOwned)
	w.change(t, namespace, `{"metadata":{"annotations":{"owner":"this.team"}}}`)
	w.reason(t, session, v1alpha1.ReasonExpired)
}

// TestLostWord takes away the label by which a namespace is allowed and has its word. A deletion waits until it is
// back: released by a comparison with nothing, the namespace's own session would stay payable.
func TestLostWord(t *testing.T) {
	w := newWorld(t)
	provider := w.provideForTeam(t, "shop")
	w.change(t, provider, `{"spec":{"ownership":{"owner":`+strconv.Quote(string(gen.Marks("omise")))+
		`,"self":"'team/' + namespaceObject.metadata.labels['team']"}}}`)
	session := w.markedSession(t, "omise", "team/shop", gen.Active, gen.ClusterProvider(provider.Name))
	w.reason(t, session, v1alpha1.ReasonObserved)
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: w.namespace}}
	w.change(t, namespace, `{"metadata":{"labels":{"team":null}}}`)
	w.reason(t, session, v1alpha1.ReasonOwnershipIncomplete)
	if err := w.Delete(t.Context(), session); err != nil {
		t.Fatal(err)
	}
	held := await.Until(t, w, session, "its deletion waits", func(s *v1alpha1.PaymentSession) bool {
		return strings.Contains(readyOf(s).Message, "The deletion of this object waits for that")
	})
	if ready := readyOf(held); ready.Reason != v1alpha1.ReasonOwnershipIncomplete {
		t.Errorf("it waits for %s: %s", ready.Reason, ready.Message)
	}
	if calls := w.upstreams.CallsOf("omise", session.Spec.SessionID); slices.Contains(calls, expire) {
		t.Errorf("calls %q, want no expiry", calls)
	}
	w.change(t, namespace, `{"metadata":{"labels":{"team":"shop"}}}`)
	await.Gone(t, w, session)
	if got := w.upstreams.State("omise", session.Spec.SessionID); got != simulator.Expired {
		t.Errorf("the session is %s after the deletion", got)
	}
}

// TestRuleThatWarns creates an Event, and expires the session all the same.
func TestRuleThatWarns(t *testing.T) {
	w := newWorld(t, inCluster)
	provider := w.provide(t, "omise", gen.Owned("omise"), func(spec *v1alpha1.PaymentProviderSpec) {
		spec.Ownership.Action = v1alpha1.OwnershipWarn
	})
	session := w.markedSession(t, "omise", "us/shop", gen.Active)
	w.reason(t, session, v1alpha1.ReasonObserved)
	w.event(t, session, v1alpha1.ReasonNotOwned)
	w.change(t, session, `{"spec":{"desiredState":"expired"}}`)
	w.reason(t, session, v1alpha1.ReasonExpired)

	w.change(t, provider, `{"spec":{"ownership":{"action":"Enforce"}}}`)
	await.Until(t, w, provider, "the operator has seen the change", func(p *v1alpha1.PaymentProvider) bool {
		return p.Status.ObservedGeneration == p.Generation && p.Spec.Ownership.Action == v1alpha1.OwnershipEnforce
	})
	w.reason(t, w.markedSession(t, "omise", "us/shop"), v1alpha1.ReasonNotOwned)
}

// TestRulesThatCannotBeUsed checks what a provider and its sessions say, and that no call is made.
func TestRulesThatCannotBeUsed(t *testing.T) {
	w := newWorld(t)
	for i, tc := range []struct {
		reason, rule, provider, session, says string
	}{
		{
			"the cluster has no name", `{"owner":"session.reference"}`,
			v1alpha1.ReasonOwnershipIncomplete, v1alpha1.ReasonOwnershipIncomplete, "--cluster-name",
		},
		{
			"the owner does not compile", `{"owner":"session."}`,
			v1alpha1.ReasonInvalidOwnership, v1alpha1.ReasonProviderNotReady, "spec.ownership.owner",
		},
		{
			"the owner is always the same", `{"owner":"'shop'","self":"namespaceObject.metadata.name"}`,
			v1alpha1.ReasonInvalidOwnership, v1alpha1.ReasonProviderNotReady, "does not depend on the session",
		},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			provider := gen.Provider(w.namespace, "omise", gen.Endpoint(w.url+"/omise"))
			provider.Name = fmt.Sprintf("omise-%d", i)
			if i == 0 {
				w.create(t, gen.Secret(w.namespace, "omise"))
			}
			w.create(t, provider)
			w.change(t, provider, `{"spec":{"ownership":`+tc.rule+`}}`)
			said := await.Reason(t, w, provider, tc.provider)
			ready := apimeta.FindStatusCondition(said.Status.Conditions, v1alpha1.ConditionReady)
			if !strings.Contains(ready.Message, tc.says) {
				t.Errorf("the message is %q, want %q in it", ready.Message, tc.says)
			}
			if !apimeta.IsStatusConditionTrue(said.Status.Conditions, v1alpha1.ConditionStalled) {
				t.Error("the provider is not Stalled")
			}
			id := gen.ID("omise", len(w.upstreams.Objects())+1)
			w.upstreams.Add(simulator.Object{Provider: "omise", ID: id, State: simulator.Open})
			session := gen.Session(w.namespace, fmt.Sprintf("order-%d", i), provider.Name, id)
			w.create(t, session)
			w.reason(t, session, tc.session)
			if calls := w.upstreams.CallsOf("omise", id); len(calls) > 0 {
				t.Errorf("calls %q, want none", calls)
			}
		})
	}
}
