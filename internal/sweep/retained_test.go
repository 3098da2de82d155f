// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sweep

import (
	"testing"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// passOver returns the listing of a pass over open sessions of the namespace.
func passOver(scope Scope, began time.Time, ids ...string) *Listing {
	made := newPart(scope, began)
	page := upstream.Page{Result: call.Result{Outcome: v1alpha1.OutcomeAccepted}, Items: len(ids), Last: true}
	for i, id := range ids {
		page.Sessions = append(page.Sessions, upstream.Listed{
			ID: id, State: v1alpha1.SessionStateActive, Owner: scope.Self, ShowsOwner: true,
			CreatedAt: began.Add(-time.Duration(i+1) * time.Minute),
		})
	}
	made.read(page, true)
	return made.end(began.Add(time.Second), nil)
}

// TestRetainedSessionsHideNoOthers tears a namespace down with more retained sessions than the limit allows others, in
// whichever order the list has them: the others are expired, and the sweep is not released before.
func TestRetainedSessionsHideNoOthers(t *testing.T) {
	for _, ids := range [][]string{{"r1", "r2", "r3", "r4", "a", "b"}, {"a", "b", "r1", "r2", "r3", "r4"}} {
		in := given(deleted, retained("r1", "r2", "r3", "r4"))
		in.Scope = Scope{Self: "eu/shop", Lookback: time.Hour, Sessions: 3, Pages: 10}
		in.Listing = passOver(in.Scope, in.Now.Add(-2*time.Second), ids...)
		action := Decide(in)
		if action.Release || len(action.Expire) != 2 {
			t.Errorf("%q: expires %v (release: %v, %s), want a and b", ids, action.Expire, action.Release, action.Verdict.Message)
		}
	}
}

// TestMoreThanIsKept has more sessions than a listing keeps: nothing follows from those that it does.
func TestMoreThanIsKept(t *testing.T) {
	in := given(deleted, found("a"))
	in.Listing.Count = 2
	if action := Decide(in); action.Verdict == nil || action.Verdict.Reason != v1alpha1.ReasonTooManySessions {
		t.Errorf("got %+v, want TooManySessions", action.Verdict)
	}
}
