// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"

	"github.com/payops-dev/payment-session-operator/internal/class"
)

func newClassCommand(streams genericiooptions.IOStreams) *cobra.Command {
	command := &cobra.Command{
		Use:   "class",
		Short: "Check, test and try a PaymentProviderClass before it meets money",
	}
	command.AddCommand(newCheckCommand(streams), newTestCommand(streams), newTryCommand(streams),
		newExamplesCommand(streams))
	return command
}

// classKind matches a file with a class among those of a folder.
var classKind = regexp.MustCompile(`(?m)^kind: PaymentProviderClass$`)

// files returns the classes' files that the arguments name. A folder stands for the classes in it and below.
func files(arguments []string) ([]string, error) {
	var found []string
	for _, argument := range arguments {
		info, err := os.Stat(argument)
		if err != nil {
			return nil, err
		}
		if !info.IsDir() {
			found = append(found, argument)
			continue
		}
		within, err := classesBelow(argument)
		if err != nil {
			return nil, err
		}
		found = append(found, within...)
	}
	if len(found) == 0 {
		return nil, errors.New("there is no file with a PaymentProviderClass")
	}
	return found, nil
}

// classesBelow returns the files below a folder that have a class.
func classesBelow(folder string) ([]string, error) {
	root, err := os.OpenRoot(folder)
	if err != nil {
		return nil, err
	}
	defer func() { _ = root.Close() }()
	var found []string
	err = fs.WalkDir(root.FS(), ".", func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !slices.Contains([]string{".yaml", ".yml"}, filepath.Ext(path)) {
			return err
		}
		text, err := root.ReadFile(path)
		if err == nil && classKind.Match(text) {
			found = append(found, filepath.Join(folder, path))
		}
		return err
	})
	return found, err
}

// checked returns the classes of a file, and what is wrong in it.
func checked(ctx context.Context, path string) ([]*class.Class, []class.Finding, error) {
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, nil, err
	}
	return class.Check(ctx, path, text)
}

// printAs writes a value as JSON or YAML.
func printAs(out io.Writer, format string, value any) error {
	var text []byte
	var err error
	switch format {
	case "json":
		text, err = json.MarshalIndent(value, "", "  ")
		text = append(text, '\n')
	case "yaml":
		text, err = yaml.Marshal(value)
	default:
		return fmt.Errorf("the output %q is not known; it is json or yaml, or a text without -o", format)
	}
	if err == nil {
		_, err = out.Write(text)
	}
	return err
}

type checkOptions struct {
	output string
	id     string
	strict bool
}

func newCheckCommand(streams genericiooptions.IOStreams) *cobra.Command {
	options := checkOptions{}
	command := &cobra.Command{
		Use:   "check FILE|FOLDER...",
		Short: "Say everything that is wrong in a class, offline, with line and column, and what to do",
		Long: "Checks classes as the API server and the operator do, and warns of what both admit and what is most likely " +
			"wrong.\nPrints both requests as they would be sent, with the names of credentials in place of their values.",
		Example: "  kubectl payops class check stripe.yaml\n  kubectl payops class check --strict classes/",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			return options.run(command.Context(), streams, arguments)
		},
	}
	command.Flags().StringVarP(&options.output, "output", "o", "", "json or yaml: print the findings for a program")
	command.Flags().StringVar(&options.id, "id", "", "id of the session in the printed requests")
	command.Flags().BoolVar(&options.strict, "strict", false, "fail for a warning, too")
	return command
}

func (o checkOptions) run(ctx context.Context, streams genericiooptions.IOStreams, arguments []string) error {
	paths, err := files(arguments)
	if err != nil {
		return err
	}
	all, fails, unread := []class.Finding{}, false, []error(nil)
	for _, path := range paths {
		classes, findings, err := checked(ctx, path)
		if err != nil {
			unread = append(unread, err)
			continue
		}
		all = append(all, findings...)
		fails = fails || class.HasErrors(findings) || o.strict && len(findings) > 0
		if o.output == "" {
			isShown := o.show(ctx, streams.Out, path, classes, findings)
			fails = fails || o.id != "" && !isShown
		}
	}
	if o.output != "" {
		if err := printAs(streams.Out, o.output, all); err != nil {
			return err
		}
	}
	return ended(fails, unread)
}

// ended returns how a command ends that has gone through several files: those that it could not read come last, so that
// none hides what the others contain.
func ended(fails bool, unread []error) error {
	if fails && len(unread) == 0 {
		return errFound
	}
	return errors.Join(unread...)
}

// show prints the findings of one file, and the requests of its classes. It reports whether all requests can be shown.
func (o checkOptions) show(ctx context.Context, out io.Writer, path string, classes []*class.Class,
	findings []class.Finding) bool {
	isShown := true
	for _, finding := range findings {
		_, _ = fmt.Fprintln(out, finding)
	}
	for _, checked := range classes {
		if checked.Definition == nil {
			continue
		}
		requests, err := checked.Preview(ctx, o.id)
		if err != nil {
			isShown = false
			_, _ = fmt.Fprintf(out, "%s: no request can be shown: %v\n", path, err)
			continue
		}
		_, _ = fmt.Fprintf(out, "\n%s", requests)
	}
	switch {
	case class.HasErrors(findings):
	case len(findings) > 0:
		_, _ = fmt.Fprintf(out, "%s: it compiles; warnings: %d\n", path, len(findings))
	default:
		_, _ = fmt.Fprintf(out, "%s: ok\n", path)
	}
	return isShown
}

type testOptions struct {
	output  string
	verbose bool
	strict  bool
}

func newTestCommand(streams genericiooptions.IOStreams) *cobra.Command {
	options := testOptions{}
	command := &cobra.Command{
		Use:   "test FILE|FOLDER...",
		Short: "Run the examples beside a class, offline, through the operator's own engine",
		Long: "Runs NAME.examples.yaml beside NAME.yaml, and stock replies that must prove nothing: pages of servers for a " +
			"path that\nthey do not have, an unknown word, a reply about another session. Names the words, rules and overrides " +
			"that no example\nreaches.",
		Example: "  kubectl payops class test stripe.yaml\n  kubectl payops class test --strict classes/",
		Args:    cobra.MinimumNArgs(1),
		RunE: func(command *cobra.Command, arguments []string) error {
			return options.run(command.Context(), streams, arguments)
		},
	}
	command.Flags().StringVarP(&options.output, "output", "o", "", "json or yaml: print the report for a program")
	command.Flags().BoolVarP(&options.verbose, "verbose", "v", false, "show every example, and the expressions that failed on it")
	command.Flags().BoolVar(&options.strict, "strict", false, "fail for a word, a rule or an override that no example reaches, too")
	return command
}

func (o testOptions) run(ctx context.Context, streams genericiooptions.IOStreams, arguments []string) error {
	paths, err := files(arguments)
	if err != nil {
		return err
	}
	reports, fails, unread := []*class.Report{}, false, []error(nil)
	for _, path := range paths {
		report, err := o.test(ctx, streams.Out, path)
		if err != nil {
			unread = append(unread, err)
			continue
		}
		if report == nil {
			fails = true
			continue
		}
		reports = append(reports, report)
		fails = fails || report.Failed() > 0 || o.strict && len(report.Uncovered) > 0
	}
	if o.output != "" {
		if err := printAs(streams.Out, o.output, reports); err != nil {
			return err
		}
	}
	return ended(fails, unread)
}

func newExamplesCommand(streams genericiooptions.IOStreams) *cobra.Command {
	var file, document string
	command := &cobra.Command{
		Use:   "examples --class FILE --openapi FILE",
		Short: "Take the examples of replies from a provider's OpenAPI document",
		Long: "Prints the examples that an OpenAPI document has for the two calls of a class, in the format of class test.\n" +
			"What each should mean is what it means to the class: read it before you believe it.",
		Example: "  kubectl payops class examples --class adyen.yaml --openapi CheckoutService-v71.yaml >adyen.examples.yaml",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			described, err := class.Load(command.Context(), file)
			if err != nil {
				return err
			}
			text, err := os.ReadFile(filepath.Clean(document))
			if err != nil {
				return err
			}
			made, err := class.FromOpenAPI(described, text)
			if err == nil {
				_, err = streams.Out.Write(made)
			}
			return err
		},
	}
	command.Flags().StringVar(&file, "class", "", "file of the class")
	command.Flags().StringVar(&document, "openapi", "", "OpenAPI document, version 3")
	for _, name := range []string{"class", "openapi"} {
		_ = command.MarkFlagRequired(name)
	}
	return command
}

// test tests the class of one file. The report is nil where the class or its examples are wrong.
func (o testOptions) test(ctx context.Context, out io.Writer, path string) (*class.Report, error) {
	classes, findings, err := checked(ctx, path)
	if err != nil {
		return nil, err
	}
	if class.HasErrors(findings) || len(classes) != 1 {
		for _, finding := range findings {
			if finding.Level == class.Error {
				_, _ = fmt.Fprintln(out, finding)
			}
		}
		if len(classes) > 1 {
			_, _ = fmt.Fprintf(out, "%s: it has %d classes; give each a file of its own\n", path, len(classes))
		}
		return nil, nil //nolint:nilnil // What is wrong has been printed.
	}
	report, findings, err := class.Test(ctx, classes[0], class.ExamplesPath(path))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%s has no examples: write %s, or record it with kubectl payops class try --record", path,
			class.ExamplesPath(path))
	}
	if err != nil {
		return nil, err
	}
	for _, finding := range findings {
		_, _ = fmt.Fprintln(out, finding)
	}
	if report != nil && o.output == "" {
		o.show(out, report)
	}
	return report, nil
}

// show prints a report: the examples and probes that failed, or all examples, and the summary.
func (o testOptions) show(out io.Writer, report *class.Report) {
	if o.verbose {
		table := printers.GetNewTabWriter(out)
		_, _ = fmt.Fprintln(table, "OPERATION\tCODE\tOUTCOME\tSTATE\tWORD\tRULE\tEXAMPLE")
		for _, row := range report.Rows {
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", row.Operation, codes(row), row.Outcome, orDash(string(row.State)),
				orDash(row.Word), orDash(strings.TrimSuffix(strings.TrimPrefix(row.Rule, "spec."), ".when")), row.Name)
		}
		_ = table.Flush()
	}
	for _, row := range slices.Concat(report.Rows, report.Proving) {
		for _, difference := range row.Differences {
			_, _ = fmt.Fprintf(out, "FAILED %s: %s\n", row.Name, difference)
		}
		if o.verbose || len(row.Differences) > 0 {
			for _, failed := range row.Failed {
				_, _ = fmt.Fprintf(out, "  %s: on this reply %s\n", row.Name, failed)
			}
		}
	}
	for _, field := range report.Uncovered {
		_, _ = fmt.Fprintf(out, "no example reaches %s\n", strings.TrimSuffix(field, ".when"))
	}
	_, _ = fmt.Fprintln(out, report.Summary())
}

// codes returns the code of a row's reply, and the one that counts where that is another one.
func codes(row class.Row) string {
	if row.Counts == 0 {
		return strconv.Itoa(row.Code)
	}
	return fmt.Sprintf("%d as %d", row.Code, row.Counts)
}

func orDash(text string) string {
	if text == "" {
		return "-"
	}
	return text
}
