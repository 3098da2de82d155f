// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package sweep

import (
	"time"

	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// Scope says which sessions of an account a sweep wants to know, and how far it looks for them.
type Scope struct {
	// Generation of the spec that the rest follows from.
	Generation int64
	// Self is the namespace's own word in the ownership rule. Exclusive is true where every session of the account is the
	// namespace's, in place of a rule.
	Self      string
	Exclusive bool
	// Where narrows what the namespace owns; nil for everything.
	Where *upstream.Where
	// Lookback is how far back sessions are listed.
	Lookback time.Duration
	// Sessions and Pages are the limits of a pass.
	Sessions, Pages int
}

// isSame reports whether another scope selects the same sessions. Compiled expressions cannot be compared: they follow
// from the spec.
func (s Scope) isSame(other Scope) bool {
	return s.Generation == other.Generation && s.Self == other.Self && s.Exclusive == other.Exclusive
}

// Listing is what a pass over an account's list has shown of one scope. It is not changed once it is handed out.
type Listing struct {
	// Scope of the pass.
	Scope Scope
	// Began and Ended are the times of the pass, and Since is from when on it has listed sessions.
	Began, Ended, Since time.Time
	// Pages and Items count what was read, of all owners.
	Pages, Items int
	// Complete is true where the list was read to its end. Truncated is true where it has more pages than the limit.
	Complete, Truncated bool
	// Failure is the result of the call that has ended the pass; nil where it ended well.
	Failure *call.Result
	// Open holds the open sessions of the scope: one more than the limit and the retained ones at most. Count counts all
	// of them.
	Open  []upstream.Listed
	Count int
	// Excluded holds the ids of open sessions that the namespace owns and that Where excludes.
	Excluded map[string]bool
	// Foreign counts the open sessions of others, or of nobody.
	Foreign int
	// Unreadable counts the sessions that the class cannot read and that may be of the scope.
	Unreadable int
}

// part is one scope's part of a pass.
type part struct {
	scope   Scope
	listing *Listing
	// counted are the pages that count for the limit: not those that only others have asked for.
	counted int
	// wentBack is true where the page before has shown a session that is too old.
	wentBack bool
}

// MaxRetained is the number of ids that a status can remember as registered with Retain. A status that is full may have
// forgotten others. They do not count for the limit.
const MaxRetained = 500

// maxExcluded bounds the memory for what a condition excludes.
const maxExcluded = 10000

func newPart(scope Scope, began time.Time) *part {
	return &part{scope: scope, listing: &Listing{
		Scope: scope, Began: began, Since: began.Add(-scope.Lookback), Excluded: map[string]bool{},
	}}
}

// restart forgets what the pages so far have shown.
func (p *part) restart() {
	pages, counted := p.listing.Pages, p.counted
	*p = *newPart(p.scope, p.listing.Began)
	p.listing.Pages, p.counted = pages, counted
}

// owns reports whether a session is of the scope's namespace.
func (p *part) owns(of upstream.Listed) bool {
	return p.scope.Exclusive || p.scope.Self != "" && of.Owner == p.scope.Self
}

// isOld reports whether a session is older than what the scope asks for. One without a creation time is not.
func (p *part) isOld(session upstream.Listed) bool {
	return !session.CreatedAt.IsZero() && session.CreatedAt.Before(p.listing.Since)
}

// read adds a page. It reports whether the part needs no further one.
func (p *part) read(page upstream.Page, newestFirst bool) bool {
	p.listing.Pages++
	if page.Restarted {
		p.counted++
		p.restart()
		return p.truncated()
	}
	l := p.listing
	l.Items += page.Items
	goesBack, reachesIn := p.readSessions(page)
	for _, session := range page.Unreadable {
		if !p.isOld(session) && (p.owns(session) || !session.ShowsOwner) {
			l.Unreadable++
		}
	}
	if reachesIn {
		p.counted++
	}
	// As for the list itself, one page alone does not show that the list is in order.
	if page.Last || goesBack && p.wentBack && newestFirst {
		l.Complete = true
		return true
	}
	p.wentBack = goesBack
	return p.truncated()
}

// readSessions adds the sessions of a page. It reports whether any is so old that none of the scope comes after it, and
// whether the page has any of the scope's time.
func (p *part) readSessions(page upstream.Page) (goesBack, reachesIn bool) {
	end := p.listing.Since.Add(-upstream.MaxDisorder)
	reachesIn = len(page.Sessions) == 0
	for _, session := range page.Sessions {
		if p.isOld(session) {
			goesBack = goesBack || session.CreatedAt.Before(end)
			continue
		}
		reachesIn = true
		if !session.State.Closed() {
			p.add(session)
		}
	}
	return goesBack, reachesIn
}

// add adds an open session.
func (p *part) add(session upstream.Listed) {
	l := p.listing
	switch {
	case !p.owns(session):
		l.Foreign++
	case !p.scope.Where.Holds(session):
		if len(l.Excluded) < maxExcluded {
			l.Excluded[session.ID] = true
		}
	default:
		l.Count++
		if len(l.Open) <= p.scope.Sessions+MaxRetained {
			l.Open = append(l.Open, session)
		}
	}
}

func (p *part) truncated() bool {
	p.listing.Truncated = p.counted >= p.scope.Pages
	return p.listing.Truncated
}

// end returns the part's listing. failure is why the pass was cut short; nil where it was not.
func (p *part) end(at time.Time, failure *call.Result) *Listing {
	p.listing.Ended, p.listing.Failure = at, failure
	return p.listing
}
