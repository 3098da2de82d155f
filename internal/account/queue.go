// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import "k8s.io/apimachinery/pkg/types"

// queue holds at most one call of each session. Deletions and expiries go ahead of polls; among those that are as urgent, and among the
// polls, the tenants take turns.
type queue struct {
	urgent, polls *fair
	of            map[types.UID]*entry
	last          int
}

func newQueue() queue {
	return queue{urgent: newFair(), polls: newFair(), of: map[types.UID]*entry{}}
}

func (q *queue) level(priority Priority) *fair {
	if priority == Poll {
		return q.polls
	}
	return q.urgent
}

// put adds a call, or replaces the one of the same session. One that is as urgent as before keeps its place and its tenant's turn: a
// session asks again for its call whenever anything makes the controller look at it.
func (q *queue) put(call Call) {
	there := q.of[call.Session]
	if there != nil && there.Priority == call.Priority && there.Tenant == call.Tenant {
		q.level(call.Priority).replace(there, call)
		return
	}
	q.last++
	added := &entry{Call: call, number: q.last}
	if there != nil {
		added.number = there.number
		q.remove(call.Session)
	}
	q.of[call.Session] = added
	q.level(call.Priority).push(added)
}

// admitted reports whether a session's call was admitted although the credentials are known to be rejected, and whether as a probe.
func (q *queue) admitted(session types.UID) (admitted, probe bool) {
	there := q.of[session]
	return there != nil && there.admitted, there != nil && there.probe
}

func (q *queue) remove(session types.UID) {
	if there := q.of[session]; there != nil {
		q.level(there.Priority).remove(there)
		delete(q.of, session)
	}
}

// pop takes the call whose turn is next; ok is false where there is none.
func (q *queue) pop() (call Call, ok bool) {
	for _, level := range []*fair{q.urgent, q.polls} {
		if next := level.front(); next != nil {
			level.serve(next)
			delete(q.of, next.Session)
			return next.Call, true
		}
	}
	return Call{}, false
}

func (q *queue) len() int { return len(q.of) }
