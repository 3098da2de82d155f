// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestListExamples tests the class omise with examples of its list that are wrong.
func TestListExamples(t *testing.T) {
	file := filepath.Join(gen.Root(), "config", "classes", "omise.yaml")
	right, err := os.ReadFile(ExamplesPath(file))
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		reason, before, after string
		// fails is part of a difference or of a finding.
		fails string
	}{
		{"another session", "want: {sessions: {chrg_test_5xuy4w91xqz7d1w9u2t: completed}, last: true}",
			"want: {sessions: {chrg_test_5xuy4w91xqz7d1w9u3t: completed}, last: true}", "sessions are {chrg_test_5xuy4w91xqz7d1w9u2t"},
		{"another state", "1w9u2t: completed}", "1w9u2t: active}", "want {chrg_test_5xuy4w91xqz7d1w9u2t: active}"},
		{"it does not end", "completed}, last: true}", "completed}}", "last is true, want false"},
		{"another parameter", `query: {offset: "2"}`, `query: {offset: "3"}`, `the parameter offset is "2", want "3"`},
		{"another outcome", "outcome: NotAllowed}", "outcome: Throttled}", "outcome is NotAllowed"},
		{"an item that the class cannot read", `"status": "successful", "created_at": "2099-11-21T08`,
			`"status": "novel", "created_at": "2099-11-21T08`, "unreadable is 1, want 0"},
		{"a field that a page does not have", "completed}, last: true}", "completed}, final: true}", `there is no field "final"`},
		{"no pages", "- name: the key may not list\n  pages:\n", "- name: nothing\n- name: the key may not list\n  pages:\n",
			"needs a name and pages"},
	} {
		t.Run(tc.reason, func(t *testing.T) {
			if !strings.Contains(string(right), tc.before) {
				t.Fatalf("the examples have no %q", tc.before)
			}
			path := filepath.Join(t.TempDir(), "omise.examples.yaml")
			text := strings.Replace(string(right), tc.before, tc.after, 1)
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			report, findings, err := Test(t.Context(), read(t, file), path)
			if err != nil {
				t.Fatal(err)
			}
			var found []string
			for _, finding := range findings {
				found = append(found, finding.Problem)
			}
			if report != nil {
				for _, row := range report.Rows {
					found = append(found, row.Differences...)
				}
			}
			if !strings.Contains(strings.Join(found, "\n"), tc.fails) {
				t.Errorf("found %q, want %q", found, tc.fails)
			}
		})
	}
}
