// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package httpx is the only HTTP client of the operator. It bounds times, sizes and connections, refuses to dial
// private addresses, follows no redirects, keeps no cookies and retries nothing.
package httpx

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"

	"golang.org/x/net/http/httpproxy"
)

const (
	// MaxBodyBytes is the limit for the body of a reply.
	MaxBodyBytes = 1 << 20
	// MaxHeaderBytes is the limit for the header of a reply.
	MaxHeaderBytes = 64 << 10

	dialTimeout = 5 * time.Second
	pingAfter   = 15 * time.Second
	idleTimeout = 90 * time.Second
)

// ErrBodyTooLarge reports a reply whose body exceeds MaxBodyBytes.
var ErrBodyTooLarge = errors.New("the reply is larger than 1 MiB")

// UserAgent is sent with every request; main sets its version.
var UserAgent = "payment-session-operator"

// Options of a Client.
type Options struct {
	// AllowPrivate permits plain http and dialling loopback, private and reserved addresses, for tests and demos.
	AllowPrivate bool
	// MaxConnections to a host. As many are kept for reuse.
	MaxConnections int
	// Timeout of a whole call, from the first byte sent to the last byte read.
	Timeout time.Duration
}

// Client sends the requests of one account. It is safe for concurrent use.
type Client struct {
	options   Options
	transport *http.Transport
}

// Reply is a complete reply.
type Reply struct {
	// Code is the HTTP status.
	Code int
	// Header of the reply.
	Header http.Header
	// Body has at most MaxBodyBytes.
	Body []byte
}

// New returns a client. Close it when its account is closed.
func New(options Options) *Client {
	proxies := httpproxy.FromEnvironment()
	proxyFor := proxies.ProxyFunc()
	guard := &dialGuard{allowPrivate: options.AllowPrivate, proxies: proxyAddresses(proxies)}
	return &Client{options: options, transport: &http.Transport{
		DialContext: guard.dial,
		Proxy: func(request *http.Request) (*url.URL, error) {
			proxy, err := proxyFor(request.URL)
			if proxy == nil || err != nil {
				return nil, err
			}
			// The dialer sees only the proxy's address. Check the target here.
			return proxy, guard.checkHost(request.Context(), request.URL.Hostname())
		},
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12},
		TLSHandshakeTimeout:    dialTimeout,
		ResponseHeaderTimeout:  options.Timeout,
		MaxResponseHeaderBytes: MaxHeaderBytes,
		MaxConnsPerHost:        options.MaxConnections,
		MaxIdleConnsPerHost:    options.MaxConnections,
		IdleConnTimeout:        idleTimeout,
		ForceAttemptHTTP2:      true,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter},
	}}
}

// Close closes the connections that are kept for reuse.
func (c *Client) Close() {
	c.transport.CloseIdleConnections()
}

// Do sends one request. A redirect is a reply like any other. An error never contains the URL, whose query may
// contain a credential: Do uses the transport without http.Client, which would wrap every error in a *url.Error.
func (c *Client) Do(ctx context.Context, request *http.Request) (*Reply, error) {
	if request.URL.Scheme != "https" && !c.options.AllowPrivate {
		return nil, fmt.Errorf("refusing to send credentials over %s: only https is allowed", request.URL.Scheme)
	}
	if !c.options.AllowPrivate && disguised(request.URL.Hostname()) {
		return nil, errPrivateAddress
	}
	ctx, cancel := context.WithTimeout(ctx, c.options.Timeout)
	defer cancel()
	request = request.WithContext(ctx)
	request.Header.Set("User-Agent", UserAgent)
	response, err := c.transport.RoundTrip(request)
	if err != nil {
		return nil, explain(err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode == http.StatusSwitchingProtocols {
		// The body of a 101 is the bare connection, which no timeout ends.
		return &Reply{Code: response.StatusCode, Header: response.Header}, nil
	}
	// One byte more than allowed distinguishes a body of exactly the limit from a longer one.
	body, err := io.ReadAll(io.LimitReader(response.Body, MaxBodyBytes+1))
	if err != nil {
		return nil, explain(err)
	}
	if len(body) > MaxBodyBytes {
		return nil, ErrBodyTooLarge
	}
	return &Reply{Code: response.StatusCode, Header: response.Header, Body: body}, nil
}

// explain returns a transport's error in a form that is the same for each attempt: without local ports and addresses.
func explain(err error) error {
	var dns *net.DNSError
	var timeout net.Error
	var certificate *tls.CertificateVerificationError
	switch {
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return fmt.Errorf("no reply within the timeout: %w", context.DeadlineExceeded)
	case errors.Is(err, errPrivateAddress):
		return errPrivateAddress
	case errors.As(err, &dns):
		return errors.New("the host name does not resolve")
	case errors.As(err, &certificate):
		return errors.New("the server's certificate is not trusted")
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), strings.Contains(err.Error(), "connection reset"):
		return errors.New("the connection was closed before the reply was complete")
	case strings.Contains(err.Error(), "connection refused"):
		return errors.New("the connection was refused")
	case strings.Contains(err.Error(), "server response headers exceeded"):
		return errors.New("the reply's header is larger than 64 KiB")
	default:
		return errors.New("the connection failed")
	}
}
