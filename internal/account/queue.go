// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"container/heap"

	"k8s.io/apimachinery/pkg/types"
)

// queue holds at most one call of each session, the most urgent first and equals in the order in which they came.
type queue struct {
	entries entries
	of      map[types.UID]*entry
	last    int
}

type entry struct {
	Call
	number int
	index  int
}

func newQueue() queue { return queue{of: map[types.UID]*entry{}} }

// put adds a call, or replaces the one of the same session, which then keeps its place among equals.
func (q *queue) put(call Call) {
	if there := q.of[call.Session]; there != nil {
		there.Call = call
		heap.Fix(&q.entries, there.index)
		return
	}
	q.last++
	added := &entry{Call: call, number: q.last}
	q.of[call.Session] = added
	heap.Push(&q.entries, added)
}

// admitted reports whether the session's call was admitted as a probe.
func (q *queue) admitted(session types.UID) bool {
	there := q.of[session]
	return there != nil && there.admitted
}

func (q *queue) remove(session types.UID) {
	if there := q.of[session]; there != nil {
		heap.Remove(&q.entries, there.index)
		delete(q.of, session)
	}
}

// pop takes the most urgent call; ok is false where there is none.
func (q *queue) pop() (call Call, ok bool) {
	if len(q.entries) == 0 {
		return Call{}, false
	}
	first, _ := heap.Pop(&q.entries).(*entry)
	delete(q.of, first.Session)
	return first.Call, true
}

func (q *queue) empty() bool { return len(q.entries) == 0 }

// entries is a heap.Interface.
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
