// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// readAll reads a listing to its end, and at most limit pages of it.
func readAll(listing *Listing, limit int) (map[string]Listed, Page) {
	found := map[string]Listed{}
	for range limit {
		page := listing.Next(context.Background())
		for _, session := range page.Sessions {
			found[session.ID] = session
		}
		if page.Last || page.Outcome != v1alpha1.OutcomeAccepted {
			return found, page
		}
	}
	return found, Page{}
}

// listing returns a listing of a provider of the simulator, of the last hour.
func listing(t *testing.T, upstreams *simulator.Simulator, provider string) *Listing {
	t.Helper()
	server := httptest.NewServer(upstreams.Handler())
	t.Cleanup(server.Close)
	definition := compiled(t, provider)
	base, err := url.Parse(server.URL + "/" + provider)
	if err != nil {
		t.Fatal(err)
	}
	data := map[string][]byte{}
	for name, value := range simulator.Keys()[provider] {
		data[name] = []byte(value)
	}
	credentials, err := definition.Credentials(data)
	if err != nil {
		t.Fatal(err)
	}
	rule, err := CompileOwnership(v1alpha1.Ownership{Owner: gen.Marks(provider)})
	if err != nil {
		t.Fatal(err)
	}
	endpoint := &Endpoint{
		Definition: definition, BaseURL: base, Credentials: credentials, Ownership: rule,
		Door: httpx.New(httpx.Options{AllowPrivate: true, Timeout: 10 * time.Second}),
	}
	return endpoint.List(time.Now().Add(-time.Hour), time.Now())
}

// TestListOfEveryProvider lists more sessions than fit into a page, with states and owners, and leaves out those that
// are too old.
func TestListOfEveryProvider(t *testing.T) {
	for _, provider := range gen.Providers {
		t.Run(provider, func(t *testing.T) {
			if !compiled(t, provider).Lists() {
				if provider != "helio" {
					t.Error("the class cannot list sessions")
				}
				return
			}
			upstreams, want := simulator.New(), map[string]Listed{}
			for i := range 230 {
				createdAt := time.Now().Add(-time.Duration(i+1) * 10 * time.Second).UTC().Truncate(time.Millisecond)
				object := simulator.Object{
					Provider: provider, ID: gen.ID(provider, i), State: simulator.Open, Owner: "eu/shop", CreatedAt: &createdAt,
				}
				listed := Listed{
					ID: object.ID, State: v1alpha1.SessionStateActive, Owner: "eu/shop", ShowsOwner: true, CreatedAt: createdAt,
				}
				switch {
				case i%7 == 0:
					object.State, listed.State = simulator.Expired, v1alpha1.SessionStateExpired
				case i%5 == 0:
					object.Owner, listed.Owner = "", ""
				}
				upstreams.Add(object)
				want[object.ID] = listed
			}
			old := time.Now().Add(-2 * time.Hour)
			upstreams.Add(simulator.Object{
				Provider: provider, ID: gen.ID(provider, 999), State: simulator.Open, CreatedAt: &old,
			})
			found, last := readAll(listing(t, upstreams, provider), 10)
			if !last.Last || last.Outcome != v1alpha1.OutcomeAccepted {
				t.Errorf("the last page is %+v", last)
			}
			for id, session := range found {
				session.Status = ""
				found[id] = session
			}
			if diff := cmp.Diff(want, found); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestListKeepsLinksOfNoType has a Txn link that does not say what it is.
func TestListKeepsLinksOfNoType(t *testing.T) {
	door := &pages{answer: func(query url.Values) *httpx.Reply {
		data := ""
		if query.Get("page") == "1" {
			data = `{"id":"` + gen.ID("txn", 1) + `","attributes":{"status":"created","paymentType":null,` +
				`"createdAt":"2026-11-21T09:00:00Z"}}`
		}
		return &httpx.Reply{Code: http.StatusOK, Header: http.Header{}, Body: []byte(`{"data":[` + data + `]}`)}
	}}
	endpoint := &Endpoint{
		Definition: compiled(t, "txn"), BaseURL: &url.URL{Scheme: "https", Host: "provider.example"}, Door: door,
		Credentials: Credentials{"apiKey": "txn_cmp_1"},
	}
	began := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	if found, last := readAll(endpoint.List(began, began.Add(24*time.Hour)), 5); len(found) != 1 || !last.Last {
		t.Errorf("found %v, the last page is %+v", found, last)
	}
}

// TestListLeavesOut has items that are no sessions of the class.
func TestListLeavesOut(t *testing.T) {
	upstreams := simulator.New()
	upstreams.Add(simulator.Object{Provider: "txn", ID: gen.ID("txn", 1), State: simulator.Open, Variant: simulator.Payout})
	found, last := readAll(listing(t, upstreams, "txn"), 10)
	if len(found) > 0 || !last.Last || len(last.Unreadable) > 0 {
		t.Errorf("found %v, the last page is %+v", found, last)
	}
}

// pages is a door that answers each request of a list by its query.
type pages struct {
	answer func(query url.Values) *httpx.Reply
	asked  []string
}

func (p *pages) Do(_ context.Context, request *http.Request) (*httpx.Reply, error) {
	p.asked = append(p.asked, request.URL.RawQuery)
	reply := p.answer(request.URL.Query())
	if reply == nil {
		return nil, httpx.ErrBodyTooLarge
	}
	if reply.Header == nil {
		reply.Header = http.Header{}
	}
	return reply, nil
}

// TestPageThatIsReadAgain reads a page again that could not be read to its end: its sessions are not lost.
func TestPageThatIsReadAgain(t *testing.T) {
	count := 0
	door := &pages{answer: func(url.Values) *httpx.Reply {
		if count++; count == 1 {
			return body("", 1)
		}
		return body(`,"next":null`, 1)
	}}
	class := gen.Class("omise")
	class.Spec.List.Pagination = v1alpha1.Pagination{URL: &v1alpha1.URLPagination{Next: "body.next"}}
	class.Spec.List.Order = v1alpha1.ListUnordered
	definition, err := Compile(&class.Spec)
	if err != nil {
		t.Fatal(err)
	}
	endpoint := &Endpoint{
		Definition: definition, BaseURL: &url.URL{Scheme: "https", Host: "provider.example"}, Door: door,
		Credentials: Credentials{"secretKey": "skey_test_1"},
	}
	listing := endpoint.List(time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC), time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC))
	if page := listing.Next(t.Context()); page.Outcome != v1alpha1.OutcomeUnexpectedResponse {
		t.Errorf("a page without a word about the next one is %s", page.Outcome)
	}
	if page := listing.Next(t.Context()); !page.Last || len(page.Sessions) != 1 {
		t.Errorf("read again, the page has %d sessions (last: %v), want 1", len(page.Sessions), page.Last)
	}
}

// TestListAsksForWholeSeconds lists between times that no whole seconds are. The range may only become wider.
func TestListAsksForWholeSeconds(t *testing.T) {
	door := &pages{answer: func(url.Values) *httpx.Reply { return body("") }}
	class := gen.Class("omise")
	class.Spec.List.Query = append(class.Spec.List.Query, v1alpha1.ListParameter{Name: "to", Value: "string(until)"})
	definition, err := Compile(&class.Spec)
	if err != nil {
		t.Fatal(err)
	}
	since := time.Date(2026, 11, 21, 9, 0, 0, 5, time.UTC)
	endpoint := &Endpoint{
		Definition: definition, BaseURL: &url.URL{Scheme: "https", Host: "provider.example"}, Door: door,
		Credentials: Credentials{"secretKey": "skey_test_1"},
	}
	endpoint.List(since, since.Add(time.Hour)).Next(t.Context())
	query, err := url.ParseQuery(strings.Join(door.asked, "&"))
	if err != nil || query.Get("from") != "2026-11-21T09:00:00Z" || query.Get("to") != "2026-11-21T10:00:01Z" {
		t.Errorf("the list was asked for %v (%v)", door.asked, err)
	}
}

// body makes a page of charges with these numbers, and more fields.
func body(more string, numbers ...int) *httpx.Reply {
	items := make([]string, 0, len(numbers))
	for _, number := range numbers {
		items = append(items, fmt.Sprintf(`{"object":"charge","id":%q,"status":"pending","created_at":"2026-11-21T09:%02d:00Z"}`,
			gen.ID("omise", number), 59-number))
	}
	return &httpx.Reply{Code: http.StatusOK, Body: []byte(`{"data":[` + strings.Join(items, ",") + `]` + more + `}`)}
}

// TestPagination reads lists of every kind of pagination, and lists that are wrong.
func TestPagination(t *testing.T) {
	offset := v1alpha1.Pagination{Offset: &v1alpha1.OffsetPagination{Parameter: "offset"}}
	number := v1alpha1.Pagination{Page: &v1alpha1.PagePagination{Parameter: "page", First: 1}}
	cursor := v1alpha1.Pagination{Cursor: &v1alpha1.CursorPagination{Parameter: "after", Next: "body.?next.orValue('')"}}
	next := v1alpha1.Pagination{URL: &v1alpha1.URLPagination{Next: "body.?next.orValue('')"}}
	header := v1alpha1.Pagination{Link: &v1alpha1.LinkPagination{}}
	hasMore := func(list *v1alpha1.ListTemplate) { list.More = "body.has_more" }
	linked := func(target string, reply *httpx.Reply) *httpx.Reply {
		reply.Header = http.Header{"Link": {`<` + target + `>; rel="next", </charges>; rel="first"`}}
		return reply
	}
	for _, tc := range []struct {
		reason     string
		pagination v1alpha1.Pagination
		change     func(*v1alpha1.ListTemplate)
		answer     map[string]*httpx.Reply
		want       []int
		// message of the failure; empty for a list that ends.
		message string
	}{
		{"by offset", offset, nil, map[string]*httpx.Reply{
			"limit=100&offset=0": body("", 1, 2), "limit=100&offset=2": body("", 3), "limit=100&offset=3": body(""),
		}, []int{1, 2, 3}, ""},
		{"by offset, and more says that it ends", offset,
			func(list *v1alpha1.ListTemplate) { list.More = "body.more" }, map[string]*httpx.Reply{
				"limit=100&offset=0": body(`,"more":true`, 1, 2), "limit=100&offset=2": body(`,"more":false`, 3),
			}, []int{1, 2, 3}, ""},
		{"by page", number, nil, map[string]*httpx.Reply{
			"limit=100&page=1": body("", 1, 2), "limit=100&page=2": body("", 3), "limit=100&page=3": body(""),
		}, []int{1, 2, 3}, ""},
		{"by cursor", cursor, nil, map[string]*httpx.Reply{
			"limit=100": body(`,"next":"b"`, 1), "after=b&limit=100": body(`,"next":""`, 2),
		}, []int{1, 2}, ""},
		{"by cursor, with an empty page in between", cursor,
			func(list *v1alpha1.ListTemplate) { list.More = "body.next != ''" }, map[string]*httpx.Reply{
				"limit=100": body(`,"next":"b"`, 1), "after=b&limit=100": body(`,"next":"c"`), "after=c&limit=100": body(`,"next":""`, 2),
			}, []int{1, 2}, ""},
		{"by URL, with an empty page in between", next, nil, map[string]*httpx.Reply{
			"limit=100": body(`,"next":"/charges?x=2"`, 1), "x=2": body(`,"next":"/charges?x=3"`), "x=3": body("", 2),
		}, []int{1, 2}, ""},
		{"by Link, with an empty page in between", header, nil, map[string]*httpx.Reply{
			"limit=100": linked("/charges?x=2", body("", 1)), "x=2": linked("/charges?x=3", body("")), "x=3": body("", 2),
		}, []int{1, 2}, ""},
		{"a Link header that cannot be read", header, nil, map[string]*httpx.Reply{"limit=100": {
			Code: http.StatusOK, Body: body("", 1).Body, Header: http.Header{"Link": {`</charges?x=2; rel="next"`}},
		}}, nil, "Link header"},
		{"new sessions after old ones", offset, func(list *v1alpha1.ListTemplate) {
			list.Order = v1alpha1.ListNewestFirst
		}, map[string]*httpx.Reply{"limit=100&offset=0": body("", 5, 1)}, nil, "the newest first"},
		{"by URL", next, nil, map[string]*httpx.Reply{
			"limit=100": body(`,"next":"https://api.omise.co/charges?x=2"`, 1), "x=2": body("", 2),
		}, []int{1, 2}, ""},
		{"by a relative URL", next, nil, map[string]*httpx.Reply{"limit=100": body(`,"next":"/charges?x=2"`, 1), "x=2": body("", 2)},
			[]int{1, 2}, ""},
		{"by Link", header, nil, map[string]*httpx.Reply{
			"limit=100": linked("https://api.omise.co/charges?x=2", body("", 1)), "x=2": body("", 2),
		}, []int{1, 2}, ""},
		{"one page", v1alpha1.Pagination{None: &v1alpha1.NoPagination{}}, nil,
			map[string]*httpx.Reply{"limit=100": body("", 1, 2)}, []int{1, 2}, ""},
		{"a session on two pages, because the list has shifted", offset, nil, map[string]*httpx.Reply{
			"limit=100&offset=0": body("", 1, 2), "limit=100&offset=2": body("", 2, 3), "limit=100&offset=4": body(""),
		}, []int{1, 2, 3}, ""},
		{"page 1 for ever", number, nil, map[string]*httpx.Reply{
			"limit=100&page=1": body("", 1, 2), "limit=100&page=2": body("", 1, 2),
		}, []int{1, 2}, "nothing new"},
		{"an empty page that says that more follows", offset,
			func(list *v1alpha1.ListTemplate) { list.More = "true" }, map[string]*httpx.Reply{
				"limit=100&offset=0": body("", 1), "limit=100&offset=1": body(""),
			}, []int{1}, "nothing new"},
		{"a page without the cursor", v1alpha1.Pagination{
			Cursor: &v1alpha1.CursorPagination{Parameter: "after", Next: "body.next"},
		}, nil, map[string]*httpx.Reply{"limit=100": body("", 1)}, nil, "where the next one is"},
		{"a cursor that is a number", v1alpha1.Pagination{
			Cursor: &v1alpha1.CursorPagination{Parameter: "after", Next: "body.next"},
		}, nil, map[string]*httpx.Reply{"limit=100": body(`,"next":7`, 1)}, nil, "where the next one is"},
		{"a page without the URL", v1alpha1.Pagination{URL: &v1alpha1.URLPagination{Next: "body.next"}},
			nil, map[string]*httpx.Reply{"limit=100": body("", 1)}, nil, "where the next one is"},
		{"a URL of null ends the list", v1alpha1.Pagination{URL: &v1alpha1.URLPagination{Next: "body.next"}},
			nil, map[string]*httpx.Reply{"limit=100": body(`,"next":null`, 1)}, []int{1}, ""},
		{"a cursor that does not move", cursor, nil, map[string]*httpx.Reply{
			"limit=100": body(`,"next":"b"`, 1), "after=b&limit=100": body(`,"next":"b"`, 2),
		}, []int{1}, "names itself"},
		{"the next page is on another host", next, nil,
			map[string]*httpx.Reply{"limit=100": body(`,"next":"https://evil.example/charges?x=2"`, 1)}, nil, "another address"},
		{"the next page has another path", next, nil,
			map[string]*httpx.Reply{"limit=100": body(`,"next":"/keys?x=2"`, 1)}, nil, "another address"},
		{"the next page is plain http", header, nil,
			map[string]*httpx.Reply{"limit=100": linked("http://api.omise.co/charges?x=2", body("", 1))}, nil, "another address"},
		{"the next page is this one", next, nil,
			map[string]*httpx.Reply{"limit=100": body(`,"next":"/charges?limit=100"`, 1)}, nil, "names itself"},
		{"no items", offset, nil, map[string]*httpx.Reply{
			"limit=100&offset=0": {Code: http.StatusOK, Body: []byte(`{"data":null}`)},
		}, nil, "no items"},
		{"a page that is not JSON", offset, nil, map[string]*httpx.Reply{
			"limit=100&offset=0": {Code: http.StatusOK, Body: []byte(`<html>`)},
		}, nil, "HTTP 200"},
		{"no such path", offset, nil, map[string]*httpx.Reply{
			"limit=100&offset=0": {Code: http.StatusNotFound, Body: []byte(`{"object":"error","code":"not_found","message":"x"}`)},
		}, nil, "x"},
		{"pages that are too large are asked for with fewer items", offset, nil, map[string]*httpx.Reply{
			"limit=100&offset=0": body("", 1, 2), "limit=100&offset=2": nil,
			"limit=50&offset=0": body("", 1, 2), "limit=50&offset=2": body("", 3), "limit=50&offset=3": body(""),
		}, []int{1, 2, 3}, ""},
		{"newest first: the list ends where it goes back far enough", offset,
			func(list *v1alpha1.ListTemplate) { list.Order = v1alpha1.ListNewestFirst }, map[string]*httpx.Reply{
				"limit=100&offset=0": body("", 1, 2), "limit=100&offset=2": body("", 3, 57), "limit=100&offset=4": body("", 58),
			}, []int{1, 2, 3}, ""},
		{"newest first: one page that goes back far enough does not show that the list is in order", offset,
			func(list *v1alpha1.ListTemplate) { list.Order = v1alpha1.ListNewestFirst }, map[string]*httpx.Reply{
				"limit=100&offset=0": body("", 57), "limit=100&offset=1": body("", 1),
			}, nil, "the newest first"},
		{"newest first: what is older than asked for may be in any order", offset,
			func(list *v1alpha1.ListTemplate) { list.Order = v1alpha1.ListNewestFirst }, map[string]*httpx.Reply{
				"limit=100&offset=0": body("", 1, 59, 57), "limit=100&offset=3": body("", 58),
			}, []int{1}, ""},
		{"no time of creation: a session is not too old", offset,
			func(list *v1alpha1.ListTemplate) {
				list.Order, list.Item.CreatedAt = v1alpha1.ListNewestFirst, "timestamp(0)"
			}, map[string]*httpx.Reply{
				"limit=100&offset=0": body("", 1), "limit=100&offset=1": body(""),
			}, []int{1}, ""},
		{"more says that another page follows, and the cursor does not", v1alpha1.Pagination{
			Cursor: &v1alpha1.CursorPagination{Parameter: "after", Next: "body.next"},
		}, hasMore, map[string]*httpx.Reply{"limit=100": body(`,"has_more":true,"next":""`, 1)}, nil, "not where it is"},
		{"more says that another page follows, and the Link header does not", header, hasMore,
			map[string]*httpx.Reply{"limit=100": body(`,"has_more":true`, 1)}, nil, "not where it is"},
		{"more says that another page follows, and the class has one", v1alpha1.Pagination{None: &v1alpha1.NoPagination{}},
			hasMore, map[string]*httpx.Reply{"limit=100": body(`,"has_more":true`, 1)}, nil, "not where it is"},
		{"links about something else", header, nil, map[string]*httpx.Reply{"limit=100": {
			Code: http.StatusOK, Body: body("", 1).Body, Header: http.Header{"Link": {
				`<https://cdn.example/_next/a.css>; rel=preload; as=style`, `</charges?after=next_9>; rel="prev"`,
			}},
		}}, []int{1}, ""},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			class := gen.Class("omise")
			class.Spec.List.Query, class.Spec.List.More, class.Spec.List.Order = nil, "", v1alpha1.ListUnordered
			class.Spec.List.Pagination = tc.pagination
			if tc.change != nil {
				tc.change(class.Spec.List)
			}
			definition, err := Compile(&class.Spec)
			if err != nil {
				t.Fatal(err)
			}
			door := &pages{answer: func(query url.Values) *httpx.Reply {
				reply, known := tc.answer[query.Encode()]
				if !known {
					t.Fatalf("a page with the query %q is asked for", query.Encode())
				}
				return reply
			}}
			base, _ := definition.BaseURL("", "")
			endpoint := &Endpoint{
				Definition: definition, BaseURL: base, Credentials: Credentials{"secretKey": "skey_test_1"}, Door: door,
			}
			found, last := readAll(endpoint.List(noon.Add(-150*time.Minute), noon), 20)
			var want []string
			for _, number := range tc.want {
				want = append(want, gen.ID("omise", number))
			}
			if got := slices.Sorted(maps.Keys(found)); !slices.Equal(got, want) && tc.message == "" {
				t.Errorf("found %q, want %q; asked %q", got, want, door.asked)
			}
			if last.Last != (tc.message == "") || !strings.Contains(last.Message, tc.message) {
				t.Errorf("the last page is %+v, want %q", last, tc.message)
			}
		})
	}
}

// TestListItems reads items that are odd.
func TestListItems(t *testing.T) {
	const good = `{"object":"charge","id":"chrg_test_1","status":"pending","created_at":"2026-11-21T09:00:00Z"}`
	for _, tc := range []struct {
		reason, items string
		sessions      int
		unreadable    int
	}{
		{"a charge", good, 1, 0},
		{"twice the same", good + "," + good, 1, 0},
		{"an id that the pattern refuses", `{"object":"charge","id":"../../keys","status":"pending"}`, 0, 1},
		{"no id", `{"object":"charge","status":"pending"}`, 0, 1},
		{"an id that is a list", `{"object":"charge","id":["chrg_test_1"],"status":"pending"}`, 0, 1},
		{"an unknown word", `{"object":"charge","id":"chrg_test_1","status":"novel"}`, 0, 1},
		{"no creation time", `{"object":"charge","id":"chrg_test_1","status":"pending"}`, 1, 0},
		{"null", `null`, 0, 1},
		{"a number", `7`, 0, 1},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			definition := compiled(t, "omise")
			base, _ := definition.BaseURL("", "")
			door := &pages{answer: func(url.Values) *httpx.Reply {
				return &httpx.Reply{Code: http.StatusOK, Body: []byte(`{"offset":0,"total":0,"data":[` + tc.items + `]}`)}
			}}
			endpoint := &Endpoint{
				Definition: definition, BaseURL: base, Credentials: Credentials{"secretKey": "skey_test_1"}, Door: door,
			}
			page := endpoint.List(noon.Add(-4*time.Hour), noon).Next(t.Context())
			if len(page.Sessions) != tc.sessions || len(page.Unreadable) != tc.unreadable || !page.Last {
				t.Errorf("got %+v, want %d sessions and %d that cannot be read", page, tc.sessions, tc.unreadable)
			}
		})
	}
}
