// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

const idPlaceholder = "{id}"

// request builds the call of one operation. It refuses an id that the class's pattern refuses, so that there is no way
// around the check.
func (d *Definition) request(ctx context.Context, operation v1alpha1.Operation, base *url.URL, id string, credentials Credentials) (*http.Request, error) {
	if !d.ValidSessionID(id) {
		return nil, fmt.Errorf("the session id is not a valid %s", d.spec.SessionID.Name)
	}
	call := d.call(operation)
	target := *base
	target.Path = base.Path + strings.Replace(call.Path, idPlaceholder, id, 1)
	target.RawPath = base.EscapedPath() + strings.Replace(call.Path, idPlaceholder, url.PathEscape(id), 1)

	request, err := http.NewRequestWithContext(ctx, call.Method, target.String(), strings.NewReader(call.Body))
	if err != nil {
		return nil, fmt.Errorf("cannot build the %s call", operation)
	}
	if call.Body == "" {
		request.Body, request.ContentLength = http.NoBody, 0
	} else {
		request.Header.Set("Content-Type", "application/json")
	}
	request.Header.Set("Accept", "application/json")
	for _, header := range d.spec.Headers {
		request.Header.Set(header.Name, header.Value)
	}
	authenticate(request, d.spec.Authentication, credentials)
	return request, nil
}

func authenticate(request *http.Request, ways []v1alpha1.Authentication, credentials Credentials) {
	value := func(name string) string { return string(credentials[name]) }
	for _, way := range ways {
		switch {
		case way.Basic != nil:
			request.SetBasicAuth(value(way.Basic.Username), value(way.Basic.Password))
		case way.Bearer != nil:
			request.Header.Set("Authorization", "Bearer "+value(way.Bearer.Credential))
		case way.Header != nil:
			request.Header.Set(way.Header.Name, value(way.Header.Credential))
		case way.QueryParameter != nil:
			query := request.URL.Query()
			query.Set(way.QueryParameter.Name, value(way.QueryParameter.Credential))
			request.URL.RawQuery = query.Encode()
		}
	}
}
