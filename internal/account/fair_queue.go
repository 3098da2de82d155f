// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"container/heap"
	"container/list"
)

// fairQueue holds requests of several tenants, who take turns: each request of one tenant delays another tenant by at
// most one call. The requests of one tenant are ordered by priority, and then by arrival.
type fairQueue struct {
	// turns holds the tenants that have requests, the one whose turn is next first.
	turns   *list.List
	tenants map[string]*list.Element
}

// tenant holds one tenant's requests.
type tenant struct {
	name    string
	entries entries
}

type entry struct {
	Request

	number int
	index  int
}

func newFairQueue() *fairQueue {
	return &fairQueue{turns: list.New(), tenants: map[string]*list.Element{}}
}

// push adds a request. A tenant that had none gets its turn after the others.
func (q *fairQueue) push(added *entry) {
	element := q.tenants[added.Tenant]
	if element == nil {
		element = q.turns.PushBack(&tenant{name: added.Tenant})
		q.tenants[added.Tenant] = element
	}
	heap.Push(&tenantOf(element).entries, added)
}

// remove removes a request. A tenant that has others keeps its turn.
func (q *fairQueue) remove(removed *entry) {
	element := q.tenants[removed.Tenant]
	requests := &tenantOf(element).entries
	heap.Remove(requests, removed.index)
	if requests.Len() == 0 {
		q.turns.Remove(element)
		delete(q.tenants, removed.Tenant)
	}
}

// front returns the request whose turn is next; nil if there is none.
func (q *fairQueue) front() *entry {
	next := q.turns.Front()
	if next == nil {
		return nil
	}
	return tenantOf(next).entries[0]
}

// serve removes a request and ends its tenant's turn.
func (q *fairQueue) serve(served *entry) {
	element := q.tenants[served.Tenant]
	q.remove(served)
	if q.tenants[served.Tenant] != nil {
		q.turns.MoveToBack(element)
	}
}

func tenantOf(element *list.Element) *tenant {
	found, _ := element.Value.(*tenant)
	return found
}

// entries implements heap.Interface: the highest priority first, and equal ones by arrival.
type entries []*entry

func (e *entries) Len() int { return len(*e) }

func (e *entries) Less(i, j int) bool {
	a, b := (*e)[i], (*e)[j]
	if a.Priority != b.Priority {
		return a.Priority > b.Priority
	}
	return a.number < b.number
}

func (e *entries) Swap(i, j int) {
	list := *e
	list[i], list[j] = list[j], list[i]
	list[i].index, list[j].index = i, j
}

// Push implements heap.Interface.
func (e *entries) Push(added any) {
	last, _ := added.(*entry)
	last.index = len(*e)
	*e = append(*e, last)
}

// Pop implements heap.Interface.
func (e *entries) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*e = old[:len(old)-1]
	return last
}
