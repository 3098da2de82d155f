// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Command recording runs the demo and draws its output as an animated SVG.
//
//	recording --out docs/demo.svg hack/demo/demo.sh
//
// The file is written only if the demo succeeds. Ages and times are replaced, so that a run that prints the same
// leaves the same file.
package main

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"time"
)

// script lists the scenes of the recording. The steps are titles that the demo prints.
var script = []scene{
	{steps: []string{"Before: the sessions at the providers"}},
	{steps: []string{"Ask for 16 sessions to be expired: at each provider one is open, one paid, one expired, one unknown"}, limit: 12},
	{steps: []string{"The sessions, as kubectl shows them"}, poster: true},
	{steps: []string{
		"A preview environment with an open session",
		"Delete its namespace: the session is expired first, with credentials that are kept until then",
	}},
	{steps: []string{
		"A shop that opens charges without any object, at an account that another cluster shares",
		"One more charge. Then the namespace is deleted, and what it has opened is expired",
	}},
	{steps: []string{"After: the sessions at the providers"}},
	{steps: []string{"Check the results"}},
}

func main() {
	out := flag.String("out", "docs/demo.svg", "the file to write")
	flag.Parse()
	if err := record(*out, flag.Args()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// record runs the command and draws what it prints.
func record(out string, command []string) error {
	if len(command) == 0 {
		return errors.New("usage: recording [--out FILE] COMMAND [ARGUMENT…]")
	}
	var printed bytes.Buffer
	demo := exec.Command(command[0], command[1:]...)
	// The demo cleans up after itself and uses a control plane of its own, whatever the caller's environment says.
	demo.Env = append(os.Environ(), "KEEP=", "CLUSTER=")
	demo.Stdout, demo.Stderr = io.MultiWriter(os.Stdout, &printed), os.Stderr
	// On interrupt the demo gets the signal too, and cleans up.
	demo.WaitDelay = time.Minute
	if err := demo.Run(); err != nil {
		return fmt.Errorf("%s failed, %s is unchanged: %w", command[0], out, err)
	}
	screens, err := film(printed.String(), script)
	if err != nil {
		return err
	}
	if err := os.WriteFile(out, draw(screens), 0o644); err != nil {
		return err
	}
	fmt.Println(out)
	return nil
}
