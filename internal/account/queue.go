// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import "k8s.io/apimachinery/pkg/types"

// queue holds at most one request of each session. What was proven goes first, then deletions and expiries, then
// polls. Within each of these levels the tenants take turns.
type queue struct {
	proven, urgent, polls *fairQueue
	bySession             map[types.UID]*entry
	last                  int
}

func newQueue() queue {
	return queue{
		proven: newFairQueue(), urgent: newFairQueue(), polls: newFairQueue(), bySession: map[types.UID]*entry{},
	}
}

func (q *queue) level(priority Priority) *fairQueue {
	switch priority {
	case Proven:
		return q.proven
	case Poll:
		return q.polls
	default:
		return q.urgent
	}
}

// put adds a request, or replaces the one of the same session. A replacement of the same priority keeps the place: a
// session submits its request again with each reconcile.
func (q *queue) put(request Request) {
	present := q.bySession[request.Session]
	if present != nil && present.Priority == request.Priority && present.Tenant == request.Tenant {
		present.Request = request
		return
	}
	q.last++
	added := &entry{Request: request, number: q.last}
	if present != nil {
		added.number = present.number
		q.remove(request.Session)
	}
	q.bySession[request.Session] = added
	q.level(request.Priority).push(added)
}

// admitted reports whether a session's request was admitted although the credentials are known to be rejected, and
// whether as a probe.
func (q *queue) admitted(session types.UID) (admitted, probe bool) {
	present := q.bySession[session]
	return present != nil && present.admitted, present != nil && present.probe
}

func (q *queue) remove(session types.UID) {
	if present := q.bySession[session]; present != nil {
		q.level(present.Priority).remove(present)
		delete(q.bySession, session)
	}
}

// pop removes and returns the request whose turn is next; ok is false if the queue is empty.
func (q *queue) pop() (request Request, ok bool) {
	for _, level := range []*fairQueue{q.proven, q.urgent, q.polls} {
		if next := level.front(); next != nil {
			level.serve(next)
			delete(q.bySession, next.Session)
			return next.Request, true
		}
	}
	return Request{}, false
}

func (q *queue) len() int { return len(q.bySession) }
