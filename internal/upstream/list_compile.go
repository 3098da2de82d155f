// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/google/cel-go/cel"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// defaultLag is how late a new session may appear in a list whose class does not say it.
const defaultLag = 30 * time.Second

// The environments of a list's expressions.
var (
	listRange = mustEnvironmentOf(cel.Variable("since", cel.TimestampType), cel.Variable("until", cel.TimestampType))
	listPage  = mustEnvironment(cel.Variable("items", cel.ListType(cel.DynType)))
	listItem  = mustEnvironmentOf(cel.Variable("item", cel.DynType))
)

// list is the compiled list call of a class.
type list struct {
	*v1alpha1.ListTemplate

	query                       []*expression
	next, more, items           *expression
	as, id, createdAt, selected *expression
}

// compileList compiles spec.list.
func (c *compiler) compileList() {
	spec := c.spec.List
	if spec == nil {
		return
	}
	compiled := &list{ListTemplate: spec}
	c.checkListPlaces(compiled)
	for i, parameter := range spec.Query {
		value := c.expression(fmt.Sprintf("spec.list.query[%d].value", i), parameter.Value, listRange, cel.StringType)
		compiled.query = append(compiled.query, value)
	}
	compiled.items = c.expression("spec.list.items", spec.Items, reply, cel.ListType(cel.DynType))
	compiled.more = c.expression("spec.list.more", spec.More, listPage, cel.BoolType)
	switch pagination := spec.Pagination; {
	case pagination.Cursor != nil:
		field := "spec.list.pagination.cursor.next"
		compiled.next = c.expression(field, pagination.Cursor.Next, listPage, cel.StringType)
	case pagination.URL != nil:
		compiled.next = c.expression("spec.list.pagination.url.next", pagination.URL.Next, listPage, cel.StringType)
	}
	compiled.as = c.expression("spec.list.item.as", spec.Item.As, listItem, cel.MapType(cel.StringType, cel.DynType))
	compiled.id = c.expression("spec.list.item.id", spec.Item.ID, listItem, cel.StringType, cel.IntType)
	compiled.createdAt = c.expression("spec.list.item.createdAt", spec.Item.CreatedAt, listItem, cel.TimestampType,
		cel.StringType)
	compiled.selected = c.expression("spec.list.select", spec.Select, listItem, cel.BoolType)
	c.list = compiled
}

// checkListPlaces refuses two values for one place of a list's request.
func (c *compiler) checkListPlaces(compiled *list) {
	taken := maps.Clone(c.taken)
	for _, name := range []string{"Accept", contentType} {
		if at := headerPlace(name, ""); taken[at] == engine {
			delete(taken, at)
		}
	}
	if compiled.ContentType != "" {
		c.take(taken, headerPlace(contentType, ""), "spec.list.contentType")
	}
	c.checkHeaders(taken, "spec.list.headers", compiled.Headers)
	for _, header := range slices.Concat(c.spec.Headers, compiled.Headers) {
		if strings.Contains(header.Value, idPlaceholder) {
			c.reportf("spec.list", "the header %s has {id} in its value, and a list is about no session", header.Name)
		}
	}
	for i, parameter := range compiled.Query {
		c.take(taken, queryPlace(parameter.Name, ""), fmt.Sprintf("spec.list.query[%d]", i))
	}
	if size := compiled.PageSize; size != nil {
		c.take(taken, queryPlace(size.Parameter, ""), "spec.list.pageSize")
	}
	for field, name := range pageParameters(compiled.Pagination) {
		c.take(taken, queryPlace(name, ""), "spec.list.pagination."+field)
	}
}

// pageParameters returns the query parameter with which a page is asked for, by the kind of pagination.
func pageParameters(pagination v1alpha1.Pagination) map[string]string {
	switch {
	case pagination.Offset != nil:
		return map[string]string{"offset": pagination.Offset.Parameter}
	case pagination.Page != nil:
		return map[string]string{"page": pagination.Page.Parameter}
	case pagination.Cursor != nil:
		return map[string]string{"cursor": pagination.Cursor.Parameter}
	default:
		return nil
	}
}

// Lists reports whether the class can list the sessions of an account.
func (d *Definition) Lists() bool { return d.list != nil }

// ListsNewestFirst reports whether the list shows the newest sessions first, so that it need not be read to its end.
func (d *Definition) ListsNewestFirst() bool {
	return d.list != nil && d.list.Order == v1alpha1.ListNewestFirst
}

// Lag returns how late a new session may appear in a list.
func (d *Definition) Lag() time.Duration {
	if d.list == nil || d.list.Lag == nil {
		return defaultLag
	}
	return d.list.Lag.Duration
}
