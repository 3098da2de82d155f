// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"github.com/google/cel-go/cel"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// Definition is a compiled PaymentProviderClass. It is immutable and safe for concurrent use.
type Definition struct {
	spec            *v1alpha1.PaymentProviderClassSpec
	sessionID       *regexp.Regexp
	credentialNames []string
	authentication  []authenticator

	inReply        cel.Program
	unknownSession cel.Program
	outcomes       []outcomeRule
	status         cel.Program
	overrides      []stateOverride
	stillPayable   []stillPayable
	expiredAt      cel.Program
	requestID      cel.Program
	message        cel.Program
}

type outcomeRule struct {
	v1alpha1.OutcomeRule
	when cel.Program
}

type stateOverride struct {
	when  cel.Program
	state v1alpha1.SessionState
}

type stillPayable struct {
	when cel.Program
	what string
}

// DefinitionError is a mistake in a class.
type DefinitionError struct {
	// Field is the path of the field, for example spec.outcomes[2].when.
	Field string
	// Expression is the text of the field, if it is an expression.
	Expression string
	// Problem is what is wrong; for an expression, with line and column.
	Problem string
}

func (e *DefinitionError) Error() string {
	if e.Expression == "" {
		return fmt.Sprintf("%s: %s", e.Field, e.Problem)
	}
	return fmt.Sprintf("%s: %s, in %q", e.Field, e.Problem, e.Expression)
}

// Compile compiles and checks a class. The error is a *DefinitionError.
func Compile(spec *v1alpha1.PaymentProviderClassSpec) (*Definition, error) {
	definition := &Definition{spec: spec.DeepCopy()}
	for _, key := range spec.Credentials {
		definition.credentialNames = append(definition.credentialNames, key.Name)
	}
	for _, check := range []func() error{
		definition.compilePattern, definition.checkTemplates, definition.checkEnvironments,
		definition.compileAuthentication, definition.compileOutcomes, definition.compileState, definition.compileDetails,
	} {
		if err := check(); err != nil {
			return nil, err
		}
	}
	return definition, nil
}

func (d *Definition) compilePattern() error {
	const field = "spec.sessionID.pattern"
	pattern, err := regexp.Compile("^(?:" + d.spec.SessionID.Pattern + ")$")
	if err != nil {
		return &DefinitionError{Field: field, Expression: d.spec.SessionID.Pattern, Problem: err.Error()}
	}
	d.sessionID = pattern
	return nil
}

func (d *Definition) checkTemplates() error {
	for _, operation := range []v1alpha1.Operation{v1alpha1.OperationExpire, v1alpha1.OperationObserve} {
		if strings.Count(d.template(operation).Path, idPlaceholder) != 1 {
			return &DefinitionError{Field: fmt.Sprintf("spec.%s.path", operation), Problem: "it must contain {id} once"}
		}
	}
	return nil
}

func (d *Definition) checkEnvironments() error {
	for i, environment := range d.spec.Environments {
		if _, err := parseBase(environment.BaseURL); err != nil {
			return &DefinitionError{Field: fmt.Sprintf("spec.environments[%d].baseURL", i), Problem: err.Error()}
		}
	}
	return nil
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

func (d *Definition) compileOutcomes() error {
	var err error
	if d.unknownSession, err = compile("spec.unknownSession", d.spec.UnknownSession, reply, cel.BoolType); err != nil {
		return err
	}
	for i, rule := range d.spec.Outcomes {
		field := fmt.Sprintf("spec.outcomes[%d]", i)
		if _, known := d.spec.State.Words[rule.Status]; rule.Status != "" && !known {
			return &DefinitionError{
				Field: field + ".status", Problem: fmt.Sprintf("%q is not one of spec.state.words", rule.Status),
			}
		}
		when, err := compile(field+".when", rule.When, reply, cel.BoolType)
		if err != nil {
			return err
		}
		d.outcomes = append(d.outcomes, outcomeRule{OutcomeRule: rule, when: when})
	}
	return nil
}

func (d *Definition) compileState() error {
	var err error
	if d.status, err = compile("spec.state.status", d.spec.State.Status, reply, cel.StringType); err != nil {
		return err
	}
	if _, taken := d.spec.State.Words[""]; taken {
		return &DefinitionError{
			Field:   "spec.state.words",
			Problem: "the empty word cannot mean a state: it is the result of spec.state.status for a reply without one",
		}
	}
	for i, override := range d.spec.State.Overrides {
		when, err := compile(fmt.Sprintf("spec.state.overrides[%d].when", i), override.When, replyAndStatus, cel.BoolType)
		if err != nil {
			return err
		}
		d.overrides = append(d.overrides, stateOverride{when: when, state: override.State})
	}
	for i, rule := range d.spec.State.StillPayable {
		when, err := compile(fmt.Sprintf("spec.state.stillPayable[%d].when", i), rule.When, replyAndStatus, cel.BoolType)
		if err != nil {
			return err
		}
		d.stillPayable = append(d.stillPayable, stillPayable{when: when, what: rule.What})
	}
	return nil
}

func (d *Definition) compileDetails() error {
	for _, detail := range []struct {
		field       string
		text        v1alpha1.Expression
		environment *cel.Env
		wants       []*cel.Type
		program     *cel.Program
	}{
		{"spec.sessionID.inReply", d.spec.SessionID.InReply, reply, []*cel.Type{cel.StringType, cel.IntType}, &d.inReply},
		{"spec.expiredAt", d.spec.ExpiredAt, replyAndStatus, []*cel.Type{cel.TimestampType, cel.StringType}, &d.expiredAt},
		{"spec.requestID", d.spec.RequestID, reply, []*cel.Type{cel.StringType}, &d.requestID},
		{"spec.message", d.spec.Message, reply, []*cel.Type{cel.StringType}, &d.message},
	} {
		if detail.text == "" {
			continue
		}
		program, err := compile(detail.field, detail.text, detail.environment, detail.wants...)
		if err != nil {
			return err
		}
		*detail.program = program
	}
	return nil
}

// template returns the class's template for the request of an operation.
func (d *Definition) template(operation v1alpha1.Operation) v1alpha1.RequestTemplate {
	if operation == v1alpha1.OperationExpire {
		return d.spec.Expire
	}
	return d.spec.Observe
}

// SessionIDName returns the provider's name for a session's id.
func (d *Definition) SessionIDName() string { return d.spec.SessionID.Name }

// ValidSessionID reports whether an id may be sent.
func (d *Definition) ValidSessionID(id string) bool {
	// A dot segment would change the path, even if the class's pattern allows it:
	// https://www.rfc-editor.org/rfc/rfc3986#section-5.2.4
	return id != "." && id != ".." && d.sessionID.MatchString(id)
}

// SameSession reports whether two ids name the same session at the provider.
func (d *Definition) SameSession(one, other string) bool {
	return one == other || d.spec.SessionID.CaseInsensitive && strings.EqualFold(one, other)
}

// BaseURL returns the base URL of the API: endpoint if there is one, else that of the named environment, else that of
// the default one.
func (d *Definition) BaseURL(environment, endpoint string) (*url.URL, error) {
	var names []string
	text := ""
	for _, candidate := range d.spec.Environments {
		names = append(names, candidate.Name)
		if candidate.Name == environment || environment == "" && candidate.Default {
			text = candidate.BaseURL
		}
	}
	switch {
	case text == "" && environment != "":
		return nil, fmt.Errorf("the class has no environment %q; it has %s", environment, strings.Join(names, ", "))
	case endpoint != "":
		text = endpoint
	case text == "":
		return nil, fmt.Errorf(
			"the class has no default environment; set environment to one of %s, or set endpoint", strings.Join(names, ", "))
	}
	return parseBase(text)
}
