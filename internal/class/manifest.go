// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

const kind = "PaymentProviderClass"

// manifest is a class in a file, with the places of its fields.
type manifest struct {
	file string
	// lines are those of the file.
	lines []string
	root  *yaml.Node
	// values is the document as the API server gets it.
	values map[string]any
}

// parse returns the classes of a file. Documents of other kinds are skipped.
func parse(file string, text []byte) ([]*manifest, []Finding) {
	var manifests []*manifest
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	for {
		var document yaml.Node
		err := decoder.Decode(&document)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, []Finding{syntaxError(file, text, err)}
		}
		if len(document.Content) == 0 {
			continue
		}
		read := &manifest{file: file, lines: strings.Split(string(text), "\n"), root: document.Content[0]}
		if err := read.root.Decode(&read.values); err != nil {
			return nil, []Finding{syntaxError(file, text, err)}
		}
		if read.values["kind"] == kind && read.values["apiVersion"] == v1alpha1.GroupVersion.String() {
			manifests = append(manifests, read)
		}
	}
	if len(manifests) == 0 {
		return nil, []Finding{{
			File: file, Line: 1, Column: 1, Level: Error, Problem: "the file has no " + kind,
			Fix: fmt.Sprintf("it needs apiVersion: %s and kind: %s", v1alpha1.GroupVersion, kind),
		}}
	}
	return manifests, nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:unmarshal errors:\s+)?line ([0-9]+): (.*)`)

// syntaxError returns a finding for a text that is no YAML.
func syntaxError(file string, text []byte, err error) Finding {
	found := Finding{File: file, Line: 1, Column: 1, Level: Error, Problem: err.Error()}
	match := yamlLine.FindStringSubmatch(strings.ReplaceAll(err.Error(), "\n", " "))
	if match == nil {
		return found
	}
	found.Line, _ = strconv.Atoi(match[1])
	found.Problem = match[2]
	if !strings.Contains(found.Problem, "mapping values are not allowed") {
		return found
	}
	found.Problem = "YAML takes the \": \" in this value for the end of a key"
	found.Fix = "put the expression in quotes, or on lines of its own after >-"
	// The parser names the line in which it gave up, which may be the one after.
	lines := strings.Split(string(text), "\n")
	for line := found.Line; line > 0 && line >= found.Line-1; line-- {
		if line <= len(lines) && strings.Count(lines[line-1], ": ") > 1 {
			found.Line, found.Column = line, strings.LastIndex(lines[line-1], ": ")+1
			break
		}
	}
	return found
}

var pathPart = regexp.MustCompile(`([^.\[\]]+)|\[([^\]]*)\]`)

// node returns the node of a field such as spec.outcomes[2].when. Where the file does not have the field it is the
// nearest one around it, and exact is false.
func (m *manifest) node(field string) (at *yaml.Node, exact bool) {
	at = m.root
	for _, part := range pathPart.FindAllStringSubmatch(field, -1) {
		next := child(at, part[1]+strings.Trim(part[2], `"`))
		if next == nil {
			return at, false
		}
		at = next
	}
	return at, true
}

// child returns the value of a key, or an item of a list; nil where there is none.
func child(of *yaml.Node, name string) *yaml.Node {
	switch of.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(of.Content); i += 2 {
			if of.Content[i].Value == name {
				return of.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if index, err := strconv.Atoi(name); err == nil && index < len(of.Content) {
			return of.Content[index]
		}
	}
	return nil
}

// finding returns a finding about a field.
func (m *manifest) finding(level Level, field, problem, fix string) Finding {
	at, _ := m.node(field)
	return Finding{
		File: m.file, Line: at.Line, Column: at.Column, Level: level, Field: field, Problem: problem, Fix: fix,
	}
}

// within moves a finding to a line and a column of the text of its field.
func (m *manifest) within(found Finding, line, column int) Finding {
	at, exact := m.node(found.Field)
	if !exact || at.Kind != yaml.ScalarNode || line < 1 {
		return found
	}
	found.Line, found.Column = m.position(at, line, column)
	return found
}

// position returns where a line and a column of a scalar's value stand in the file.
func (m *manifest) position(at *yaml.Node, line, column int) (int, int) {
	switch at.Style {
	case yaml.LiteralStyle:
		start := at.Line + line
		return start, m.indent(start) + column
	case yaml.FoldedStyle:
		return m.unfold(at.Line+1, m.indent(at.Line+1), column)
	case yaml.DoubleQuotedStyle, yaml.SingleQuotedStyle:
		return m.unfold(at.Line, at.Column, column)
	default:
		return m.unfold(at.Line, at.Column-1, column)
	}
}

// unfold returns where a column of a folded text stands, whose first line begins after start characters. Each further
// line takes the place of one blank.
func (m *manifest) unfold(line, start, column int) (int, int) {
	for line <= len(m.lines) {
		length := len(strings.TrimRight(m.lines[line-1], " \r")) - start
		if column <= length+1 || line == len(m.lines) {
			return line, start + column
		}
		column -= length + 1
		line++
		start = m.indent(line)
	}
	return line, start + column
}

// indent returns the number of blanks that a line begins with.
func (m *manifest) indent(line int) int {
	if line < 1 || line > len(m.lines) {
		return 0
	}
	return len(m.lines[line-1]) - len(strings.TrimLeft(m.lines[line-1], " "))
}
