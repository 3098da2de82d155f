// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

const idPlaceholder = "{id}"

// request builds the request of one operation. It refuses an id that does not match the class's pattern, so that
// nothing can bypass the check.
func (e *Endpoint) request(ctx context.Context, operation v1alpha1.Operation, id string,
	now time.Time) (*http.Request, error) {
	d := e.Definition
	if !d.ValidSessionID(id) {
		return nil, fmt.Errorf("the session id is not a valid %s", d.spec.SessionID.Name)
	}
	template := d.template(operation)
	target := *e.BaseURL
	target.Path = e.BaseURL.Path + strings.Replace(template.Path, idPlaceholder, id, 1)
	target.RawPath = e.BaseURL.EscapedPath() + strings.Replace(template.Path, idPlaceholder, url.PathEscape(id), 1)

	request, err := http.NewRequestWithContext(ctx, template.Method, target.String(), strings.NewReader(template.Body))
	if err != nil {
		return nil, fmt.Errorf("cannot build the request to %s the session", operation)
	}
	if template.Body == "" {
		request.Body, request.ContentLength = http.NoBody, 0
	} else {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Accept", "application/json")
	for _, header := range d.spec.Headers {
		request.Header.Set(header.Name, header.Value)
	}
	for _, way := range d.authentication {
		if err := way.apply(request, e.Credentials, now); err != nil {
			return nil, fmt.Errorf("cannot authenticate the request to %s the session: %w", operation, err)
		}
	}
	return request, nil
}
