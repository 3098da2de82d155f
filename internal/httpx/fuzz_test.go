// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"bufio"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// FuzzWire answers a call with arbitrary bytes instead of HTTP. The reply must be bounded, and an error must contain
// neither the credential nor the bytes.
func FuzzWire(f *testing.F) {
	var answer atomic.Pointer[[]byte]
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hijacker, ok := w.(http.Hijacker)
		if !ok {
			return
		}
		connection, buffered, err := hijacker.Hijack()
		if err != nil {
			return
		}
		respond(connection, buffered, *answer.Load())
	}))
	server.Start()
	f.Cleanup(server.Close)
	client := New(Options{AllowPrivate: true, MaxConnections: 1, Timeout: time.Minute})
	f.Cleanup(client.Close)
	f.Fuzz(func(t *testing.T, wire []byte) {
		answer.Store(&wire)
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL+"/?apiKey="+canary, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		reply, err := client.Do(t.Context(), request)
		if err != nil {
			if text := err.Error(); strings.Contains(text, canary) || len(text) > 100 {
				t.Errorf("the error %q contains the credential or is too long", text)
			}
			return
		}
		if len(reply.Body) > MaxBodyBytes || reply.Code < 0 || reply.Code > 999 {
			t.Errorf("a reply with the code %d and %d bytes is out of bounds", reply.Code, len(reply.Body))
		}
	})
}

// respond sends an answer and closes the connection.
func respond(connection net.Conn, buffered *bufio.ReadWriter, answer []byte) {
	_, _ = buffered.Write(answer)
	_ = buffered.Flush()
	_ = connection.Close()
}
