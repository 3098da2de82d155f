// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"flag"
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/go-logr/logr"
	"pgregory.net/rapid"
	ctrl "sigs.k8s.io/controller-runtime"
)

// TestMain draws the same few histories in each run of the tests, unless the flags say otherwise. make simulate draws
// new ones.
func TestMain(m *testing.M) {
	flag.Parse()
	chosen := map[string]bool{}
	flag.Visit(func(f *flag.Flag) { chosen[f.Name] = true })
	for name, value := range map[string]string{"rapid.seed": "1", "rapid.checks": "25"} {
		if !chosen["rapid.seed"] && !chosen[name] {
			_ = flag.Set(name, value)
		}
	}
	// With one processor a seed gives almost always the same order of events. More of them gain nothing in a bubble.
	runtime.GOMAXPROCS(1)
	ctrl.SetLogger(logr.Discard())
	os.Exit(m.Run())
}

// TestHistories draws histories and checks them.
func TestHistories(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		drawn := drawPlan(rt)
		var ran *world
		synctest.Test(t, func(*testing.T) { ran = drawn.run() })
		if len(ran.findings) > 0 {
			rt.Fatalf("%d findings\n%s", len(ran.findings), strings.Join(ran.story, "\n"))
		}
	})
}
