// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/traits"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
)

// Listed is a session in a list.
type Listed struct {
	ID string
	// State is unknown where the class cannot read the session, or where its id is not valid.
	State  v1alpha1.SessionState
	Status string
	// Owner is whose session it is, by the ownership rule of the account; empty for nobody's. ShowsOwner is false where
	// there is no rule, or where the item does not show which session it is: it may then be anybody's.
	Owner      string
	ShowsOwner bool
	CreatedAt  time.Time
}

// Page is one page of a list. Its Result says how the call ended; the rest counts only with the outcome Accepted.
type Page struct {
	call.Result

	// Sessions of the page that no page before has shown, that the class selects, and that are not too old.
	Sessions []Listed
	// Unreadable are those that the class cannot read. They may be open.
	Unreadable []Listed
	// Items counts the items of the page.
	Items int
	// Last is true where the list ends with this page.
	Last bool
	// Restarted is true where the listing begins again, because a page was too large. What the pages before have shown
	// comes once more.
	Restarted bool
}

// MaxDisorder is how much newer a session may be than one before it in a list that shows the newest first: sessions
// that are created at the same time may come in any order.
const MaxDisorder = time.Minute

// firstYear is before every session: an earlier time is a missing one, such as 0 seconds since 1970.
const firstYear = 2000

// Listing reads the list of an account, a page at a time. Absence from a list proves nothing: lists lag, and shift
// while they are read. It is not safe for concurrent use.
type Listing struct {
	endpoint     *Endpoint
	since, until time.Time
	// size of a page; 0 lets the provider decide.
	size int32
	// read counts the items, and pages the pages so far.
	read, pages int
	// cursor or query of the next page, by what the class's pagination needs.
	cursor string
	query  url.Values
	seen   map[string]bool
	// oldest is when the oldest session so far was created, and disordered is true after one that is newer than another
	// before it. wentBack is true where the page before has shown a session that is too old.
	oldest               time.Time
	disordered, wentBack bool
}

// List returns a listing of the sessions that were created between two times. The class must have a list.
func (e *Endpoint) List(since, until time.Time) *Listing {
	listing := &Listing{endpoint: e, since: since, until: until}
	if size := e.Definition.list.PageSize; size != nil {
		listing.size = size.Size
	}
	listing.restart()
	return listing
}

// PreviewList returns the request for the first page of a list as it would be sent, with the name of each credential in
// the place of its value. The class must have a list.
func (d *Definition) PreviewList(ctx context.Context, base *url.URL, since, until time.Time) (*http.Request, error) {
	endpoint := &Endpoint{Definition: d, BaseURL: base}
	return endpoint.List(since, until).request(ctx, d.NamedCredentials(), time.Time{})
}

func (l *Listing) restart() {
	l.read, l.pages, l.cursor, l.query, l.seen = 0, 0, "", nil, map[string]bool{}
	l.oldest, l.disordered, l.wentBack = time.Time{}, false, false
}

// Next reads the next page. After a failure it may be called again, for the same page. A page that is too large makes
// the listing begin again with half as many items in a page.
func (l *Listing) Next(ctx context.Context) Page {
	page := Page{}
	page.Result = l.endpoint.authorized(ctx, func(ctx context.Context, credentials Credentials) call.Result {
		page = l.next(ctx, credentials)
		return page.Result
	})
	return page
}

func (l *Listing) next(ctx context.Context, credentials Credentials) Page {
	request, err := l.request(ctx, credentials, time.Now())
	if err != nil {
		return failedPage("%s", err)
	}
	received, err := l.endpoint.Door.Do(ctx, request)
	if errors.Is(err, httpx.ErrBodyTooLarge) && l.size > 1 {
		l.size /= 2
		l.restart()
		// The first page again, in a call of its own: each call waits for its turn.
		return Page{Result: call.Result{Outcome: v1alpha1.OutcomeAccepted}, Restarted: true}
	}
	if err != nil {
		return Page{Result: noReply(err)}
	}
	return l.readPage(request, credentials, received, time.Now())
}

func failedPage(format string, arguments ...any) Page {
	result := call.Result{Outcome: v1alpha1.OutcomeUnexpectedResponse, Message: fmt.Sprintf(format, arguments...)}
	return Page{Result: result}
}

// request builds the request of the next page.
func (l *Listing) request(ctx context.Context, credentials Credentials, now time.Time) (*http.Request, error) {
	spec := l.endpoint.Definition.list
	target := *l.endpoint.BaseURL
	target.Path = l.endpoint.BaseURL.Path + spec.Path
	target.RawPath = ""
	query, err := l.pageQuery()
	if err != nil {
		return nil, err
	}
	target.RawQuery = query.Encode()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, target.String(), http.NoBody)
	if err != nil {
		return nil, errors.New("cannot build the request to list sessions")
	}
	if spec.ContentType != "" {
		request.Header.Set(contentType, spec.ContentType)
	}
	return request, l.endpoint.dress(request, spec.Headers, "", credentials, now)
}

// pageQuery returns the query of the next page's request.
func (l *Listing) pageQuery() (url.Values, error) {
	spec := l.endpoint.Definition.list
	if l.query != nil {
		return l.query, nil
	}
	query := url.Values{}
	// Whole seconds: not every provider reads more digits.
	since, until := l.since.UTC().Truncate(time.Second), l.until.UTC().Add(time.Second-1).Truncate(time.Second)
	between := activation{values: map[string]any{"since": since, "until": until}}
	for i, parameter := range spec.Query {
		value, isText := between.eval(spec.query[i]).(types.String)
		if !isText {
			return nil, fmt.Errorf("the class's list has no value for the parameter %s", parameter.Name)
		}
		query.Set(parameter.Name, string(value))
	}
	if l.size > 0 {
		query.Set(spec.PageSize.Parameter, strconv.Itoa(int(l.size)))
	}
	switch pagination := spec.Pagination; {
	case pagination.Offset != nil:
		query.Set(pagination.Offset.Parameter, strconv.Itoa(l.read))
	case pagination.Page != nil:
		query.Set(pagination.Page.Parameter, strconv.Itoa(int(pagination.Page.First)+l.pages))
	case pagination.Cursor != nil && l.cursor != "":
		query.Set(pagination.Cursor.Parameter, l.cursor)
	}
	return query, nil
}

// readPage interprets a page.
func (l *Listing) readPage(request *http.Request, credentials Credentials, received *httpx.Reply, now time.Time) Page {
	d := l.endpoint.Definition
	body, readable := decode(received.Body)
	headers := lowerCase(received.Header)
	asked := question{
		operation: v1alpha1.OperationObserve, credentials: credentials, ownership: l.endpoint.Ownership, now: now,
	}
	i := d.read(asked, received.Code, headers, body, readable, &Trace{}, nil)
	i.result = call.Result{Outcome: i.outcome(readable)}
	if rule := i.matchingRule(); readable && rule != nil {
		i.result.Outcome = rule.Outcome
	}
	if i.result.Outcome == v1alpha1.OutcomeNotFound {
		// There is no session that could be unknown.
		i.result.Outcome = v1alpha1.OutcomeUnexpectedResponse
	}
	i.finish(credentials, received, now)
	page := Page{Result: i.result}
	if page.Outcome != v1alpha1.OutcomeAccepted {
		return page
	}
	items, isList := i.seen.eval(d.list.items).(traits.Lister)
	if !isList {
		return failedPage("the page has no items that the class can read")
	}
	i.seen.values["items"] = items
	fresh, goesBack := l.readItems(&page, items, asked)
	page = l.turn(page, i.seen, request, received, len(fresh) > 0, goesBack)
	if page.Outcome != v1alpha1.OutcomeAccepted {
		// The page may be read once more. Nobody has got its sessions yet.
		for _, id := range fresh {
			delete(l.seen, id)
		}
	}
	return page
}

// readItems adds the sessions of a page. It returns the ids that no page before has shown, and whether any session is
// so old that none that is asked for comes after it.
func (l *Listing) readItems(page *Page, items traits.Lister, asked question) (fresh []string, goesBack bool) {
	d := l.endpoint.Definition
	for each := items.Iterator(); each.HasNext() == types.True; {
		page.Items++
		item := activation{values: map[string]any{"item": each.Next()}}
		id := item.id(d.list.id)
		if id != "" && l.seen[id] {
			continue
		}
		fresh = append(fresh, id)
		l.seen[id] = true
		createdAt := item.time(d.list.createdAt)
		if createdAt != nil && createdAt.Year() < firstYear {
			createdAt = nil
		}
		l.order(createdAt)
		if createdAt != nil && createdAt.Before(l.since) {
			goesBack = goesBack || createdAt.Before(l.since.Add(-MaxDisorder))
			continue
		}
		if item.denies(d.list.selected) {
			continue
		}
		session := d.readItem(item, id, asked)
		if createdAt != nil {
			session.CreatedAt = *createdAt
		}
		if session.State == v1alpha1.SessionStateUnknown {
			page.Unreadable = append(page.Unreadable, session)
		} else {
			page.Sessions = append(page.Sessions, session)
		}
	}
	return fresh, goesBack
}

// order notes when a session was created. A list that shows new sessions after old ones does not end with an old one.
func (l *Listing) order(createdAt *time.Time) {
	switch {
	case createdAt == nil:
	case l.oldest.IsZero() || createdAt.Before(l.oldest):
		l.oldest = *createdAt
	case createdAt.Sub(l.oldest) > MaxDisorder && !createdAt.Before(l.since):
		l.disordered = true
	}
}

// readItem reads an item as a reply to observe. Where the class cannot read it, the owner may be known all the same.
func (d *Definition) readItem(item activation, id string, asked question) Listed {
	listed := Listed{ID: id}
	body := item.eval(d.list.as)
	if body == nil {
		return listed
	}
	asked.sessionID = id
	seen := activation{values: map[string]any{
		"code": http.StatusOK, "headers": map[string]string{}, "body": body, "now": asked.now,
	}}
	i := &interpretation{Definition: d, asked: asked, trace: &Trace{Code: http.StatusOK}, seen: seen, shown: seen}
	i.result.Outcome = v1alpha1.OutcomeAccepted
	i.applyClass()
	listed.Owner, listed.ShowsOwner = i.result.Owner, i.result.ShowsOwner
	if i.result.Outcome == v1alpha1.OutcomeAccepted && d.ValidSessionID(id) {
		listed.State = i.result.State
		listed.Status = excerpt(asked.credentials.redact(i.result.Status), maxStatusLength)
	}
	return listed
}

// turn moves on to the next page, or ends the list. A page that shows nothing new although it does not end the list is
// a failure: a provider that ignores the parameter would be read for ever. Where the newest come first, two pages in a
// row must go back far enough: the first one alone does not show that the list is in order.
func (l *Listing) turn(
	page Page, seen activation, request *http.Request, received *httpx.Reply, isNew, goesBack bool,
) Page {
	spec := l.endpoint.Definition.list
	next, more, err := l.nextPage(seen, request, received)
	if err != nil {
		return failedPage("%s", err)
	}
	saysMore := seen.holds(spec.more)
	isNewestFirst := spec.Order == v1alpha1.ListNewestFirst
	switch {
	case isNewestFirst && l.disordered:
		return failedPage("the list shows new sessions after old ones, and should show the newest first")
	case !more && saysMore:
		return failedPage("a page of the list says that another one follows, and not where it is")
	case !more, seen.denies(spec.more), isNewestFirst && goesBack && l.wentBack,
		page.Items == 0 && !saysMore && !named(spec.Pagination):
		page.Last = true
	case !isNew && (page.Items > 0 || !named(spec.Pagination)):
		return failedPage("a page of the list shows nothing new, and does not say that it is the last one")
	}
	l.wentBack = goesBack
	l.read += page.Items
	l.pages++
	l.cursor, l.query = next.cursor, next.query
	return page
}

// named reports whether a page names the next one, so that an empty page may lead on.
func named(pagination v1alpha1.Pagination) bool {
	return pagination.Cursor != nil || pagination.URL != nil || pagination.Link != nil
}

// pointer is where the next page is.
type pointer struct {
	cursor string
	query  url.Values
}

// nextPage returns where the next page is, and whether there may be one.
func (l *Listing) nextPage(seen activation, request *http.Request, received *httpx.Reply) (pointer, bool, error) {
	spec := l.endpoint.Definition.list
	switch pagination := spec.Pagination; {
	case pagination.None != nil:
		return pointer{}, false, nil
	case pagination.Cursor != nil:
		cursor, err := nextOf(seen, spec.next)
		if err != nil {
			return pointer{}, false, err
		}
		if cursor != "" && cursor == l.cursor {
			return pointer{}, false, errors.New("a page of the list names itself as the next one")
		}
		return pointer{cursor: cursor}, cursor != "", nil
	case pagination.URL != nil:
		target, err := nextOf(seen, spec.next)
		if err != nil {
			return pointer{}, false, err
		}
		return follow(target, request)
	case pagination.Link != nil:
		target, err := nextLink(received.Header.Values("Link"))
		if err != nil {
			return pointer{}, false, err
		}
		return follow(target, request)
	default:
		return pointer{}, true, nil
	}
}

// nextOf returns what the class says about the next page; empty for the end of the list. A page that the class cannot
// read does not end the list: what comes after it would count as seen.
func nextOf(seen activation, next *expression) (string, error) {
	switch value := seen.eval(next).(type) {
	case types.String:
		return string(value), nil
	case types.Null:
		return "", nil
	default:
		return "", errors.New("the class cannot tell from a page of the list where the next one is")
	}
}

// follow returns the query of the next page's URL. Scheme, host and path must be those of this page: credentials go
// there.
func follow(text string, request *http.Request) (pointer, bool, error) {
	if text == "" {
		return pointer{}, false, nil
	}
	target, err := request.URL.Parse(text)
	if err != nil || target.Scheme != request.URL.Scheme || target.Host != request.URL.Host ||
		target.EscapedPath() != request.URL.EscapedPath() || target.User != nil {
		return pointer{}, false, errors.New("the next page of the list is at another address")
	}
	if target.Query().Encode() == request.URL.Query().Encode() {
		return pointer{}, false, errors.New("a page of the list names itself as the next one")
	}
	return pointer{query: target.Query()}, true, nil
}

var link = regexp.MustCompile(`<([^>]*)>((?:\s*;\s*[a-zA-Z]+\*?\s*=\s*(?:"[^"]*"|[^",;\s]+))*)`)

// nextLink returns the target of the link with the relation next; empty for none. A header that speaks of a next page
// and cannot be read does not end the list. https://www.rfc-editor.org/rfc/rfc8288#section-3
func nextLink(headers []string) (string, error) {
	text := strings.Join(headers, ", ")
	for _, found := range link.FindAllStringSubmatch(text, -1) {
		for parameter := range strings.SplitSeq(found[2], ";") {
			name, value, _ := strings.Cut(strings.TrimSpace(parameter), "=")
			relations := strings.Fields(strings.ToLower(strings.Trim(value, `" `)))
			if strings.EqualFold(strings.TrimSpace(name), "rel") && slices.Contains(relations, "next") {
				return found[1], nil
			}
		}
	}
	if strings.Contains(strings.ToLower(link.ReplaceAllString(text, "")), "next") {
		return "", errors.New("the Link header of a page of the list cannot be read")
	}
	return "", nil
}
