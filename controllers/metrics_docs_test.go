// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/payops-dev/payment-session-operator/test/gen"
)

// TestEveryMetricIsDocumented looks for each metric, and each state of an account, in the operations page.
func TestEveryMetricIsDocumented(t *testing.T) {
	read := func(path ...string) string {
		text, err := os.ReadFile(filepath.Join(append([]string{gen.Root()}, path...)...))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	page, found := read("docs", "operations.md"), 0
	for _, metric := range regexp.MustCompile(`"(payops_\w+)"`).FindAllStringSubmatch(read("controllers", "metrics.go"), -1) {
		found++
		if !strings.Contains(page, "`"+metric[1]+"`") {
			t.Errorf("docs/operations.md does not explain %s", metric[1])
		}
	}
	if found < 10 {
		t.Errorf("%d metrics found: this test looks in the wrong place", found)
	}
}
