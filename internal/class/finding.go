// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"cmp"
	"fmt"
	"slices"
)

// Level is how bad a finding is.
type Level string

// The levels. An error keeps the class from becoming Ready, or the file from being applied. A warning is about what is
// admitted and most likely wrong.
const (
	Error   Level = "error"
	Warning Level = "warning"
)

// Finding is something wrong in a file, for the person who writes it.
type Finding struct {
	File string `json:"file"`
	// Line and Column in the file, from 1 on.
	Line   int   `json:"line"`
	Column int   `json:"column"`
	Level  Level `json:"level"`
	// Field of the class, such as spec.outcomes[2].when; empty for a finding about the whole file.
	Field string `json:"field,omitempty"`
	// Problem says what is wrong, and Fix what to do; empty where the problem says it.
	Problem string `json:"problem"`
	Fix     string `json:"fix,omitempty"`
}

// String returns the finding as compilers print theirs, so that editors find the place.
func (f Finding) String() string {
	text := fmt.Sprintf("%s:%d:%d: %s: ", f.File, f.Line, f.Column, f.Level)
	if f.Field != "" {
		text += f.Field + ": "
	}
	text += f.Problem
	if f.Fix != "" {
		text += "; " + f.Fix
	}
	return text
}

// sortFindings orders findings as they stand in the file.
func sortFindings(findings []Finding) {
	slices.SortStableFunc(findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
}

// HasErrors reports whether a finding is an error.
func HasErrors(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(finding Finding) bool { return finding.Level == Error })
}
