// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
)

// Examples are replies of a provider and what they mean. docs/writing-a-class.md describes the format.
type Examples struct {
	// SessionID is the id that the replies are about.
	SessionID string `json:"sessionID" yaml:"sessionID"`
	// OtherID is another valid id; by default one that matches the class's pattern.
	OtherID string `json:"otherID,omitempty" yaml:"otherID,omitempty"`
	// Now is the time of the calls; by default the present.
	Now *time.Time `json:"now,omitempty" yaml:"now,omitempty"`
	// Examples in the order in which they are run.
	Examples []Example `json:"examples" yaml:"examples"`
	// Lists are examples of spec.list.
	Lists []ListExample `json:"lists,omitempty" yaml:"lists,omitempty"`
	// AcceptedProbes says why a stock probe proves something, by its name.
	AcceptedProbes map[string]string `json:"acceptedProbes,omitempty" yaml:"acceptedProbes,omitempty"`
}

// Example is one reply and what it means.
type Example struct {
	// Name says what the example shows.
	Name string `json:"name" yaml:"name"`
	// Source is the URL of the page that shows the reply.
	Source string `json:"source,omitempty" yaml:"source,omitempty"`
	// Operation that the reply answers.
	Operation v1alpha1.Operation `json:"operation" yaml:"operation"`
	// SessionID that the call was about; that of the file by default.
	SessionID string `json:"sessionID,omitempty" yaml:"sessionID,omitempty"`
	Reply     Reply  `json:"reply"               yaml:"reply"`
	Want      Want   `json:"want"                yaml:"want"`
}

// Reply is what a provider answers. One of Body, Text and File is its body; none of them is an empty one.
type Reply struct {
	Code    int               `json:"code"              yaml:"code"`
	Headers map[string]string `json:"headers,omitempty" yaml:"headers,omitempty"`
	// Body is sent as JSON.
	Body any    `json:"body,omitempty" yaml:"body,omitempty"`
	Text string `json:"text,omitempty" yaml:"text,omitempty"`
	// File beside the examples that has the body.
	File string `json:"file,omitempty" yaml:"file,omitempty"`
}

// Want is what a reply means. Outcome is required, and so is State with outcome Accepted for observe.
type Want struct {
	Outcome v1alpha1.Outcome `json:"outcome" yaml:"outcome"`
	// State that the reply proves; empty for none.
	State v1alpha1.SessionState `json:"state,omitempty" yaml:"state,omitempty"`
	// Word is the provider's status word. It is compared if it is set.
	Word string `json:"word,omitempty" yaml:"word,omitempty"`
	// Unexpirable is true where a read shows that no call can expire the session.
	Unexpirable bool `json:"unexpirable,omitempty" yaml:"unexpirable,omitempty"`
	// StillPayable is true where something is left that can be paid.
	StillPayable bool `json:"stillPayable,omitempty" yaml:"stillPayable,omitempty"`
	// Tags and Reference are the creator's marks that a read shows. Each is compared if it is set.
	Tags      map[string]string `json:"tags,omitempty"      yaml:"tags,omitempty"`
	Reference string            `json:"reference,omitempty" yaml:"reference,omitempty"`
	// ExpiredAt is compared if it is set.
	ExpiredAt *time.Time `json:"expiredAt,omitempty" yaml:"expiredAt,omitempty"`
	// Message is a part of the message. It is compared if it is set.
	Message string `json:"message,omitempty" yaml:"message,omitempty"`
}

// examplesFile is a file of examples with the places of its fields.
type examplesFile struct {
	Examples
	*manifest
}

// ExamplesPath returns the path of the examples of a class's file.
func ExamplesPath(path string) string {
	return strings.TrimSuffix(strings.TrimSuffix(path, ".yaml"), ".yml") + ".examples.yaml"
}

// ReadExamples reads a file of examples. The findings say what is wrong in it.
func ReadExamples(path string) (*Examples, []Finding, error) {
	file, findings, err := readExamples(path)
	if file == nil {
		return nil, findings, err
	}
	return &file.Examples, findings, err
}

// readExamples reads a file of examples, with the places of its fields.
func readExamples(path string) (*examplesFile, []Finding, error) {
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, nil, err
	}
	var document yaml.Node
	if err := yaml.Unmarshal(text, &document); err != nil {
		return nil, []Finding{syntaxError(path, text, err)}, nil
	}
	if len(document.Content) == 0 {
		return nil, []Finding{{File: path, Line: 1, Column: 1, Level: Error, Problem: "the file is empty"}}, nil
	}
	read := &examplesFile{manifest: &manifest{file: path, lines: strings.Split(string(text), "\n"), root: document.Content[0]}}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	if err := decoder.Decode(&read.Examples); err != nil {
		return nil, read.wrongFields(err), nil
	}
	findings := read.check()
	for i := range read.Examples.Examples {
		findings = append(findings, read.load(i)...)
	}
	return read, findings, nil
}

var (
	unknownField = regexp.MustCompile(`^line ([0-9]+): field (.+) not found in type class\.(\w+)$`)
	wrongType    = regexp.MustCompile("^line ([0-9]+): cannot unmarshal !!(\\w+)(?: `(.*)`)? into (.+)$")
	// kinds are YAML's and Go's types in plain words.
	kinds = map[string]string{
		"str": "a text", "int": "a number", "bool": "true or false", "map": "a map of fields", "seq": "a list",
		"timestamp": "a time", "string": "a text", "time.Time": "a time such as \"2026-01-01T00:00:00Z\"",
		"class.Want": "a map of fields, such as {outcome: Accepted}", "class.Reply": "a map of fields, such as {code: 200}",
		"class.Example": "a map of fields", "[]class.Example": "a list",
		"class.ListExample": "a map of fields", "[]class.ListExample": "a list", "class.PageExample": "a map of fields",
		"[]class.PageExample": "a list", "class.WantPage": "a map of fields",
	}
	// fields are those of each part of the format.
	fields = map[string]reflect.Type{
		"Examples": reflect.TypeFor[Examples](), "Example": reflect.TypeFor[Example](), "Reply": reflect.TypeFor[Reply](),
		"Want": reflect.TypeFor[Want](), "ListExample": reflect.TypeFor[ListExample](),
		"PageExample": reflect.TypeFor[PageExample](), "WantPage": reflect.TypeFor[WantPage](),
	}
)

// wrongFields returns findings for a text that does not fit the format.
func (f *examplesFile) wrongFields(err error) []Finding {
	wrong, ok := errors.AsType[*yaml.TypeError](err)
	if !ok {
		return []Finding{f.finding(Error, "", strings.TrimPrefix(err.Error(), "yaml: "), "")}
	}
	findings := make([]Finding, 0, len(wrong.Errors))
	for _, problem := range wrong.Errors {
		findings = append(findings, f.wrongField(problem))
	}
	return findings
}

func (f *examplesFile) wrongField(problem string) Finding {
	found := Finding{File: f.file, Line: 1, Column: 1, Level: Error, Problem: problem}
	if match := unknownField.FindStringSubmatch(problem); match != nil {
		found.Line, _ = strconv.Atoi(match[1])
		found.Column = max(strings.Index(f.lines[found.Line-1], match[2]+":"), 0) + 1
		found.Problem = fmt.Sprintf("there is no field %q here", match[2])
		var names []string
		for field := range fields[match[3]].Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("yaml"), ",")
			names = append(names, name)
		}
		found.Fix = "the fields are " + strings.Join(names, ", ")
	}
	if match := wrongType.FindStringSubmatch(problem); match != nil {
		found.Line, _ = strconv.Atoi(match[1])
		found.Column = max(strings.Index(f.lines[found.Line-1], match[3]), 0) + 1
		found.Problem = fmt.Sprintf("%s is %s, and must be %s", cmp.Or(match[3], "this"), cmp.Or(kinds[match[2]], match[2]),
			cmp.Or(kinds[match[4]], kinds[strings.TrimPrefix(match[4], "*")], match[4]))
	}
	return found
}

var (
	operations = []v1alpha1.Operation{v1alpha1.OperationExpire, v1alpha1.OperationObserve}
	outcomes   = []v1alpha1.Outcome{
		v1alpha1.OutcomeAccepted, v1alpha1.OutcomeRefused, v1alpha1.OutcomeUnsupported, v1alpha1.OutcomeNotFound,
		v1alpha1.OutcomeCredentialsRejected, v1alpha1.OutcomeNotAllowed, v1alpha1.OutcomeThrottled,
		v1alpha1.OutcomeUnavailable, v1alpha1.OutcomeUnexpectedResponse,
	}
	states = []v1alpha1.SessionState{
		v1alpha1.SessionStateUnknown, v1alpha1.SessionStateActive, v1alpha1.SessionStateProcessing,
		v1alpha1.SessionStateExpired, v1alpha1.SessionStateCompleted, v1alpha1.SessionStateFailed,
	}
)

// check returns what is wrong in the fields.
func (f *examplesFile) check() []Finding {
	var findings []Finding
	if len(f.Examples.Examples) == 0 {
		findings = append(findings, f.finding(Error, "examples", "the file has no examples", "add one for each reply that the provider documents"))
	}
	names := map[string]bool{}
	for i, example := range f.Examples.Examples {
		field := fmt.Sprintf("examples[%d]", i)
		report := func(below, problem string) {
			findings = append(findings, f.finding(Error, field+below, problem, ""))
		}
		if example.Name == "" || names[example.Name] {
			report("", "each example needs a name of its own")
		}
		names[example.Name] = true
		if !slices.Contains(operations, example.Operation) {
			report(".operation", fmt.Sprintf("%q is no operation; it is one of %s", example.Operation, join(operations)))
		}
		if !slices.Contains(outcomes, example.Want.Outcome) {
			report(".want.outcome", fmt.Sprintf("%q is no outcome; it is one of %s", example.Want.Outcome, join(outcomes)))
		}
		if !slices.Contains(states, example.Want.State) {
			report(".want.state", fmt.Sprintf("%q is no state; it is one of %s", example.Want.State, join(states[1:])))
		}
		if example.Reply.Code < 100 || example.Reply.Code > 599 {
			report(".reply.code", fmt.Sprintf("%d is no HTTP status", example.Reply.Code))
		}
	}
	return findings
}

func join[T ~string](words []T) string {
	texts := make([]string, 0, len(words))
	for _, word := range words {
		texts = append(texts, string(word))
	}
	return strings.Join(texts, ", ")
}

// load reads the body of an example from its file.
func (f *examplesFile) load(index int) []Finding {
	reply, field := &f.Examples.Examples[index].Reply, fmt.Sprintf("examples[%d].reply", index)
	bodies := 0
	for _, isSet := range []bool{reply.Body != nil, reply.Text != "", reply.File != ""} {
		if isSet {
			bodies++
		}
	}
	if bodies > 1 {
		return []Finding{f.finding(Error, field, "a reply has one of body, text and file", "")}
	}
	if reply.File == "" {
		return nil
	}
	if !filepath.IsLocal(reply.File) {
		return []Finding{f.finding(Error, field+".file", "the file must be beside the examples or below", "")}
	}
	text, err := os.ReadFile(filepath.Join(filepath.Dir(f.file), reply.File))
	if err != nil {
		return []Finding{f.finding(Error, field+".file", "cannot read "+reply.File, "")}
	}
	reply.Text = string(text)
	return nil
}

// received returns the reply as the engine gets it.
func (r Reply) received() *httpx.Reply {
	received := &httpx.Reply{Code: r.Code, Header: http.Header{}, Body: r.Content()}
	for name, value := range r.Headers {
		received.Header.Set(name, value)
	}
	return received
}

// Content returns the body as it is sent.
func (r Reply) Content() []byte {
	if r.Body == nil {
		return []byte(r.Text)
	}
	text, err := json.Marshal(r.Body)
	if err != nil {
		// YAML admits keys that JSON does not have.
		return []byte(fmt.Sprint(r.Body))
	}
	return text
}
