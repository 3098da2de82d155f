// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package account

import "k8s.io/apimachinery/pkg/types"

// Unacknowledged returns the sessions whose outcomes were not acknowledged yet.
func (a *Account) Unacknowledged() []types.UID {
	a.mu.Lock()
	defer a.mu.Unlock()
	sessions := make([]types.UID, 0, len(a.outcomes))
	for session := range a.outcomes {
		sessions = append(sessions, session)
	}
	return sessions
}
