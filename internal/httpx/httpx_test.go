// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

const (
	canary = "canary-key-1f7d"
	// testTimeout is for calls that must not time out.
	testTimeout = time.Minute
)

// get makes a call whose URL and header contain the canary.
func get(t *testing.T, options Options, url string) (*Reply, error) {
	t.Helper()
	if options.Timeout == 0 {
		options.Timeout = testTimeout
	}
	client := New(options)
	t.Cleanup(client.Close)
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url+"?apiKey="+canary, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+canary)
	return client.Do(t.Context(), request)
}

func serve(t *testing.T, handler http.HandlerFunc) string {
	t.Helper()
	server := httptest.NewServer(handler)
	t.Cleanup(server.Close)
	return server.URL
}

func TestErrorsNeverContainTheCredential(t *testing.T) {
	dropped := serve(t, func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) })
	huge := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte(strings.Repeat("x", MaxBodyBytes+1)))
	})
	wide := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Wide", strings.Repeat("x", 2*MaxHeaderBytes))
	})
	hanging := serve(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	cases := map[string]struct {
		reason  string
		url     string
		options Options
		want    string
	}{
		"Dropped": {"a connection that is closed early", dropped, Options{AllowPrivate: true}, "closed before the reply"},
		"Huge":    {"a body over the limit", huge, Options{AllowPrivate: true}, "larger than 1 MiB"},
		"Wide":    {"a header over the limit", wide, Options{AllowPrivate: true}, "header is larger"},
		"Hanging": {
			"a server that never answers", hanging, Options{AllowPrivate: true, Timeout: time.Millisecond}, "within the timeout",
		},
		"Refused":    {"a port on which nothing listens", "http://127.0.0.1:1", Options{AllowPrivate: true}, "refused"},
		"PlainHTTP":  {"plain HTTP without the flag", dropped, Options{}, "only https"},
		"PrivateTLS": {"a loopback address without the flag", "https://127.0.0.1:1", Options{}, "--allow-private-endpoints"},
		"MappedTLS": {
			"an IPv4-mapped loopback address", "https://[::ffff:127.0.0.1]:1", Options{}, "--allow-private-endpoints",
		},
		"NameTLS": {
			"a name that resolves to a loopback address", "https://localhost:1", Options{}, "--allow-private-endpoints",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			_, err := get(t, tc.options, tc.url)
			if err == nil {
				t.Fatalf("%s: no error, want one", tc.reason)
			}
			if strings.Contains(err.Error(), canary) {
				t.Errorf("%s: the error contains the credential: %v", tc.reason, err)
			}
			if !strings.Contains(err.Error(), tc.want) {
				t.Errorf("%s: the error %q does not say %q", tc.reason, err, tc.want)
			}
		})
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	target := serve(t, func(http.ResponseWriter, *http.Request) { t.Error("the redirect was followed") })
	source := serve(t, func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, target, http.StatusTemporaryRedirect)
	})
	reply, err := get(t, Options{AllowPrivate: true}, source)
	if err != nil {
		t.Fatal(err)
	}
	if reply.Code != http.StatusTemporaryRedirect {
		t.Errorf("code %d, want %d", reply.Code, http.StatusTemporaryRedirect)
	}
}

// TestSwitchingProtocolsIsClosed calls a server that switches to another protocol and then sends nothing. The client
// must close the connection, because no timeout ends it.
func TestSwitchingProtocolsIsClosed(t *testing.T) {
	closed := make(chan error, 1)
	url := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		connection, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			closed <- err
			return
		}
		defer connection.Close()
		_, _ = buffered.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: other\r\n\r\n")
		_ = buffered.Flush()
		_, err = buffered.ReadByte()
		closed <- err
	})
	reply, err := get(t, Options{AllowPrivate: true}, url)
	if err != nil || reply.Code != http.StatusSwitchingProtocols || len(reply.Body) > 0 {
		t.Errorf("reply %+v, error %v; want a reply with the code 101 and no body", reply, err)
	}
	if err := <-closed; !errors.Is(err, io.EOF) {
		t.Errorf("the server reads the error %v, want EOF because the client has closed the connection", err)
	}
}

func TestConnectionsAreReused(t *testing.T) {
	connections := 0
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write([]byte("{}"))
	}))
	server.Config.ConnContext = func(ctx context.Context, _ net.Conn) context.Context { connections++; return ctx }
	server.Start()
	t.Cleanup(server.Close)
	client := New(Options{AllowPrivate: true, MaxConnections: 4, Timeout: time.Minute})
	t.Cleanup(client.Close)
	for range 10 {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodPost, server.URL, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Do(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
	if connections != 1 {
		t.Errorf("10 consecutive calls used %d connections, want 1", connections)
	}
}
