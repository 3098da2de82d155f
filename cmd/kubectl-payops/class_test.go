// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/payops-dev/payment-session-operator/test/gen"
)

// run runs the command, and returns what it prints.
func run(t *testing.T, arguments ...string) (printed string, err error) {
	t.Helper()
	streams, _, out, _ := genericiooptions.NewTestIOStreams()
	command := newCommand(streams)
	command.SetArgs(arguments)
	err = command.ExecuteContext(t.Context())
	return out.String(), err
}

// TestEveryFileIsChecked checks a folder with one file for each mistake. No file may hide what is wrong in those after
// it.
func TestEveryFileIsChecked(t *testing.T) {
	folder := filepath.Join(gen.Root(), "internal", "class", "testdata", "wrong")
	paths, err := filepath.Glob(filepath.Join(folder, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no files in %s: %v", folder, err)
	}
	printed, err := run(t, "class", "check", folder)
	if err == nil {
		t.Error("the command succeeds; want a failure")
	}
	for _, path := range paths {
		if !strings.Contains(printed, path+":") {
			t.Errorf("nothing is said of %s", filepath.Base(path))
		}
	}
}

// TestEveryClassIsTested tests a folder in which the first class has no examples.
func TestEveryClassIsTested(t *testing.T) {
	folder := t.TempDir()
	shipped := filepath.Join(gen.Root(), "config", "classes")
	for to, from := range map[string]string{
		"a.yaml": "circle.yaml", "omise.yaml": "omise.yaml", "omise.examples.yaml": "omise.examples.yaml",
	} {
		text, err := os.ReadFile(filepath.Clean(filepath.Join(shipped, from)))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(folder, to), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	printed, err := run(t, "class", "test", folder)
	if err == nil || !strings.Contains(err.Error(), "a.yaml has no examples") {
		t.Errorf("got the error %v; want one that says that a.yaml has no examples", err)
	}
	if !strings.Contains(printed, "omise: ok") {
		t.Errorf("got %q; want the report of omise", printed)
	}
}

// TestIDThatIsNotValid is a mistake of the command line, and not of the class.
func TestIDThatIsNotValid(t *testing.T) {
	path := filepath.Join(gen.Root(), "config", "classes", "omise.yaml")
	printed, err := run(t, "class", "check", "--id", "ch_1", path)
	if err == nil || !strings.Contains(printed, "no request can be shown") {
		t.Errorf("got %v, printed %q; want a failure that says that no request can be shown", err, printed)
	}
}
