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

// Main runs a package's tests on a control plane of their own, for its TestMain. Prepare is called when the control plane
// answers; options.Dir is made here.
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
	// What the control plane itself and the test's own client run stays.
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

// leaked is an error where goroutines of this project are left behind. Those of the libraries under it, such as idle connections,
// are not ours to end.
func leaked(before goleak.Option) error {
	err := goleak.Find(before)
	if err == nil || !strings.Contains(err.Error(), "github.com/payops-dev/payment-session-operator/") {
		return nil
	}
	return err
}
