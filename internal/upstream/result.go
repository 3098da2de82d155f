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
	"github.com/payops-dev/payment-session-operator/internal/httpx"
)

const (
	// MaxRetryAfter is the longest pause that a provider can ask for.
	MaxRetryAfter = 5 * time.Minute
	// absurdRetryAfter is from where on a Retry-After is taken for a mistake.
	absurdRetryAfter = 24 * time.Hour

	maxStatusLength    = 64
	maxRequestIDLength = 128
)

// Result is what one call came to.
type Result struct {
	// Outcome is the meaning of the reply.
	Outcome v1alpha1.Outcome
	// State that the reply proves; empty where it proves none.
	State v1alpha1.SessionState
	// Status is the provider's own word for State.
	Status string
	// StillPayable says what can still be paid elsewhere although State is closed; empty for nothing.
	StillPayable string
	// ExpiredAt is when the session expired, where State is expired and the provider says so.
	ExpiredAt *time.Time
	// RequestID is the provider's id of the call, where it gives one.
	RequestID string
	// Message is a short, cleaned excerpt of the provider's words on a failure, or ours where there was no reply.
	Message string
	// RetryAfter is how long the provider asks to be left alone; 0 where it does not.
	RetryAfter time.Duration
	// MayHaveActed is true where the call may have had its effect although its outcome is none that says so.
	MayHaveActed bool
}

// interpret reads a reply to a call about a session, or the error in its place. It never fails: what it cannot make sense of is
// UnexpectedResponse.
func (d *Definition) interpret(operation v1alpha1.Operation, sessionID string, received *httpx.Reply, failure error, credentials Credentials, now time.Time) Result {
	if failure != nil {
		return noReply(failure)
	}
	body, readable := decode(received.Body)
	headers := lowerCase(received.Header)
	seen := facts{"code": received.Code, "headers": headers, "body": body, "now": now}
	// What is shown is read from a copy without credentials: an expression may cut or change an echo so that it is not recognized afterwards.
	shown := facts{"code": received.Code, "headers": credentials.redactReply(headers), "body": credentials.redactReply(body), "now": now}
	result := Result{
		Outcome:   d.outcome(operation, received.Code, readable, seen),
		RequestID: excerpt(credentials.redact(shown.text(d.requestID)), maxRequestIDLength),
	}
	// A class's rules speak of its provider's replies; a page that is not even JSON comes from something in between.
	if readable {
		d.applyClass(operation, sessionID, seen, shown, &result)
	}
	result.Status = excerpt(credentials.redact(result.Status), maxStatusLength)
	switch result.Outcome {
	case v1alpha1.OutcomeThrottled, v1alpha1.OutcomeUnavailable:
		result.RetryAfter = retryAfter(received.Header.Get("Retry-After"), now)
		result.MayHaveActed = result.Outcome == v1alpha1.OutcomeUnavailable
	case v1alpha1.OutcomeUnexpectedResponse:
		result.MayHaveActed = true
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

// applyClass reads a reply as the class says: its rules for outcomes first, then whose session the reply is about, then the state.
func (d *Definition) applyClass(operation v1alpha1.Operation, sessionID string, seen, shown facts, result *Result) {
	word := ""
	if rule := d.matching(operation, seen); rule != nil {
		result.Outcome, word = rule.Outcome, rule.Status
	}
	if other := seen.id(d.inReply); other != "" && !d.SameSession(other, sessionID) && speaksOfASession(result.Outcome) {
		// A cache in between that mixes its keys up gives such replies. They say nothing about this session.
		result.Outcome, result.Message = v1alpha1.OutcomeUnexpectedResponse, "the reply is about another session"
		return
	}
	if result.Outcome == v1alpha1.OutcomeAccepted {
		d.readState(operation, word, seen, shown, result)
	}
}

// speaksOfASession reports whether an outcome says something about the session, and not about the call or the provider alone.
func speaksOfASession(outcome v1alpha1.Outcome) bool {
	switch outcome {
	case v1alpha1.OutcomeCredentialsRejected, v1alpha1.OutcomeThrottled, v1alpha1.OutcomeUnavailable, v1alpha1.OutcomeUnexpectedResponse:
		return false
	default:
		return true
	}
}

// noReply is the outcome of a call that came back without a whole reply.
func noReply(failure error) Result {
	outcome := v1alpha1.OutcomeUnavailable
	if errors.Is(failure, httpx.ErrBodyTooLarge) {
		outcome = v1alpha1.OutcomeUnexpectedResponse
	}
	return Result{Outcome: outcome, Message: failure.Error(), MayHaveActed: true}
}

// outcome is the engine's own reading of an HTTP status.
func (d *Definition) outcome(operation v1alpha1.Operation, code int, readable bool, seen facts) v1alpha1.Outcome {
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
	// There is nothing to refuse in a read.
	case family == 4 && operation == v1alpha1.OperationExpire:
		return v1alpha1.OutcomeRefused
	default:
		return v1alpha1.OutcomeUnexpectedResponse
	}
}

func (d *Definition) matching(operation v1alpha1.Operation, seen facts) *outcomeRule {
	for i := range d.outcomes {
		rule := &d.outcomes[i]
		// That a session cannot be expired by a call is nothing that a read could be answered with.
		speaks := rule.Operation == operation || rule.Operation == "" && (rule.Outcome != v1alpha1.OutcomeUnsupported || operation == v1alpha1.OperationExpire)
		if speaks && seen.holds(rule.when) {
			return rule
		}
	}
	return nil
}

// readState reads the state from an accepted reply, or from the word that its rule supplies. A reply to expire may prove
// nothing; one to observe that does not tell the state is of no use.
func (d *Definition) readState(operation v1alpha1.Operation, word string, seen, shown facts, result *Result) {
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

// leftPayable says what a closed session leaves that can still be paid; empty for nothing.
func (d *Definition) leftPayable(seen facts) string {
	for _, rest := range d.stillPayable {
		if seen.holds(rest.when) {
			return rest.what
		}
	}
	return ""
}

// unlisted says of a reply that its status word means nothing to the class.
func unlisted(word string) string {
	if word == "" {
		return "it shows no status that the class can read"
	}
	return fmt.Sprintf("it shows the status %q, which the class does not list", excerpt(word, maxStatusLength))
}

// decode decodes a JSON body. No body at all is readable, as null.
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

// numbers turns JSON numbers into CEL's: 401 is an int and 401.5 a double, so that string(401) is "401".
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

// retryAfter reads a Retry-After in both of its forms. What makes no sense counts as absent.
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
