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

// expressionCostLimit bounds what one expression may do with one reply, however large a provider makes it. The shipped
// classes need about a thousandth of it.
const expressionCostLimit = 1_000_000

// The environments in which a class's expressions are compiled: what they see of a reply.
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

// compile compiles one expression of a class and checks the type of its result.
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

// facts are what an expression sees of a reply.
type facts map[string]any

// holds evaluates a condition. One that fails on this reply, because a field is missing, does not hold.
func (f facts) holds(program cel.Program) bool {
	value, _, err := program.Eval(map[string]any(f))
	return err == nil && value == types.True
}

// text evaluates an expression for a string; one that fails gives "".
func (f facts) text(program cel.Program) string {
	if program == nil {
		return ""
	}
	value, _, err := program.Eval(map[string]any(f))
	if err != nil {
		return ""
	}
	text, _ := value.Value().(string)
	return text
}

// id evaluates an expression for a session's id; one that fails, or gives null, gives "".
func (f facts) id(program cel.Program) string {
	if program == nil {
		return ""
	}
	value, _, err := program.Eval(map[string]any(f))
	if err != nil || value == types.NullValue {
		return ""
	}
	return fmt.Sprint(value.Value())
}

// time evaluates an expression for a timestamp or an RFC 3339 string; one that fails gives nil.
func (f facts) time(program cel.Program) *time.Time {
	if program == nil {
		return nil
	}
	value, _, err := program.Eval(map[string]any(f))
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
