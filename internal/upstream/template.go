// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package upstream

import (
	"encoding/json"
	"fmt"
	"maps"
	"mime"
	"net/url"
	"slices"
	"strings"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

const (
	idPlaceholder = "{id}"

	contentTypeJSON = "application/json"
	contentTypeForm = "application/x-www-form-urlencoded"
)

// ownedByHTTP lists the headers that net/http or the engine sets, or that belong to one connection. A class's own
// value would be lost, sent twice, or break the reply. https://pkg.go.dev/net/http#Request names those that are
// ignored.
var ownedByHTTP = []string{
	"Accept-Encoding", "Connection", "Content-Length", "Cookie", "Expect", "Host", "Http2-Settings", "Keep-Alive",
	"Proxy-Authenticate", "Proxy-Authorization", "Proxy-Connection", "Te", "Trailer", "Transfer-Encoding", "Upgrade",
	"User-Agent",
}

// engine is the writer of the headers that a class may replace.
const engine = "the engine"

// template is the compiled request of one operation.
type template struct {
	v1alpha1.RequestTemplate

	// escape escapes an id for the body.
	escape func(id string) string
}

// compileHeaders checks spec.headers.
func (c *compiler) compileHeaders() {
	c.taken = map[place]string{
		headerPlace("Accept", ""): engine, headerPlace(contentType, ""): engine,
	}
	// A class may replace what the engine writes, and a credential may not.
	own := map[place]string{}
	c.checkHeaders(own, "spec.headers", c.spec.Headers)
	maps.Copy(c.taken, own)
}

// checkHeaders checks the headers of a field, and takes their places.
func (c *compiler) checkHeaders(taken map[place]string, field string, headers []v1alpha1.Header) {
	for i, header := range headers {
		at, field := headerPlace(header.Name, ""), fmt.Sprintf("%s[%d]", field, i)
		switch {
		case at.name == authorization:
			c.reportf(field+".name", "%s cannot be set here: credentials belong in spec.authentication", header.Name)
			continue
		case slices.Contains(ownedByHTTP, at.name):
			c.reportf(field+".name", "%s cannot be set here: it belongs to HTTP itself", header.Name)
			continue
		case (header.Value == "") == (header.Credential == ""):
			c.reportf(field, "exactly one of value and credential must be set")
		case header.Credential != "":
			c.checkCredential(field+".credential", header.Credential, true)
		}
		c.take(taken, at, field)
	}
}

// compileTemplates compiles the requests of both operations.
func (c *compiler) compileTemplates() {
	c.templates = map[v1alpha1.Operation]*template{}
	for _, operation := range []v1alpha1.Operation{v1alpha1.OperationExpire, v1alpha1.OperationObserve} {
		compiled := &template{RequestTemplate: c.spec.Expire}
		if operation == v1alpha1.OperationObserve {
			compiled.RequestTemplate = c.spec.Observe
		}
		c.templates[operation] = compiled
		c.compileTemplate("spec."+string(operation), compiled)
	}
}

func (c *compiler) compileTemplate(field string, compiled *template) {
	taken := maps.Clone(c.taken)
	for _, name := range []string{"Accept", contentType} {
		// A call may replace what the engine writes, and not what the class does.
		if at := headerPlace(name, ""); taken[at] == engine {
			delete(taken, at)
		}
	}
	if compiled.ContentType != "" {
		c.take(taken, headerPlace(contentType, ""), field+".contentType")
	}
	c.checkHeaders(taken, field+".headers", compiled.Headers)
	for i, parameter := range compiled.Query {
		c.take(taken, queryPlace(parameter.Name, ""), fmt.Sprintf("%s.query[%d]", field, i))
	}
	if !c.hasID(compiled) {
		c.reportf(field, "{id} must stand in its path, in the value of a query parameter or of a header, or in its body")
	}
	ofBody := c.contentTypeOf(compiled)
	escape, known := escapeFor(ofBody)
	if !known && strings.Contains(compiled.Body, idPlaceholder) {
		c.reportf(field+".body", "{id} cannot be escaped for content type %s, only for JSON and %s", ofBody, contentTypeForm)
	}
	compiled.escape = escape
}

// contentTypeOf returns the content type of a request's body: its own, or that of a header; empty for none.
func (c *compiler) contentTypeOf(compiled *template) string {
	for _, header := range slices.Concat(c.spec.Headers, compiled.Headers) {
		if compiled.ContentType == "" && strings.EqualFold(header.Name, contentType) {
			return header.Value
		}
	}
	return compiled.ContentType
}

// hasID reports whether a request names its session.
func (c *compiler) hasID(compiled *template) bool {
	texts := []string{compiled.Path, compiled.Body}
	for _, parameter := range compiled.Query {
		texts = append(texts, parameter.Value)
	}
	for _, header := range slices.Concat(c.spec.Headers, compiled.Headers) {
		texts = append(texts, header.Value)
	}
	return slices.ContainsFunc(texts, func(text string) bool { return strings.Contains(text, idPlaceholder) })
}

// escapeFor returns how an id is escaped within a body of a content type; false where that is not known.
func escapeFor(ofBody string) (func(string) string, bool) {
	media, _, err := mime.ParseMediaType(ofBody)
	switch {
	case ofBody == "", err == nil && (media == contentTypeJSON || strings.HasSuffix(media, "+json")):
		return escapeJSON, true
	case media == contentTypeForm:
		return url.QueryEscape, true
	default:
		return nil, false
	}
}

// escapeJSON escapes a text for the inside of a JSON string.
func escapeJSON(text string) string {
	quoted, _ := json.Marshal(text) //nolint:errchkjson // A string can always be encoded.
	return strings.TrimSuffix(strings.TrimPrefix(string(quoted), `"`), `"`)
}

// fill replaces {id} in a text with an escaped id.
func fill(text, escaped string) string { return strings.ReplaceAll(text, idPlaceholder, escaped) }
