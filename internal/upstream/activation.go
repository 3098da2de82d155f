// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"fmt"
	"time"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"
	"github.com/google/cel-go/common/types/traits"
	"github.com/google/cel-go/ext"
)

// expressionCostLimit bounds the cost of one expression for one reply, however large the reply is. The shipped
// classes need about a thousandth of it. https://pkg.go.dev/github.com/google/cel-go/cel#CostLimit
const expressionCostLimit = 1_000_000

// The environments of a class's expressions, with the variables that they can use.
var (
	reply          = mustEnvironment()
	replyAndStatus = mustEnvironment(cel.Variable("status", cel.StringType))
)

// Environment returns the environment of an expression: with the variables code, headers, body and now, and with
// status where the field comes after the status word is known.
func Environment(withStatus bool) *cel.Env {
	if withStatus {
		return replyAndStatus
	}
	return reply
}

func mustEnvironment(options ...cel.EnvOption) *cel.Env {
	return mustEnvironmentOf(append(options,
		cel.Variable("code", cel.IntType),
		cel.Variable("headers", cel.MapType(cel.StringType, cel.StringType)),
		cel.Variable("body", cel.DynType),
		cel.Variable("now", cel.TimestampType),
	)...)
}

// mustEnvironmentOf returns an environment with the functions that every expression can use.
func mustEnvironmentOf(options ...cel.EnvOption) *cel.Env {
	environment, err := cel.NewEnv(append(options, cel.OptionalTypes(), ext.Strings(), ext.Lists())...)
	if err != nil {
		panic(fmt.Sprintf("the expression environment is wrong: %v", err))
	}
	return environment
}

// expression is a compiled expression of a class; nil where the class has none.
type expression struct {
	// field of the class that has it.
	field   string
	program cel.Program
}

// activation holds the values of an expression's variables for one reply.
type activation struct {
	values map[string]any
	// failed collects the expressions that failed; nil to collect none.
	failed *[]FailedExpression
}

// FailedExpression is an expression of a class that failed on a reply, for example because a field is missing.
type FailedExpression struct {
	// Field of the class that has the expression.
	Field string
	// Problem in CEL's words.
	Problem string
}

// eval evaluates an expression. It returns nil if the class has none, or if it fails.
func (a activation) eval(of *expression) ref.Val {
	if of == nil {
		return nil
	}
	value, _, err := of.program.Eval(a.values)
	if err != nil {
		if a.failed != nil {
			*a.failed = append(*a.failed, FailedExpression{of.field, err.Error()})
		}
		return nil
	}
	return value
}

// holds evaluates a condition. A condition that fails, for example because a field is missing, does not hold.
func (a activation) holds(of *expression) bool { return a.eval(of) == types.True }

// denies evaluates a condition, and reports whether it does not hold. A condition that fails denies nothing.
func (a activation) denies(of *expression) bool { return a.eval(of) == types.False }

// number evaluates an expression to an int. It returns 0 if the expression fails.
func (a activation) number(of *expression) int {
	number, _ := a.eval(of).(types.Int)
	return int(number)
}

// text evaluates an expression to a string. It returns "" if the expression fails.
func (a activation) text(of *expression) string {
	text, _ := a.eval(of).(types.String)
	return string(text)
}

// texts evaluates an expression to a map with keys that are strings. It returns an empty one if the expression fails.
func (a activation) texts(of *expression) map[string]any {
	found := map[string]any{}
	entries, isMap := a.eval(of).(traits.Mapper)
	if !isMap {
		return found
	}
	for each := entries.Iterator(); each.HasNext() == types.True; {
		key := each.Next()
		if name, isText := key.(types.String); isText {
			found[string(name)] = entries.Get(key).Value()
		}
	}
	return found
}

// id evaluates an expression to a session's id. It returns "" if the expression fails or returns null.
func (a activation) id(of *expression) string {
	value := a.eval(of)
	if value == nil || value == types.NullValue {
		return ""
	}
	return fmt.Sprint(value.Value())
}

// time evaluates an expression to a timestamp or an RFC 3339 string. It returns nil if the expression fails.
func (a activation) time(of *expression) *time.Time {
	switch value := a.eval(of).(type) {
	case types.Timestamp:
		return &value.Time
	case types.String:
		if parsed, err := time.Parse(time.RFC3339, string(value)); err == nil {
			return &parsed
		}
	}
	return nil
}
