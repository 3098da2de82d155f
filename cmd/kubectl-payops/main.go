// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command kubectl-payops is a plugin of kubectl for payment sessions: kubectl payops.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericiooptions"
)

// version is set by the linker.
var version = "dev"

// errFound ends a command that has printed what is wrong: its exit status is 1, and nothing more is printed.
var errFound = errors.New("something is wrong")

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	streams := genericiooptions.IOStreams{In: os.Stdin, Out: os.Stdout, ErrOut: os.Stderr}
	err := newCommand(streams).ExecuteContext(ctx)
	stop()
	if err != nil {
		if !errors.Is(err, errFound) {
			_, _ = fmt.Fprintln(os.Stderr, "error:", err)
		}
		os.Exit(1)
	}
}

// newCommand returns the command with all that are below it.
func newCommand(streams genericiooptions.IOStreams) *cobra.Command {
	command := &cobra.Command{
		Use:           "kubectl-payops",
		Short:         "Payment sessions and the classes of their providers",
		Version:       version,
		SilenceUsage:  true,
		SilenceErrors: true,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl payops"},
	}
	command.SetIn(streams.In)
	command.SetOut(streams.Out)
	command.SetErr(streams.ErrOut)
	command.AddCommand(newClassCommand(streams))
	return command
}
