// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// ListExample is a list of an account's sessions, from its first page on.
type ListExample struct {
	// Name says what the example shows.
	Name string `json:"name" yaml:"name"`
	// Source is the URL of the page that shows the replies.
	Source string `json:"source,omitempty" yaml:"source,omitempty"`
	// Pages in the order in which they are read.
	Pages []PageExample `json:"pages" yaml:"pages"`
}

// PageExample is one page of a list, and what it means.
type PageExample struct {
	// Query are parameters that the request of the page has, among others.
	Query map[string]string `json:"query,omitempty" yaml:"query,omitempty"`
	Reply Reply             `json:"reply"           yaml:"reply"`
	Want  WantPage          `json:"want"            yaml:"want"`
}

// WantPage is what a page means.
type WantPage struct {
	// Outcome of the call; Accepted by default.
	Outcome v1alpha1.Outcome `json:"outcome,omitempty" yaml:"outcome,omitempty"`
	// Sessions of the page as id: state, in any order.
	Sessions map[string]v1alpha1.SessionState `json:"sessions,omitempty" yaml:"sessions,omitempty"`
	// Unreadable counts the items that the class cannot read.
	Unreadable int `json:"unreadable,omitempty" yaml:"unreadable,omitempty"`
	// Last is true where the list ends with the page.
	Last bool `json:"last,omitempty" yaml:"last,omitempty"`
}

const (
	// operationList is how rows name a page of a list.
	operationList = v1alpha1.Operation("list")
	listField     = "spec.list"
	// listedFor is how far back the lists of examples go.
	listedFor = 7 * 24 * time.Hour
)

// onePage is a door that answers with one page and keeps the query that asked for it.
type onePage struct {
	reply Reply
	query url.Values
	// token is where a request gets a token instead; nil for nowhere.
	token *url.URL
}

// Do implements upstream.Doer.
func (p *onePage) Do(_ context.Context, request *http.Request) (*httpx.Reply, error) {
	if p.token != nil && request.URL.String() == p.token.String() {
		token := Reply{Code: http.StatusOK, Body: map[string]any{"access_token": "token", "token_type": "Bearer"}}
		return token.received(), nil
	}
	p.query = request.URL.Query()
	return p.reply.received(), nil
}

// lists runs the examples of lists.
func (r *run) lists(ctx context.Context) {
	// The pages name the default environment's address where they name the next page by its URL.
	base, token, err := r.class.addresses()
	if err != nil || !r.class.Definition.Lists() {
		return
	}
	for _, example := range r.file.Lists {
		door := &onePage{token: token}
		endpoint := &upstream.Endpoint{
			Definition: r.class.Definition, BaseURL: base, TokenURL: token, Door: door,
			Credentials: r.class.Definition.NamedCredentials(),
		}
		listing := endpoint.List(r.now.Add(-listedFor), r.now)
		for i, page := range example.Pages {
			door.reply = page.Reply
			got := listing.Next(ctx)
			row := Row{
				Name: fmt.Sprintf("%s, page %d", example.Name, i+1), Operation: operationList, Code: page.Reply.Code,
				Outcome: got.Outcome, Differences: page.differences(got, door.query),
			}
			r.report.Rows = append(r.report.Rows, row)
			if got.Last {
				r.reached[listField] = true
			}
		}
	}
}

// differences compares what a page means with what it should.
func (e PageExample) differences(got upstream.Page, query url.Values) []string {
	var found []string
	want := e.Want
	if want.Outcome == "" {
		want.Outcome = v1alpha1.OutcomeAccepted
	}
	if got.Outcome != want.Outcome {
		found = append(found, fmt.Sprintf("outcome is %s (%s), want %s", got.Outcome, got.Message, want.Outcome))
	}
	if got.Last != want.Last {
		found = append(found, fmt.Sprintf("last is %v, want %v", got.Last, want.Last))
	}
	if len(got.Unreadable) != want.Unreadable {
		found = append(found, fmt.Sprintf("unreadable is %d, want %d", len(got.Unreadable), want.Unreadable))
	}
	if listed, wanted := texts(listedStates(got)), texts(want.Sessions); listed != wanted {
		found = append(found, fmt.Sprintf("sessions are %s, want %s", listed, wanted))
	}
	for name, value := range e.Query {
		if query.Get(name) != value {
			found = append(found, fmt.Sprintf("the parameter %s is %q, want %q", name, query.Get(name), value))
		}
	}
	slices.Sort(found)
	return found
}

func listedStates(page upstream.Page) map[string]v1alpha1.SessionState {
	states := map[string]v1alpha1.SessionState{}
	for _, session := range page.Sessions {
		states[session.ID] = session.State
	}
	return states
}

// texts returns the entries of a map as one text.
func texts(states map[string]v1alpha1.SessionState) string {
	entries := make([]string, 0, len(states))
	for id, state := range states {
		entries = append(entries, id+": "+string(state))
	}
	slices.Sort(entries)
	return "{" + strings.Join(entries, ", ") + "}"
}

// checkLists returns what is wrong in the examples of lists.
func (f *examplesFile) checkLists(of *Class) []Finding {
	var findings []Finding
	for i, example := range f.Lists {
		field := fmt.Sprintf("lists[%d]", i)
		report := func(below, problem, fix string) {
			findings = append(findings, f.finding(Error, field+below, problem, fix))
		}
		switch {
		case !of.Definition.Lists():
			report("", "the class has no list", "add spec.list, or remove the example")
		case example.Name == "" || len(example.Pages) == 0:
			report("", "each example of a list needs a name and pages", "")
		}
		for j := range example.Pages {
			if code := example.Pages[j].Reply.Code; code < 100 || code > 599 {
				report(fmt.Sprintf(".pages[%d].reply.code", j), fmt.Sprintf("%d is no HTTP status", code), "")
			}
			if example.Pages[j].Reply.File != "" {
				report(fmt.Sprintf(".pages[%d].reply.file", j), "a page of a list has a body or a text", "")
			}
		}
	}
	return findings
}
