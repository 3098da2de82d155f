// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"cmp"
	"net/http"
	"slices"
	"strconv"
	"time"
)

// List is the operation of a call that lists sessions. The ID of its Call is the query.
const List = "list"

// lister is a dialect that can list the sessions of an account.
type lister interface {
	// listRoute returns the pattern of the call; empty for none.
	listRoute() string
	// list returns the reply to a call, of all sessions that it may show, the newest first.
	list(objects []*Object, r *http.Request) Reply
}

// SetListLag makes new sessions appear in lists that much later.
func (s *Simulator) SetListLag(lag time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listLag = lag
}

// listed returns the sessions that a provider's list may show, the newest first. The simulator is locked.
func (s *Simulator) listed(provider string) []*Object {
	var found []*Object
	for at, object := range s.objects {
		if at.provider == provider && time.Since(object.addedAt) >= s.listLag {
			found = append(found, object)
		}
	}
	slices.SortFunc(found, func(a, b *Object) int {
		return cmp.Or(b.createdAt.Compare(a.createdAt), cmp.Compare(b.ID, a.ID))
	})
	return found
}

// number returns a number in the query of a call; otherwise where there is none.
func number(r *http.Request, name string, otherwise int) int {
	if value, err := strconv.Atoi(r.URL.Query().Get(name)); err == nil {
		return value
	}
	return otherwise
}

// slice returns some of the objects.
func slice(objects []*Object, from, size int) []*Object {
	from = min(max(from, 0), len(objects))
	return objects[from:min(from+size, len(objects))]
}

// since returns the objects that are not older than the time in a parameter.
func since(objects []*Object, r *http.Request, parameter string) []*Object {
	from, err := time.Parse(time.RFC3339, r.URL.Query().Get(parameter))
	if err != nil {
		return objects
	}
	return slices.DeleteFunc(slices.Clone(objects), func(object *Object) bool { return object.createdAt.Before(from) })
}

func (omise) listRoute() string { return "GET /charges" }

// list follows https://docs.omise.co/api-pagination.
func (o omise) list(objects []*Object, r *http.Request) Reply {
	const most = 100
	objects = since(objects, r, "from")
	if r.URL.Query().Get("order") != "reverse_chronological" {
		slices.Reverse(objects)
	}
	offset, limit := number(r, "offset", 0), min(number(r, "limit", 20), most)
	data := []any{}
	for _, object := range slice(objects, offset, limit) {
		data = append(data, o.charge(object))
	}
	return Reply{Code: http.StatusOK, Body: map[string]any{
		"object": "list", "offset": offset, "limit": limit, "total": len(objects), "data": data,
	}}
}

func (txn) listRoute() string { return "GET /api/public/v1/payment_links" }

// list follows https://docs.txn.pro/payment-links/listing-payment-links.
func (t txn) list(objects []*Object, r *http.Request) Reply {
	size := number(r, "per_page", 20)
	data := []any{}
	for _, object := range slice(objects, (number(r, "page", 1)-1)*size, size) {
		document, _ := t.show(object, nil).Body.(map[string]any)
		data = append(data, document["data"])
	}
	return Reply{Code: http.StatusOK, Header: txnHeader(), Body: map[string]any{
		"data": data, "meta": map[string]any{}, "jsonapi": map[string]any{"version": "1.0"},
	}}
}

func (circle) listRoute() string { return "GET /v1/paymentIntents" }

// list follows https://developers.circle.com/circle-mint/pagination-and-filtering: pages are never larger than 50.
func (c circle) list(objects []*Object, r *http.Request) Reply {
	const most = 50
	objects = since(objects, r, "from")
	from := 0
	if after := r.URL.Query().Get("pageAfter"); after != "" {
		from = 1 + slices.IndexFunc(objects, func(object *Object) bool { return object.ID == after })
	}
	data := []any{}
	for _, object := range slice(objects, from, min(number(r, "pageSize", most), most)) {
		data = append(data, c.intent(object)["data"])
	}
	return Reply{Code: http.StatusOK, Header: circleHeader(), Body: map[string]any{"data": data}}
}
