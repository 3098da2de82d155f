// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"

	"github.com/payops-dev/payment-session-operator/internal/simulator"
)

// twist changes the next calls about a payment, or their replies. The faults of the simulator are those of a network;
// a twist is what a provider, or something in front of it, does.
type twist struct {
	sentence string
	// operation is the operation that is changed; empty for both.
	operation string
	// providers are the ones that can do this; empty for all.
	providers string
	apply     func(w *world, made *exchange)

	times int
}

// decoys are payments that nobody has a session for. Replies about another session are about them.
const (
	paidDecoy    = 9001
	expiredDecoy = 9002
	openDecoy    = 9003
	unknownDecoy = 9004
)

// acceptedAlone is the twist of an expire call that a provider accepts and that changes nothing.
var acceptedAlone = twist{
	sentence: "accepted, without an effect", operation: simulator.Expire, providers: "circle omise txn",
	apply: func(_ *world, made *exchange) {
		made.plain = true
		made.answer(made.site.handler, made.read(made.id))
		if made.reply.Code == http.StatusOK && made.provider == "circle" {
			made.reply.Code = http.StatusCreated
		}
	},
}

// refusal is the twist of an expire call that is refused without a code that says why.
var refusal = twist{
	sentence: "refused", operation: simulator.Expire,
	apply: func(_ *world, made *exchange) {
		made.plain = true
		made.respond(http.StatusBadRequest, map[string]any{"message": "no"})
	},
}

// unknown is the twist of a call that is answered as the provider does about a session that it does not know.
var unknown = twist{
	sentence: "the provider does not know it",
	apply: func(_ *world, made *exchange) {
		made.plain, made.unknown = true, true
		made.answer(made.site.empty, made.request)
	},
}

var twists = []twist{
	acceptedAlone,
	{sentence: "the reply is about a paid session", apply: aboutAnother(paidDecoy)},
	{sentence: "the reply is about an expired session", apply: aboutAnother(expiredDecoy)},
	{sentence: "the reply is about an open session", apply: aboutAnother(openDecoy)},
	{
		sentence: "the reply is about an unknown session", providers: "omise helio",
		apply: func(w *world, made *exchange) {
			made.answer(made.site.empty, made.about(w.decoy(unknownDecoy)))
		},
	},
	unknown,
	{
		sentence: "the server does not know the path",
		apply:    func(_ *world, made *exchange) { made.respond(http.StatusNotFound, noSuchPath[made.provider]) },
	},
	{
		sentence: "it is paid a moment before", operation: simulator.Expire,
		apply: func(w *world, made *exchange) { w.changeFirst(made, simulator.Paid) },
	},
	{
		sentence: "a payment begins a moment before", operation: simulator.Expire,
		apply: func(w *world, made *exchange) { w.changeFirst(made, simulator.Pending) },
	},
	{
		sentence: "an unlisted word", operation: simulator.Observe,
		apply: func(w *world, made *exchange) { w.rewrite(made, oddWords("under_review")) },
	},
	{
		sentence: "a word that contains the credential", operation: simulator.Observe,
		apply: func(w *world, made *exchange) { w.rewrite(made, oddWords(made.credential(w))) },
	},
	{
		sentence: "a refusal that repeats the credential",
		apply: func(w *world, made *exchange) {
			text := "the key " + made.credential(w) + " may not do this"
			made.respond(http.StatusForbidden, map[string]any{
				"object": "error", "code": "forbidden", "message": text,
				"errors": []any{map[string]any{"status": "403", "code": "forbidden", "detail": text}},
			})
		},
	},
	{
		sentence: "a reply of an older version", operation: simulator.Observe, providers: "omise",
		apply: func(w *world, made *exchange) {
			w.rewrite(made, func(body map[string]any) { delete(body, "status") })
		},
	},
	{
		sentence: "a reply without its transactions", operation: simulator.Observe, providers: "helio",
		apply: func(w *world, made *exchange) {
			w.rewrite(made, func(body map[string]any) {
				delete(body, "paylinkTx")
				delete(body, "paylinkTxs")
				body["windowClosed"] = true
			})
		},
	},
	{
		sentence: "two entries of one instant", operation: simulator.Observe, providers: "circle",
		apply: func(w *world, made *exchange) { w.rewrite(made, oneInstant) },
	},
}

// noSuchPath is what the servers say about a path that they do not have: nothing about a session.
var noSuchPath = map[string]any{
	"circle": map[string]any{"code": 404, "message": "The requested path was not found."},
	"helio":  map[string]any{"message": "Cannot GET /v1/v1/charge", "statusCode": 404},
	"omise":  map[string]any{"object": "error", "code": "not_found", "message": "the requested route was not found"},
	"txn": map[string]any{
		"errors": []any{map[string]any{"status": "404", "code": "not_found", "title": "No route matches the path"}},
	},
}

// aboutAnother answers with what a read of another session shows.
func aboutAnother(decoy int) func(*world, *exchange) {
	return func(w *world, made *exchange) { made.answer(made.site.handler, made.read(w.decoy(decoy))) }
}

// oddWords replaces the words for states.
func oddWords(word string) func(map[string]any) {
	return func(body map[string]any) {
		if _, ok := body["paylinkTxs"]; ok {
			transaction := map[string]any{"meta": map[string]any{"transactionStatus": word}}
			body["paylinkTx"], body["paylinkTxs"] = transaction, []any{transaction}
		}
		visit(body, func(object map[string]any) {
			if _, isWord := object["status"].(string); isWord {
				object["status"] = word
			}
		})
	}
}

// oneInstant gives the newest entries of a timeline the same time.
func oneInstant(body map[string]any) {
	visit(body, func(object map[string]any) {
		timeline, _ := object["timeline"].([]any)
		newest := ""
		for _, each := range timeline {
			entry, _ := each.(map[string]any)
			at, _ := entry["time"].(string)
			newest = max(newest, at)
		}
		slices.Reverse(timeline)
		for _, each := range timeline {
			if entry, ok := each.(map[string]any); ok {
				entry["time"] = newest
			}
		}
	})
}

// visit calls a function for each object in a JSON value.
func visit(value any, do func(map[string]any)) {
	switch value := value.(type) {
	case map[string]any:
		do(value)
		for _, inner := range value {
			visit(inner, do)
		}
	case []any:
		for _, inner := range value {
			visit(inner, do)
		}
	}
}

// about returns the request as it would be about another session.
func (e *exchange) about(id string) *http.Request {
	request := e.request.Clone(e.request.Context())
	request.URL.Path = strings.ReplaceAll(e.request.URL.Path, e.id, id)
	return request
}

// read returns the request that reads a session.
func (e *exchange) read(id string) *http.Request {
	request := e.about(id)
	if e.operation == simulator.Observe {
		return request
	}
	request.Method, request.Body = http.MethodGet, http.NoBody
	path := strings.TrimSuffix(strings.TrimSuffix(request.URL.Path, "/expire"), "/expiration")
	request.URL.Path = strings.Replace(path, "/api-key/", "/", 1)
	return request
}

// uses reports whether a call has a credential of a Secret.
func (e *exchange) uses(secret *corev1.Secret) bool {
	for _, value := range secret.Data {
		if strings.Contains(e.sent(), strings.TrimSpace(string(value))) {
			return true
		}
	}
	return false
}

// sent returns the parts of a request that may have credentials.
func (e *exchange) sent() string {
	user, _, _ := e.request.BasicAuth()
	return user + e.request.Header.Get("Authorization") + e.request.URL.RawQuery
}

// credential returns the account's most secret credential if the request has it: a reply cannot repeat another one.
func (e *exchange) credential(w *world) string {
	if right := w.credential(); strings.Contains(e.sent(), right) {
		return right
	}
	return "of somebody"
}

// respond replies with JSON.
func (e *exchange) respond(code int, body any) {
	e.reply = httptest.NewRecorder()
	e.reply.Header().Set("Content-Type", "application/json")
	e.reply.Code = code
	text, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	e.reply.Body.Write(text)
}

// changeFirst changes the payment and lets the provider answer then.
func (w *world) changeFirst(made *exchange, to simulator.State) {
	if made.site.upstreams.State(made.provider, made.id) == simulator.Open {
		w.setState(made.site, made.id, to)
	}
	made.answer(made.site.handler, made.request)
}

// rewrite lets the provider answer and changes the body of a successful reply.
func (w *world) rewrite(made *exchange, change func(map[string]any)) {
	made.answer(made.site.handler, made.request)
	made.change(change)
}

// change changes the body of a successful reply with JSON.
func (e *exchange) change(change func(map[string]any)) {
	var body map[string]any
	if e.dropped || e.reply.Code != http.StatusOK || json.Unmarshal(e.reply.Body.Bytes(), &body) != nil {
		return
	}
	change(body)
	header := e.reply.Header().Clone()
	e.respond(http.StatusOK, body)
	for name := range header {
		e.reply.Header().Set(name, header.Get(name))
	}
}

// dress changes replies as a provider may always write them, whatever was drawn.
func (w *world) dress(made *exchange) {
	known := w.ledgers.payment(made.payment(), nil)
	state := made.site.upstreams.State(made.provider, made.id)
	switch {
	case made.provider == "omise" && state == simulator.Expired && known.isOld:
		made.change(func(body map[string]any) { delete(body, "status") })
	case made.operation != simulator.Observe:
	case made.provider == "circle" && known.variant == simulator.Continuous && isPayable(state):
		// Such an intent was paid before and stays open for the next payment.
		made.change(func(body map[string]any) {
			visit(body, func(object map[string]any) {
				if _, ok := object["amountPaid"]; ok {
					object["amountPaid"] = map[string]any{"amount": "2.00", "currency": "USD"}
				}
			})
		})
	case made.provider == "omise" && state == simulator.Paid && known.endsTwice:
		made.change(func(body map[string]any) {
			if body["status"] == "successful" {
				body["status"], body["expired"] = "expired", true
			}
		})
	case made.provider == "omise" && state == simulator.Refunded && known.variant == simulator.Authorized:
		// An authorization that was voided may keep its status.
		made.change(func(body map[string]any) { body["status"] = "successful" })
	case made.provider == "circle" && state == simulator.Paid && known.endsTwice:
		made.change(func(body map[string]any) {
			visit(body, func(object map[string]any) {
				if timeline, ok := object["timeline"].([]any); ok {
					object["timeline"] = append(timeline, map[string]any{"status": "expired", "time": "2099-01-01T00:00:00.000000Z"})
				}
			})
		})
	case made.provider == "circle" && state != "" && !isPayable(state) && known.reopened.IsZero():
		made.change(oneInstant)
	case made.provider == "helio" && state == simulator.Open:
		// The time is over by this provider's clock a moment before the window closes.
		made.change(func(body map[string]any) {
			body["expiresAt"] = time.Now().Add(-2 * time.Minute).UTC().Format(time.RFC3339)
			delete(body, "windowClosed")
		})
	}
}

// nextTwist consumes and returns the twist of a call; nil if there is none.
func (s *site) nextTwist(made *exchange) *twist {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, each := range s.twists[made.id] {
		if each.operation != "" && each.operation != made.operation {
			continue
		}
		if each.times--; each.times <= 0 {
			s.twists[made.id] = append(s.twists[made.id][:i:i], s.twists[made.id][i+1:]...)
		}
		return each
	}
	return nil
}

// draw adds a twist for the next calls about a payment.
func (s *site) draw(id string, chosen twist, times int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	chosen.times = times
	s.twists[id] = append(s.twists[id], &chosen)
}

// calm drops all twists.
func (s *site) calm() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.twists)
}
