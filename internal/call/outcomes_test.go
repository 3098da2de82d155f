// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package call

import (
	"testing"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestEveryOutcomeHasAMeaning compares the outcomes of the API with the table.
func TestEveryOutcomeHasAMeaning(t *testing.T) {
	outcomes := gen.Constants[v1alpha1.Outcome]("Outcome")
	for _, outcome := range outcomes {
		meaning, ok := meanings[outcome]
		if !ok || meaning == (Meaning{}) {
			t.Errorf("%s has no meaning: add its row to meanings", outcome)
		}
		if meaning.AcceptsCredentials && meaning.RejectsAccount {
			t.Errorf("%s contradicts itself: %+v", outcome, meaning)
		}
	}
	if len(outcomes) != len(meanings) {
		t.Errorf("%d outcomes in the API, %d in the table", len(outcomes), len(meanings))
	}
}
