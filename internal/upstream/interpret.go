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
	operation v1alpha1.Operation, sessionID string, received *httpx.Reply, failure error, now time.Time,
) call.Result {
	if failure != nil {
		return noReply(failure)
	}
	d, credentials := e.Definition, e.Credentials
	body, readable := decode(received.Body)
	headers := lowerCase(received.Header)
	seen := activation{"code": received.Code, "headers": headers, "body": body, "now": now}
	// Texts for people come from a redacted copy: an expression may cut or change an echoed credential so that it is not
	// recognized later.
	shown := activation{
		"code": received.Code, "headers": credentials.redactReply(headers), "body": credentials.redactReply(body), "now": now,
	}
	result := call.Result{
		Outcome:   d.outcome(operation, received.Code, readable, seen),
		RequestID: excerpt(credentials.redact(shown.text(d.requestID)), maxRequestIDLength),
	}
	// A class's rules are about its provider's replies. A page that is not JSON comes from something in between.
	if readable {
		d.applyClass(operation, sessionID, seen, shown, &result)
	}
	result.Status = excerpt(credentials.redact(result.Status), maxStatusLength)
	meaning := call.MeaningOf(result.Outcome)
	result.MayHaveActed = meaning.MayHaveActed
	if meaning.Pauses {
		result.RetryAfter = retryAfter(received.Header.Get("Retry-After"), now)
	}
	if result.Outcome == v1alpha1.OutcomeAccepted {
		return result
	}
	if result.Message == "" {
		result.Message = shown.text(d.message)
	}
	result.Message = cleaned(credentials.redact(result.Message))
	if result.Message == "" {
		result.Message = "HTTP " + strconv.Itoa(received.Code)
	}
	return result
}

// applyClass interprets a reply by the class: first the rules for outcomes, then the session that the reply is about,
// then the state.
func (d *Definition) applyClass(operation v1alpha1.Operation, sessionID string, seen, shown activation,
	result *call.Result) {
	word := ""
	if rule := d.matchingRule(operation, seen); rule != nil {
		result.Outcome, word = rule.Outcome, rule.Status
	}
	if other := seen.id(d.inReply); other != "" && !d.SameSession(other, sessionID) && call.MeaningOf(result.Outcome).AboutSession {
		// A cache that confuses its keys sends such replies. They prove nothing about this session.
		result.Outcome, result.Message = v1alpha1.OutcomeUnexpectedResponse, "the reply is about another session"
		return
	}
	if result.Outcome == v1alpha1.OutcomeAccepted {
		d.readState(operation, word, seen, shown, result)
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

// outcome returns the default outcome for an HTTP status.
func (d *Definition) outcome(operation v1alpha1.Operation, code int, readable bool, seen activation) v1alpha1.Outcome {
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
	case code == http.StatusNotFound && seen.holds(d.unknownSession):
		return v1alpha1.OutcomeNotFound
	case code == http.StatusNotFound:
		return v1alpha1.OutcomeUnexpectedResponse
	// A read has nothing to refuse.
	case family == 4 && operation == v1alpha1.OperationExpire:
		return v1alpha1.OutcomeRefused
	default:
		return v1alpha1.OutcomeUnexpectedResponse
	}
}

// matchingRule returns the first rule that applies to an operation and holds; nil for none.
func (d *Definition) matchingRule(operation v1alpha1.Operation, seen activation) *outcomeRule {
	for i := range d.outcomes {
		rule := &d.outcomes[i]
		applies := rule.Operation == operation
		if rule.Operation == "" {
			// Unsupported is an answer to an expire call. A read cannot be unsupported.
			applies = rule.Outcome != v1alpha1.OutcomeUnsupported || operation == v1alpha1.OperationExpire
		}
		if applies && seen.holds(rule.when) {
			return rule
		}
	}
	return nil
}

// readState reads the state from an accepted reply, or from the word that its rule supplies. A reply to expire may
// prove nothing. A reply to observe without a state that the class lists is an UnexpectedResponse.
func (d *Definition) readState(operation v1alpha1.Operation, word string, seen, shown activation, result *call.Result) {
	wordShown := word
	if word == "" {
		word, wordShown = seen.text(d.status), shown.text(d.status)
	}
	seen["status"] = word
	state := v1alpha1.SessionState(d.spec.State.Words[word])
	for _, override := range d.overrides {
		if word != "" && seen.holds(override.when) {
			state = override.state
			break
		}
	}
	if state == v1alpha1.SessionStateUnknown {
		if operation == v1alpha1.OperationObserve {
			result.Outcome, result.Message = v1alpha1.OutcomeUnexpectedResponse, unlisted(wordShown)
		}
		return
	}
	result.State, result.Status = state, wordShown
	if state.Closed() {
		result.StillPayable = d.leftPayable(seen)
	}
	if state == v1alpha1.SessionStateExpired {
		result.ExpiredAt = seen.time(d.expiredAt)
	}
}

// leftPayable names what a closed session leaves that can still be paid; empty for nothing.
func (d *Definition) leftPayable(seen activation) string {
	for _, rule := range d.stillPayable {
		if seen.holds(rule.when) {
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
