// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package simulator implements providers as HTTP handlers with state, for tests and the demo. Four of them follow the
// providers' own documentation and do not know the classes, so that they can reveal their mistakes. Any other provider
// is served from examples.
package simulator

import (
	"cmp"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"sync"
	"time"
)

// State is the state of a session in the simulator's books.
type State string

// The states of a session. Each provider has its own words for them.
const (
	Open     State = "open"
	Pending  State = "pending"
	Paid     State = "paid"
	Expired  State = "expired"
	Failed   State = "failed"
	Refunded State = "refunded"
)

// The variants of a session. A provider ignores the variants of other providers.
const (
	// Continuous is a Circle intent that accepts any number of payments.
	Continuous = "continuous"
	// MintPreview is a Circle account that ends unpaid intents as complete with the context expired.
	MintPreview = "mint-preview"
	// OtherMerchant is a Helio charge of another merchant.
	OtherMerchant = "other-merchant"
	// Card is an Omise charge that the API cannot expire.
	Card = "card"
	// Authorized is an Omise charge that is authorized but not captured.
	Authorized = "authorized"
	// OfficialErrors is an Omise account that rejects with 400 failed_expire instead of 422.
	OfficialErrors = "official-errors"
	// Payout is a Txn link that pays money out.
	Payout = "payout"
	// Legacy is a Txn link as the older documentation shows it.
	Legacy = "legacy"
)

// Object is a session at a provider.
type Object struct {
	Provider string `json:"provider"`
	ID       string `json:"id"`
	State    State  `json:"state"`
	Variant  string `json:"variant,omitempty"`
	// Owner is the mark that its creator put on it, as cluster/namespace; empty for none.
	Owner string `json:"owner,omitempty"`
	// HiddenReads is how many reads after an expiry still show the session as open.
	HiddenReads int `json:"hiddenReads,omitempty"`

	// CreatedAt is when the provider says that it was created; a minute before it was added by default. It was added at
	// addedAt.
	CreatedAt *time.Time `json:"createdAt,omitempty"`

	createdAt, addedAt time.Time
	endedAt            time.Time
}

// shown returns the object as a read shows it.
func (o *Object) shown() *Object {
	if o.State != Expired || o.HiddenReads == 0 {
		return o
	}
	o.HiddenReads--
	before := *o
	before.State = Open
	return &before
}

// Call is a call that the simulator has received. It contains no credential.
type Call struct {
	Provider  string `json:"provider"`
	Operation string `json:"operation"`
	ID        string `json:"id"`
	// Code is the status code of the reply, or 0 if there was none.
	Code int `json:"code"`
}

// The operations of a Call.
const (
	Expire  = "expire"
	Observe = "observe"
	// Token is a request for an OAuth2 token.
	Token = "token"
	// Stray is a call that the provider's API does not have.
	Stray = "stray"
)

// Keys returns the credentials that the simulator accepts, by provider and by their name in its class.
func Keys() map[string]map[string]string {
	return map[string]map[string]string{
		"circle": {"apiKey": "SIMULATED_API_KEY:circle:7f3ac1d9"},
		"helio":  {"apiKey": "simulated-public-key-helio", "secretKey": "simulated-secret-key-helio"},
		"omise":  {"secretKey": "skey_test_simulated5xuy4w91"},
		"txn":    {"apiKey": "txn_cmp_simulated_e33e1727"},
	}
}

type key struct{ provider, id string }

// Simulator holds the books of the four providers. It is safe for concurrent use.
type Simulator struct {
	mu      sync.Mutex
	objects map[key]*Object
	faults  map[key][]Fault
	keys    map[string]map[string]string
	outages map[string]bool
	calls   []Call
	latency time.Duration
	// listLag is how late new sessions appear in lists.
	listLag time.Duration
	closed  chan struct{}
	close   sync.Once
	// described holds the providers that are served from examples, and tokens those that each accepts.
	described map[string]*Described
	tokens    map[string]map[string]bool
}

// New returns a simulator with empty books.
func New() *Simulator {
	return &Simulator{
		objects: map[key]*Object{}, faults: map[key][]Fault{}, keys: Keys(), outages: map[string]bool{},
		closed: make(chan struct{}), described: map[string]*Described{}, tokens: map[string]map[string]bool{},
	}
}

// Close ends every hanging call.
func (s *Simulator) Close() { s.close.Do(func() { close(s.closed) }) }

// Add adds a session to a provider's books. It replaces one with the same id.
func (s *Simulator) Add(object Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object.createdAt, object.addedAt = time.Now().Add(-time.Minute), time.Now()
	if object.CreatedAt != nil {
		object.createdAt = *object.CreatedAt
	}
	if object.State != Open && object.State != Pending {
		object.endedAt = time.Now()
	}
	s.objects[key{object.Provider, object.ID}] = &object
}

// State returns the state of a session, or "" if the provider does not know it.
func (s *Simulator) State(provider, id string) State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if object := s.objects[key{provider, id}]; object != nil {
		return object.State
	}
	return ""
}

// SetState changes the state of a session, as its payer would.
func (s *Simulator) SetState(provider, id string, state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if object := s.objects[key{provider, id}]; object != nil {
		object.State, object.endedAt = state, time.Now()
	}
}

// SetOwner changes the mark of a session, as whoever holds the account's key can.
func (s *Simulator) SetOwner(provider, id, owner string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if object := s.objects[key{provider, id}]; object != nil {
		object.Owner = owner
	}
}

// SetKey rotates a credential of a provider.
func (s *Simulator) SetKey(provider, name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[provider] = maps.Clone(s.keys[provider])
	s.keys[provider][name] = value
}

// SetLatency delays every reply.
func (s *Simulator) SetLatency(latency time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = latency
}

// SetOutage starts or ends an outage, in which a provider replies 503 to every call.
func (s *Simulator) SetOutage(provider string, outage bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outages[provider] = outage
}

// Objects returns the sessions in the books, sorted by provider and id.
func (s *Simulator) Objects() []Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	objects := make([]Object, 0, len(s.objects))
	for _, object := range s.objects {
		objects = append(objects, *object)
	}
	slices.SortFunc(objects, func(a, b Object) int {
		return cmp.Or(cmp.Compare(a.Provider, b.Provider), cmp.Compare(a.ID, b.ID))
	})
	return objects
}

// Calls returns the calls received so far, in order.
func (s *Simulator) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// CallCount returns the number of calls received so far. Unlike Calls it is cheap, so that callers may poll it.
func (s *Simulator) CallCount() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.calls)
}

// CallsOf returns the operations of the calls about one session, in order.
func (s *Simulator) CallsOf(provider, id string) []string {
	var operations []string
	for _, call := range s.Calls() {
		if call.Provider == provider && call.ID == id {
			operations = append(operations, call.Operation)
		}
	}
	return operations
}

func (s *Simulator) record(call Call) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, call)
}

// dialect is the API of one provider.
type dialect interface {
	// routes returns the calls of the API as patterns of http.ServeMux with {id}, by operation.
	routes() map[string]string
	// refuse returns the reply to a call with wrong credentials, media type or body, and nil for a valid one.
	refuse(r *http.Request, body []byte, keys map[string]string) *Reply
	// unknown returns the reply to an operation on a session that is not in the books.
	unknown(operation, id string) Reply
	// expire expires the object if possible, and returns the reply.
	expire(object *Object, now time.Time) Reply
	// show returns the reply to a read.
	show(object *Object, r *http.Request) Reply
}

func dialects() map[string]dialect {
	return map[string]dialect{"circle": circle{}, "helio": helio{}, "omise": omise{}, "txn": txn{}}
}

// Handler serves every provider below its name (/circle, /helio, /omise, /txn, and those that were described) and the
// books below /simulator.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	for name, dialect := range dialects() {
		mux.Handle("/"+name+"/", http.StripPrefix("/"+name, s.Provider(name, dialect)))
	}
	for name, described := range s.described {
		mux.Handle("/"+name+"/", http.StripPrefix("/"+name, s.withTokens(described, s.Provider(name, described))))
	}
	mux.Handle("/simulator/", http.StripPrefix("/simulator", s.books()))
	return mux
}

// Provider serves one provider's API.
func (s *Simulator) Provider(name string, speaks dialect) http.Handler {
	mux := http.NewServeMux()
	for operation, pattern := range speaks.routes() {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, name, operation, speaks) })
	}
	if lists, ok := speaks.(lister); ok && lists.listRoute() != "" {
		mux.HandleFunc(lists.listRoute(), func(w http.ResponseWriter, r *http.Request) { s.serve(w, r, name, List, speaks) })
	}
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.record(Call{Provider: name, Operation: Stray, ID: r.Method + " " + r.URL.Path, Code: http.StatusNotFound})
		http.Error(w, fmt.Sprintf("no such call: %s %s", r.Method, r.URL.Path), http.StatusNotFound)
	})
	return mux
}
