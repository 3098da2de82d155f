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
	"slices"
	"strings"
)

// Preview returns both requests as they would be sent about a session, without the values of credentials. An empty id
// stands for one that matches the class's pattern.
func (c *Class) Preview(ctx context.Context, id string) (string, error) {
	id = cmp.Or(id, c.sampleID())
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
	base, err := c.Definition.BaseURL(name, endpoint)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, operation := range operations {
		request, err := c.Definition.Preview(ctx, operation, base, id)
		if err != nil {
			return "", err
		}
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return "", err
		}
		fmt.Fprintf(&text, "# %s\n%s %s\n", operation, request.Method, request.URL)
		for _, header := range slices.Sorted(maps.Keys(request.Header)) {
			fmt.Fprintf(&text, "%s: %s\n", header, headerText(request, header))
		}
		if len(body) > 0 {
			fmt.Fprintf(&text, "\n%s\n", body)
		}
		text.WriteString("\n")
	}
	return text.String(), nil
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
