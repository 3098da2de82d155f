// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command bench measures bin/manager on a real control plane with the simulated providers. It asserts no duration,
// because machines are shared and noisy; it fails if a session is not expired in the end. Each figure is the median of
// several runs with their spread, next to a figure of the same run to compare it with.
//
//	bench [--runs N] [--only REGEXP] [--sizes N,N] [--starts N,N] [--latencies T,T] [--large N] [--out FOLDER]
//
// The scenario large is skipped without its flag. With 100,000 sessions it takes an hour on 2 busy cores.
// It prints a table. It writes the same figures as JSON into the folder, and a plot of the time over the number of
// sessions.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/go-logr/logr"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/payops-dev/payment-session-operator/test/gen"
)

// Figure is one measurement.
type Figure struct {
	// Name says what was measured.
	Name string `json:"name"`
	// Unit is the unit of the values.
	Unit string `json:"unit"`
	// Values holds the value of each run.
	Values []float64 `json:"values"`
	// Series is the curve of the plot that the figure belongs to, and Size its position on it. Empty means no curve.
	Series string `json:"series,omitempty"`
	Size   int    `json:"size,omitempty"`
	// Beside is the name of the figure to compare with, and Ratio the ratio of the medians. Empty means no comparison.
	Beside string  `json:"beside,omitempty"`
	Ratio  float64 `json:"ratio,omitempty"`
}

// median returns the median of the runs.
func (f *Figure) median() float64 {
	sorted := slices.Sorted(slices.Values(f.Values))
	return sorted[len(sorted)/2]
}

// beside compares a figure with another figure of the same run.
func (f *Figure) beside(other *Figure) {
	f.Beside, f.Ratio = other.Name, f.median()/other.median()
}

// add adds the value of a run. Durations are in seconds. It prints the value at once, so that a long benchmark shows
// how far it is, and one that is interrupted has not measured in vain.
func (f *Figure) add(value float64) {
	f.Values = append(f.Values, value)
	if f.Name != "" {
		fmt.Fprintf(os.Stderr, "%s: %.3f %s\n", f.Name, value, f.Unit)
	}
}

// timed makes a figure whose values are durations.
func timed(format string, arguments ...any) *Figure {
	return &Figure{Name: fmt.Sprintf(format, arguments...), Unit: "s"}
}

// scenario measures figures on its own control plane.
type scenario func(lab *lab, runs int) ([]*Figure, error)

var scenarios = []struct {
	name string
	run  scenario
}{
	{"convergence", convergence},
	{"cost", cost},
	{"isolation", isolation},
	{"latency", latency},
	{"failover", failover},
	{"teardown", teardown},
	{"sweeps", sweeps},
	{"closed", closed},
	{"active", active},
	{"large", large},
}

func main() {
	runs := flag.Int("runs", 5, "number of runs of each figure")
	only := flag.String("only", "", "run only the scenarios whose name matches this regular expression")
	latencies := list[time.Duration]{[]time.Duration{0, 100 * time.Millisecond}, time.ParseDuration}
	flag.Var(&latencies, "latencies", "latencies of the providers, in the scenarios convergence and failover")
	sizes := list[int]{[]int{1000, 10000}, strconv.Atoi}
	flag.Var(&sizes, "sizes", "numbers of sessions to expire and to tear down")
	starts := list[int]{[]int{10000, 50000}, strconv.Atoi}
	flag.Var(&starts, "starts", "numbers of sessions that exist when the manager starts")
	large := flag.Int("large", 0, fmt.Sprintf("number of sessions in the scenario large, a multiple of %d; 0 skips it",
		largeNamespaces))
	out := flag.String("out", filepath.Join(gen.Root(), "bin", "bench"), "folder for the results")
	flag.Parse()
	ctrl.SetLogger(logr.Discard())
	if err := bench(*runs, *only, *out, scale{sizes.values, starts.values, latencies.values, *large}); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// list is a flag with comma-separated values.
type list[T any] struct {
	values []T
	parse  func(string) (T, error)
}

func (l *list[T]) String() string { return fmt.Sprint(l.values) }

func (l *list[T]) Set(text string) error {
	l.values = nil
	for part := range strings.SplitSeq(text, ",") {
		value, err := l.parse(part)
		if err != nil {
			return err
		}
		l.values = append(l.values, value)
	}
	return nil
}

// scale is the size of the measurements.
type scale struct {
	// sizes are the numbers of sessions to expire and to tear down. starts are the numbers of sessions at the manager's
	// start.
	sizes, starts []int
	// latencies are the latencies of the providers.
	latencies []time.Duration
	// large is the number of sessions in the scenario large, or 0.
	large int
}

func bench(runs int, only, out string, scale scale) error {
	wanted, err := regexp.Compile(only)
	if err != nil {
		return fmt.Errorf("--only: %w", err)
	}
	if scale.large%largeNamespaces != 0 {
		return fmt.Errorf("--large: %d is not a multiple of %d", scale.large, largeNamespaces)
	}
	if err := os.MkdirAll(out, 0o755); err != nil {
		return err
	}
	var figures []*Figure
	for _, scenario := range scenarios {
		if !wanted.MatchString(scenario.name) || scenario.name == "large" && scale.large == 0 {
			continue
		}
		fmt.Fprintln(os.Stderr, "==>", scenario.name)
		measured, err := inLab(out, scale, func(lab *lab) ([]*Figure, error) { return scenario.run(lab, runs) })
		if err != nil {
			return fmt.Errorf("%s: %w", scenario.name, err)
		}
		figures = append(figures, measured...)
	}
	if err := writeJSON(filepath.Join(out, "figures.json"), figures); err != nil {
		return err
	}
	if err := plot(filepath.Join(out, "convergence.svg"), figures); err != nil {
		return err
	}
	return printTable(figures)
}

func writeJSON(path string, figures []*Figure) error {
	text, err := json.MarshalIndent(figures, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o600)
}

func printTable(figures []*Figure) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "figure\tmedian\tminimum\tmaximum\truns\tratio\tcompared with")
	for _, figure := range figures {
		fmt.Fprintf(table, "%s\t%.3f %s\t%.3f\t%.3f\t%d", figure.Name, figure.median(), figure.Unit,
			slices.Min(figure.Values), slices.Max(figure.Values), len(figure.Values))
		if figure.Beside == "" {
			fmt.Fprintln(table, "\t\t")
		} else {
			fmt.Fprintf(table, "\t%.2f\t%s\n", figure.Ratio, figure.Beside)
		}
	}
	return table.Flush()
}
