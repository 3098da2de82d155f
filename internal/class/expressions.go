// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"fmt"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/operators"
	"github.com/google/cel-go/common/types"
	"github.com/google/cel-go/common/types/ref"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// located is an expression of a class and its field.
type located struct {
	field string
	text  v1alpha1.Expression
	// afterStatus is true where the expression can use the status word.
	afterStatus bool
}

// expressions returns all of a class.
func (c *Class) expressions() []located {
	found := []located{
		{"spec.sessionID.inReply", c.Spec.SessionID.InReply, false}, {"spec.code", c.Spec.Code, false},
		{"spec.unknownSession", c.Spec.UnknownSession, false}, {"spec.state.status", c.Spec.State.Status, false},
		{"spec.identity.tags", c.Spec.Identity.Tags, false}, {"spec.identity.reference", c.Spec.Identity.Reference, false},
		{"spec.expirable", c.Spec.Expirable, true}, {"spec.expiredAt", c.Spec.ExpiredAt, true},
		{"spec.requestID", c.Spec.RequestID, false}, {"spec.message", c.Spec.Message, false},
	}
	found = append(found, c.outcomeRules()...)
	found = append(found, c.overrideRules()...)
	return append(found, c.payableRules()...)
}

func (c *Class) outcomeRules() []located {
	rules := make([]located, 0, len(c.Spec.Outcomes))
	for i, rule := range c.Spec.Outcomes {
		rules = append(rules, located{fmt.Sprintf("spec.outcomes[%d].when", i), rule.When, false})
	}
	return rules
}

func (c *Class) overrideRules() []located {
	rules := make([]located, 0, len(c.Spec.State.Overrides))
	for i, rule := range c.Spec.State.Overrides {
		rules = append(rules, located{fmt.Sprintf("spec.state.overrides[%d].when", i), rule.When, true})
	}
	return rules
}

func (c *Class) payableRules() []located {
	rules := make([]located, 0, len(c.Spec.State.StillPayable))
	for i, rule := range c.Spec.State.StillPayable {
		rules = append(rules, located{fmt.Sprintf("spec.state.stillPayable[%d].when", i), rule.When, true})
	}
	return rules
}

// parse returns the tree of an expression; nil for one that is empty or wrong.
func (e located) parse() *ast.AST {
	if e.text == "" {
		return nil
	}
	parsed, issues := upstream.Environment(e.afterStatus).Parse(string(e.text))
	if issues.Err() != nil {
		return nil
	}
	return parsed.NativeRep()
}

// lintExpressions warns of headers that no reply has, and of times that two clocks disagree about.
func lintExpressions(c *Class) []Finding {
	var findings []Finding
	for _, expression := range c.expressions() {
		tree := expression.parse()
		if tree == nil {
			continue
		}
		warn := func(at ast.Expr, problem, fix string) {
			place := tree.SourceInfo().GetStartLocation(at.ID())
			found := c.manifest.within(c.warn(expression.field, problem, fix), place.Line(), place.Column()+1)
			findings = append(findings, found)
		}
		ast.PreOrderVisit(tree.Expr(), ast.NewExprVisitor(func(part ast.Expr) {
			if name := headerOf(part); name != strings.ToLower(name) {
				warn(part, fmt.Sprintf("no header is called %q here: the names in headers are in lower case", name),
					fmt.Sprintf("write '%s'", strings.ToLower(name)))
			} else if name == "date" {
				warn(part, "it reads the provider's clock, which may be wrong", "use now, with some minutes to spare")
			}
			if expression.field != "spec.expiredAt" && comparesClocks(part) {
				warn(part, "it compares the provider's time with the operator's clock, and one of them may be wrong",
					"allow some minutes, as in timestamp(…) + duration('10m') <= now")
			}
		}))
	}
	return findings
}

// headerOf returns the name of the header that an expression reads or asks for; empty for any other expression.
func headerOf(part ast.Expr) string {
	isHeaders := func(of ast.Expr) bool { return of.Kind() == ast.IdentKind && of.AsIdent() == "headers" }
	if part.Kind() == ast.SelectKind && isHeaders(part.AsSelect().Operand()) {
		return part.AsSelect().FieldName()
	}
	if part.Kind() != ast.CallKind || len(part.AsCall().Args()) != 2 {
		return ""
	}
	of, name := part.AsCall().Args()[0], part.AsCall().Args()[1]
	switch part.AsCall().FunctionName() {
	case operators.In:
		of, name = name, of
	case operators.Index, operators.OptIndex, operators.OptSelect:
	default:
		return ""
	}
	if text, ok := constant(name).(types.String); ok && isHeaders(of) {
		return string(text)
	}
	return ""
}

func constant(of ast.Expr) ref.Val {
	if of.Kind() != ast.LiteralKind {
		return nil
	}
	return of.AsLiteral()
}

// comparesClocks reports whether an expression compares now with something and allows for no difference.
func comparesClocks(part ast.Expr) bool {
	if part.Kind() != ast.CallKind {
		return false
	}
	switch part.AsCall().FunctionName() {
	case operators.Less, operators.LessEquals, operators.Greater, operators.GreaterEquals, operators.Equals:
	default:
		return false
	}
	usesNow, allows := false, false
	ast.PreOrderVisit(part, ast.NewExprVisitor(func(below ast.Expr) {
		usesNow = usesNow || below.Kind() == ast.IdentKind && below.AsIdent() == "now"
		allows = allows || below.Kind() == ast.CallKind && below.AsCall().FunctionName() == "duration"
	}))
	return usesNow && !allows
}

// lintReach warns of rules that no reply can reach.
func lintReach(c *Class) []Finding {
	if c.Definition == nil {
		return nil
	}
	applies := func(earlier, later int) bool {
		before, after := c.Spec.Outcomes[earlier], c.Spec.Outcomes[later]
		isUnsupported := before.Outcome == v1alpha1.OutcomeUnsupported
		return before.Operation == after.Operation || before.Operation == "" && !isUnsupported
	}
	always := func(int, int) bool { return true }
	findings := c.unreached(c.outcomeRules(), applies)
	findings = append(findings, c.unreached(c.overrideRules(), always)...)
	return append(findings, c.unreached(c.payableRules(), always)...)
}

// unreached returns the rules of one list that no code reaches. applies reports whether an earlier rule is tried for
// all replies for which a later one is.
func (c *Class) unreached(rules []located, applies func(earlier, later int) bool) []Finding {
	var findings []Finding
	verdicts := make([]map[int]ref.Val, len(rules))
	for later, rule := range rules {
		verdicts[later] = rule.byCode()
		before, isReached := "", false
		for code, verdict := range verdicts[later] {
			if verdict == types.False {
				continue
			}
			earlier := -1
			for candidate := range later {
				isSame := rules[candidate].text == rule.text
				if applies(candidate, later) && (isSame || verdicts[candidate][code] == types.True) {
					earlier = candidate
				}
			}
			if earlier < 0 {
				isReached = true
				break
			}
			before = rules[earlier].field
		}
		switch {
		case isReached:
		case before != "":
			findings = append(findings, c.warn(rule.field, "no reply reaches it: "+before+" holds whenever it does",
				"put it first, or remove it"))
		default:
			findings = append(findings, c.warn(rule.field, "it holds for no reply, whatever the code is", "correct or remove it"))
		}
	}
	return findings
}

// byCode evaluates a condition for each code, without knowing the rest of the reply.
func (e located) byCode() map[int]ref.Val {
	environment := upstream.Environment(e.afterStatus)
	verdicts := map[int]ref.Val{}
	compiled, issues := environment.Compile(string(e.text))
	if issues.Err() != nil {
		return verdicts
	}
	program, err := environment.Program(compiled, cel.EvalOptions(cel.OptPartialEval))
	if err != nil {
		return verdicts
	}
	for code := 100; code < 600; code++ {
		variables, err := cel.PartialVars(map[string]any{"code": code}, cel.AttributePattern("headers"),
			cel.AttributePattern("body"), cel.AttributePattern("now"), cel.AttributePattern("status"))
		if err != nil {
			return verdicts
		}
		value, _, err := program.Eval(variables)
		if err != nil {
			value = types.NewUnknown(0, nil)
		}
		verdicts[code] = value
	}
	return verdicts
}
