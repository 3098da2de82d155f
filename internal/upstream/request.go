// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// request builds the request of one operation. It refuses an id that does not match the class's pattern, so that
// nothing can bypass the check.
func (e *Endpoint) request(ctx context.Context, operation v1alpha1.Operation, id string, credentials Credentials,
	now time.Time) (*http.Request, error) {
	d := e.Definition
	if !d.ValidSessionID(id) {
		return nil, fmt.Errorf("the session id is not a valid %s", d.spec.SessionID.Name)
	}
	template := d.templates[operation]
	body := fill(template.Body, template.escapeID(id))
	request, err := http.NewRequestWithContext(ctx, template.Method, template.url(e.BaseURL, id).String(),
		strings.NewReader(body))
	if err != nil {
		return nil, fmt.Errorf("cannot build the request to %s the session", operation)
	}
	if body == "" {
		request.Body, request.ContentLength = http.NoBody, 0
	}
	template.setContentType(request)
	if err := e.dress(request, template.Headers, id, credentials, now); err != nil {
		return nil, fmt.Errorf("the request to %s the session: %w", operation, err)
	}
	return request, nil
}

// dress adds the headers of the class and of one call, and the credentials.
func (e *Endpoint) dress(request *http.Request, headers []v1alpha1.Header, id string, credentials Credentials,
	now time.Time) error {
	request.Header.Set("Accept", contentTypeJSON)
	for _, header := range slices.Concat(e.Definition.spec.Headers, headers) {
		setHeader(request, header, id, credentials)
	}
	for _, way := range e.Definition.authentication {
		if err := way.apply(request, credentials, now); err != nil {
			return fmt.Errorf("cannot authenticate: %w", err)
		}
	}
	return nil
}

// url returns the URL of the request about a session.
func (t *template) url(base *url.URL, id string) *url.URL {
	target := *base
	target.Path = base.Path + fill(t.Path, id)
	target.RawPath = base.EscapedPath() + fill(t.Path, url.PathEscape(id))
	query := url.Values{}
	for _, parameter := range t.Query {
		query.Set(parameter.Name, fill(parameter.Value, id))
	}
	target.RawQuery = query.Encode()
	return &target
}

// escapeID escapes an id for the body. A body whose escaping is not known has none.
func (t *template) escapeID(id string) string {
	if t.escape == nil {
		return ""
	}
	return t.escape(id)
}

// setContentType sets the Content-Type. One that the class names is sent with an empty body, too: some servers read the
// parameters of a POST by it, and take an empty one of another type for malformed.
func (t *template) setContentType(request *http.Request) {
	switch {
	case t.ContentType != "":
		request.Header.Set(contentType, t.ContentType)
	case t.Body != "":
		request.Header.Set(contentType, contentTypeJSON)
	}
}

// setHeader sets a header of the class, unless it is an optional credential that the Secret does not have.
func setHeader(request *http.Request, header v1alpha1.Header, id string, credentials Credentials) {
	value := fill(header.Value, id)
	if header.Credential != "" {
		value = string(credentials[header.Credential])
	}
	if value != "" {
		request.Header.Set(header.Name, value)
	}
}

// Preview returns the request of an operation as it would be sent, with the name of each credential in the place of
// its value.
func (d *Definition) Preview(ctx context.Context, operation v1alpha1.Operation, base *url.URL, id string) (
	*http.Request, error) {
	endpoint := &Endpoint{Definition: d, BaseURL: base}
	return endpoint.request(ctx, operation, id, d.NamedCredentials(), time.Time{})
}

// NamedCredentials returns the name of each credential in the place of its value.
func (d *Definition) NamedCredentials() Credentials {
	names := Credentials{accessToken: "<" + accessToken + ">"}
	for name := range d.credentials {
		names[name] = Secret("<" + name + ">")
	}
	return names
}
