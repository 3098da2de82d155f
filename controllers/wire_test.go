// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// wire is the connection between a manager and the API server. It can pause the watches of sessions, so that the
// manager's cache becomes stale, and forbid patches.
type wire struct {
	mu      sync.Mutex
	resumed *sync.Cond
	paused  bool
	// liveReads counts the requests that read one session without the cache.
	liveReads int
	// forbidden is a part of the paths whose patches are forbidden; empty for none.
	forbidden string
	// refused counts the patches that were forbidden.
	refused int
}

func newWire() *wire {
	made := &wire{}
	made.resumed = sync.NewCond(&made.mu)
	return made
}

// pause withholds the watch events of sessions from the manager until resume is called.
func (w *wire) pause() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused, w.liveReads = true, 0
}

// resume delivers the watch events that were withheld.
func (w *wire) resume() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.paused = false
	w.resumed.Broadcast()
}

// reads returns how often the manager has read a session live since the last pause.
func (w *wire) reads() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.liveReads
}

// forbid forbids all patches of objects that have the given string in their path. The empty string allows all again.
func (w *wire) forbid(path string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.forbidden = path
}

// forbids reports whether a request is forbidden, and counts it.
func (w *wire) forbids(request *http.Request) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.forbidden == "" || request.Method != http.MethodPatch || !strings.Contains(request.URL.Path, w.forbidden) {
		return false
	}
	w.refused++
	return true
}

// refusals returns how many patches were forbidden so far.
func (w *wire) refusals() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.refused
}

func (w *wire) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		if request.URL.Query().Get("watch") != "" {
			response, err := next.RoundTrip(request)
			if err == nil && strings.HasSuffix(request.URL.Path, "/paymentsessions") {
				response.Body = &watchBody{wire: w, ReadCloser: response.Body}
			}
			return response, err
		}
		if w.forbids(request) {
			return failure(request, metav1.Status{Code: http.StatusForbidden, Reason: metav1.StatusReasonForbidden})
		}
		w.count(request)
		return next.RoundTrip(request)
	})
}

// count counts live reads.
func (w *wire) count(request *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if request.Method == http.MethodGet && strings.Contains(request.URL.Path, "/paymentsessions/") {
		w.liveReads++
	}
}

// failure returns the response of the API server to a request that fails.
func failure(request *http.Request, status metav1.Status) (*http.Response, error) {
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	status.Status, status.Message = metav1.StatusFailure, "injected by the test"
	body, err := json.Marshal(status)
	return &http.Response{
		StatusCode: int(status.Code), Status: http.StatusText(int(status.Code)), Request: request,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(bytes.NewReader(body)),
	}, err
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(request *http.Request) (*http.Response, error) { return f(request) }

// watchBody is the stream of a watch, which the wire can pause.
type watchBody struct {
	io.ReadCloser
	wire   *wire
	closed bool
}

func (b *watchBody) Read(into []byte) (int, error) {
	n, err := b.ReadCloser.Read(into)
	b.wire.mu.Lock()
	defer b.wire.mu.Unlock()
	for b.wire.paused && !b.closed {
		b.wire.resumed.Wait()
	}
	return n, err
}

func (b *watchBody) Close() error {
	b.wire.mu.Lock()
	b.closed = true
	b.wire.resumed.Broadcast()
	b.wire.mu.Unlock()
	return b.ReadCloser.Close()
}
