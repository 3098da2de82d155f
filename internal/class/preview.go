// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// Preview returns the requests as they would be sent about a session, and for the first page of a list if the class
// has one, without the values of credentials. An empty id stands for one that matches the class's pattern.
func (c *Class) Preview(ctx context.Context, id string) (string, error) {
	id = cmp.Or(id, c.sampleID())
	base, _, err := c.addresses()
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, operation := range operations {
		request, err := c.Definition.Preview(ctx, operation, base, id)
		if err != nil {
			return "", err
		}
		if err := writeRequest(&text, operation, request); err != nil {
			return "", err
		}
	}
	if !c.Definition.Lists() {
		return text.String(), nil
	}
	request, err := c.Definition.PreviewList(ctx, base, previewedSince, previewedSince.Add(listedFor))
	if err != nil {
		return "", err
	}
	err = writeRequest(&text, operationList, request)
	return text.String(), err
}

// addresses returns the base URL and the token URL of the default environment, or else of the first one.
func (c *Class) addresses() (base, token *url.URL, err error) {
	endpoint := ""
	if len(c.Spec.Environments) == 0 {
		endpoint = "https://api.example.com"
	}
	name := ""
	for _, environment := range c.Spec.Environments {
		if name == "" || environment.Default {
			name = environment.Name
		}
	}
	base, err = c.Definition.BaseURL(name, endpoint)
	if err != nil {
		return nil, nil, err
	}
	return base, c.Definition.TokenURL(name, endpoint, base), nil
}

// previewedSince is when the list of a preview begins: the same one each time.
var previewedSince = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)

// writeRequest writes a request for people.
func writeRequest(text *strings.Builder, operation v1alpha1.Operation, request *http.Request) error {
	body, err := io.ReadAll(request.Body)
	if err != nil {
		return err
	}
	fmt.Fprintf(text, "# %s\n%s %s\n", operation, request.Method, request.URL)
	for _, header := range slices.Sorted(maps.Keys(request.Header)) {
		fmt.Fprintf(text, "%s: %s\n", header, headerText(request, header))
	}
	if len(body) > 0 {
		fmt.Fprintf(text, "\n%s\n", body)
	}
	text.WriteString("\n")
	return nil
}

// headerText returns the value of a header for people: HTTP Basic encodes what it sends.
func headerText(request *http.Request, name string) string {
	if user, password, ok := request.BasicAuth(); ok && name == "Authorization" {
		return fmt.Sprintf("Basic base64(%s:%s)", user, password)
	}
	return request.Header.Get(name)
}

// sampleID returns an id that matches the class's pattern and that a PaymentSession can have, where there is one.
func (c *Class) sampleID() string {
	schema, err := sessionSchema()
	ids, patternErr := samples(c.Spec.SessionID.Pattern)
	if err != nil || patternErr != nil {
		return ""
	}
	admitted := schema.structural.Properties["spec"].Properties["sessionID"].ValueValidation
	for _, id := range ids {
		if fits(id, admitted) && c.Definition.ValidSessionID(id) {
			return id
		}
	}
	return ""
}
