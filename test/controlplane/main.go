// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controlplane

import (
	"fmt"
	"os"
	"testing"
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
	return m.Run(), nil
}
