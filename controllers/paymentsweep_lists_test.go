// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// spoiler stands between the operator and Omise, and spoils the pages of its list.
type spoiler struct {
	api http.Handler

	mu    sync.Mutex
	spoil spoiling
}

// spoiling answers a request of a page, by its number, in place of the provider, or returns false. page answers as the
// provider does, to a request that may have been changed.
type spoiling func(w http.ResponseWriter, r *http.Request, number int, page func(*http.Request) string) bool

func (s *spoiler) set(spoil spoiling) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spoil = spoil
}

func (s *spoiler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	spoil := s.spoil
	s.mu.Unlock()
	offset, _ := strconv.Atoi(r.URL.Query().Get("offset"))
	page := func(r *http.Request) string {
		recorded := httptest.NewRecorder()
		s.api.ServeHTTP(recorded, r)
		return recorded.Body.String()
	}
	isList := r.Method == http.MethodGet && r.URL.Path == "/omise/charges"
	if isList && spoil != nil && spoil(w, r, offset/100, page) {
		return
	}
	s.api.ServeHTTP(w, r)
}

// TestSweepOfBadLists tears a namespace down while the provider's list is wrong in some way. Nothing is expired and
// nothing is released until it is right again, and nothing foreign ever. The namespace owns what is on the seventh
// page.
func TestSweepOfBadLists(t *testing.T) {
	t.Parallel()
	id := regexp.MustCompile(`"id":"chrg_[^"]+"`)
	always := func(code int, body string) spoiling {
		return func(w http.ResponseWriter, _ *http.Request, _ int, _ func(*http.Request) string) bool {
			w.WriteHeader(code)
			_, _ = w.Write([]byte(body))
			return true
		}
	}
	rewritten := func(change func(body string) string) spoiling {
		return func(w http.ResponseWriter, r *http.Request, _ int, page func(*http.Request) string) bool {
			_, _ = w.Write([]byte(change(page(r))))
			return true
		}
	}
	for _, tc := range []struct {
		because string
		spoil   spoiling
		reason  string
	}{
		{
			"it shows the first page for ever",
			func(w http.ResponseWriter, r *http.Request, _ int, page func(*http.Request) string) bool {
				query := r.URL.Query()
				query.Set("offset", "0")
				r.URL.RawQuery = query.Encode()
				_, _ = w.Write([]byte(page(r)))
				return true
			}, v1alpha1.ReasonUnexpectedResponse,
		},
		{
			"its items have no id", rewritten(func(body string) string {
				return id.ReplaceAllString(body, `"name":"x"`)
			}), v1alpha1.ReasonUnexpectedResponse,
		},
		{
			"its items have ids that are none of the class", rewritten(func(body string) string {
				return strings.ReplaceAll(body, `"id":"chrg_`, `"id":"../chrg_`)
			}), v1alpha1.ReasonUnexpectedResponse,
		},
		{
			"its pages are too large to be read", rewritten(func(body string) string {
				return body + strings.Repeat(" ", 40<<20)
			}), v1alpha1.ReasonUnexpectedResponse,
		},
		{
			"it breaks on the seventh page",
			func(w http.ResponseWriter, _ *http.Request, number int, _ func(*http.Request) string) bool {
				if number < 6 {
					return false
				}
				w.WriteHeader(http.StatusInternalServerError)
				return true
			}, v1alpha1.ReasonProviderUnavailable,
		},
		{
			"the key may not list", always(http.StatusForbidden, `{"object":"error","code":"forbidden","message":"no"}`),
			v1alpha1.ReasonNotAllowed,
		},
		{"it is a page for people", always(http.StatusOK, "<html>"), v1alpha1.ReasonUnexpectedResponse},
	} {
		t.Run(tc.because, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, inCluster)
			own, foreign, list, sweep := w.listedBadly(t)
			list.set(tc.spoil)
			w.tearDown(t, sweep)
			await.Until(t, w, sweep, "its deletion waits: "+tc.reason, func(s *v1alpha1.PaymentSweep) bool {
				ready := apimeta.FindStatusCondition(s.Status.Conditions, v1alpha1.ConditionReady)
				return !s.DeletionTimestamp.IsZero() && ready.Reason == tc.reason && strings.Contains(ready.Message, "Retain")
			})
			w.assertStates(t, "omise", simulator.Open, own...)
			list.set(nil)
			w.change(t, sweep, `{"metadata":{"annotations":{"`+v1alpha1.ReconcileAtAnnotation+`":"now"}}}`)
			await.Gone(t, w, sweep)
			w.assertStates(t, "omise", simulator.Expired, own...)
			w.assertStates(t, "omise", simulator.Open, foreign...)
		})
	}
}

// TestSweepOfAListThatMoves tears a namespace down while new sessions shift the pages, and come late.
func TestSweepOfAListThatMoves(t *testing.T) {
	t.Parallel()
	w := newWorld(t, inCluster)
	own, foreign, list, sweep := w.listedBadly(t)
	var mu sync.Mutex
	list.set(func(_ http.ResponseWriter, _ *http.Request, number int, _ func(*http.Request) string) bool {
		mu.Lock()
		defer mu.Unlock()
		if len(own) < 9 && number > 0 {
			own = append(own, w.open("omise", w.own(), 3)...)
			foreign = append(foreign, w.open("omise", "us/another", 3)...)
		}
		return false
	})
	w.upstreams.SetListLag(50 * time.Millisecond)
	w.tearDown(t, sweep)
	await.Gone(t, w, sweep)
	mu.Lock()
	defer mu.Unlock()
	w.assertStates(t, "omise", simulator.Expired, own...)
	w.assertStates(t, "omise", simulator.Open, foreign...)
}

// listedBadly makes a sweep of an account whose list can be spoiled, and waits for its first pass.
func (w *world) listedBadly(t *testing.T) (own, foreign []string, list *spoiler, sweep *v1alpha1.PaymentSweep) {
	t.Helper()
	list = &spoiler{api: w.upstreams.Handler()}
	server := httptest.NewServer(list)
	t.Cleanup(server.Close)
	w.provide(t, "omise", gen.Swept("omise"), w.quickly(t, "omise"), gen.RateLimit(10000, time.Second),
		gen.Endpoint(server.URL+"/omise"))
	own = w.open("omise", w.own(), 3)
	foreign = w.open("omise", "us/"+w.namespace, 650)
	sweep = gen.Sweep(w.namespace, "omise", "omise")
	w.create(t, sweep)
	await.Reason(t, w, sweep, v1alpha1.ReasonPlanned)
	return own, foreign, list, sweep
}
