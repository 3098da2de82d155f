// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"fmt"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// listedFields are the fields of the variable session in a sweep's where.
var listedFields = []string{"id", "state", "status", "owner", "createdAt"}

var whereVariables = mustEnvironmentOf(cel.Variable(sessionVariable, cel.MapType(cel.StringType, cel.DynType)))

// Where is a compiled condition on a session of a list. It is immutable and safe for concurrent use; nil holds always.
type Where struct {
	condition *expression
}

// CompileWhere compiles and checks the condition of a sweep; nil where it is empty. The error is a DefinitionErrors.
func CompileWhere(text v1alpha1.Expression) (*Where, error) {
	if text == "" {
		return nil, nil //nolint:nilnil // No condition is a valid value.
	}
	c := &compiler{}
	compiled := &Where{condition: c.expression("spec.where", text, whereVariables, cel.BoolType)}
	for _, name := range fieldsOf(text, whereVariables, sessionVariable) {
		if !slices.Contains(listedFields, name) {
			problem := fmt.Sprintf("a session of a list has no field %s; it has %s", name, strings.Join(listedFields, ", "))
			c.reportf("spec.where", "%s", problem)
		}
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return compiled, nil
}

// Holds reports whether a session of a list meets the condition. One for which the condition fails, for example because
// it has no creation time, does not.
func (w *Where) Holds(of Listed) bool {
	if w == nil {
		return true
	}
	fields := map[string]any{"id": of.ID, "state": string(of.State), "status": of.Status, "owner": of.Owner}
	if !of.CreatedAt.IsZero() {
		fields["createdAt"] = types.Timestamp{Time: of.CreatedAt}
	}
	return activation{values: map[string]any{sessionVariable: fields}}.holds(w.condition)
}
