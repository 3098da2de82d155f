// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"regexp"
	"strings"

	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// hint says what to do about a mistake whose message, which is the compiler's, does not say it.
type hint struct {
	// problem matches the message, and expression the text of the expression from the place of the mistake on; nil for
	// any.
	problem, expression *regexp.Regexp
	fix                 string
}

// hints are tried in order, and the first match counts.
var hints = []hint{
	{regexp.MustCompile(`token recognition error at: '=`), nil, "compare with =="},
	{regexp.MustCompile(`invalid argument to has\(\) macro`), regexp.MustCompile(`^[^(]*\(\s*headers\s*\[`),
		"has() takes a field; ask for a header with 'x-name' in headers"},
	{regexp.MustCompile(`invalid argument to has\(\) macro`), regexp.MustCompile(`^[^(]*\([^)]*\[`),
		"has() takes a field, as in has(body.error.code); ask for another key with 'key' in body.map"},
	{regexp.MustCompile(`invalid argument to has\(\) macro`), nil,
		"has() takes a field, as in has(body.code); an empty body is null: body != null"},
	{regexp.MustCompile(`the result is (int|double), want google.protobuf.Timestamp`), nil,
		"make a time of Unix seconds with timestamp(int(…)), and of milliseconds with timestamp(int(…) / 1000)"},
	{regexp.MustCompile(`the result is bool, want google.protobuf.Timestamp`), nil, "return the time, not a comparison"},
	{regexp.MustCompile(`the result is \w+, want bool`), nil, "a condition is true or false: compare the value"},
	{regexp.MustCompile(`the result is \w+, want string`), nil, "convert the value with string(…)"},
	{regexp.MustCompile(`the result is string, want int`), nil, "convert the value with int(…)"},
	{regexp.MustCompile(`'_[=!<>]+_' applied to '\((int, string|string, int)\)'`), nil,
		"code and other numbers are ints and have no quotes; headers are strings and have quotes"},
	{regexp.MustCompile(`mismatched input '(and|or|is|not)'`), nil, "CEL has &&, || and !"},
	{regexp.MustCompile(`undeclared reference to 'status'`), nil,
		"status exists in overrides, stillPayable, expirable and expiredAt; elsewhere write the field of body"},
	{regexp.MustCompile(`undeclared reference to '(nil|None|undefined)'`), nil, "CEL has null"},
	{regexp.MustCompile(`undeclared reference to '(len|length|count)'`), nil, "CEL has size(…)"},
	{regexp.MustCompile(`undeclared reference to '(True|False)'`), nil, "CEL has true and false"},
	{regexp.MustCompile(`undeclared reference to '(lower|toLower|lowercase|upper|toUpper)'`), nil,
		"CEL has lowerAscii() and upperAscii()"},
	{regexp.MustCompile(`undeclared reference to '(response|reply|data|json|error|request)'`), nil,
		"an expression has code, headers, body and now"},
	{regexp.MustCompile(`undeclared reference`), nil,
		"an expression has code, headers, body and now; a field of the reply is body.name"},
}

// hintFor returns what to do about a mistake in an expression; empty where its message says enough.
func hintFor(problem *upstream.DefinitionError) string {
	rest := fromPosition(problem.Expression, problem.Line, problem.Column)
	for _, hint := range hints {
		if hint.problem.MatchString(problem.Problem) && (hint.expression == nil || hint.expression.MatchString(rest)) {
			return hint.fix
		}
	}
	return ""
}

// fromPosition returns a line of a text from the macro or the word before a column on.
func fromPosition(text string, line, column int) string {
	lines := strings.Split(text, "\n")
	if line < 1 || line > len(lines) {
		return ""
	}
	rest := lines[line-1]
	start := strings.LastIndex(rest[:min(max(column, 0), len(rest))], "has(")
	return rest[max(start, 0):]
}
