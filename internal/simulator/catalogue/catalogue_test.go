// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package catalogue_test

import (
	"net/http/httptest"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/internal/simulator/catalogue"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// connected returns a provider of the catalogue, served from its examples, and an endpoint that calls it through the
// door, with the right credentials.
func connected(t *testing.T, path string) (*simulator.Simulator, *simulator.Described, *upstream.Endpoint) {
	t.Helper()
	described, err := catalogue.Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	upstreams := simulator.New()
	upstreams.Describe(described)
	server := httptest.NewServer(upstreams.Handler())
	t.Cleanup(server.Close)
	t.Cleanup(upstreams.Close)
	definition, err := upstream.Compile(&gen.ClassFile(path).Spec)
	if err != nil {
		t.Fatal(err)
	}
	base, err := definition.BaseURL("", server.URL+"/"+described.Name)
	if err != nil {
		t.Fatal(err)
	}
	data := map[string][]byte{}
	for name, value := range described.Keys {
		data[name] = []byte(value)
	}
	credentials, err := definition.Credentials(data)
	if err != nil {
		t.Fatal(err)
	}
	door := httpx.New(httpx.Options{AllowPrivate: true, MaxConnections: 16, Timeout: time.Minute})
	t.Cleanup(door.Close)
	return upstreams, described, &upstream.Endpoint{
		Definition: definition, BaseURL: base, TokenURL: definition.TokenURL("", server.URL, base), Credentials: credentials,
		Door: door,
	}
}

// TestEveryProviderOfTheCatalogue expires a session of each provider: it is active, then it is expired, then the call
// is refused or repeated without harm. A paid session stays paid. Wrong credentials are rejected.
func TestEveryProviderOfTheCatalogue(t *testing.T) {
	const expire, observe = v1alpha1.OperationExpire, v1alpha1.OperationObserve
	for _, path := range gen.Catalogue() {
		t.Run(filepath.Base(filepath.Dir(path)), func(t *testing.T) {
			upstreams, described, endpoint := connected(t, path)
			read := func(want v1alpha1.SessionState) {
				t.Helper()
				result := endpoint.Call(t.Context(), observe, described.SessionID)
				if result.State != want || result.Outcome != v1alpha1.OutcomeAccepted {
					t.Errorf("a read is %s, state %q (%s), want %s", result.Outcome, result.State, result.Message, want)
				}
			}
			upstreams.Add(simulator.Object{Provider: described.Name, ID: described.SessionID, State: simulator.Open})
			read(v1alpha1.SessionStateActive)
			if result := endpoint.Call(t.Context(), expire, described.SessionID); result.Outcome != v1alpha1.OutcomeAccepted {
				t.Errorf("the call to expire is %s (%s)", result.Outcome, result.Message)
			}
			read(v1alpha1.SessionStateExpired)
			again := endpoint.Call(t.Context(), expire, described.SessionID)
			if again.Outcome != v1alpha1.OutcomeAccepted && again.Outcome != v1alpha1.OutcomeRefused {
				t.Errorf("the second call to expire is %s (%s)", again.Outcome, again.Message)
			}
			read(v1alpha1.SessionStateExpired)
			upstreams.Add(simulator.Object{Provider: described.Name, ID: described.SessionID, State: simulator.Paid})
			if result := endpoint.Call(t.Context(), expire, described.SessionID); result.State == v1alpha1.SessionStateExpired &&
				described.Refused.Code >= 400 {
				t.Errorf("a paid session is %s after the call", result.State)
			}
			read(v1alpha1.SessionStateCompleted)
			for name := range endpoint.Credentials {
				endpoint.Credentials[name] = "nonsense"
			}
			upstreams.EndTokens(described.Name)
			rejected := endpoint.Call(t.Context(), observe, described.SessionID)
			if rejected.Outcome != v1alpha1.OutcomeCredentialsRejected {
				t.Errorf("with wrong credentials a read is %s (%s)", rejected.Outcome, rejected.Message)
			}
			for _, call := range upstreams.Calls() {
				if call.Operation == simulator.Stray {
					t.Errorf("a call that the API does not have: %s", call.ID)
				}
			}
		})
	}
}

// TestListsOfTheCatalogue lists more sessions than fit into a page, with their states and owners.
func TestListsOfTheCatalogue(t *testing.T) {
	count := 0
	for _, path := range gen.Catalogue() {
		upstreams, described, endpoint := connected(t, path)
		if described.List == nil {
			continue
		}
		count++
		t.Run(described.Name, func(t *testing.T) {
			rule, err := upstream.CompileOwnership(v1alpha1.Ownership{Owner: gen.Marks(described.Name)})
			if err != nil {
				t.Fatal(err)
			}
			endpoint.Ownership = rule
			want := map[string]upstream.Listed{}
			for i := range 230 {
				object := simulator.Object{
					Provider: described.Name, ID: gen.Numbered(described.SessionID, i), State: simulator.Open, Owner: "eu/shop",
				}
				listed := upstream.Listed{ID: object.ID, State: v1alpha1.SessionStateActive, Owner: "eu/shop", ShowsOwner: true}
				if i%7 == 0 {
					object.State, object.Owner = simulator.Expired, ""
					listed.State, listed.Owner = v1alpha1.SessionStateExpired, ""
				}
				upstreams.Add(object)
				want[object.ID] = listed
			}
			listing, last := endpoint.List(time.Now().Add(-time.Hour), time.Now()), upstream.Page{}
			got := map[string]upstream.Listed{}
			for range 10 {
				last = listing.Next(t.Context())
				for _, session := range last.Sessions {
					session.Status, session.CreatedAt = "", time.Time{}
					got[session.ID] = session
				}
				if last.Last || last.Outcome != v1alpha1.OutcomeAccepted {
					break
				}
			}
			if !last.Last {
				t.Errorf("the last page is %s: %s", last.Outcome, last.Message)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if count != 5 {
		t.Errorf("%d classes of the catalogue have a list, want 5", count)
	}
}

// TestOneTokenForManySessions reads a thousand sessions of a provider with OAuth2, and ends the token in between.
func TestOneTokenForManySessions(t *testing.T) {
	for _, name := range []string{"paypal", "phonepe"} {
		path := filepath.Join(gen.Root(), "config", "classes", "catalogue", name, name+".yaml")
		upstreams, described, endpoint := connected(t, path)
		upstreams.Add(simulator.Object{Provider: name, ID: described.SessionID, State: simulator.Open})
		readAll := func() {
			var calls sync.WaitGroup
			for range 1000 {
				calls.Go(func() {
					result := endpoint.Call(t.Context(), v1alpha1.OperationObserve, described.SessionID)
					if result.State != v1alpha1.SessionStateActive {
						t.Errorf("%s: a read is %s (%s)", name, result.Outcome, result.Message)
					}
				})
			}
			calls.Wait()
		}
		requests := func() int {
			count := 0
			for _, call := range upstreams.Calls() {
				if call.Operation == simulator.Token {
					count++
				}
			}
			return count
		}
		readAll()
		if count := requests(); count != 1 {
			t.Errorf("%s: %d token requests for 1000 sessions, want 1", name, count)
		}
		upstreams.EndTokens(name)
		readAll()
		if count := requests(); count != 2 {
			t.Errorf("%s: %d token requests after the token has ended once, want 2", name, count)
		}
	}
}
