// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"bytes"
	"encoding/json"
	"fmt"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// probe is a reply that proves nothing about a session, whatever the provider is.
type probe struct {
	name  string
	reply Reply
}

// noRoute are the replies of common servers, frameworks and gateways for a path that they do not have.
var noRoute = []probe{
	{"nothing", Reply{Code: 404}},
	{"an empty object", notFound("{}")},
	{"an HTML page", notFound("<!DOCTYPE html><html><head><title>404 Not Found</title></head></html>")},
	{"Spring", notFound(`{"timestamp":"2026-01-01T00:00:00.000+00:00","status":404,"error":"Not Found",` +
		`"message":"No message available","path":"/nope"}`)},
	{"ASP.NET", notFound(`{"type":"https://tools.ietf.org/html/rfc9110#section-15.5.5","title":"Not Found",` +
		`"status":404,"traceId":"00-1-1-00"}`)},
	{"Django REST framework", notFound(`{"detail":"Not found."}`)},
	{"FastAPI", notFound(`{"detail":"Not Found"}`)},
	{"Rails", notFound(`{"status":404,"error":"Not Found"}`)},
	{"Laravel", notFound(`{"message":"The route nope could not be found."}`)},
	{"Symfony", notFound(`{"title":"An error occurred","status":404,"detail":"No route found for \"GET /nope\""}`)},
	{"NestJS", notFound(`{"statusCode":404,"message":"Cannot GET /nope","error":"Not Found"}`)},
	{"Fastify", notFound(`{"message":"Route GET:/nope not found","error":"Not Found","statusCode":404}`)},
	{"hapi", notFound(`{"statusCode":404,"error":"Not Found","message":"Not Found"}`)},
	{"Phoenix", notFound(`{"errors":{"detail":"Not Found"}}`)},
	{"Echo and API gateways", notFound(`{"message":"Not Found"}`)},
	{"Kong", notFound(`{"message":"no Route matched with those values"}`)},
	{"gRPC gateway", notFound(`{"code":5,"message":"Not Found","details":[]}`)},
	{"JSON:API", notFound(`{"errors":[{"status":"404","title":"Not Found"}]}`)},
	{"an error object", notFound(`{"error":{"type":"invalid_request_error",` +
		`"message":"Unrecognized request URL (GET: /nope)."}}`)},
	{"an error with a code", notFound(`{"error":{"code":"not_found",` +
		`"message":"The requested URL was not found on the server."}}`)},
}

func notFound(body string) Reply { return Reply{Code: 404, Text: body} }

// something are replies with 200 that show nothing.
var something = []probe{
	{"an empty object with 200", Reply{Code: 200, Text: "{}"}},
	{"an empty list with 200", Reply{Code: 200, Text: "[]"}},
	{"an HTML page with 200", Reply{Code: 200, Text: "<!DOCTYPE html><html><body>Sign in</body></html>"}},
}

// lintUnknownSession warns of a class that takes "no such route" for "no such session".
func lintUnknownSession(c *Class) []Finding {
	if c.Definition == nil {
		return nil
	}
	for _, probe := range noRoute {
		result, trace := c.Definition.Interpret(v1alpha1.OperationObserve, "", nil, probe.reply.received(), time.Now())
		if result.Outcome != v1alpha1.OutcomeNotFound {
			continue
		}
		field := trace.Rule
		if field == "" {
			field = "spec.unknownSession"
		}
		return []Finding{c.warn(field,
			"it also matches a path that does not exist, as a server may answer it ("+probe.name+"): "+shown(probe.reply.Text),
			"match the provider's own words about a session: a match releases deletions")}
	}
	return nil
}

// shown returns a body for a message.
func shown(body string) string {
	if body == "" {
		return "an empty body"
	}
	return body
}

// probe runs the stock probes: replies that prove nothing.
func (r *run) probe() {
	for _, probe := range append(noRoute, something...) {
		for _, operation := range operations {
			r.mustProveNothing(probe.name, operation, probe.reply)
		}
	}
	for _, example := range r.file.Examples.Examples {
		if example.Want.Outcome != v1alpha1.OutcomeAccepted || example.Operation != v1alpha1.OperationObserve {
			continue
		}
		r.probeWord(example)
		r.probeID(example)
	}
}

// mustProveNothing runs one probe. A state, an unknown session or a rejection would be a proof.
func (r *run) mustProveNothing(name string, operation v1alpha1.Operation, reply Reply) {
	r.report.Probes++
	row, result, _ := r.ask(name, operation, r.file.SessionID, reply)
	isSilent := result.Outcome == v1alpha1.OutcomeAccepted && operation == v1alpha1.OperationExpire
	proves := result.State != v1alpha1.SessionStateUnknown ||
		result.Outcome != v1alpha1.OutcomeUnexpectedResponse && !isSilent
	if proves && r.file.AcceptedProbes[name] == "" {
		row.Differences = []string{fmt.Sprintf("%s for %s proves %s %s: %s", name, operation, result.Outcome, result.State,
			shown(string(reply.Content())))}
		r.report.Proving = append(r.report.Proving, row)
	}
}

// probeWord replaces the word of an example with one that the class does not list.
func (r *run) probeWord(example Example) {
	const unknown = "a_word_of_tomorrow"
	_, _, trace := r.ask("", example.Operation, r.file.SessionID, example.Reply)
	reply, found := example.Reply.replaced(trace.Word, unknown)
	if _, hidesWord := r.class.Spec.State.Words[trace.Word]; !found || !hidesWord {
		return
	}
	if _, _, again := r.ask("", example.Operation, r.file.SessionID, reply); again.Word != unknown {
		// The class derives its words from other fields.
		return
	}
	r.mustProveNothing("an unknown word in \""+example.Name+"\"", example.Operation, reply)
}

// probeID replaces the id of an example with another one.
func (r *run) probeID(example Example) {
	_, _, trace := r.ask("", example.Operation, r.file.SessionID, example.Reply)
	reply, found := example.Reply.replaced(trace.About, r.otherID())
	if trace.About == "" || !found {
		return
	}
	r.mustProveNothing("a reply about another session in \""+example.Name+"\"", example.Operation, reply)
}

// otherID returns another valid id than that of the examples.
func (r *run) otherID() string {
	if r.file.OtherID != "" {
		return r.file.OtherID
	}
	ids, _ := samples(r.class.Spec.SessionID.Pattern)
	for _, id := range ids {
		if r.class.Definition.ValidSessionID(id) && !r.class.Definition.SameSession(id, r.file.SessionID) {
			return id
		}
	}
	return "another-id"
}

// replaced returns a reply whose strings that equal a text are another one; false where there are none.
func (r Reply) replaced(text, by string) (Reply, bool) {
	before, err := json.Marshal(text)
	if err != nil || text == "" || r.Body == nil {
		return r, false
	}
	after, err := json.Marshal(by)
	if err != nil {
		return r, false
	}
	content := r.Content()
	changed := r
	changed.Body, changed.Text = nil, string(bytes.ReplaceAll(content, before, after))
	return changed, changed.Text != string(content)
}
