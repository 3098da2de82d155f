// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"reflect"
	"slices"
	"strings"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

const idPlaceholder = "{id}"

// lints look for what the API server and the compiler admit and what is most likely wrong.
var lints = []func(*Class) []Finding{
	lintEnvironments, lintInReply, lintRequests, lintObserve, lintBodies, lintCredentials, lintStates, lintPattern,
	lintPlaceholders, lintExpressions, lintReach, lintUnknownSession,
}

// lintEnvironments warns of base URLs that do not go with the paths, or over which no credential is sent.
func lintEnvironments(c *Class) []Finding {
	var findings []Finding
	for i, environment := range c.Spec.Environments {
		field := fmt.Sprintf("spec.environments[%d].baseURL", i)
		base, err := url.Parse(environment.BaseURL)
		if err != nil {
			continue // The compiler says so.
		}
		if base.Scheme == "http" {
			findings = append(findings, c.warn(field, "the operator sends no credentials over plain http", "use https"))
		}
		last := path.Base(strings.TrimSuffix(base.Path, "/"))
		first, _, _ := strings.Cut(strings.TrimPrefix(c.Spec.Observe.Path, "/"), "/")
		if base.Path != "" && last == first {
			findings = append(findings, c.warn(field, fmt.Sprintf("the paths are below it, and begin with /%s again", first),
				"remove it in one of the places"))
		}
	}
	return findings
}

// lintInReply warns of a class that cannot recognize a reply about another session.
func lintInReply(c *Class) []Finding {
	if c.Spec.SessionID.InReply != "" {
		return nil
	}
	return []Finding{c.warn("spec.sessionID", "without inReply a reply about another session is taken for one about this session",
		"say where a reply shows the id, if it does")}
}

// lintRequests warns of methods that do not fit.
func lintRequests(c *Class) []Finding {
	var findings []Finding
	for _, request := range c.requests() {
		if request.Method == http.MethodGet && request.Body != "" {
			findings = append(findings, c.warn(request.field+".body", "a GET has no body: many servers ignore or refuse it",
				"send the values in query, or use another method"))
		}
	}
	if c.Spec.Expire.Method == http.MethodGet {
		findings = append(findings, c.warn("spec.expire.method", "a GET changes nothing at most servers",
			"see which method the provider documents"))
	}
	return findings
}

// lintObserve warns of a read that may change something.
func lintObserve(c *Class) []Finding {
	expire, observe := c.Spec.Expire, c.Spec.Observe
	if reflect.DeepEqual(expire, observe) {
		return []Finding{c.warn("spec.observe", "it is the same call as expire: each read would expire the session",
			"use the call that reads the session")}
	}
	if observe.Method != http.MethodGet {
		return []Finding{c.warn("spec.observe.method",
			fmt.Sprintf("a %s may change the session, and a read is made again and again", observe.Method),
			"use the provider's GET, if it has one")}
	}
	return nil
}

// lintBodies warns of a body that is not what its content type says.
func lintBodies(c *Class) []Finding {
	var findings []Finding
	for _, request := range c.requests() {
		body, contentType := strings.ReplaceAll(request.Body, idPlaceholder, "id"), request.ContentType
		for _, header := range slices.Concat(c.Spec.Headers, request.Headers) {
			if strings.EqualFold(header.Name, "Content-Type") {
				contentType = header.Value
			}
		}
		isJSON := contentType == "" || strings.Contains(contentType, "json")
		isForm := strings.HasPrefix(contentType, "application/x-www-form-urlencoded")
		_, err := url.ParseQuery(body)
		switch {
		case body == "":
		case isJSON && !json.Valid([]byte(body)):
			findings = append(findings, c.warn(request.field+".body", "it is no JSON, and is sent as JSON",
				"set contentType to what it is, or correct it"))
		case isForm && (err != nil || json.Valid([]byte(body))):
			findings = append(findings, c.warn(request.field+".body", "it is no form, and is sent as one",
				"write it as name=value&name=value, or set another contentType"))
		}
	}
	return findings
}

// lintCredentials warns of credentials that no call sends.
func lintCredentials(c *Class) []Finding {
	used := map[string]bool{}
	headers := slices.Concat(c.Spec.Headers, c.Spec.Expire.Headers, c.Spec.Observe.Headers)
	for _, header := range headers {
		used[header.Credential] = true
	}
	for _, way := range c.Spec.Authentication {
		for _, name := range credentialsOf(way) {
			used[name] = true
		}
	}
	var findings []Finding
	for i, key := range c.Spec.Credentials {
		if !used[key.Name] {
			findings = append(findings, c.warn(fmt.Sprintf("spec.credentials[%d]", i),
				fmt.Sprintf("no call sends the credential %q", key.Name), "use it in authentication or headers, or remove it"))
		}
	}
	return findings
}

func credentialsOf(way v1alpha1.Authentication) []string {
	var names []string
	if way.Basic != nil {
		names = append(names, way.Basic.Username, way.Basic.Password)
	}
	if way.Bearer != nil {
		names = append(names, way.Bearer.Credential)
	}
	for _, named := range []*v1alpha1.NamedAuthentication{way.Header, way.QueryParameter} {
		if named != nil {
			names = append(names, named.Credential)
		}
	}
	if way.OAuth2 != nil {
		names = append(names, way.OAuth2.ClientID, way.OAuth2.ClientSecret)
		for _, parameter := range way.OAuth2.Parameters {
			names = append(names, parameter.Credential)
		}
	}
	return names
}

// lintStates warns of states that no reply can prove, and of words that are never used.
func lintStates(c *Class) []Finding {
	var findings []Finding
	for i, rule := range c.Spec.Outcomes {
		field := fmt.Sprintf("spec.outcomes[%d]", i)
		if rule.Status != "" && rule.Outcome != v1alpha1.OutcomeAccepted {
			findings = append(findings, c.warn(field+".status",
				fmt.Sprintf("a status proves a state, and a reply with outcome %s proves none", rule.Outcome),
				"use outcome Accepted, or remove the status"))
		}
		if rule.Operation == v1alpha1.OperationObserve && rule.Outcome == v1alpha1.OutcomeUnsupported {
			findings = append(findings, c.warn(field, "only a reply to expire can be Unsupported",
				"use expirable for a read that shows that the session cannot be expired"))
		}
	}
	meansExpired := slices.ContainsFunc(c.Spec.State.Overrides, func(override v1alpha1.StateOverride) bool {
		return override.State == v1alpha1.SessionStateExpired
	})
	for _, state := range c.Spec.State.Words {
		meansExpired = meansExpired || v1alpha1.SessionState(state) == v1alpha1.SessionStateExpired
	}
	if !meansExpired {
		findings = append(findings, c.warn("spec.state.words", "no word means expired: no session would ever be Expired",
			"let the word that the provider shows after its expire call mean expired, also if it is \"cancelled\""))
	}
	return findings
}

// lintPattern warns of a pattern whose ids no PaymentSession can have.
func lintPattern(c *Class) []Finding {
	ids, err := samples(c.Spec.SessionID.Pattern)
	if err != nil {
		return nil // The compiler says so.
	}
	schema, err := sessionSchema()
	if err != nil {
		return []Finding{c.warn("spec.sessionID.pattern", err.Error(), "")}
	}
	admitted := schema.structural.Properties["spec"].Properties["sessionID"].ValueValidation
	if slices.ContainsFunc(ids, func(id string) bool { return fits(id, admitted) }) {
		return nil
	}
	return []Finding{c.warn("spec.sessionID.pattern",
		"no PaymentSession can have such an id: its own pattern is "+admitted.Pattern,
		"such a provider cannot be used")}
}

// lintPlaceholders warns of {id} where it is not replaced.
func lintPlaceholders(c *Class) []Finding {
	texts := map[string]string{}
	for _, expression := range c.expressions() {
		texts[expression.field] = string(expression.text)
	}
	for i, way := range c.Spec.Authentication {
		if way.OAuth2 == nil {
			continue
		}
		for n, parameter := range way.OAuth2.Parameters {
			texts[fmt.Sprintf("spec.authentication[%d].oauth2.parameters[%d].value", i, n)] = parameter.Value
		}
	}
	for i, rule := range c.Spec.State.StillPayable {
		texts[fmt.Sprintf("spec.state.stillPayable[%d].what", i)] = rule.What
	}
	var findings []Finding
	for field, text := range texts {
		if strings.Contains(text, idPlaceholder) {
			findings = append(findings, c.warn(field, "{id} is not replaced here",
				"it is replaced in the path, the body, and the values of query parameters and headers"))
		}
	}
	return findings
}
