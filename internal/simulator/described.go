// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulator

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Described is a provider that is served from examples of its replies.
type Described struct {
	Name string
	// Routes are the calls of the API as patterns of http.ServeMux with {id}, by operation.
	Routes map[string]string
	// Keys are the credentials that it accepts, by their name in the class.
	Keys map[string]string
	// TokenPaths are the paths that hand out tokens; none for a provider without OAuth2. A call needs a token then.
	TokenPaths []string
	// SessionID is the id in the replies.
	SessionID string
	// Rejected is the reply to wrong credentials.
	Rejected Reply
	// Unknown are the replies about a session that is not in the books, by operation.
	Unknown map[string]Reply
	// Expired is the reply to a call that expires a session, and Refused to one that cannot.
	Expired, Refused Reply
	// Shown are the replies to a read.
	Shown map[State]Reply
	// List is how sessions are listed; nil for a provider that has no list.
	List *DescribedList
}

// Describe adds a provider that is served from examples. Add all of them before Handler.
func (s *Simulator) Describe(described *Described) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.described[described.Name] = described
	s.keys[described.Name] = described.Keys
	s.tokens[described.Name] = map[string]bool{}
}

// EndTokens ends all tokens of a provider before their time.
func (s *Simulator) EndTokens(provider string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	clear(s.tokens[provider])
}

// withTokens serves the token endpoint of a provider, and its API only to calls with a token.
func (s *Simulator) withTokens(described *Described, api http.Handler) http.Handler {
	if len(described.TokenPaths) == 0 {
		return api
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodPost && slices.Contains(described.TokenPaths, r.URL.Path) {
			reply := s.token(described, r)
			s.record(Call{Provider: described.Name, Operation: Token, Code: reply.Code})
			reply.send(w)
			return
		}
		_, token, _ := strings.Cut(r.Header.Get("Authorization"), " ")
		s.mu.Lock()
		accepted := s.tokens[described.Name][token]
		s.mu.Unlock()
		if !accepted {
			described.Rejected.send(w)
			return
		}
		api.ServeHTTP(w, r)
	})
}

// token answers a token request.
func (s *Simulator) token(described *Described, r *http.Request) Reply {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := r.ParseForm(); err != nil || !described.accepts(r, s.keys[described.Name]) {
		return Reply{Code: http.StatusUnauthorized, Body: map[string]any{"error": "invalid_client"}}
	}
	token := fmt.Sprintf("simulated-token-%s-%d", described.Name, time.Now().UnixNano())
	s.tokens[described.Name][token] = true
	return Reply{Code: http.StatusOK, Body: map[string]any{
		"access_token": token, "token_type": "Bearer", "expires_in": 3600,
	}}
}

func (d *Described) routes() map[string]string { return d.Routes }

func (d *Described) refuse(r *http.Request, _ []byte, keys map[string]string) *Reply {
	if len(d.TokenPaths) > 0 || d.accepts(r, keys) {
		return nil
	}
	return &d.Rejected
}

// accepts reports whether a request has all credentials somewhere: in a header, in the query or in a form.
func (*Described) accepts(r *http.Request, keys map[string]string) bool {
	sent := []string{r.URL.RawQuery, r.PostForm.Encode()}
	for _, values := range r.Header {
		sent = append(sent, values...)
	}
	if user, password, ok := r.BasicAuth(); ok {
		sent = append(sent, user, password)
	}
	for _, value := range keys {
		if !slices.ContainsFunc(sent, func(text string) bool { return strings.Contains(text, value) }) {
			return false
		}
	}
	return true
}

func (d *Described) unknown(operation, id string) Reply { return d.about(d.Unknown[operation], id) }

func (d *Described) expire(object *Object, now time.Time) Reply {
	if object.State != Open {
		return d.about(d.Refused, object.ID)
	}
	object.State, object.endedAt = Expired, now
	return d.about(d.Expired, object.ID)
}

func (d *Described) show(object *Object, _ *http.Request) Reply {
	reply := d.about(d.Shown[object.State], object.ID)
	if d.List != nil {
		reply.Body = d.body(object)
	}
	return reply
}

// about returns a reply about a session, whose id takes the place of the one in the examples.
func (d *Described) about(reply Reply, id string) Reply {
	if text, ok := reply.Body.(string); ok {
		reply.Body = strings.ReplaceAll(text, d.SessionID, id)
	}
	return reply
}
