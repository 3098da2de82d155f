// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"fmt"
	"strings"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/ext"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// expressionCostLimit bounds the cost of one expression for one reply, however large the reply is. The shipped
// classes need about a thousandth of it. https://pkg.go.dev/github.com/google/cel-go/cel#CostLimit
const expressionCostLimit = 1_000_000

// The environments of a class's expressions, with the variables that they can use.
var (
	reply          = mustEnvironment()
	replyAndStatus = mustEnvironment(cel.Variable("status", cel.StringType))
)

func mustEnvironment(options ...cel.EnvOption) *cel.Env {
	environment, err := cel.NewEnv(append(options,
		cel.Variable("code", cel.IntType),
		cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("body", cel.DynType),
		cel.Variable("now", cel.TimestampType),
		cel.OptionalTypes(),
		ext.Strings(),
		ext.Lists(),
	)...)
	if err != nil {
		panic(fmt.Sprintf("the expression environment is wrong: %v", err))
	}
	return environment
}

// compile compiles one expression of a class and checks its result type.
func compile(field string, text v1alpha1.Expression, environment *cel.Env, wants ...*cel.Type) (cel.Program, error) {
	ast, issues := environment.Compile(string(text))
	if issues.Err() != nil {
		first := issues.Errors()[0]
		problem := fmt.Sprintf("line %d, column %d: %s", first.Location.Line(), first.Location.Column()+1, first.Message)
		return nil, &DefinitionError{Field: field, Expression: string(text), Problem: problem}
	}
	output := ast.OutputType()
	accepted := output.IsExactType(cel.DynType)
	names := make([]string, 0, len(wants))
	for _, want := range wants {
		accepted = accepted || output.IsExactType(want)
		names = append(names, want.String())
	}
	if !accepted {
		problem := fmt.Sprintf("line 1, column 1: the result is %s, want %s", output, strings.Join(names, " or "))
		return nil, &DefinitionError{Field: field, Expression: string(text), Problem: problem}
	}
	program, err := environment.Program(ast, cel.CostLimit(expressionCostLimit), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		return nil, &DefinitionError{Field: field, Expression: string(text), Problem: err.Error()}
	}
	return program, nil
}

// activation holds the values of an expression's variables for one reply.
type activation map[string]any

// holds evaluates a condition. A condition that fails, for example because a field is missing, does not hold.
func (a activation) holds(program cel.Program) bool {
	value, _, err := program.Eval(map[string]any(a))
	return err == nil && value == types.True
}

// text evaluates an expression to a string. It returns "" if the expression fails.
func (a activation) text(program cel.Program) string {
	if program == nil {
		return ""
	}
	value, _, err := program.Eval(map[string]any(a))
	if err != nil {
		return ""
	}
	text, _ := value.Value().(string)
	return text
}

// id evaluates an expression to a session's id. It returns "" if the expression fails or returns null.
func (a activation) id(program cel.Program) string {
	if program == nil {
		return ""
	}
	value, _, err := program.Eval(map[string]any(a))
	if err != nil || value == types.NullValue {
		return ""
	}
	return fmt.Sprint(value.Value())
}

// time evaluates an expression to a timestamp or an RFC 3339 string. It returns nil if the expression fails.
func (a activation) time(program cel.Program) *time.Time {
	if program == nil {
		return nil
	}
	value, _, err := program.Eval(map[string]any(a))
	if err != nil {
		return nil
	}
	switch value := value.Value().(type) {
	case time.Time:
		return &value
	case string:
		if parsed, err := time.Parse(time.RFC3339, value); err == nil {
			return &parsed
		}
	}
	return nil
}
