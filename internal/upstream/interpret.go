// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/google/cel-go/common/types"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
)

const (
	// MaxRetryAfter is the longest pause that a Retry-After can cause.
	MaxRetryAfter = 5 * time.Minute
	// absurdRetryAfter is the limit above which a Retry-After is ignored as a mistake.
	absurdRetryAfter = 24 * time.Hour

	maxStatusLength    = 64
	maxRequestIDLength = 128
)

// interpret returns the meaning of a reply to a call about a session, or of the error in its place. It never fails: a
// reply that it cannot interpret is an UnexpectedResponse.
func (e *Endpoint) interpret(
	operation v1alpha1.Operation, sessionID string, credentials Credentials, received *httpx.Reply, failure error,
	now time.Time,
) call.Result {
	if failure != nil {
		return noReply(failure)
	}
	asked := question{operation, sessionID, credentials, e.Ownership, now}
	return e.Definition.interpret(asked, received, &Trace{}, nil)
}

// Trace is how a class came to the meaning of a reply, for the person who writes it.
type Trace struct {
	// Code that counts: the one that spec.code returns, or the HTTP status.
	Code int
	// Rule is the field of the rule of spec.outcomes that matched; empty for none.
	Rule string
	// Word is the provider's status word; empty for none. Override is the field of the override that matched it.
	Word, Override string
	// About is the id that the reply shows; empty for none.
	About string
	// StillPayable is the field of the rule of spec.state.stillPayable that matched; empty for none.
	StillPayable string
	// Tags and Reference are the creator's marks that a read shows.
	Tags      map[string]any
	Reference string
	// Failed expressions, in the order of evaluation.
	Failed []FailedExpression
}

// Interpret returns the meaning of a reply to a call about a session, and how the class came to it.
func (d *Definition) Interpret(
	operation v1alpha1.Operation, sessionID string, credentials Credentials, received *httpx.Reply, now time.Time,
) (call.Result, Trace) {
	trace := Trace{}
	asked := question{operation: operation, sessionID: sessionID, credentials: credentials, now: now}
	result := d.interpret(asked, received, &trace, &trace.Failed)
	return result, trace
}

// question is what a reply answers.
type question struct {
	operation   v1alpha1.Operation
	sessionID   string
	credentials Credentials
	// ownership is the account's rule; nil for none.
	ownership *Ownership
	now       time.Time
}

// interpretation is the working state of the interpretation of one reply.
type interpretation struct {
	*Definition

	asked question
	// seen is the reply, and shown a copy without credentials for texts that people read.
	seen, shown activation
	result      call.Result
	trace       *Trace
}

func (d *Definition) interpret(
	asked question, received *httpx.Reply, trace *Trace, failed *[]FailedExpression,
) call.Result {
	body, readable := decode(received.Body)
	i := d.read(asked, received.Code, lowerCase(received.Header), body, readable, trace, failed)
	i.result = call.Result{
		Outcome:   i.outcome(readable),
		RequestID: excerpt(asked.credentials.redact(i.shown.text(d.requestID)), maxRequestIDLength),
	}
	// A class's rules are about its provider's replies. A page that is not JSON comes from something in between.
	if readable {
		i.applyClass()
	}
	i.finish(asked.credentials, received, asked.now)
	return i.result
}

// read prepares the interpretation of a decoded reply.
func (d *Definition) read(
	asked question, code int, headers map[string]string, body any, readable bool, trace *Trace, failed *[]FailedExpression,
) *interpretation {
	credentials := asked.credentials
	i := &interpretation{Definition: d, asked: asked, trace: trace}
	i.seen = activation{
		values: map[string]any{"code": code, "headers": headers, "body": body, "now": asked.now}, failed: failed,
	}
	trace.Code = i.codeOf(code, readable)
	i.seen.values["code"] = trace.Code
	// Texts for people come from a redacted copy: an expression may cut or change an echoed credential so that it is not
	// recognized later.
	i.shown = activation{values: map[string]any{
		"code": trace.Code, "headers": credentials.redactReply(headers), "body": credentials.redactReply(body),
		"now": asked.now,
	}}
	return i
}

// finish adds what follows from the outcome, and makes all texts fit for a status.
func (i *interpretation) finish(credentials Credentials, received *httpx.Reply, now time.Time) {
	result := &i.result
	result.Status = excerpt(credentials.redact(result.Status), maxStatusLength)
	meaning := call.MeaningOf(result.Outcome)
	result.MayHaveActed = meaning.MayHaveActed
	if meaning.Pauses {
		result.RetryAfter = retryAfter(received.Header.Get("Retry-After"), now)
	}
	if result.Outcome == v1alpha1.OutcomeAccepted {
		return
	}
	if result.Message == "" {
		result.Message = i.shown.text(i.message)
	}
	result.Message = cleaned(credentials.redact(result.Message))
	if result.Message == "" {
		result.Message = "HTTP " + strconv.Itoa(received.Code)
	}
}

// codeOf returns the code that counts for a reply. A body can make a success a failure, and not the other way round: a
// failing server, or one that asks for a pause, may send the body of another reply.
func (i *interpretation) codeOf(status int, readable bool) int {
	isOutage := status >= http.StatusInternalServerError || status == http.StatusRequestTimeout ||
		status == http.StatusTooManyRequests
	if !readable || isOutage {
		return status
	}
	code := i.seen.number(i.code)
	if code <= 0 || status >= http.StatusMultipleChoices && code < http.StatusMultipleChoices {
		return status
	}
	return code
}

// applyClass interprets a reply by the class: first the rules for outcomes, then the session that the reply is about,
// then the state.
func (i *interpretation) applyClass() {
	word := ""
	if rule := i.matchingRule(); rule != nil {
		i.result.Outcome, word, i.trace.Rule = rule.Outcome, rule.Status, rule.when.field
	}
	i.trace.About = i.seen.id(i.inReply)
	isOther := i.trace.About != "" && !i.SameSession(i.trace.About, i.asked.sessionID)
	if isOther && call.MeaningOf(i.result.Outcome).AboutSession {
		// A cache that confuses its keys sends such replies. They prove nothing about this session.
		i.result.Outcome, i.result.Message = v1alpha1.OutcomeUnexpectedResponse, "the reply is about another session"
		return
	}
	if i.result.Outcome == v1alpha1.OutcomeAccepted {
		i.readState(word)
	}
}

// noReply returns the result of a call without a complete reply.
func noReply(failure error) call.Result {
	outcome := v1alpha1.OutcomeUnavailable
	if errors.Is(failure, httpx.ErrBodyTooLarge) {
		outcome = v1alpha1.OutcomeUnexpectedResponse
	}
	return call.Result{Outcome: outcome, Message: failure.Error(), MayHaveActed: true}
}

// outcome returns the default outcome for the code.
func (i *interpretation) outcome(readable bool) v1alpha1.Outcome {
	code := i.trace.Code
	family := code / 100
	switch {
	case code == http.StatusTooManyRequests:
		return v1alpha1.OutcomeThrottled
	case code == http.StatusRequestTimeout, family == 5:
		return v1alpha1.OutcomeUnavailable
	case !readable:
		return v1alpha1.OutcomeUnexpectedResponse
	case family == 2:
		return v1alpha1.OutcomeAccepted
	case code == http.StatusUnauthorized:
		return v1alpha1.OutcomeCredentialsRejected
	case code == http.StatusForbidden:
		return v1alpha1.OutcomeNotAllowed
	case code == http.StatusNotFound && i.seen.holds(i.unknownSession):
		return v1alpha1.OutcomeNotFound
	case code == http.StatusNotFound:
		return v1alpha1.OutcomeUnexpectedResponse
	// A read has nothing to refuse.
	case family == 4 && i.asked.operation == v1alpha1.OperationExpire:
		return v1alpha1.OutcomeRefused
	default:
		return v1alpha1.OutcomeUnexpectedResponse
	}
}

// matchingRule returns the first rule that applies to the operation and holds; nil for none.
func (i *interpretation) matchingRule() *outcomeRule {
	for n := range i.outcomes {
		rule := &i.outcomes[n]
		applies := rule.Operation == i.asked.operation
		if rule.Operation == "" {
			// Unsupported is an answer to an expire call. A read cannot be unsupported.
			applies = rule.Outcome != v1alpha1.OutcomeUnsupported || i.asked.operation == v1alpha1.OperationExpire
		}
		if applies && i.seen.holds(rule.when) {
			return rule
		}
	}
	return nil
}

// readState reads the state from an accepted reply, or from the word that its rule supplies. A reply to expire may
// prove nothing. A reply to observe without a state that the class lists is an UnexpectedResponse.
func (i *interpretation) readState(word string) {
	wordShown := word
	if word == "" {
		word, wordShown = i.seen.text(i.status), i.shown.text(i.status)
	}
	i.trace.Word, i.seen.values["status"] = word, word
	isRead := i.asked.operation == v1alpha1.OperationObserve
	state := v1alpha1.SessionState(i.spec.State.Words[word])
	for _, override := range i.overrides {
		if word == "" {
			break
		}
		verdict := i.seen.eval(override.when)
		if verdict == types.True {
			state, i.trace.Override = override.state, override.when.field
			break
		}
		if verdict == nil && state.Closed() && !isRead {
			// The reply to expire lacks what the override looks for, such as the payments: only a read proves the end.
			return
		}
	}
	if isRead {
		i.readIdentity(state)
	}
	if state == v1alpha1.SessionStateUnknown {
		if isRead {
			i.result.Outcome, i.result.Message = v1alpha1.OutcomeUnexpectedResponse, unlisted(wordShown)
		}
		return
	}
	i.result.State, i.result.Status = state, wordShown
	switch {
	case state.Closed():
		i.result.StillPayable = i.leftPayable()
	case state == v1alpha1.SessionStateActive:
		i.result.Unexpirable = isRead && i.seen.denies(i.expirable)
	}
	if state == v1alpha1.SessionStateExpired {
		i.result.ExpiredAt = i.seen.time(i.expiredAt)
	}
}

// readIdentity reads the creator's marks and, where the account has a rule, whose the session is. A reply without a
// status word, or that does not show which session it is about, shows no owner.
func (i *interpretation) readIdentity(state v1alpha1.SessionState) {
	i.trace.Tags, i.trace.Reference = i.seen.texts(i.tags), i.seen.text(i.reference)
	if i.asked.ownership == nil || i.trace.Word == "" || i.inReply != nil && i.trace.About == "" {
		// An empty reply, or a page of something in between, is about nobody's session.
		return
	}
	i.result.ShowsOwner = true
	i.result.Owner = i.asked.ownership.ownerOf(map[string]any{
		"id": i.asked.sessionID, "state": string(state), "status": i.trace.Word,
		"tags": i.trace.Tags, "reference": i.trace.Reference,
	}, i.seen.values["body"])
}

// leftPayable names what a closed session leaves that can still be paid; empty for nothing.
func (i *interpretation) leftPayable() string {
	for _, rule := range i.stillPayable {
		if i.seen.holds(rule.when) {
			i.trace.StillPayable = rule.when.field
			return rule.what
		}
	}
	return ""
}

// unlisted returns the message for a status word that the class does not list.
func unlisted(word string) string {
	if word == "" {
		return "it shows no status that the class can read"
	}
	return fmt.Sprintf("it shows the status %q, which the class does not list", excerpt(word, maxStatusLength))
}

// decode decodes a JSON body. An empty body is readable, as null.
func decode(body []byte) (any, bool) {
	if len(bytes.TrimSpace(body)) == 0 {
		return nil, true
	}
	decoder := json.NewDecoder(bytes.NewReader(body))
	decoder.UseNumber()
	var value any
	if err := decoder.Decode(&value); err != nil {
		return nil, false
	}
	if _, err := decoder.Token(); !errors.Is(err, io.EOF) {
		return nil, false
	}
	return numbers(value), true
}

// numbers converts JSON numbers to CEL types: 401 is an int and 401.5 a double, so that string(401) is "401".
func numbers(value any) any {
	switch value := value.(type) {
	case json.Number:
		if whole, err := value.Int64(); err == nil {
			return whole
		}
		if float, err := value.Float64(); err == nil {
			return float
		}
		return value.String()
	case map[string]any:
		for key := range value {
			value[key] = numbers(value[key])
		}
	case []any:
		for i := range value {
			value[i] = numbers(value[i])
		}
	}
	return value
}

func lowerCase(header http.Header) map[string]string {
	lower := make(map[string]string, len(header))
	for name, values := range header {
		lower[strings.ToLower(name)] = strings.Join(values, ", ")
	}
	return lower
}

// retryAfter parses a Retry-After in both of its forms, seconds and date. A value that makes no sense counts as
// absent. https://www.rfc-editor.org/rfc/rfc9110#field.retry-after
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	var wait time.Duration
	if seconds, err := strconv.ParseInt(value, 10, 32); err == nil {
		wait = time.Duration(seconds) * time.Second
	} else if date, err := http.ParseTime(value); err == nil {
		wait = date.Sub(now)
	}
	if wait <= 0 || wait > absurdRetryAfter {
		return 0
	}
	return min(wait, MaxRetryAfter)
}
