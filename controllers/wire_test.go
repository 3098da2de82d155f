// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// wire is what lies between a manager and the API server. It can hold the watches of sessions back, so that the manager's cache
// grows stale, and make requests go wrong.
type wire struct {
	mu   sync.Mutex
	free *sync.Cond
	held bool
	// liveReads counts the requests that read one session past the cache.
	liveReads int
	// chance gives the numbers that decide what goes wrong; nil where nothing does.
	chance *rand.Rand
	// refused is a part of the paths whose patches are forbidden; empty for none.
	refused string
	// forbidden counts the patches that were.
	forbidden int
}

func newWire() *wire {
	made := &wire{}
	made.free = sync.NewCond(&made.mu)
	return made
}

// hold keeps what watches of sessions bring from the manager until release.
func (w *wire) hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held, w.liveReads = true, 0
}

func (w *wire) release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = false
	w.free.Broadcast()
}

// reads is how often the manager has read a session live since the last hold.
func (w *wire) reads() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.liveReads
}

// disturb lets three of ten requests go wrong from now on, in the order that a seed gives.
func (w *wire) disturb(seed uint64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.chance = rand.New(rand.NewPCG(seed, seed))
}

// refuse forbids patches of what has that in its path.
func (w *wire) refuse(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.refused = path
}

func (w *wire) forbids(request *http.Request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.refused == "" || request.Method != http.MethodPatch || !strings.Contains(request.URL.Path, w.refused) {
		return false
	}
	w.forbidden++
	return true
}

// refusals is how many patches were forbidden so far.
func (w *wire) refusals() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.forbidden
}

func (w *wire) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		if request.URL.Query().Get("watch") != "" {
			response, err := next.RoundTrip(request)
			if err == nil && strings.HasSuffix(request.URL.Path, "/paymentsessions") {
				response.Body = &heldBody{wire: w, ReadCloser: response.Body}
			}
			return response, err
		}
		if w.forbids(request) {
			return failure(request, metav1.Status{Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden})
		}
		if w.fault(request) {
			return w.wrong(next, request)
		}
		return next.RoundTrip(request)
	})
}

// fault counts live reads and decides whether a request goes wrong.
func (w *wire) fault(request *http.Request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if request.Method == http.MethodGet && strings.Contains(request.URL.Path, "/paymentsessions/") {
		w.liveReads++
	}
	return w.chance != nil && strings.Contains(request.URL.Path, "/namespaces/") && w.chance.IntN(10) < 3
}

var errTimeout = errors.New("the connection was lost")

// wrong answers a request with one of the API server's failures, or loses its answer.
func (w *wire) wrong(next http.RoundTripper, request *http.Request) (*http.Response, error) {
	w.mu.Lock()
	kind := w.chance.IntN(6)
	w.mu.Unlock()
	switch kind {
	case 0:
		return failure(request, metav1.Status{Code: http.StatusConflict, Reason: metav1.StatusReasonConflict})
	case 1:
		return failure(request, metav1.Status{Code: http.StatusTooManyRequests, Reason: metav1.StatusReasonTooManyRequests})
	case 2:
		return failure(request, metav1.Status{Code: http.StatusInternalServerError, Reason: metav1.StatusReasonInternalError})
	case 3:
		return failure(request, metav1.Status{Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden, Details: &metav1.StatusDetails{
			Causes: []metav1.StatusCause{{Type: "NamespaceTerminating"}},
		}})
	case 4:
		return nil, errTimeout
	default:
		// It has its effect, and nobody learns of it.
		response, err := next.RoundTrip(request)
		if err == nil {
			_ = response.Body.Close()
		}
		return nil, errTimeout
	}
}

// failure is the API server's answer to a request that fails.
func failure(request *http.Request, status metav1.Status) (*http.Response, error) {
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	status.Status, status.Message = metav1.StatusFailure, "disturbed by the test"
	body, err := json.Marshal(status)
	return &http.Response{
		StatusCode: int(status.Code), Status: http.StatusText(int(status.Code)), Request: request,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
	}, err
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// heldBody is a watch's stream.
type heldBody struct {
	io.ReadCloser
	wire   *wire
	closed bool
}

func (b *heldBody) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	b.wire.mu.Lock()
	defer b.wire.mu.Unlock()
	for b.wire.held && !b.closed {
		b.wire.free.Wait()
	}
	return n, err
}

func (b *heldBody) Close() error {
	b.wire.mu.Lock()
	b.closed = true
	b.wire.free.Broadcast()
	b.wire.mu.Unlock()
	return b.ReadCloser.Close()
}
