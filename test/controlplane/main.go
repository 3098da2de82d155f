// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"fmt"
	"os"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

// Main runs the tests of a package on a control plane of their own. Call it in TestMain. It calls prepare when the
// control plane is ready, and sets options.Dir.
func Main(m *testing.M, options Options, prepare func(*ControlPlane) error) {
	code, err := runTests(m, options, prepare)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

func runTests(m *testing.M, options Options, prepare func(*ControlPlane) error) (int, error) {
	dir, err := os.MkdirTemp("", "controlplane-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(dir)
	options.Dir = dir
	plane, err := Start(options)
	if err != nil {
		return 0, err
	}
	defer func() { _ = plane.Stop() }()
	if err := prepare(plane); err != nil {
		return 0, err
	}
	// The goroutines of the control plane and of the tests' client stay.
	before := goleak.IgnoreCurrent()
	code := m.Run()
	if code != 0 {
		return code, nil
	}
	if options.After != nil {
		if err := options.After(); err != nil {
			return 0, err
		}
	}
	return 0, leaked(before)
}

// leaked returns an error if goroutines of this project are left. It ignores those of libraries, such as idle
// connections.
func leaked(before goleak.Option) error {
	err := goleak.Find(before)
	if err == nil || !strings.Contains(err.Error(), "github.com/payops-dev/payment-session-operator/") {
		return nil
	}
	return err
}
