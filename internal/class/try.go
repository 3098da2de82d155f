// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// Trial is a class that is tried at a provider.
type Trial struct {
	Class *Class
	// ID of a session that exists.
	ID string
	// Environment of the class, and Endpoint in place of its base URL; both may be empty.
	Environment, Endpoint string
	// Credentials are the data of the provider object's Secret.
	Credentials map[string][]byte
	// Expire also expires the session, reads it, and expires it again. Without it all calls are reads.
	Expire bool
	Door   httpx.Options
}

// Attempt is one call of a trial.
type Attempt struct {
	Row

	// Doubt says what the reply leaves in doubt; empty where it is as it should be.
	Doubt string `json:"doubt,omitempty"`

	id    string
	reply *httpx.Reply
}

// wrongPath goes before the path of a call that asks for a path that does not exist.
const wrongPath = "/payops-no-such-path"

// Try makes the calls, and returns them in their order. Nothing is changed at the provider unless Expire is set.
func (t *Trial) Try(ctx context.Context) ([]Attempt, error) {
	endpoint, recorder, err := t.connect()
	if err != nil {
		return nil, err
	}
	defer recorder.door.Close()
	recorder.real = endpoint
	made := func(name string, operation v1alpha1.Operation, at *upstream.Endpoint, id string) Attempt {
		return t.call(ctx, recorder, name, operation, at, id)
	}
	other := (&run{class: t.Class, file: &examplesFile{Examples: Examples{SessionID: t.ID}}}).otherID()
	elsewhere := &upstream.Endpoint{
		Definition: endpoint.Definition, BaseURL: endpoint.BaseURL.JoinPath(wrongPath), TokenURL: endpoint.TokenURL,
		Credentials: endpoint.Credentials, Door: recorder,
	}
	stranger := &upstream.Endpoint{
		Definition: endpoint.Definition, BaseURL: endpoint.BaseURL, TokenURL: endpoint.TokenURL, Door: recorder,
		Credentials: wrongCredentials(endpoint.Credentials),
	}
	attempts := []Attempt{
		judged(made("the session", v1alpha1.OperationObserve, endpoint, t.ID), isState),
		judged(made("an id that was made up", v1alpha1.OperationObserve, endpoint, other), isUnknown),
		judged(made("a path that does not exist", v1alpha1.OperationObserve, elsewhere, t.ID), isNoRoute),
		judged(made("a wrong key", v1alpha1.OperationObserve, stranger, t.ID), isRejected),
	}
	compareUnknown(&attempts[1], &attempts[2])
	if t.Expire && attempts[0].Doubt != "" {
		attempts[0].Doubt += "; it is not expired"
	}
	if t.Expire && attempts[0].Doubt == "" {
		attempts = append(
			attempts,
			judged(made("the session is expired", v1alpha1.OperationExpire, endpoint, t.ID), isExpiry),
			judged(made("the session after that", v1alpha1.OperationObserve, endpoint, t.ID), isExpired),
			judged(made("the session is expired again", v1alpha1.OperationExpire, endpoint, t.ID), isExpiry),
		)
	}
	return attempts, nil
}

// connect returns an endpoint with the engine and the door of the operator.
func (t *Trial) connect() (*upstream.Endpoint, *recorder, error) {
	definition := t.Class.Definition
	if !definition.ValidSessionID(t.ID) {
		return nil, nil, fmt.Errorf("%q is not a valid %s: it does not match the class's pattern", t.ID, definition.SessionIDName())
	}
	base, err := definition.BaseURL(t.Environment, t.Endpoint)
	if err != nil {
		return nil, nil, err
	}
	credentials, err := definition.Credentials(t.Credentials)
	if err != nil {
		return nil, nil, fmt.Errorf("the credentials: %w", err)
	}
	recorder := &recorder{door: httpx.New(t.Door), tokenURL: definition.TokenURL(t.Environment, t.Endpoint, base)}
	return &upstream.Endpoint{
		Definition: definition, BaseURL: base, TokenURL: recorder.tokenURL, Credentials: credentials, Door: recorder,
	}, recorder, nil
}

// recorder keeps the last reply to a call that came through the door, and what authorized it. It keeps no tokens'
// replies.
type recorder struct {
	door     *httpx.Client
	tokenURL *url.URL
	last     *httpx.Reply
	sent     upstream.Secret
	// real has the right credentials, which no record may show.
	real *upstream.Endpoint
}

// redact returns a text of a reply without any credential.
func (r *recorder) redact(text []byte, at *upstream.Endpoint) []byte {
	return r.real.RedactReply(at.RedactReply(text, r.sent), r.sent)
}

// Do implements upstream.Doer.
func (r *recorder) Do(ctx context.Context, request *http.Request) (*httpx.Reply, error) {
	reply, err := r.door.Do(ctx, request)
	if r.tokenURL == nil || request.URL.String() != r.tokenURL.String() {
		_, sent, _ := strings.Cut(request.Header.Get("Authorization"), " ")
		r.last, r.sent = reply, upstream.Secret(sent)
	}
	return reply, err
}

// call makes one call and interprets its reply, with the reasons.
func (t *Trial) call(ctx context.Context, recorder *recorder, name string, operation v1alpha1.Operation,
	at *upstream.Endpoint, id string) Attempt {
	recorder.last = nil
	result := at.Call(ctx, operation, id)
	made := Attempt{id: id, reply: recorder.last}
	made.Row = Row{Name: name, Operation: operation, Outcome: result.Outcome, State: result.State, Word: result.Status}
	if made.reply == nil {
		made.Doubt = "no reply: " + result.Message
		return made
	}
	_, trace := at.Definition.Interpret(operation, id, at.Credentials, made.reply, time.Now())
	made.reply.Body = recorder.redact(made.reply.Body, at)
	for name, values := range made.reply.Header {
		for i := range values {
			made.reply.Header[name][i] = string(recorder.redact([]byte(values[i]), at))
		}
	}
	made.Code, made.Rule = made.reply.Code, trace.Rule
	if trace.Override != "" {
		made.Rule = trace.Override
	}
	for _, failed := range trace.Failed {
		made.Failed = append(made.Failed, failed.Field+": "+failed.Problem)
	}
	if result.Message != "" {
		made.Differences = []string{result.Message}
	}
	return made
}

// judged adds what a reply leaves in doubt.
func judged(made Attempt, doubt func(Attempt) string) Attempt {
	if made.Doubt == "" {
		made.Doubt = doubt(made)
	}
	return made
}

func isState(made Attempt) string {
	switch {
	case made.State != v1alpha1.SessionStateUnknown:
		return ""
	case made.Outcome == v1alpha1.OutcomeCredentialsRejected:
		return "the provider rejects the credentials"
	case made.Code == http.StatusNotFound:
		return "the provider does not show it: are the endpoint and the environment right, and is the id one of this account?"
	default:
		return "the class reads no state from the session that you named"
	}
}

func isUnknown(made Attempt) string {
	switch made.Outcome {
	case v1alpha1.OutcomeNotFound, v1alpha1.OutcomeCredentialsRejected:
		return ""
	case v1alpha1.OutcomeAccepted:
		return "the provider shows a session for an id that was made up, as some sandboxes do: unknownSession is not tried"
	default:
		return "unknownSession does not match the reply: a session that does not exist holds its deletion for ever"
	}
}

func isNoRoute(made Attempt) string {
	switch made.Outcome {
	case v1alpha1.OutcomeNotFound:
		return "the class takes a path that does not exist for a session that does not exist: a wrong endpoint would release " +
			"deletions and leave the sessions payable"
	case v1alpha1.OutcomeAccepted:
		return "a path that does not exist is accepted"
	default:
		return ""
	}
}

func isRejected(made Attempt) string {
	if made.Outcome != v1alpha1.OutcomeCredentialsRejected {
		return "a wrong key is not recognized as one"
	}
	return ""
}

func isExpiry(made Attempt) string {
	if made.Outcome != v1alpha1.OutcomeAccepted && made.Outcome != v1alpha1.OutcomeRefused {
		return "the call is neither accepted nor refused"
	}
	return ""
}

func isExpired(made Attempt) string {
	if made.State != v1alpha1.SessionStateExpired {
		return "the session is not expired; it may become so later"
	}
	return ""
}

// compareUnknown doubts a class where an unknown session and a path that does not exist are answered alike.
func compareUnknown(unknown, noRoute *Attempt) {
	if unknown.reply == nil || noRoute.reply == nil || unknown.Doubt != "" || noRoute.Doubt != "" {
		return
	}
	if unknown.reply.Code == noRoute.reply.Code && string(unknown.reply.Body) == string(noRoute.reply.Body) {
		unknown.Doubt = "the provider answers the same for a path that does not exist"
	}
}

// wrongCredentials returns credentials that no provider accepts.
func wrongCredentials(of upstream.Credentials) upstream.Credentials {
	wrong := upstream.Credentials{}
	for name, value := range of {
		wrong[name] = upstream.Secret(strings.Repeat("x", len(value)))
	}
	return wrong
}

// Recorded returns the replies of a trial as examples, without credentials. What each should mean is what it means to
// the class: it has to be read before it is believed.
func Recorded(attempts []Attempt, id string) ([]byte, error) {
	recorded := Examples{SessionID: id}
	for _, made := range attempts {
		if made.reply == nil {
			continue
		}
		example := Example{
			Name: made.Name, Operation: made.Operation, Reply: Reply{Code: made.reply.Code, Headers: map[string]string{}},
			Want: Want{Outcome: made.Outcome, State: made.State},
		}
		if made.id != id {
			example.SessionID = made.id
		}
		if json.Unmarshal(made.reply.Body, &example.Reply.Body) != nil {
			example.Reply.Text = string(made.reply.Body)
		}
		for _, name := range slices.Sorted(maps.Keys(made.reply.Header)) {
			if isTelling(name) {
				example.Reply.Headers[strings.ToLower(name)] = made.reply.Header.Get(name)
			}
		}
		recorded.Examples = append(recorded.Examples, example)
	}
	return yaml.Marshal(recorded)
}

// isTelling reports whether a header belongs into an example: the others are about the connection, or hold cookies.
func isTelling(name string) bool {
	lower := strings.ToLower(name)
	return lower == "content-type" || lower == "retry-after" || strings.Contains(lower, "request-id") ||
		strings.Contains(lower, "debug-id")
}

// Address returns where the calls go.
func (t *Trial) Address() (string, error) {
	address, err := t.Class.Definition.BaseURL(t.Environment, t.Endpoint)
	if err != nil {
		return "", err
	}
	return address.String(), nil
}
