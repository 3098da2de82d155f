// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package simulator is the four providers as HTTP handlers with state, for tests and the demo. It was written from the
// providers' own pages and knows nothing of the classes: that is what keeps the classes honest.
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

// State of a session in the simulator's own books.
type State string

// The states that a session can be in, whatever a provider calls them.
const (
	Open     State = "open"
	Pending  State = "pending"
	Paid     State = "paid"
	Expired  State = "expired"
	Failed   State = "failed"
	Refunded State = "refunded"
)

// Variants change what a session is, beside its state. A provider ignores those of the others.
const (
	// Continuous is a Circle intent that can be paid again and again.
	Continuous = "continuous"
	// MintPreview is a Circle account that ends unpaid intents as complete with the context expired.
	MintPreview = "mint-preview"
	// OtherMerchant is a Helio charge of somebody else.
	OtherMerchant = "other-merchant"
	// Card is an Omise charge that cannot be expired by a call.
	Card = "card"
	// Authorized is an Omise charge that waits to be captured.
	Authorized = "authorized"
	// OfficialErrors is an Omise account that refuses with 400 failed_expire instead of 422.
	OfficialErrors = "official-errors"
	// Payout is a Txn link that pays money out.
	Payout = "payout"
	// Legacy is a Txn link as the older of the two documentations shows it.
	Legacy = "legacy"
)

// Object is a session at a provider.
type Object struct {
	Provider string `json:"provider"`
	ID       string `json:"id"`
	State    State  `json:"state"`
	Variant  string `json:"variant,omitempty"`
	// HiddenReads is how many reads after an expiry still show the session as it was.
	HiddenReads int `json:"hiddenReads,omitempty"`

	createdAt time.Time
	endedAt   time.Time
}

// shown is the object as a read shows it.
func (o *Object) shown() *Object {
	if o.State != Expired || o.HiddenReads == 0 {
		return o
	}
	o.HiddenReads--
	before := *o
	before.State = Open
	return &before
}

// Call is one call that the simulator received. It holds no credential.
type Call struct {
	Provider  string `json:"provider"`
	Operation string `json:"operation"`
	ID        string `json:"id"`
	// Code of the reply; 0 where there was none.
	Code int `json:"code"`
}

// Operations of a Call.
const (
	Expire  = "expire"
	Observe = "observe"
	// Stray is a call that the provider does not have.
	Stray = "stray"
)

// Keys are the credentials that the simulator accepts, by provider and by the name that its class gives them.
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
	closed  chan struct{}
	close   sync.Once
}

// New makes a simulator with empty books.
func New() *Simulator {
	return &Simulator{objects: map[key]*Object{}, faults: map[key][]Fault{}, keys: Keys(), outages: map[string]bool{}, closed: make(chan struct{})}
}

// Close ends every call that a fault left hanging.
func (s *Simulator) Close() { s.close.Do(func() { close(s.closed) }) }

// Add puts a session into a provider's books, in place of one with the same id.
func (s *Simulator) Add(object Object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	object.createdAt = time.Now().Add(-time.Minute)
	if object.State != Open && object.State != Pending {
		object.endedAt = time.Now()
	}
	s.objects[key{object.Provider, object.ID}] = &object
}

// State of a session; empty where the provider does not know it.
func (s *Simulator) State(provider, id string) State {
	s.mu.Lock()
	defer s.mu.Unlock()
	if object := s.objects[key{provider, id}]; object != nil {
		return object.State
	}
	return ""
}

// SetState changes a session as its payer would.
func (s *Simulator) SetState(provider, id string, state State) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if object := s.objects[key{provider, id}]; object != nil {
		object.State, object.endedAt = state, time.Now()
	}
}

// SetKey changes a credential that a provider accepts.
func (s *Simulator) SetKey(provider, name, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys[provider] = maps.Clone(s.keys[provider])
	s.keys[provider][name] = value
}

// SetLatency makes every reply take that long.
func (s *Simulator) SetLatency(latency time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.latency = latency
}

// SetOutage makes a provider answer 503 to everything, or ends that.
func (s *Simulator) SetOutage(provider string, outage bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.outages[provider] = outage
}

// Objects in the books, sorted by provider and id.
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

// Calls received so far, in their order.
func (s *Simulator) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// CallsOf one session, as their operations in order.
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

// dialect is what tells one provider from another.
type dialect interface {
	// routes are the calls that the API has: patterns of http.ServeMux with {id}, by operation.
	routes() map[string]string
	// refuse is the reply to a call that is wrong in itself: credentials, media type, body. It is nil for a good one.
	refuse(r *http.Request, body []byte, keys map[string]string) *Reply
	// unknown is the reply about a session that is not in the books.
	unknown(id string) Reply
	// expire changes the object, if it may be expired, and gives the reply.
	expire(object *Object, now time.Time) Reply
	// show is the reply to a read.
	show(object *Object, r *http.Request) Reply
}

func dialects() map[string]dialect {
	return map[string]dialect{"circle": circle{}, "helio": helio{}, "omise": omise{}, "txn": txn{}}
}

// Handler serves every provider below its name (/circle, /helio, /omise, /txn) and the books below /simulator.
func (s *Simulator) Handler() http.Handler {
	mux := http.NewServeMux()
	for name, dialect := range dialects() {
		mux.Handle("/"+name+"/", http.StripPrefix("/"+name, s.Provider(name, dialect)))
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
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		s.record(Call{Provider: name, Operation: Stray, ID: r.Method + " " + r.URL.Path, Code: http.StatusNotFound})
		http.Error(w, fmt.Sprintf("no such call: %s %s", r.Method, r.URL.Path), http.StatusNotFound)
	})
	return mux
}
