// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/call"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// Row is the run of one example or probe.
type Row struct {
	Name      string             `json:"name"`
	Operation v1alpha1.Operation `json:"operation"`
	// Code of the reply, and Counts where the class counts another one.
	Code    int                   `json:"code"`
	Counts  int                   `json:"counts,omitempty"`
	Outcome v1alpha1.Outcome      `json:"outcome"`
	State   v1alpha1.SessionState `json:"state,omitempty"`
	Word    string                `json:"word,omitempty"`
	// Rule is the field of the rule or the override that decided; empty where HTTP did.
	Rule string `json:"rule,omitempty"`
	// Failed names the expressions that failed, and why.
	Failed []string `json:"failed,omitempty"`
	// Differences between what was wanted and what came; none where it passed.
	Differences []string `json:"differences,omitempty"`
}

// Report is the run of a class's examples and of the stock probes.
type Report struct {
	Class string `json:"class"`
	Rows  []Row  `json:"rows"`
	// Probes counts the stock probes, and Proving are those that prove something.
	Probes  int   `json:"probes"`
	Proving []Row `json:"proving,omitempty"`
	// Covered and All count the words, the rules and the overrides. Uncovered names those that no example reaches.
	Covered   map[string]int `json:"covered"`
	All       map[string]int `json:"all"`
	Uncovered []string       `json:"uncovered,omitempty"`
}

// Failed counts the examples that failed and the probes that prove something.
func (r *Report) Failed() int {
	failed := len(r.Proving)
	for _, row := range r.Rows {
		if len(row.Differences) > 0 {
			failed++
		}
	}
	return failed
}

// Summary is the report in one line.
func (r *Report) Summary() string {
	var covered []string
	for _, what := range []string{"words", "rules", "overrides"} {
		if r.All[what] > 0 {
			covered = append(covered, fmt.Sprintf("%d of %d %s", r.Covered[what], r.All[what], what))
		}
	}
	verdict := "ok"
	if failed := r.Failed(); failed > 0 {
		verdict = fmt.Sprintf("%d FAILED", failed)
	}
	return fmt.Sprintf("%s: %s: %d examples, %d probes; reached: %s", r.Class, verdict, len(r.Rows), r.Probes,
		strings.Join(covered, ", "))
}

// Test runs the examples in a file and the stock probes with a class that compiles. The findings say what is wrong in
// the file; the report is nil then.
func Test(ctx context.Context, c *Class, path string) (*Report, []Finding, error) {
	file, findings, err := readExamples(path)
	if err != nil || HasErrors(findings) {
		return nil, findings, err
	}
	findings = append(append(findings, file.checkIDs(c)...), file.checkLists(c)...)
	if HasErrors(findings) {
		return nil, findings, nil
	}
	run := &run{class: c, file: file, now: time.Now(), reached: map[string]bool{}}
	if file.Now != nil {
		run.now = *file.Now
	}
	run.report = &Report{Class: c.Name, Covered: map[string]int{}, All: map[string]int{}}
	for _, example := range file.Examples.Examples {
		run.example(example)
	}
	run.lists(ctx)
	run.probe()
	run.cover()
	return run.report, findings, nil
}

// checkIDs returns the ids that the class would not send.
func (f *examplesFile) checkIDs(of *Class) []Finding {
	var findings []Finding
	check := func(field, id string) {
		if !of.Definition.ValidSessionID(id) {
			findings = append(findings, f.finding(Error, field,
				fmt.Sprintf("%q is no %s: the class's pattern is %s", id, of.Spec.SessionID.Name, of.Spec.SessionID.Pattern), ""))
		}
	}
	check("sessionID", f.SessionID)
	for i, example := range f.Examples.Examples {
		if example.SessionID != "" {
			check(fmt.Sprintf("examples[%d].sessionID", i), example.SessionID)
		}
	}
	return findings
}

// run is the working state of one test.
type run struct {
	class  *Class
	file   *examplesFile
	now    time.Time
	report *Report
	// reached holds the fields of rules, and the words as field spec.state.words.WORD.
	reached map[string]bool
}

func (r *run) example(example Example) {
	id := cmp.Or(example.SessionID, r.file.SessionID)
	row, result, trace := r.ask(example.Name, example.Operation, id, example.Reply)
	for _, field := range []string{trace.Rule, trace.Override, trace.StillPayable} {
		r.reached[field] = true
	}
	if result.Outcome == v1alpha1.OutcomeAccepted {
		r.reached[wordField(trace.Word)] = true
	}
	if result.Outcome == v1alpha1.OutcomeNotFound && trace.Rule == "" {
		r.reached[unknownSession] = true
	}
	if result.Outcome == v1alpha1.OutcomeAccepted && trace.About != "" {
		r.reached[inReply] = true
	}
	if len(trace.Tags) > 0 {
		r.reached[identityTags] = true
	}
	if trace.Reference != "" {
		r.reached[identityReference] = true
	}
	row.Differences = example.Want.differences(result, trace)
	r.report.Rows = append(r.report.Rows, row)
}

// ask interprets one reply.
func (r *run) ask(name string, operation v1alpha1.Operation, id string, reply Reply) (
	Row, call.Result, upstream.Trace) {
	result, trace := r.class.Definition.Interpret(operation, id, nil, reply.received(), r.now)
	row := Row{
		Name: name, Operation: operation, Code: reply.Code, Outcome: result.Outcome, State: result.State, Word: trace.Word,
		Rule: cmp.Or(trace.Override, trace.Rule),
	}
	if row.Rule == "" && result.Outcome == v1alpha1.OutcomeNotFound {
		row.Rule = unknownSession
	}
	if trace.Code != reply.Code {
		row.Counts = trace.Code
	}
	for _, failed := range trace.Failed {
		row.Failed = append(row.Failed, failed.Field+": "+failed.Problem)
	}
	return row, result, trace
}

// Fields of rules that are not in a list.
const (
	unknownSession, inReply         = "spec.unknownSession", "spec.sessionID.inReply"
	identityTags, identityReference = "spec.identity.tags", "spec.identity.reference"
)

func wordField(word string) string { return "spec.state.words." + word }

// differences compares what a reply means with what it should.
func (w Want) differences(result call.Result, trace upstream.Trace) []string {
	var found []string
	compare := func(what string, want, got any) {
		if want != got {
			found = append(found, fmt.Sprintf("%s is %v, want %v", what, got, want))
		}
	}
	if w.Outcome != result.Outcome {
		found = append(found, fmt.Sprintf("outcome is %s (%s), want %s", result.Outcome, cmp.Or(result.Message, "no message"),
			w.Outcome))
	}
	compare("state", cmp.Or(string(w.State), "none"), cmp.Or(string(result.State), "none"))
	compare("unexpirable", w.Unexpirable, result.Unexpirable)
	compare("stillPayable", w.StillPayable, result.StillPayable != "")
	if w.Word != "" {
		compare("word", w.Word, trace.Word)
	}
	if w.Reference != "" {
		compare("reference", w.Reference, trace.Reference)
	}
	for _, name := range slices.Sorted(maps.Keys(w.Tags)) {
		compare("tag "+name, any(w.Tags[name]), trace.Tags[name])
	}
	if w.ExpiredAt != nil && (result.ExpiredAt == nil || !result.ExpiredAt.Equal(*w.ExpiredAt)) {
		found = append(found, fmt.Sprintf("expiredAt is %v, want %v", result.ExpiredAt, w.ExpiredAt))
	}
	if !strings.Contains(result.Message, w.Message) {
		found = append(found, fmt.Sprintf("message is %q, want %q in it", result.Message, w.Message))
	}
	return found
}

// cover compares what the examples have reached with what the class has.
func (r *run) cover() {
	count := func(what, field string) {
		r.report.All[what]++
		if r.reached[field] {
			r.report.Covered[what]++
			return
		}
		r.report.Uncovered = append(r.report.Uncovered, field)
	}
	for _, word := range slices.Sorted(maps.Keys(r.class.Spec.State.Words)) {
		count("words", wordField(word))
	}
	if r.class.Spec.UnknownSession != "false" {
		count("rules", unknownSession)
	}
	if r.class.Spec.SessionID.InReply != "" {
		count("rules", inReply)
	}
	if r.class.Spec.List != nil {
		count("rules", listField)
	}
	if r.class.Spec.Identity.Tags != "" {
		count("rules", identityTags)
	}
	if r.class.Spec.Identity.Reference != "" {
		count("rules", identityReference)
	}
	for _, rule := range slices.Concat(r.class.outcomeRules(), r.class.payableRules()) {
		count("rules", rule.field)
	}
	for _, rule := range r.class.overrideRules() {
		count("overrides", rule.field)
	}
}
