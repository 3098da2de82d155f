// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import (
	"k8s.io/apimachinery/pkg/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// probeQueue holds one request of each session that waits for a turn to probe. The tenants take turns, and so do the
// sessions of each.
type probeQueue struct {
	groups    map[group]*fairQueue
	bySession map[types.UID]*groupEntry
	last      int
}

// group separates the operations, and the sessions that were rejected themselves or have probed from those that only
// wait for the account. The latter go first: their calls may be accepted.
type group struct {
	operation v1alpha1.Operation
	tried     bool
}

type groupEntry struct {
	entry

	group group
}

func newProbeQueue() probeQueue {
	return probeQueue{groups: map[group]*fairQueue{}, bySession: map[types.UID]*groupEntry{}}
}

// put adds a request at the end, or replaces the one of the same session.
func (q *probeQueue) put(request Request, tried bool) {
	// The session that has waited longest goes first, whatever it waits for.
	request.Priority = Poll
	in := group{request.Operation, tried}
	if present := q.bySession[request.Session]; present != nil {
		if present.group == in && present.Tenant == request.Tenant {
			present.Request = request
			return
		}
		q.remove(request.Session)
	}
	if q.groups[in] == nil {
		q.groups[in] = newFairQueue()
	}
	q.last++
	added := &groupEntry{entry{Request: request, number: q.last}, in}
	q.bySession[request.Session] = added
	q.groups[in].push(&added.entry)
}

func (q *probeQueue) remove(session types.UID) {
	if present := q.bySession[session]; present != nil {
		q.groups[present.group].remove(&present.entry)
		delete(q.bySession, session)
	}
}

// serve removes a session's request and ends its tenant's turn.
func (q *probeQueue) serve(session types.UID) {
	if present := q.bySession[session]; present != nil {
		q.groups[present.group].serve(&present.entry)
		delete(q.bySession, session)
	}
}

// first returns the request whose turn is next among those of the operations that count; nil counts all. It returns
// nil if there is none.
func (q *probeQueue) first(counts func(v1alpha1.Operation) bool) *Request {
	for _, tried := range []bool{false, true} {
		var front *entry
		for in, requests := range q.groups {
			if in.tried != tried || counts != nil && !counts(in.operation) {
				continue
			}
			if candidate := requests.front(); candidate != nil && (front == nil || candidate.number < front.number) {
				front = candidate
			}
		}
		if front != nil {
			return &front.Request
		}
	}
	return nil
}
