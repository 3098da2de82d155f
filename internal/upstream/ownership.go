// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"
	"github.com/google/cel-go/common/ast"
	"github.com/google/cel-go/common/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// maxOwnerLength bounds an owner: it is compared, and kept with each session of a list.
const maxOwnerLength = 512

// The variables of an ownership rule, and the fields of the variable session.
const (
	sessionVariable   = "session"
	bodyVariable      = "body"
	namespaceVariable = "namespaceObject"
	clusterVariable   = "cluster"
)

var sessionFields = []string{"id", "state", "status", "tags", "reference"}

// The environments of a rule's expressions. They have no variable in common: an owner that could use the namespace
// would be another one in each namespace, and a word of its own that could use the session would be true for all.
var (
	ownerVariables = mustEnvironmentOf(
		cel.Variable(sessionVariable, cel.MapType(cel.StringType, cel.DynType)), cel.Variable(bodyVariable, cel.DynType),
	)
	selfVariables = mustEnvironmentOf(
		cel.Variable(namespaceVariable, cel.DynType),
		cel.Variable(clusterVariable, cel.MapType(cel.StringType, cel.StringType)),
	)
)

// Ownership is a compiled ownership rule. It is immutable and safe for concurrent use; nil is no rule.
type Ownership struct {
	owner, self *expression
	// usesCluster is true where the namespace's own word depends on the name of the cluster.
	usesCluster bool
}

// CompileOwnership compiles and checks the rule of a provider object; nil where it has no owner expression. The error
// is a DefinitionErrors with every mistake.
func CompileOwnership(rule v1alpha1.Ownership) (*Ownership, error) {
	if rule.Owner == "" {
		return nil, nil //nolint:nilnil // No rule is a valid value.
	}
	if rule.Self == "" {
		rule.Self = v1alpha1.DefaultSelf
	}
	c := &compiler{}
	compiled := &Ownership{
		owner: c.expression("spec.ownership.owner", rule.Owner, ownerVariables, cel.StringType),
		self:  c.expression("spec.ownership.self", rule.Self, selfVariables, cel.StringType),
	}
	if len(c.problems) == 0 {
		c.checkOwner(rule.Owner)
		uses := variablesOf(rule.Self, selfVariables)
		if !uses[namespaceVariable] {
			c.reportf("spec.ownership.self", "it does not depend on the namespace: use namespaceObject")
		}
		compiled.usesCluster = uses[clusterVariable]
	}
	if len(c.problems) == 0 {
		c.tryRule(compiled)
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return compiled, nil
}

// tryRule refuses a rule that is true for sessions without marks, or gives two namespaces without labels and
// annotations the same word. Such a rule makes everything everybody's, and no check of its text finds all of them.
func (c *compiler) tryRule(rule *Ownership) {
	unmarked := map[string]any{"id": "", "state": "", "status": "", "tags": map[string]any{}, "reference": ""}
	if owner := rule.ownerOf(unmarked, nil); owner != "" {
		c.reportf("spec.ownership.owner", "a session without marks belongs to %q by it; it must belong to nobody", owner)
	}
	words := map[string]bool{}
	for _, name := range []string{"one", "other"} {
		word, _ := rule.Self(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}, "cluster")
		if words[word] && word != "" {
			c.reportf("spec.ownership.self", "two namespaces without labels and annotations have the same word, %q", word)
		}
		words[word] = true
	}
}

// checkOwner refuses an owner that says nothing about the session.
func (c *compiler) checkOwner(owner v1alpha1.Expression) {
	const field = "spec.ownership.owner"
	uses := variablesOf(owner, ownerVariables)
	if !uses[sessionVariable] && !uses[bodyVariable] {
		c.reportf(field, "it does not depend on the session: use session or body")
	}
	for _, name := range fieldsOf(owner, ownerVariables, sessionVariable) {
		if !slices.Contains(sessionFields, name) {
			c.reportf(field, "a session has no field %s; it has %s", name, strings.Join(sessionFields, ", "))
		}
	}
}

// variablesOf returns the variables that a valid expression uses.
func variablesOf(text v1alpha1.Expression, environment *cel.Env) map[string]bool {
	used := map[string]bool{}
	visit(text, environment, func(expr ast.Expr) {
		if expr.Kind() == ast.IdentKind {
			used[expr.AsIdent()] = true
		}
	})
	return used
}

// fieldsOf returns the fields that a valid expression selects from a variable.
func fieldsOf(text v1alpha1.Expression, environment *cel.Env, variable string) []string {
	var found []string
	visit(text, environment, func(expr ast.Expr) {
		if expr.Kind() != ast.SelectKind {
			return
		}
		if of := expr.AsSelect().Operand(); of.Kind() == ast.IdentKind && of.AsIdent() == variable {
			found = append(found, expr.AsSelect().FieldName())
		}
	})
	return found
}

func visit(text v1alpha1.Expression, environment *cel.Env, each func(ast.Expr)) {
	parsed, issues := environment.Parse(string(text))
	if issues.Err() != nil {
		return
	}
	ast.PostOrderVisit(parsed.NativeRep().Expr(), ast.NewExprVisitor(each))
}

// UsesCluster reports whether the rule needs the name of the cluster.
func (o *Ownership) UsesCluster() bool { return o != nil && o.usesCluster }

// ownerOf returns whose the session of a reply is; "" for nobody.
func (o *Ownership) ownerOf(session, body any) string {
	if o == nil {
		return ""
	}
	owner := activation{values: map[string]any{sessionVariable: session, bodyVariable: body}}.text(o.owner)
	if !isWord(owner) {
		return ""
	}
	return owner
}

// Self returns the own word of a namespace in a cluster. The error says what is missing.
func (o *Ownership) Self(namespace *corev1.Namespace, cluster string) (string, error) {
	texts := func(values map[string]string) map[string]string {
		if values == nil {
			return map[string]string{}
		}
		return values
	}
	metadata := map[string]any{
		"name": namespace.Name, "labels": texts(namespace.Labels), "annotations": texts(namespace.Annotations),
	}
	value, _, err := o.self.program.Eval(map[string]any{
		namespaceVariable: map[string]any{"metadata": metadata}, clusterVariable: map[string]string{"name": cluster},
	})
	if err != nil {
		return "", fmt.Errorf("spec.ownership.self fails: %w", err)
	}
	word, isText := value.(types.String)
	switch {
	case !isText:
		return "", errors.New("spec.ownership.self returns no string")
	case !isWord(string(word)):
		return "", fmt.Errorf("spec.ownership.self returns %q, which is empty or has an empty part", excerpt(string(word), maxStatusLength))
	}
	return string(word), nil
}

// isWord reports whether a text can name an owner. A part between slashes that is empty comes from a mark that is
// missing: "/shop" and "eu/" are nobody's, or a namespace without a mark would own every session without one.
func isWord(text string) bool {
	return text != "" && len(text) <= maxOwnerLength && !slices.Contains(strings.Split(text, "/"), "")
}
