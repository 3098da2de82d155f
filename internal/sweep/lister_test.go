// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sweep

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/time/rate"
	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/account"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// elapse lets time pass in the bubble, and then everything come to rest.
func elapse(pause time.Duration) {
	time.Sleep(pause)
	synctest.Wait()
}

// book is a list in pages of two sessions. Each call takes a second.
type book struct {
	mu       sync.Mutex
	sessions []upstream.Listed
	// before runs before each page; its result, if it has an outcome, is the page.
	before func(page int) upstream.Page
	// opened counts the passes, and read the pages.
	opened, read int
}

func (b *book) source(endpoint string) Source {
	return Source{Endpoint: endpoint, NewestFirst: true, Open: func(since, _ time.Time) Pages {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.opened++
		return &reading{book: b, since: since}
	}}
}

type reading struct {
	*book

	since time.Time
	at    int
}

// Next implements Pages.
func (r *reading) Next(context.Context) upstream.Page {
	time.Sleep(time.Second)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.read++
	page := upstream.Page{Result: call.Result{Outcome: v1alpha1.OutcomeAccepted}}
	if r.before != nil {
		if other := r.before(r.at / 2); other.Outcome != "" {
			return other
		}
	}
	for len(page.Sessions) < 2 && r.at < len(r.sessions) {
		page.Sessions = append(page.Sessions, r.sessions[r.at])
		r.at++
	}
	page.Items = len(page.Sessions)
	page.Last = r.at >= len(r.sessions) || page.Sessions[1].CreatedAt.Before(r.since)
	return page
}

// booked returns sessions of owners, of which each is an hour older than the one before.
func booked(owners ...string) []upstream.Listed {
	sessions := make([]upstream.Listed, 0, len(owners))
	for i, owner := range owners {
		sessions = append(sessions, upstream.Listed{
			ID: fmt.Sprint("s", i), State: v1alpha1.SessionStateActive, Owner: owner, ShowsOwner: true,
			CreatedAt: time.Now().Add(-time.Duration(i) * time.Hour),
		})
	}
	return sessions
}

// desk is a lister with its account.
type desk struct {
	*Lister

	account *account.Account
	done    map[types.UID]int
}

func inBubble(t *testing.T, test func(t *testing.T, b *book, d *desk)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		b := &book{}
		of := account.New(account.Config{Endpoint: "here", Limits: account.Limits{Rate: 100, Burst: 100, Concurrency: 4}})
		ctx, cancel := context.WithCancel(t.Context())
		go of.Run(ctx)
		d := &desk{Lister: NewLister(of, b.source("here")), account: of, done: map[types.UID]int{}}
		test(t, b, d)
		cancel()
		<-of.Stopped()
	})
}

// join lets a sweep take part; its name is its own word.
func (d *desk) join(name string, change ...func(*Scope)) {
	scope := Scope{Self: name, Lookback: 24 * time.Hour, Sessions: 10, Pages: 100}
	for _, each := range change {
		each(&scope)
	}
	id := types.UID(name)
	d.Join(id, scope, func() { d.done[id]++ })
}

// show returns what was handed out to a sweep, as one text.
func (d *desk) show(name string) string {
	l := d.Listing(types.UID(name))
	if l == nil {
		return "nothing"
	}
	var ids []string
	for _, each := range l.Open {
		ids = append(ids, each.ID)
	}
	ending := ""
	switch {
	case l.Failure != nil:
		ending = ", failed"
	case l.Truncated:
		ending = ", truncated"
	case l.Unreadable > 0:
		ending = ", unreadable"
	case !l.Complete:
		ending = ", incomplete"
	}
	return fmt.Sprintf("%s of %d, %d foreign, %d pages%s", strings.Join(ids, " "), l.Count, l.Foreign, l.Pages, ending)
}

func expectShown(t *testing.T, d *desk, name, want string) {
	t.Helper()
	if got := d.show(name); got != want {
		t.Errorf("%s was shown %q, want %q", name, got, want)
	}
}

// TestPassesAreShared lets 200 sweeps ask at once, and again and again for an hour: they cost what one costs.
func TestPassesAreShared(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book, d *desk) {
		t.Helper()
		b.sessions = booked("n1", "n2", "us/n1", "", "n1")
		for i := range 200 {
			d.join(fmt.Sprint("n", i))
		}
		for range 6 {
			from := time.Now()
			for i := range 200 {
				d.Request(types.UID(fmt.Sprint("n", i)), from, false)
			}
			elapse(10 * time.Minute)
		}
		if b.opened != 6 || b.read != 18 {
			t.Errorf("%d passes with %d pages, want 6 with 18", b.opened, b.read)
		}
		expectShown(t, d, "n1", "s0 s4 of 2, 3 foreign, 3 pages")
		expectShown(t, d, "n2", "s1 of 1, 4 foreign, 3 pages")
		expectShown(t, d, "n3", " of 0, 5 foreign, 3 pages")
	})
}

// TestPassesAreFair gives each sweep what its own limits allow: a neighbour's wider or narrower ones change nothing.
func TestPassesAreFair(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book, d *desk) {
		t.Helper()
		b.sessions = booked("a", "b", "a", "b", "a", "b", "a", "b", "a", "b")
		d.join("a", func(s *Scope) { s.Lookback = 150 * time.Minute })
		d.join("b", func(s *Scope) { s.Pages = 2 })
		d.join("c", func(s *Scope) { s.Exclusive, s.Sessions = true, 3 })
		d.Request("a", time.Now(), false)
		elapse(3500 * time.Millisecond)
		expectShown(t, d, "a", "s0 s2 of 2, 1 foreign, 3 pages")
		expectShown(t, d, "b", "s1 s3 of 2, 2 foreign, 2 pages, truncated")
		expectShown(t, d, "c", "nothing")
		elapse(time.Minute)
		expectShown(t, d, "c", "s0 s1 s2 s3 s4 s5 s6 s7 s8 s9 of 10, 0 foreign, 5 pages")
	})
}

// TestPassesThatFail breaks a pass in the ways that a provider can.
func TestPassesThatFail(t *testing.T) {
	outcome := func(outcome v1alpha1.Outcome) upstream.Page {
		return upstream.Page{Result: call.Result{Outcome: outcome}}
	}
	for _, tc := range []struct {
		because string
		before  func(page, calls int) upstream.Page
		want    string
	}{
		{"nothing fails", func(int, int) upstream.Page { return upstream.Page{} }, "s0 s1 s2 s3 of 4, 0 foreign, 2 pages"},
		{"the second page fails once", func(page, calls int) upstream.Page {
			if page == 1 && calls == 2 {
				return outcome(v1alpha1.OutcomeUnavailable)
			}
			return upstream.Page{}
		}, "s0 s1 s2 s3 of 4, 0 foreign, 2 pages"},
		{"the second page fails always", func(page, _ int) upstream.Page {
			if page == 1 {
				return outcome(v1alpha1.OutcomeThrottled)
			}
			return upstream.Page{}
		}, "s0 s1 of 2, 0 foreign, 1 pages, failed"},
		{"the second page shows nothing new", func(page, _ int) upstream.Page {
			if page == 1 {
				return outcome(v1alpha1.OutcomeUnexpectedResponse)
			}
			return upstream.Page{}
		}, "s0 s1 of 2, 0 foreign, 1 pages, failed"},
		{"the key is rejected", func(int, int) upstream.Page { return outcome(v1alpha1.OutcomeCredentialsRejected) },
			" of 0, 0 foreign, 0 pages, failed"},
		{"a session that may be anybody's cannot be read", func(page, calls int) upstream.Page {
			if page == 0 && calls == 1 {
				return upstream.Page{
					Result: call.Result{Outcome: v1alpha1.OutcomeAccepted}, Unreadable: []upstream.Listed{{}}, Last: true,
				}
			}
			return upstream.Page{}
		}, " of 0, 0 foreign, 1 pages, unreadable"},
		{"a session of somebody else cannot be read", func(page, calls int) upstream.Page {
			if page == 0 && calls == 1 {
				return upstream.Page{
					Result:     call.Result{Outcome: v1alpha1.OutcomeAccepted},
					Unreadable: []upstream.Listed{{ShowsOwner: true, Owner: "b"}}, Last: true,
				}
			}
			return upstream.Page{}
		}, " of 0, 0 foreign, 1 pages"},
		{"the list begins again with smaller pages", func(_, calls int) upstream.Page {
			if calls == 2 {
				return upstream.Page{Result: call.Result{Outcome: v1alpha1.OutcomeAccepted}, Restarted: true}
			}
			return upstream.Page{}
		}, "s2 s3 of 2, 0 foreign, 3 pages"},
	} {
		t.Run(tc.because, func(t *testing.T) {
			inBubble(t, func(t *testing.T, b *book, d *desk) {
				t.Helper()
				b.sessions = booked("a", "a", "a", "a")
				b.before = func(page int) upstream.Page { return tc.before(page, b.read) }
				d.join("a")
				d.Request("a", time.Now(), true)
				elapse(10 * time.Minute)
				expectShown(t, d, "a", tc.want)
				if d.done["a"] != 1 {
					t.Errorf("it was told %d times", d.done["a"])
				}
				if d.running != nil {
					t.Error("the pass has not ended")
				}
			})
		})
	}
}

// TestPassBeginsAgain changes the endpoint while a pass runs: what it has shown does not count.
func TestPassBeginsAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book, d *desk) {
		t.Helper()
		b.sessions = booked("a", "a", "a", "a")
		d.join("a")
		d.Request("a", time.Now(), false)
		elapse(1500 * time.Millisecond)
		other := &book{sessions: booked("b", "a")}
		d.account.Reconfigure(account.Config{Endpoint: "there", Limits: account.Limits{Rate: rate.Inf, Burst: 1, Concurrency: 1}})
		d.Use(other.source("there"))
		elapse(time.Minute)
		expectShown(t, d, "a", "s1 of 1, 1 foreign, 1 pages")
		if d.account.Activity().Queued+d.account.Activity().InFlight > 0 {
			t.Error("a page of the first pass is still to be read")
		}
	})
}

// TestDeletionDoesNotWait begins the pass of a deletion at once, and that of others not more often than once a minute.
func TestDeletionDoesNotWait(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book, d *desk) {
		t.Helper()
		b.sessions = booked("a", "b")
		d.join("a")
		d.join("b")
		for range burst {
			d.Request("a", time.Now(), false)
			elapse(2 * time.Second)
		}
		if wait := d.Request("a", time.Now(), false); wait != 50*time.Second {
			t.Errorf("the next pass is due in %s, want 50s", wait)
		}
		from := time.Now()
		if wait := d.Request("b", from, true); wait != 0 {
			t.Errorf("the pass of a deletion is due in %s", wait)
		}
		elapse(5 * time.Second)
		if b.opened != burst+1 || d.Listing("a").Began.Before(from) || d.Listing("b").Began.Before(from) {
			t.Errorf("%d passes; the last one is not for both", b.opened)
		}
		d.Leave("a")
		d.Leave("b")
		if len(d.sweeps) > 0 {
			t.Error("a sweep that has left is remembered")
		}
	})
}

// TestDeletionTakesThePlace begins the pass of a deletion although a neighbour's very long one runs. That one is made
// again.
func TestDeletionTakesThePlace(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book, d *desk) {
		t.Helper()
		b.sessions = booked(slices.Repeat([]string{"big"}, 1000)...)
		d.join("big", func(s *Scope) { s.Lookback, s.Pages = 90*24*time.Hour, 1000 })
		d.Request("big", time.Now(), false)
		elapse(5 * time.Second)
		d.join("small", func(s *Scope) { s.Lookback = 4 * time.Hour })
		d.Request("small", time.Now(), true)
		elapse(5 * time.Second)
		expectShown(t, d, "small", " of 0, 4 foreign, 4 pages")
		elapse(20 * time.Minute)
		if l := d.Listing("big"); l == nil || l.Count != 1000 {
			t.Errorf("the neighbour was shown %q", d.show("big"))
		}
	})
}

// TestPassesHaveAGap asks for a pass twice a second, while passes run and between them.
func TestPassesHaveAGap(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book, d *desk) {
		t.Helper()
		b.sessions = booked("a", "a", "a", "a", "a", "a")
		d.join("a")
		for range 600 {
			d.Request("a", time.Now(), false)
			elapse(500 * time.Millisecond)
		}
		if want := burst + 4; b.opened != want {
			t.Errorf("%d passes in five minutes, want %d", b.opened, want)
		}
	})
}

// TestOldSessionsOfOthers reads a session of long ago, which a neighbour has asked for and the class cannot read.
func TestOldSessionsOfOthers(t *testing.T) {
	began := time.Now()
	narrow := newPart(Scope{Self: "a", Lookback: time.Hour, Sessions: 10, Pages: 10}, began)
	old := upstream.Listed{ID: "old", CreatedAt: began.Add(-80 * 24 * time.Hour)}
	narrow.read(upstream.Page{Last: true, Items: 1, Unreadable: []upstream.Listed{old}}, false)
	if narrow.listing.Unreadable > 0 {
		t.Error("a session that is too old spoils the pass")
	}
}

// TestRejectedAccountIsListed lists an account whose credentials are known to be rejected: a sweep may be all that uses
// it, and would never learn that they are accepted again.
func TestRejectedAccountIsListed(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book, d *desk) {
		t.Helper()
		b.sessions = booked("a")
		d.account.Reconfigure(account.Config{
			Upstream: rejecting{}, Endpoint: "here", Limits: account.Limits{Rate: rate.Inf, Burst: 1, Concurrency: 2},
		})
		for i, operation := range []v1alpha1.Operation{v1alpha1.OperationExpire, v1alpha1.OperationObserve} {
			d.account.Submit(account.Request{Session: types.UID(strconv.Itoa(i)), Operation: operation, Requeue: func() {}})
			elapse(time.Second)
		}
		if !d.account.Rejected() {
			t.Fatal("the account is not rejected")
		}
		d.join("a")
		d.Request("a", time.Now(), true)
		elapse(5 * time.Second)
		expectShown(t, d, "a", "s0 of 1, 0 foreign, 1 pages")
	})
}

// rejecting is an upstream that rejects every call.
type rejecting struct{}

func (rejecting) Call(context.Context, v1alpha1.Operation, string) call.Result {
	return call.Result{Outcome: v1alpha1.OutcomeCredentialsRejected}
}

// TestDeletionsDoNotStarveOthers begins the pass of a deletion every 61 seconds, and a neighbour's takes 100: it ends
// all the same.
func TestDeletionsDoNotStarveOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, b *book, d *desk) {
		t.Helper()
		b.sessions = booked(slices.Repeat([]string{"wide"}, 200)...)
		d.join("wide", func(s *Scope) { s.Lookback, s.Sessions = 90*24*time.Hour, 1000 })
		d.Request("wide", time.Now(), false)
		elapse(time.Second)
		d.join("narrow", func(s *Scope) { s.Lookback = time.Hour })
		for range 10 {
			d.Request("narrow", time.Now(), true)
			elapse(61 * time.Second)
		}
		if l := d.Listing("wide"); l == nil || !l.Complete {
			t.Errorf("the neighbour was shown %q", d.show("wide"))
		}
	})
}

// TestPagesOfOthersDoNotCount reads an oldest-first list, of which a neighbour has asked for more: the limit of pages
// is about those that show what a sweep has asked for.
func TestPagesOfOthersDoNotCount(t *testing.T) {
	began := time.Now()
	narrow := newPart(Scope{Self: "a", Lookback: time.Hour, Sessions: 10, Pages: 2}, began)
	old := upstream.Page{Items: 1, Sessions: []upstream.Listed{{ID: "old", CreatedAt: began.Add(-24 * time.Hour)}}}
	for range 5 {
		if narrow.read(old, false) {
			t.Fatal("it ends with pages that others have asked for")
		}
	}
	recent := upstream.Page{Last: true, Items: 1, Sessions: []upstream.Listed{{ID: "new", Owner: "a", CreatedAt: began}}}
	if !narrow.read(recent, false) || !narrow.listing.Complete || narrow.listing.Count != 1 {
		t.Errorf("it ends with %+v", narrow.listing)
	}
}

// TestWhereExcludes keeps what a condition excludes apart: it is no longer the sweep's to expire.
func TestWhereExcludes(t *testing.T) {
	where, err := upstream.CompileWhere("session.id != 'b' && session.createdAt > timestamp('2020-01-01T00:00:00Z')")
	if err != nil {
		t.Fatal(err)
	}
	part := newPart(Scope{Self: "a", Where: where, Lookback: time.Hour, Sessions: 10, Pages: 2}, time.Now())
	page := upstream.Page{Last: true}
	for _, id := range []string{"a", "b", "c"} {
		page.Sessions = append(page.Sessions, upstream.Listed{ID: id, Owner: "a", CreatedAt: time.Now()})
	}
	// The condition fails for a session without a creation time.
	page.Sessions[2].CreatedAt = time.Time{}
	part.read(page, true)
	if l := part.listing; l.Count != 1 || !l.Excluded["b"] || !l.Excluded["c"] || l.Excluded["a"] {
		t.Errorf("got %+v", l)
	}
}
