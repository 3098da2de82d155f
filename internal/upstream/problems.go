// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"fmt"
	"strings"
)

// DefinitionError is a mistake in a class.
type DefinitionError struct {
	// Field is the path of the field, for example spec.outcomes[2].when.
	Field string
	// Expression is the text of the field, if it is an expression.
	Expression string
	// Line and Column in the expression, from 1 on; 0 for a mistake that has no position.
	Line, Column int
	// Problem is what is wrong.
	Problem string
}

func (e *DefinitionError) Error() string {
	text := e.Field + ": "
	if e.Line > 0 {
		text += fmt.Sprintf("line %d, column %d: ", e.Line, e.Column)
	}
	text += e.Problem
	if e.Expression != "" {
		text += fmt.Sprintf(", in %q", e.Expression)
	}
	return text
}

// DefinitionErrors are all mistakes in a class, in the order of its fields.
type DefinitionErrors []*DefinitionError

// Unwrap returns each of the errors.
func (e DefinitionErrors) Unwrap() []error {
	problems := make([]error, 0, len(e))
	for _, problem := range e {
		problems = append(problems, problem)
	}
	return problems
}

func (e DefinitionErrors) Error() string {
	texts := make([]string, 0, len(e))
	for _, problem := range e {
		texts = append(texts, problem.Error())
	}
	return strings.Join(texts, "; ")
}
