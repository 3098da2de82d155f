// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package httpx

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestTLS calls servers with certificates and TLS versions that are and are not accepted.
func TestTLS(t *testing.T) {
	cases := map[string]struct {
		reason  string
		newest  uint16
		trusted bool
		want    string
	}{
		"Untrusted": {"a certificate of an unknown authority", tls.VersionTLS13, false, "certificate is not trusted"},
		"Outdated":  {"a server that supports at most TLS 1.1", tls.VersionTLS11, true, "the connection failed"},
		"TLS12":     {"a server that supports at most TLS 1.2", tls.VersionTLS12, true, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
			server.TLS = &tls.Config{MinVersion: tls.VersionTLS10, MaxVersion: tc.newest}
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.StartTLS()
			t.Cleanup(server.Close)
			client := New(Options{AllowPrivate: true, MaxConnections: 1, Timeout: testTimeout})
			t.Cleanup(client.Close)
			if tc.trusted {
				client.transport.TLSClientConfig.RootCAs = server.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs
			}
			request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL, http.NoBody)
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Do(t.Context(), request)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s: error %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// TestTargetIsCheckedBehindAProxy sets a proxy with a loopback address. The address of the proxy may be private, as is
// usual, and the one of the target may not.
func TestTargetIsCheckedBehindAProxy(t *testing.T) {
	var mu sync.Mutex
	var requests []string
	proxy := serve(t, func(w http.ResponseWriter, r *http.Request) {
		mu.Lock()
		defer mu.Unlock()
		requests = append(requests, r.Method+" "+r.Host)
		w.WriteHeader(http.StatusBadGateway)
	})
	t.Setenv("HTTPS_PROXY", proxy)
	t.Setenv("NO_PROXY", "")
	for _, target := range []string{
		"https://1.1.1.1", "https://10.0.0.1", "https://169.254.169.254", "https://[fd00:ec2::254]", "https://2130706433",
	} {
		if _, err := get(t, Options{}, target); err == nil || strings.Contains(err.Error(), canary) {
			t.Errorf("%s: error %v, want one without the credential", target, err)
		}
	}
	mu.Lock()
	defer mu.Unlock()
	if !slices.Equal(requests, []string{"CONNECT 1.1.1.1:443"}) {
		t.Errorf("the proxy received %q, want only the request for the public address", requests)
	}
}

// TestNoCookieIsKept makes two calls to a server that sets a cookie.
func TestNoCookieIsKept(t *testing.T) {
	url := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if cookie := r.Header.Get("Cookie"); cookie != "" {
			t.Errorf("the client sends the cookie %s, want none", cookie)
		}
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "1"})
	})
	client := New(Options{AllowPrivate: true, MaxConnections: 1, Timeout: testTimeout})
	t.Cleanup(client.Close)
	for range 2 {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := client.Do(t.Context(), request); err != nil {
			t.Fatal(err)
		}
	}
}
