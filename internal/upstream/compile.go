// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// Compile compiles and checks a class. The error is a DefinitionErrors with every mistake.
func Compile(spec *v1alpha1.PaymentProviderClassSpec) (*Definition, error) {
	c := &compiler{Definition: &Definition{spec: spec.DeepCopy(), credentials: map[string]credentialKey{}}}
	for _, compile := range []func(){
		c.compilePattern, c.checkEnvironments, c.compileCredentials, c.compileHeaders, c.compileAuthentication,
		c.compileTemplates, c.compileOutcomes, c.compileState, c.compileDetails, c.compileList,
	} {
		compile()
	}
	if len(c.problems) > 0 {
		return nil, c.problems
	}
	return c.Definition, nil
}

// compiler builds a definition and collects the mistakes of its class.
type compiler struct {
	*Definition

	problems DefinitionErrors
	// taken holds which field of the class writes to which place of every request.
	taken map[place]string
}

func (c *compiler) reportf(field, format string, arguments ...any) {
	c.problems = append(c.problems, &DefinitionError{Field: field, Problem: fmt.Sprintf(format, arguments...)})
}

// expression compiles one expression and checks its result type. It returns nil for an expression that is empty or
// wrong.
func (c *compiler) expression(field string, text v1alpha1.Expression, environment *cel.Env,
	wants ...*cel.Type) *expression {
	if text == "" {
		return nil
	}
	ast, issues := environment.Compile(string(text))
	if issues.Err() != nil {
		for _, issue := range issues.Errors() {
			c.problems = append(c.problems, &DefinitionError{
				Field: field, Expression: string(text), Line: issue.Location.Line(), Column: issue.Location.Column() + 1,
				Problem: strings.TrimSuffix(issue.Message, " (in container '')"),
			})
			if strings.HasPrefix(issue.Message, "Syntax error") {
				// What the parser says next follows from this.
				break
			}
		}
		return nil
	}
	output := ast.OutputType()
	accepted := output.IsExactType(cel.DynType)
	names := make([]string, 0, len(wants))
	for _, want := range wants {
		accepted = accepted || output.IsExactType(want)
		names = append(names, want.String())
	}
	wrong := &DefinitionError{Field: field, Expression: string(text), Line: 1, Column: 1}
	if !accepted {
		wrong.Problem = fmt.Sprintf("the result is %s, want %s", output, strings.Join(names, " or "))
		c.problems = append(c.problems, wrong)
		return nil
	}
	program, err := environment.Program(ast, cel.CostLimit(expressionCostLimit), cel.EvalOptions(cel.OptOptimize))
	if err != nil {
		wrong.Problem = err.Error()
		c.problems = append(c.problems, wrong)
		return nil
	}
	return &expression{field, program}
}

// pattern compiles a regular expression that must match a whole text.
func (c *compiler) pattern(field, text string) *regexp.Regexp {
	pattern, err := regexp.Compile("^(?:" + text + ")$")
	if err != nil {
		c.problems = append(c.problems, &DefinitionError{Field: field, Expression: text, Problem: err.Error()})
		return nil
	}
	return pattern
}

func (c *compiler) compilePattern() {
	c.sessionID = c.pattern("spec.sessionID.pattern", c.spec.SessionID.Pattern)
}

func (c *compiler) checkEnvironments() {
	for i, environment := range c.spec.Environments {
		field := fmt.Sprintf("spec.environments[%d]", i)
		if _, err := parseBase(environment.BaseURL); err != nil {
			c.reportf(field+".baseURL", "%s", err)
		}
		if environment.TokenURL == "" || strings.HasPrefix(environment.TokenURL, "/") {
			continue
		}
		if _, err := parseBase(environment.TokenURL); err != nil {
			c.reportf(field+".tokenURL", "%s", strings.Replace(err.Error(), "base URL", "token URL", 1))
		}
	}
}

// parseBase parses a base URL. The CRD has the same rules; an object that was stored before them is refused here. The
// error does not contain the text, which may contain a password.
func parseBase(text string) (*url.URL, error) {
	base, err := url.Parse(strings.TrimSuffix(text, "/"))
	switch {
	case err != nil, base.Scheme != "https" && base.Scheme != "http", base.Hostname() == "", base.Opaque != "":
		return nil, errors.New("the base URL must be like https://api.example.com")
	case base.User != nil, base.RawQuery != "", base.ForceQuery, base.Fragment != "", strings.Contains(text, "#"):
		return nil, errors.New("the base URL must have no user, query or fragment")
	case base.RawPath != "" || strings.Contains(base.Path, "%"):
		return nil, errors.New("the base URL's path must have no percent signs")
	}
	return base, nil
}

func (c *compiler) compileCredentials() {
	for i, key := range c.spec.Credentials {
		compiled := credentialKey{optional: key.Optional}
		if key.Pattern != "" {
			compiled.pattern = c.pattern(fmt.Sprintf("spec.credentials[%d].pattern", i), key.Pattern)
		}
		c.credentials[key.Name] = compiled
	}
}

// checkCredential checks that the class lists a credential, and that the Secret must have it if the field needs it.
func (c *compiler) checkCredential(field, name string, mayMiss bool) {
	key, known := c.credentials[name]
	switch {
	case !known:
		c.reportf(field, "%q is not one of spec.credentials", name)
	case key.optional && !mayMiss:
		c.reportf(field, "the credential %q is optional, and only a header can be without its value", name)
	}
}

func (c *compiler) compileOutcomes() {
	c.code = c.expression("spec.code", c.spec.Code, reply, cel.IntType)
	c.unknownSession = c.expression("spec.unknownSession", c.spec.UnknownSession, reply, cel.BoolType)
	for i, rule := range c.spec.Outcomes {
		field := fmt.Sprintf("spec.outcomes[%d]", i)
		if _, known := c.spec.State.Words[rule.Status]; rule.Status != "" && !known {
			c.reportf(field+".status", "%q is not one of spec.state.words", rule.Status)
		}
		when := c.expression(field+".when", rule.When, reply, cel.BoolType)
		c.outcomes = append(c.outcomes, outcomeRule{OutcomeRule: rule, when: when})
	}
}

func (c *compiler) compileState() {
	state := c.spec.State
	c.status = c.expression("spec.state.status", state.Status, reply, cel.StringType)
	if _, taken := state.Words[""]; taken {
		c.reportf("spec.state.words",
			"the empty word cannot mean a state: it is the result of spec.state.status for a reply without one")
	}
	for i, override := range state.Overrides {
		when := c.expression(fmt.Sprintf("spec.state.overrides[%d].when", i), override.When, replyAndStatus, cel.BoolType)
		c.overrides = append(c.overrides, stateOverride{when: when, state: override.State})
	}
	for i, rule := range state.StillPayable {
		when := c.expression(fmt.Sprintf("spec.state.stillPayable[%d].when", i), rule.When, replyAndStatus, cel.BoolType)
		c.stillPayable = append(c.stillPayable, stillPayable{when: when, what: rule.What})
	}
}

func (c *compiler) compileDetails() {
	c.inReply = c.expression("spec.sessionID.inReply", c.spec.SessionID.InReply, reply, cel.StringType, cel.IntType)
	c.tags = c.expression("spec.identity.tags", c.spec.Identity.Tags, reply, cel.MapType(cel.DynType, cel.DynType),
		cel.MapType(cel.StringType, cel.DynType), cel.MapType(cel.StringType, cel.StringType))
	c.reference = c.expression("spec.identity.reference", c.spec.Identity.Reference, reply, cel.StringType)
	c.expirable = c.expression("spec.expirable", c.spec.Expirable, replyAndStatus, cel.BoolType)
	c.expiredAt = c.expression("spec.expiredAt", c.spec.ExpiredAt, replyAndStatus, cel.TimestampType, cel.StringType)
	c.requestID = c.expression("spec.requestID", c.spec.RequestID, reply, cel.StringType)
	c.message = c.expression("spec.message", c.spec.Message, reply, cel.StringType)
}

// compileAuthentication compiles spec.authentication.
func (c *compiler) compileAuthentication() {
	for i, entry := range c.spec.Authentication {
		field := fmt.Sprintf("spec.authentication[%d]", i)
		way, err := authenticatorOf(entry)
		if err != nil {
			c.reportf(field, "%s", err)
			continue
		}
		for _, name := range way.credentials() {
			c.checkCredential(field, name, false)
		}
		for _, at := range way.places() {
			if at.kind == headerKind && slices.Contains(ownedByHTTP, at.name) {
				c.reportf(field+at.field, "%s belongs to HTTP itself: the credential would be lost", at.name)
				continue
			}
			c.take(c.taken, at, field)
		}
		if way, ok := way.(oauth2Authentication); ok {
			c.oauth2 = &way
		}
		c.authentication = append(c.authentication, way)
	}
}

// take takes a place of a request for a field. It refuses two values for one place: the later one would silently
// replace the earlier one.
func (c *compiler) take(taken map[place]string, at place, field string) {
	at.field = ""
	if by, ok := taken[at]; ok {
		c.reportf(field, "it writes the same %s as %s", at, by)
		return
	}
	taken[at] = field
}
