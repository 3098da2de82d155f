// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"container/heap"
	"container/list"
)

// fair holds calls of several tenants, who take turns: what one of them asks for delays another's calls by one call each and not by all.
// The calls of one tenant go by their priority, and equals in the order in which they came.
type fair struct {
	// turns are the tenants that have calls, the one whose turn is next first.
	turns   *list.List
	tenants map[string]*list.Element
}

// tenant is one tenant's calls.
type tenant struct {
	name    string
	entries entries
}

type entry struct {
	Call
	number int
	index  int
}

func newFair() *fair { return &fair{turns: list.New(), tenants: map[string]*list.Element{}} }

// push adds a call. A tenant that had none gets its turn behind the others.
func (f *fair) push(added *entry) {
	there := f.tenants[added.Tenant]
	if there == nil {
		there = f.turns.PushBack(&tenant{name: added.Tenant})
		f.tenants[added.Tenant] = there
	}
	heap.Push(&tenantOf(there).entries, added)
}

// remove takes a call out. A tenant that has others keeps its turn.
func (f *fair) remove(removed *entry) {
	there := f.tenants[removed.Tenant]
	calls := &tenantOf(there).entries
	heap.Remove(calls, removed.index)
	if calls.Len() == 0 {
		f.turns.Remove(there)
		delete(f.tenants, removed.Tenant)
	}
}

// replace puts a call in the place of another one of the same tenant and priority.
func (f *fair) replace(there *entry, call Call) { there.Call = call }

// front is the call whose turn is next; nil where there is none.
func (f *fair) front() *entry {
	next := f.turns.Front()
	if next == nil {
		return nil
	}
	return tenantOf(next).entries[0]
}

// serve takes a call out and ends its tenant's turn.
func (f *fair) serve(served *entry) {
	there := f.tenants[served.Tenant]
	f.remove(served)
	if f.tenants[served.Tenant] != nil {
		f.turns.MoveToBack(there)
	}
}

func tenantOf(there *list.Element) *tenant {
	found, _ := there.Value.(*tenant)
	return found
}

// entries is a heap.Interface: the most urgent first, and equals in the order in which they came.
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

// Push is heap.Interface's.
func (e *entries) Push(added any) {
	last, _ := added.(*entry)
	last.index = len(*e)
	*e = append(*e, last)
}

// Pop is heap.Interface's.
func (e *entries) Pop() any {
	old := *e
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*e = old[:len(old)-1]
	return last
}
