// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"

	"github.com/google/cel-go/cel"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// Definition is a compiled PaymentProviderClass. It is immutable and safe for concurrent use.
type Definition struct {
	spec            *v1alpha1.PaymentProviderClassSpec
	sessionID       *regexp.Regexp
	credentialNames []string

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

// DefinitionError says what of a class is wrong, and where.
type DefinitionError struct {
	// Field is the path of the field in the class, for example spec.outcomes[2].when.
	Field string
	// Expression is the text that is wrong, if the field holds an expression.
	Expression string
	// Problem says what is wrong with it; for an expression with line and column.
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
		definition.compilePattern, definition.checkCalls, definition.checkEnvironments, definition.checkCredentials,
		definition.checkHeaders, definition.checkAuthentication, definition.compileOutcomes, definition.compileState,
		definition.compileDetails,
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

func (d *Definition) checkCalls() error {
	for _, operation := range []v1alpha1.Operation{v1alpha1.OperationExpire, v1alpha1.OperationObserve} {
		if strings.Count(d.call(operation).Path, idPlaceholder) != 1 {
			return &DefinitionError{Field: fmt.Sprintf("spec.%s.path", operation), Problem: "it must hold {id} once"}
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

// parseBase reads a base URL. The API server admits the same only; an object that is older than its rules is refused here. The
// error does not hold the text: somebody may have put a password into it.
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

func (d *Definition) checkCredentials() error {
	for i, way := range d.spec.Authentication {
		for _, name := range credentialsOf(way) {
			if !slices.Contains(d.credentialNames, name) {
				return &DefinitionError{Field: fmt.Sprintf("spec.authentication[%d]", i), Problem: fmt.Sprintf("%q is not one of spec.credentials", name)}
			}
		}
	}
	return nil
}

func credentialsOf(way v1alpha1.Authentication) []string {
	var names []string
	switch {
	case way.Basic != nil:
		names = append(names, way.Basic.Username)
		if way.Basic.Password != "" {
			names = append(names, way.Basic.Password)
		}
	case way.Bearer != nil:
		names = append(names, way.Bearer.Credential)
	case way.Header != nil:
		names = append(names, way.Header.Credential)
	case way.QueryParameter != nil:
		names = append(names, way.QueryParameter.Credential)
	}
	return names
}

// ownedByHTTP are the headers that net/http or the engine sets itself, or that belong to one connection: a class's own value
// would be lost, sent twice, or break the reply. https://pkg.go.dev/net/http#Request says which are ignored.
var ownedByHTTP = []string{
	"Accept-Encoding", "Connection", "Content-Length", "Cookie", "Expect", "Host", "Http2-Settings", "Keep-Alive", "Proxy-Authenticate",
	"Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade", "User-Agent",
}

const authorization = "Authorization"

func (d *Definition) checkHeaders() error {
	for i, header := range d.spec.Headers {
		name := http.CanonicalHeaderKey(header.Name)
		if name == authorization || slices.Contains(ownedByHTTP, name) {
			return &DefinitionError{Field: fmt.Sprintf("spec.headers[%d].name", i), Problem: header.Name + " cannot be set here: it belongs to HTTP itself, and credentials belong in spec.authentication"}
		}
	}
	return nil
}

// checkAuthentication refuses two values in one place: the later would silently replace the earlier.
func (d *Definition) checkAuthentication() error {
	taken := map[string]string{"header Accept": "the engine", "header Content-Type": "the engine"}
	for i, header := range d.spec.Headers {
		place, field := "header "+http.CanonicalHeaderKey(header.Name), fmt.Sprintf("spec.headers[%d]", i)
		if by := taken[place]; by != "" && by != "the engine" {
			return &DefinitionError{Field: field, Problem: fmt.Sprintf("it writes the same %s as %s", place, by)}
		}
		taken[place] = field
	}
	for i, way := range d.spec.Authentication {
		field := fmt.Sprintf("spec.authentication[%d]", i)
		place := placeOf(way)
		if name, isHeader := strings.CutPrefix(place, "header "); isHeader && slices.Contains(ownedByHTTP, name) {
			return &DefinitionError{Field: field + ".header.name", Problem: way.Header.Name + " belongs to HTTP itself: the credential would be lost"}
		}
		if by, there := taken[place]; there {
			return &DefinitionError{Field: field, Problem: fmt.Sprintf("it writes the same %s as %s", place, by)}
		}
		taken[place] = field
	}
	return nil
}

// placeOf is where in a request a credential goes.
func placeOf(way v1alpha1.Authentication) string {
	switch {
	case way.Header != nil:
		return "header " + http.CanonicalHeaderKey(way.Header.Name)
	case way.QueryParameter != nil:
		return "query parameter " + way.QueryParameter.Name
	default:
		return "header " + authorization
	}
}

func (d *Definition) compileOutcomes() error {
	var err error
	if d.unknownSession, err = compile("spec.unknownSession", d.spec.UnknownSession, reply, cel.BoolType); err != nil {
		return err
	}
	for i, rule := range d.spec.Outcomes {
		field := fmt.Sprintf("spec.outcomes[%d]", i)
		if _, known := d.spec.State.Words[rule.Status]; rule.Status != "" && !known {
			return &DefinitionError{Field: field + ".status", Problem: fmt.Sprintf("%q is not one of spec.state.words", rule.Status)}
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
		return &DefinitionError{Field: "spec.state.words", Problem: "the empty word cannot mean a state: it is what spec.state.status gives for a reply that tells none"}
	}
	for i, override := range d.spec.State.Overrides {
		when, err := compile(fmt.Sprintf("spec.state.overrides[%d].when", i), override.When, replyAndStatus, cel.BoolType)
		if err != nil {
			return err
		}
		d.overrides = append(d.overrides, stateOverride{when: when, state: override.State})
	}
	for i, rest := range d.spec.State.StillPayable {
		when, err := compile(fmt.Sprintf("spec.state.stillPayable[%d].when", i), rest.When, replyAndStatus, cel.BoolType)
		if err != nil {
			return err
		}
		d.stillPayable = append(d.stillPayable, stillPayable{when: when, what: rest.What})
	}
	return nil
}

func (d *Definition) compileDetails() error {
	for _, detail := range []struct {
		field   string
		text    v1alpha1.Expression
		sees    *cel.Env
		wants   []*cel.Type
		program *cel.Program
	}{
		{"spec.sessionID.inReply", d.spec.SessionID.InReply, reply, []*cel.Type{cel.StringType, cel.IntType}, &d.inReply},
		{"spec.expiredAt", d.spec.ExpiredAt, replyAndStatus, []*cel.Type{cel.TimestampType, cel.StringType}, &d.expiredAt},
		{"spec.requestID", d.spec.RequestID, reply, []*cel.Type{cel.StringType}, &d.requestID},
		{"spec.message", d.spec.Message, reply, []*cel.Type{cel.StringType}, &d.message},
	} {
		if detail.text == "" {
			continue
		}
		program, err := compile(detail.field, detail.text, detail.sees, detail.wants...)
		if err != nil {
			return err
		}
		*detail.program = program
	}
	return nil
}

func (d *Definition) call(operation v1alpha1.Operation) v1alpha1.Call {
	if operation == v1alpha1.OperationExpire {
		return d.spec.Expire
	}
	return d.spec.Observe
}

// SessionIDName is what the provider calls a session's id.
func (d *Definition) SessionIDName() string { return d.spec.SessionID.Name }

// ValidSessionID reports whether an id may be sent.
func (d *Definition) ValidSessionID(id string) bool {
	// A dot segment would name another path, whatever the class's pattern thinks of it.
	return id != "." && id != ".." && d.sessionID.MatchString(id)
}

// SameSession reports whether two ids name one session at the provider.
func (d *Definition) SameSession(one, other string) bool {
	return one == other || d.spec.SessionID.CaseInsensitive && strings.EqualFold(one, other)
}

// BaseURL finds where the API is served: endpoint if there is one, else the named environment, else the default one.
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
		return nil, fmt.Errorf("the class has no default environment; set environment to one of %s, or set endpoint", strings.Join(names, ", "))
	}
	return parseBase(text)
}
