// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"container/list"

	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// line holds one call of each session, first come, first served. Calls of each operation stand apart, so that the first one of an
// operation is found at once however long the line is.
type line struct {
	calls map[v1alpha1.Operation]*list.List
	of    map[types.UID]*list.Element
	last  int
}

// place is a call's place in line.
type place struct {
	Call
	number int
}

func newLine() line {
	return line{calls: map[v1alpha1.Operation]*list.List{}, of: map[types.UID]*list.Element{}}
}

// put adds a call at the end, or replaces the one of the same session.
func (l *line) put(call Call) {
	if there := l.of[call.Session]; there != nil {
		if taken, _ := there.Value.(*place); taken.Operation == call.Operation {
			taken.Call = call
			return
		}
		l.remove(call.Session)
	}
	if l.calls[call.Operation] == nil {
		l.calls[call.Operation] = list.New()
	}
	l.last++
	l.of[call.Session] = l.calls[call.Operation].PushBack(&place{Call: call, number: l.last})
}

func (l *line) remove(session types.UID) {
	there := l.of[session]
	if there == nil {
		return
	}
	taken, _ := there.Value.(*place)
	l.calls[taken.Operation].Remove(there)
	delete(l.of, session)
}

// first is the call at the front, of the operations that count; nil counts all. It is nil where there is none.
func (l *line) first(counts func(v1alpha1.Operation) bool) *Call {
	var front *place
	for operation, calls := range l.calls {
		if calls.Len() == 0 || counts != nil && !counts(operation) {
			continue
		}
		if candidate, _ := calls.Front().Value.(*place); front == nil || candidate.number < front.number {
			front = candidate
		}
	}
	if front == nil {
		return nil
	}
	return &front.Call
}
