// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"
)

// Forever is the value of Times for a fault that never ends.
const Forever = -1

// Fault is a failure of the calls about one object.
type Fault struct {
	// Operation is the operation that fails; empty means both.
	Operation string `json:"operation,omitempty"`
	// Times is how many calls fail. 0 means one, Forever means all.
	Times int `json:"times,omitempty"`
	// Effect makes the call take effect before its reply is lost.
	Effect bool `json:"effect,omitempty"`

	// Drop closes the connection instead of replying.
	Drop bool `json:"drop,omitempty"`
	// Hang never replies.
	Hang bool `json:"hang,omitempty"`
	// Huge replies with 2 MiB.
	Huge bool `json:"huge,omitempty"`
	// EndlessBody and EndlessHeader reply without an end, until the caller closes the connection.
	EndlessBody   bool `json:"endlessBody,omitempty"`
	EndlessHeader bool `json:"endlessHeader,omitempty"`
	// Reply replaces the correct reply.
	Reply `json:",inline"`
}

// Reply is the reply of a provider.
type Reply struct {
	Code int `json:"code,omitempty"`
	// Body is sent unchanged if it is a string, and as JSON otherwise. nil means no body.
	Body any `json:"body,omitempty"`
	// Header holds further header fields, in addition to Content-Type.
	Header map[string]string `json:"header,omitempty"`
}

// Script adds faults for the next calls about one object, in order.
func (s *Simulator) Script(provider, id string, faults ...Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults[key{provider, id}] = append(s.faults[key{provider, id}], faults...)
}

// ClearFaults drops all faults that were added.
func (s *Simulator) ClearFaults() {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.faults)
}

// next consumes and returns the fault of the current call, if there is one.
func (s *Simulator) next(at key, operation string) *Fault {
	for i := range s.faults[at] {
		fault := s.faults[at][i]
		if fault.Operation != "" && fault.Operation != operation {
			continue
		}
		switch {
		case fault.Times > 1:
			s.faults[at][i].Times--
		case fault.Times >= 0:
			s.faults[at] = append(s.faults[at][:i:i], s.faults[at][i+1:]...)
		}
		return &fault
	}
	return nil
}

func (s *Simulator) serve(w http.ResponseWriter, r *http.Request, provider, operation string, speaks dialect) {
	body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return
	}
	if !s.delay(r.Context()) {
		return
	}
	id := r.PathValue("id")
	if operation == List {
		id = r.URL.RawQuery
	}
	reply, fault := s.answer(r, body, key{provider, r.PathValue("id")}, operation, speaks)
	call := Call{Provider: provider, Operation: operation, ID: id, Code: reply.Code}
	if fault == nil {
		s.record(call)
		reply.send(w)
		return
	}
	call.Code = fault.Code
	s.record(call)
	s.strike(w, r, fault)
}

// delay waits for the provider's latency. It reports false if the caller has canceled the request.
func (s *Simulator) delay(ctx context.Context) bool {
	s.mu.Lock()
	latency := s.latency
	s.mu.Unlock()
	if latency == 0 {
		return true
	}
	select {
	case <-time.After(latency):
		return true
	case <-ctx.Done():
		return false
	}
}

// strike applies a fault instead of replying.
func (s *Simulator) strike(w http.ResponseWriter, r *http.Request, fault *Fault) {
	switch {
	case fault.Hang:
		select {
		case <-r.Context().Done():
		case <-s.closed:
		}
	case fault.Drop:
		panic(http.ErrAbortHandler)
	case fault.Huge:
		_, _ = io.WriteString(w, strings.Repeat("x", 2<<20))
	case fault.EndlessBody:
		endless(w, `{"data":"`, strings.Repeat("x", 32<<10))
	case fault.EndlessHeader:
		if connection, _, err := http.NewResponseController(w).Hijack(); err == nil {
			defer connection.Close()
			endless(connection, "HTTP/1.1 200 OK\r\n", "X-More: "+strings.Repeat("x", 1<<10)+"\r\n")
		}
	default:
		fault.send(w)
	}
}

// endless writes until the reader closes the connection.
func endless(to io.Writer, first, again string) {
	_, err := io.WriteString(to, first)
	for err == nil {
		_, err = io.WriteString(to, again)
	}
}

// answer returns the reply and changes the books, unless a fault prevents that.
func (s *Simulator) answer(r *http.Request, body []byte, at key, operation string, speaks dialect) (Reply, *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outages[at.provider] {
		return Reply{Code: http.StatusServiceUnavailable}, nil
	}
	fault := s.next(at, operation)
	if fault != nil && !fault.Effect {
		return Reply{}, fault
	}
	if refusal := speaks.refuse(r, body, s.keys[at.provider]); refusal != nil {
		return *refusal, fault
	}
	if lists, ok := speaks.(lister); ok && operation == List {
		return lists.list(s.listed(at.provider), r), fault
	}
	object := s.objects[at]
	switch {
	case object == nil:
		return speaks.unknown(operation, at.id), fault
	case operation == Expire:
		return speaks.expire(object, time.Now()), fault
	default:
		return speaks.show(object.shown(), r), fault
	}
}

func (r Reply) send(w http.ResponseWriter) {
	for name, value := range r.Header {
		w.Header().Set(name, value)
	}
	if r.Body == nil {
		w.WriteHeader(r.Code)
		return
	}
	if text, ok := r.Body.(string); ok {
		w.WriteHeader(r.Code)
		_, _ = io.WriteString(w, text)
		return
	}
	if w.Header().Get("Content-Type") == "" {
		w.Header().Set("Content-Type", "application/json")
	}
	w.WriteHeader(r.Code)
	_ = json.NewEncoder(w).Encode(r.Body)
}

// bearer returns the token of the Authorization header, or "".
func bearer(r *http.Request) string {
	token, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	if !ok {
		return ""
	}
	return token
}

func timestamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
