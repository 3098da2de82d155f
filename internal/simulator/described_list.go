// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// DescribedList is how a described provider lists sessions: the newest first, each page from a cursor on.
type DescribedList struct {
	// Route is the call as a pattern of http.ServeMux.
	Route string
	// Within is the field of a reply to a read that has what an item is; empty where that is the whole body.
	Within string
	// CreatedAt is the field of an item with the time of its creation, in Unix seconds where Unix is true.
	CreatedAt string
	Unix      bool
	// Cursor is the query parameter with the id of the last item of the page before; where Inclusive is true, of the first
	// item of this page.
	Cursor    string
	Inclusive bool
	// Page returns the reply with the items of a page. next is the URL of the next page; empty for none.
	Page func(items []any, next string) Reply
}

func (d *Described) listRoute() string {
	if d.List == nil {
		return ""
	}
	return d.List.Route
}

func (d *Described) list(objects []*Object, r *http.Request) Reply {
	const most = 100
	from := 0
	if cursor := r.URL.Query().Get(d.List.Cursor); cursor != "" {
		from = slices.IndexFunc(objects, func(object *Object) bool { return object.ID == cursor })
		if !d.List.Inclusive {
			from++
		}
	}
	shown, items := slice(objects, from, min(number(r, "limit", 10), most)), []any{}
	for _, object := range shown {
		items = append(items, d.item(d.body(object)))
	}
	next, rest := "", from+len(shown)
	if rest < len(objects) && len(shown) > 0 {
		at := shown[len(shown)-1]
		if d.List.Inclusive {
			at = objects[rest]
		}
		query := r.URL.Query()
		query.Set(d.List.Cursor, at.ID)
		path, _, _ := strings.Cut(r.RequestURI, "?")
		next = "http://" + r.Host + path + "?" + query.Encode()
	}
	return d.List.Page(items, next)
}

// body returns the reply to a read of a session, with the time of its creation and the marks of its creator.
func (d *Described) body(object *Object) map[string]any {
	text, _ := d.about(d.Shown[object.State], object.ID).Body.(string)
	body := map[string]any{}
	if err := json.Unmarshal([]byte(text), &body); err != nil {
		panic(err)
	}
	item := d.item(body)
	item[d.List.CreatedAt] = object.createdAt.UTC().Format(time.RFC3339)
	if d.List.Unix {
		item[d.List.CreatedAt] = object.createdAt.Unix()
	}
	item["metadata"] = map[string]any{}
	if cluster, namespace, ok := strings.Cut(object.Owner, "/"); ok {
		item["metadata"] = map[string]any{"cluster": cluster, "namespace": namespace}
	}
	return body
}

// item returns the part of a body that is an item of a list.
func (d *Described) item(body map[string]any) map[string]any {
	if d.List.Within == "" {
		return body
	}
	item, _ := body[d.List.Within].(map[string]any)
	return item
}
