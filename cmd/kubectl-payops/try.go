// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/cli-runtime/pkg/genericiooptions"
	"k8s.io/cli-runtime/pkg/printers"
	"sigs.k8s.io/yaml"

	"github.com/payops-dev/payment-session-operator/internal/class"
	"github.com/payops-dev/payment-session-operator/internal/httpx"
)

type tryOptions struct {
	file, id              string
	environment, endpoint string
	credentials           string
	expire                bool
	record                string
	allowPrivate          bool
	timeout               time.Duration
	output                string
}

func newTryCommand(streams genericiooptions.IOStreams) *cobra.Command {
	options := tryOptions{}
	command := &cobra.Command{
		Use:   "try --class FILE --id ID --credentials SECRET",
		Short: "Try a class at a provider's sandbox",
		Long: "Reads a session that exists, an id that was made up, a path that does not exist, and the session with a wrong " +
			"key, and\nsays what the class makes of the replies. With --expire it also expires the session, reads it, and " +
			"expires it again;\nwithout, it changes nothing.\n\nThe credentials are those of the Secret that a provider object " +
			"would name: a Secret in a file, or - for the input.",
		Example: "  kubectl get secret stripe -o yaml | kubectl payops class try --class stripe.yaml --id cs_test_1 --credentials -",
		Args:    cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			return options.run(command.Context(), streams)
		},
	}
	flags := command.Flags()
	flags.StringVar(&options.file, "class", "", "file of the class")
	flags.StringVar(&options.id, "id", "", "id of a session that exists")
	flags.StringVar(&options.credentials, "credentials", "", "file with a Secret, or - for the input")
	flags.StringVar(&options.environment, "environment", "", "environment of the class; by default its default one")
	flags.StringVar(&options.endpoint, "endpoint", "", "base URL in place of the environment's")
	flags.BoolVar(&options.expire, "expire", false, "expire the session, read it, and expire it again")
	flags.StringVar(&options.record, "record", "", "write the replies to this file as examples, without credentials")
	flags.BoolVar(&options.allowPrivate, "allow-private-endpoints", false, "allow plain http and private addresses")
	flags.DurationVar(&options.timeout, "timeout", 10*time.Second, "timeout of each call")
	flags.StringVarP(&options.output, "output", "o", "", "json or yaml: print the calls for a program")
	for _, name := range []string{"class", "id", "credentials"} {
		_ = command.MarkFlagRequired(name)
	}
	return command
}

func (o tryOptions) run(ctx context.Context, streams genericiooptions.IOStreams) error {
	tried, err := class.Load(ctx, o.file)
	if err != nil {
		return err
	}
	data, err := o.secret(streams.In)
	if err != nil {
		return err
	}
	trial := &class.Trial{
		Class: tried, ID: o.id, Environment: o.environment, Endpoint: o.endpoint, Credentials: data, Expire: o.expire,
		Door: httpx.Options{AllowPrivate: o.allowPrivate, MaxConnections: 1, Timeout: o.timeout},
	}
	attempts, err := trial.Try(ctx)
	if err != nil {
		return err
	}
	if o.record != "" {
		if err := record(o.record, attempts, o.id); err != nil {
			return err
		}
	}
	return o.report(streams.Out, trial, attempts)
}

// secret returns the data of the Secret.
func (o tryOptions) secret(input io.Reader) (map[string][]byte, error) {
	var text []byte
	var err error
	if o.credentials == "-" {
		text, err = io.ReadAll(input)
	} else {
		text, err = os.ReadFile(filepath.Clean(o.credentials))
	}
	if err != nil {
		return nil, err
	}
	secret := &corev1.Secret{}
	if err := yaml.Unmarshal(text, secret); err != nil || secret.Kind != "Secret" {
		return nil, errors.New("the credentials are no Secret: write one with stringData, as for kubectl apply")
	}
	data := map[string][]byte{}
	maps.Copy(data, secret.Data)
	for key, value := range secret.StringData {
		data[key] = []byte(value)
	}
	return data, nil
}

// record writes the examples to a new file.
func record(path string, attempts []class.Attempt, id string) error {
	text, err := class.Recorded(attempts, id)
	if err != nil {
		return err
	}
	file, err := os.OpenFile(filepath.Clean(path), os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return fmt.Errorf("cannot record: %w", err)
	}
	_, err = file.Write(text)
	return errors.Join(err, file.Close())
}

// report prints the calls and what they leave in doubt. The error says that there is a doubt.
func (o tryOptions) report(out io.Writer, trial *class.Trial, attempts []class.Attempt) error {
	if o.output != "" {
		if err := printAs(out, o.output, attempts); err != nil {
			return err
		}
	} else {
		address, err := trial.Address()
		if err != nil {
			return err
		}
		_, _ = fmt.Fprintf(out, "%s at %s\n\n", trial.Class.Name, address)
		table := printers.GetNewTabWriter(out)
		_, _ = fmt.Fprintln(table, "CALL\tOPERATION\tCODE\tOUTCOME\tSTATE\tWORD\tRULE\tMESSAGE")
		for _, made := range attempts {
			_, _ = fmt.Fprintf(table, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", made.Name, made.Operation, codes(made.Row), made.Outcome,
				orDash(string(made.State)), orDash(made.Word), orDash(made.Rule), orDash(strings.Join(made.Differences, " ")))
		}
		_ = table.Flush()
	}
	doubts := 0
	for _, made := range attempts {
		if made.Doubt != "" {
			doubts++
		}
		if made.Doubt != "" && o.output == "" {
			_, _ = fmt.Fprintf(out, "\n%s: %s\n", made.Name, made.Doubt)
		}
	}
	if doubts > 0 {
		return errFound
	}
	return nil
}
