// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/payops-dev/payment-session-operator/internal/upstream"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// read returns the class of a file, which has one that compiles.
func read(t *testing.T, path string) *Class {
	t.Helper()
	class, err := Load(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	return class
}

// compiled returns the class with its present spec compiled.
func (c *Class) compiled() (*Class, error) {
	definition, err := upstream.Compile(&c.Spec)
	return &Class{Name: c.Name, Spec: c.Spec, Definition: definition, manifest: c.manifest}, err
}

// shipped returns the files of all classes that ship, those of the catalogue too.
func shipped(t *testing.T) []string {
	t.Helper()
	var paths []string
	for _, pattern := range []string{"*.yaml", "catalogue/*/*.yaml"} {
		found, err := filepath.Glob(filepath.Join(gen.Root(), "config", "classes", pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			if name := filepath.Base(path); name != "kustomization.yaml" && !strings.HasSuffix(name, ".examples.yaml") {
				paths = append(paths, path)
			}
		}
	}
	return paths
}

// TestShippedClasses tests each class that ships with its examples: every word, rule and override is reached, and no
// stock probe proves anything.
func TestShippedClasses(t *testing.T) {
	paths := shipped(t)
	if want := len(gen.Providers) + len(gen.Catalogue()); len(paths) != want {
		t.Errorf("%d classes, want %d", len(paths), want)
	}
	for _, path := range paths {
		report, findings, err := Test(t.Context(), read(t, path), ExamplesPath(path))
		if err != nil || report == nil {
			t.Errorf("%s: %v %v", path, findings, err)
			continue
		}
		for _, row := range append(report.Rows, report.Proving...) {
			for _, difference := range row.Differences {
				t.Errorf("%s: %s: %s %v", report.Class, row.Name, difference, row.Failed)
			}
		}
		if len(report.Uncovered) > 0 {
			t.Errorf("%s: no example reaches %v", report.Class, report.Uncovered)
		}
	}
}

const fifthExamples = `sessionID: INV-1042
examples:
- name: an open invoice is voided
  operation: expire
  reply: {code: 200, body: {invoice: {number: INV-1042, state: VOID, voidedAt: "2026-01-01T00:00:00Z"}}}
  want: {outcome: Accepted, state: expired, word: VOID, expiredAt: "2026-01-01T00:00:00Z"}
- name: open
  operation: observe
  reply: {code: 200, body: {invoice: {number: INV-1042, state: OPEN}}}
  want: {outcome: Accepted, state: active}
`

// tested tests the class of testdata/fifth.yaml, with a change, with examples.
func tested(t *testing.T, change func(text string) string, examples string) (*Report, []Finding) {
	t.Helper()
	folder := t.TempDir()
	text, err := os.ReadFile("testdata/fifth.yaml")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(folder, "fifth.yaml")
	for name, content := range map[string]string{path: change(string(text)), ExamplesPath(path): examples} {
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	report, findings, err := Test(t.Context(), read(t, path), ExamplesPath(path))
	if err != nil {
		t.Fatal(err)
	}
	return report, findings
}

func as(text string) string { return text }

// replacing returns a change of a text.
func replacing(before, after string) func(string) string {
	return func(text string) string { return strings.Replace(text, before, after, 1) }
}

func TestReport(t *testing.T) {
	cases := []struct {
		reason   string
		change   func(string) string
		examples string
		// fails is part of a difference; empty where all pass.
		fails string
		// uncovered is a field that no example reaches.
		uncovered string
	}{
		{"all pass, and one word and two rules are not reached", as, fifthExamples, "", "spec.state.words.SETTLED"},
		{"another outcome", as, strings.Replace(fifthExamples, "outcome: Accepted, state: active", "outcome: Refused", 1),
			"outcome is Accepted (no message), want Refused", "spec.outcomes[0].when"},
		{"another state", as, strings.Replace(fifthExamples, "state: active", "state: expired", 1),
			"state is active, want expired", ""},
		{"another word", as, strings.Replace(fifthExamples, "word: VOID", "word: OPEN", 1), "word is VOID, want OPEN", ""},
		{"another time", as, strings.Replace(fifthExamples, `expiredAt: "2026-01-01`, `expiredAt: "2026-01-02`, 1),
			"expiredAt is", ""},
		{"a path that does not exist proves something", replacing("body.fault.code == 'NO_SUCH_INVOICE'", "code == 404"),
			fifthExamples, "nothing for observe proves NotFound", ""},
		{"an unknown word proves something",
			replacing("status: body.invoice.state", "overrides: [{when: status != 'OPEN', state: expired}]\n    status: body.invoice.state"),
			fifthExamples, "an unknown word in \"open\" for observe proves Accepted expired", ""},
		{"an empty object proves something",
			replacing("status: body.invoice.state", "status: \"has(body.invoice) ? body.invoice.state : 'VOID'\""), fifthExamples,
			"an empty object with 200 for observe proves Accepted expired", ""},
		{"inReply finds no id", replacing("inReply: body.invoice.number", "inReply: body.invoice.id"), fifthExamples, "",
			"spec.sessionID.inReply"},
	}
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			report, findings := tested(t, tc.change, tc.examples)
			if report == nil {
				t.Fatalf("the examples are wrong: %v", findings)
			}
			var differences []string
			for _, row := range append(report.Rows, report.Proving...) {
				differences = append(differences, row.Differences...)
			}
			if tc.fails == "" && report.Failed() > 0 || tc.fails != "" && report.Failed() == 0 ||
				!strings.Contains(strings.Join(differences, "\n"), tc.fails) {
				t.Errorf("differences %q, want %q", differences, tc.fails)
			}
			if !strings.Contains(strings.Join(report.Uncovered, "\n"), tc.uncovered) {
				t.Errorf("uncovered %q, want %q in it", report.Uncovered, tc.uncovered)
			}
		})
	}
}

// TestWrongExamples has files of examples that are wrong.
func TestWrongExamples(t *testing.T) {
	cases := []struct {
		reason   string
		examples string
		want     string
	}{
		{"an unknown operation", strings.Replace(fifthExamples, "operation: expire", "operation: cancel", 1),
			`:4:14: error: examples[0].operation: "cancel" is no operation; it is one of expire, observe`},
		{"an unknown state", strings.Replace(fifthExamples, "state: active", "state: open", 1),
			`:10:36: error: examples[1].want.state: "open" is no state; it is one of active, processing, expired, completed, failed`},
		{"an unknown outcome", strings.Replace(fifthExamples, "outcome: Accepted", "outcome: OK", 1),
			`:6:19: error: examples[0].want.outcome: "OK" is no outcome; it is one of Accepted, Refused,`},
		{"a file that does not exist", strings.Replace(fifthExamples, "body: {invoice: {number: INV-1042, state: OPEN}}", "file: open.json", 1),
			":9:28: error: examples[1].reply.file: cannot read open.json"},
		{"a file elsewhere", strings.Replace(fifthExamples, "body: {invoice: {number: INV-1042, state: OPEN}}", "file: ../open.json", 1),
			"must be beside the examples"},
		{"two bodies", strings.Replace(fifthExamples, "body: {invoice: {number: INV-1042, state: OPEN}}", "body: {}, text: x", 1),
			"a reply has one of body, text and file"},
		{"an id that the class would not send", strings.Replace(fifthExamples, "sessionID: INV-1042", "sessionID: 1042", 1),
			`:1:12: error: sessionID: "1042" is no invoice number: the class's pattern is INV-[0-9]{4}`},
		{"a text for a number", strings.Replace(fifthExamples, "code: 200", `code: "ok"`, 1),
			":5:18: error: ok is a text, and must be a number"},
		{"a word for a map", strings.Replace(fifthExamples, "want: {outcome: Accepted, state: active}", "want: NotFound", 1),
			":10:9: error: NotFound is a text, and must be a map of fields, such as {outcome: Accepted}"},
		{"no HTTP status", strings.Replace(fifthExamples, "code: 200", "code: 20", 1), "20 is no HTTP status"},
		{"an unknown field", strings.Replace(fifthExamples, "want: {outcome", "wants: {outcome", 1),
			`:6:3: error: there is no field "wants" here; the fields are name, source, operation, sessionID, reply, want`},
		{"no name", strings.Replace(fifthExamples, "name: open", "name: an open invoice is voided", 1),
			"each example needs a name of its own"},
		{"no examples", "sessionID: INV-1042\n", "the file has no examples"},
		{"nothing", "", "the file is empty"},
		{"no YAML", "examples:\n- name: a: b\n", "YAML takes the \": \""},
	}
	for _, tc := range cases {
		t.Run(tc.reason, func(t *testing.T) {
			report, findings := tested(t, as, tc.examples)
			if report != nil || len(findings) == 0 || !strings.Contains(findings[0].String(), tc.want) {
				t.Errorf("report %v, findings %v; want %q", report, findings, tc.want)
			}
		})
	}
}
