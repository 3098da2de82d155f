// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"container/heap"
	"container/list"

	"k8s.io/apimachinery/pkg/types"
)

// queue holds at most one call of each session, the most urgent first. Within one priority the tenants take turns, so that what one of
// them asks for delays another's calls by one call each and not by all; the calls of one tenant go in the order in which they came.
type queue struct {
	levels [Deletion + 1]level
	of     map[types.UID]*entry
	last   int
}

// level is one priority's.
type level struct {
	// turns are the tenants that have calls, the one whose turn is next first.
	turns   *list.List
	tenants map[string]*list.Element
}

// tenant is one tenant's calls of one priority.
type tenant struct {
	name    string
	entries entries
}

type entry struct {
	Call
	number int
	index  int
}

func newQueue() queue {
	made := queue{of: map[types.UID]*entry{}}
	for priority := range made.levels {
		made.levels[priority] = level{turns: list.New(), tenants: map[string]*list.Element{}}
	}
	return made
}

// put adds a call, or replaces the one of the same session, which then keeps its place among equals.
func (q *queue) put(call Call) {
	q.last++
	number := q.last
	if there := q.of[call.Session]; there != nil {
		number = there.number
		q.remove(call.Session)
	}
	added := &entry{Call: call, number: number}
	q.of[call.Session] = added
	heap.Push(q.levels[call.Priority].tenant(call.Tenant), added)
}

// tenant gives the calls of a tenant, which gets its turn behind the others where it had none.
func (l *level) tenant(name string) *entries {
	there := l.tenants[name]
	if there == nil {
		there = l.turns.PushBack(&tenant{name: name})
		l.tenants[name] = there
	}
	found, _ := there.Value.(*tenant)
	return &found.entries
}

// leave drops a tenant that has no calls any more.
func (l *level) leave(name string) {
	if there := l.tenants[name]; len(*l.tenant(name)) == 0 {
		l.turns.Remove(there)
		delete(l.tenants, name)
	}
}

// admitted reports whether the session's call was admitted as a probe.
func (q *queue) admitted(session types.UID) bool {
	there := q.of[session]
	return there != nil && there.admitted
}

func (q *queue) remove(session types.UID) {
	there := q.of[session]
	if there == nil {
		return
	}
	level := &q.levels[there.Priority]
	heap.Remove(level.tenant(there.Tenant), there.index)
	level.leave(there.Tenant)
	delete(q.of, session)
}

// pop takes the most urgent call; ok is false where there is none.
func (q *queue) pop() (call Call, ok bool) {
	for priority := Deletion; priority >= Poll; priority-- {
		level := &q.levels[priority]
		front := level.turns.Front()
		if front == nil {
			continue
		}
		next, _ := front.Value.(*tenant)
		first, _ := heap.Pop(&next.entries).(*entry)
		level.turns.MoveToBack(front)
		level.leave(next.name)
		delete(q.of, first.Session)
		return first.Call, true
	}
	return Call{}, false
}

func (q *queue) len() int { return len(q.of) }

// entries is a heap.Interface, in the order in which the calls came.
type entries []*entry

func (e *entries) Len() int { return len(*e) }

func (e *entries) Less(i, j int) bool { return (*e)[i].number < (*e)[j].number }

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
