// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

// FromOpenAPI returns the examples of replies that an OpenAPI document (version 3, as YAML or JSON) has for the two
// calls of a class. What each should mean is what it means to the class: it has to be read before it is believed.
func FromOpenAPI(c *Class, text []byte) ([]byte, error) {
	var decoded map[any]any
	if err := yaml.Unmarshal(text, &decoded); err != nil {
		return nil, fmt.Errorf("the OpenAPI document is no YAML or JSON: %w", err)
	}
	document := openAPI{withTextKeys(decoded).(map[string]any)} //nolint:forcetypeassert // A map stays one.
	var missing []string
	made := Examples{SessionID: c.sampleID()}
	for _, request := range c.requests() {
		operation := document.operation(request.Method, c.Spec.Environments[0].BaseURL, request.Path)
		if operation == nil {
			missing = append(missing, request.Method+" "+request.Path)
		}
		for _, reply := range document.replies(operation) {
			example := Example{Name: string(request.operation) + ": " + reply.name, Operation: request.operation, Reply: reply.Reply}
			id := made.SessionID
			result, trace := c.Definition.Interpret(example.Operation, id, nil, example.Reply.received(), time.Now())
			if trace.About != "" && c.Definition.ValidSessionID(trace.About) {
				// The document has an id of its own.
				example.SessionID, id = trace.About, trace.About
				result, _ = c.Definition.Interpret(example.Operation, id, nil, example.Reply.received(), time.Now())
			}
			example.Want = Want{
				Outcome: result.Outcome, State: result.State, Unexpirable: result.Unexpirable,
				StillPayable: result.StillPayable != "",
			}
			made.Examples = append(made.Examples, example)
		}
	}
	switch {
	case len(missing) == len(c.requests()):
		return nil, fmt.Errorf("the OpenAPI document has no %s", strings.Join(missing, " and no "))
	case len(made.Examples) == 0:
		return nil, errors.New("the OpenAPI document has the calls, and no examples of their replies")
	}
	return yaml.Marshal(made)
}

// openAPI is a document. Its parts are maps, because only few of them matter here.
type openAPI struct{ root map[string]any }

// withTextKeys returns a value whose keys are texts: YAML takes the key 200 for a number.
func withTextKeys(value any) any {
	switch value := value.(type) {
	case map[any]any:
		texts := make(map[string]any, len(value))
		for key := range value {
			texts[fmt.Sprint(key)] = withTextKeys(value[key])
		}
		return texts
	case map[string]any:
		for key := range value {
			value[key] = withTextKeys(value[key])
		}
	case []any:
		for i := range value {
			value[i] = withTextKeys(value[i])
		}
	}
	return value
}

// shownReply is an example of a reply, and its name in the document.
type shownReply struct {
	Reply

	name string
}

var parameter = regexp.MustCompile(`\{[^}]*\}`)

// operation returns the operation that a call of a class makes; nil for none. The document's servers may have a part of
// the path, or the class's base URL may.
func (o openAPI) operation(method, baseURL, path string) map[string]any {
	base, err := url.Parse(baseURL)
	if err != nil {
		return nil
	}
	wanted := parameter.ReplaceAllString(base.Path+path, "{}")
	paths := o.at(o.root, "paths")
	for _, candidate := range slices.Sorted(maps.Keys(paths)) {
		shown := parameter.ReplaceAllString(candidate, "{}")
		if strings.HasSuffix(wanted, shown) || strings.HasSuffix(shown, parameter.ReplaceAllString(path, "{}")) {
			if found := o.at(o.at(paths, candidate), strings.ToLower(method)); found != nil {
				return found
			}
		}
	}
	return nil
}

// replies returns the examples of an operation's replies, by code.
func (o openAPI) replies(operation map[string]any) []shownReply {
	var found []shownReply
	responses := o.at(operation, "responses")
	for _, word := range slices.Sorted(maps.Keys(responses)) {
		code, err := strconv.Atoi(word)
		if err != nil {
			continue // "default" and "4XX" are no codes.
		}
		response := o.at(responses, word)
		content := o.at(response, "content")
		description, _ := response["description"].(string)
		name := strings.TrimSpace(word + " " + cmp.Or(strings.Join(strings.Fields(description), " "), http.StatusText(code)))
		if len(content) == 0 {
			found = append(found, shownReply{Reply{Code: code}, name})
		}
		for _, media := range slices.Sorted(maps.Keys(content)) {
			for title, body := range o.bodies(o.at(content, media)) {
				found = append(found, shownReply{Reply{Code: code, Body: body}, strings.TrimSpace(name + " " + title)})
			}
		}
	}
	slices.SortStableFunc(found, func(a, b shownReply) int { return cmp.Compare(a.name, b.name) })
	return found
}

// bodies returns the examples of one media type by their names.
func (o openAPI) bodies(media map[string]any) map[string]any {
	found := map[string]any{}
	for title := range o.at(media, "examples") {
		if value := o.at(o.at(media, "examples"), title)["value"]; value != nil {
			found[title] = value
		}
	}
	for _, of := range []map[string]any{media, o.at(media, "schema")} {
		if example := of["example"]; example != nil && len(found) == 0 {
			found[""] = example
		}
	}
	return found
}

// at returns a part of the document, where it is a map. It follows references within the document.
func (o openAPI) at(of map[string]any, name string) map[string]any {
	part, _ := of[name].(map[string]any)
	const most = 16
	for range most {
		reference, isReference := part["$ref"].(string)
		if !isReference {
			break
		}
		part = o.root
		for step := range strings.SplitSeq(strings.TrimPrefix(reference, "#/"), "/") {
			step = strings.NewReplacer("~1", "/", "~0", "~").Replace(step)
			part, _ = part[step].(map[string]any)
		}
	}
	return part
}
