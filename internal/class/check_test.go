// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/payops-dev/payment-session-operator/test/gen"
)

// checked checks a file, and returns what is found as it is printed.
func checked(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	_, findings, err := Check(t.Context(), filepath.Base(path), text)
	if err != nil {
		t.Fatal(err)
	}
	var printed strings.Builder
	for _, finding := range findings {
		printed.WriteString(finding.String() + "\n")
	}
	return printed.String()
}

// TestWrongClasses checks a folder of classes that are wrong in one way each. findings.txt has what is printed.
func TestWrongClasses(t *testing.T) {
	files, err := filepath.Glob("testdata/wrong/*.yaml")
	if err != nil || len(files) < 25 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	want, err := os.ReadFile("testdata/wrong/findings.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, file := range files {
		printed := checked(t, file)
		if printed == "" {
			t.Errorf("%s: nothing is found", file)
		}
		all.WriteString(printed)
	}
	if diff := cmp.Diff(string(want), all.String()); diff != "" {
		t.Errorf("the findings have changed (-want +got):\n%s", diff)
	}
}

// TestRightClasses checks the classes that ship, and the one from which the wrong ones are made.
func TestRightClasses(t *testing.T) {
	// Txn documents no reply for an unknown link, and the common JSON:API error is what it most likely sends.
	known := map[string]string{"txn.yaml": "as a server may answer it (JSON:API)"}
	files := []string{"testdata/fifth.yaml"}
	for _, provider := range gen.Providers {
		files = append(files, filepath.Join(gen.Root(), "config", "classes", provider+".yaml"))
	}
	for _, file := range files {
		printed, expected := checked(t, file), known[filepath.Base(file)]
		if strings.Count(printed, "\n") != min(len(expected), 1) || !strings.Contains(printed, expected) {
			t.Errorf("%s:\n%s", file, printed)
		}
	}
}
