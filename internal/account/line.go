// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// line holds one call of each session that waits for a turn to probe. The tenants take turns, and so do the sessions of each.
type line struct {
	groups map[group]*fair
	of     map[types.UID]*place
	last   int
}

// group is the calls of one operation, of sessions that were rejected themselves or of those that only wait for the account. The latter
// go first: they may be accepted.
type group struct {
	operation v1alpha1.Operation
	rejected  bool
}

type place struct {
	entry

	group group
}

func newLine() line {
	return line{groups: map[group]*fair{}, of: map[types.UID]*place{}}
}

// put adds a call at the end, or replaces the one of the same session.
func (l *line) put(call Call, rejected bool) {
	// Who waits longest goes first, whatever waits.
	call.Priority = Poll
	in := group{call.Operation, rejected}
	if there := l.of[call.Session]; there != nil {
		if there.group == in && there.Tenant == call.Tenant {
			l.groups[in].replace(&there.entry, call)
			return
		}
		l.remove(call.Session)
	}
	if l.groups[in] == nil {
		l.groups[in] = newFair()
	}
	l.last++
	added := &place{entry{Call: call, number: l.last}, in}
	l.of[call.Session] = added
	l.groups[in].push(&added.entry)
}

func (l *line) remove(session types.UID) {
	if there := l.of[session]; there != nil {
		l.groups[there.group].remove(&there.entry)
		delete(l.of, session)
	}
}

// serve takes a session's call out and ends its tenant's turn.
func (l *line) serve(session types.UID) {
	if there := l.of[session]; there != nil {
		l.groups[there.group].serve(&there.entry)
		delete(l.of, session)
	}
}

// first is the call whose turn is next, of the operations that count; nil counts all. It is nil where there is none.
func (l *line) first(counts func(v1alpha1.Operation) bool) *Call {
	for _, rejected := range []bool{false, true} {
		var front *entry
		for in, calls := range l.groups {
			if in.rejected != rejected || counts != nil && !counts(in.operation) {
				continue
			}
			if candidate := calls.front(); candidate != nil && (front == nil || candidate.number < front.number) {
				front = candidate
			}
		}
		if front != nil {
			return &front.Call
		}
	}
	return nil
}
