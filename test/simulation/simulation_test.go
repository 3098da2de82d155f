// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-logr/logr"
	"pgregory.net/rapid"
	ctrl "sigs.k8s.io/controller-runtime"
)

var (
	replayed = flag.String("history", "", "Replay the history of this file, instead of all known ones.")
	kept     = flag.String("keep", "", "Write a history that fails into this file.")
)

// TestMain draws the same few histories in each run of the tests, unless the flags say otherwise. make simulate draws
// new ones.
func TestMain(m *testing.M) {
	flag.Parse()
	for name := range strings.SplitSeq(*only, ",") {
		if _, known := actions[name]; *only != "" && !known {
			fmt.Fprintf(os.Stderr, "-only: there is no action %q\n", name)
			os.Exit(2)
		}
	}
	chosen := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { chosen[f.Name] = true })
	for name, value := range map[string]string{"rapid.seed": "1", "rapid.checks": "25"} {
		if !chosen["rapid.seed"] && !chosen[name] {
			_ = flag.Set(name, value)
		}
	}
	// Histories are kept as plans, which stay the same when the weights of actions change. rapid's own files do not.
	_ = flag.Set("rapid.nofailfile", "true")
	// With one processor a seed gives almost always the same order of events. More of them gain nothing in a bubble.
	runtime.GOMAXPROCS(1)
	// A history needs little memory. Collecting it less often draws more histories in the same time.
	debug.SetGCPercent(500)
	ctrl.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

// TestHistories draws histories and checks them.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		drawn := drawPlan(rt)
		if ran := run(t, drawn); len(ran.findings) > 0 {
			text, _ := json.Marshal(drawn)
			if *kept != "" {
				_ = os.WriteFile(*kept, text, 0o600)
			}
			rt.Fatalf("%d findings\n%s\n%s", len(ran.findings), strings.Join(ran.story, "\n"), text)
		}
	})
}

// TestKnownHistories replays the histories that have ever found a defect.
func TestKnownHistories(t *testing.T) {
	files := []string{*replayed}
	if *replayed == "" {
		files, _ = filepath.Glob(filepath.Join("testdata", "*.json"))
	}
	if len(files) == 0 {
		t.Fatal("there are no known histories in testdata")
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			var known plan
			if err := json.Unmarshal(text, &known); err != nil {
				t.Fatal(err)
			}
			ran := run(t, known)
			if *replayed != "" || len(ran.findings) > 0 {
				t.Logf("%d findings\n%s", len(ran.findings), strings.Join(ran.story, "\n"))
			}
			if len(ran.findings) > 0 {
				t.Fail()
			}
		})
	}
}

// run runs a history in a bubble.
func run(t *testing.T, drawn plan) (ran *world) {
	t.Helper()
	synctest.Test(t, func(*testing.T) { ran = drawn.run() })
	return ran
}
