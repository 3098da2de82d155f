// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package argocd_test

import (
	"os"
	"path/filepath"
	"reflect"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/argocd"
)

// read decodes a YAML file.
func read(t *testing.T, path string, into any) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(text, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

// TestHealth runs the tests of health_test.yaml, which has the format of Argo CD's own tests.
func TestHealth(t *testing.T) {
	folder := argocd.Folder("_")
	suite := struct {
		Tests []struct {
			InputPath    string        `json:"inputPath"`
			HealthStatus argocd.Health `json:"healthStatus"`
		} `json:"tests"`
	}{}
	read(t, filepath.Join(folder, "health_test.yaml"), &suite)
	for _, tc := range suite.Tests {
		object := map[string]any{}
		read(t, filepath.Join(folder, tc.InputPath), &object)
		if got, err := argocd.HealthOf(object); err != nil || got != tc.HealthStatus {
			t.Errorf("%s: %+v, %v, want %+v", tc.InputPath, got, err, tc.HealthStatus)
		}
	}
	fixtures, err := filepath.Glob(filepath.Join(folder, "testdata", "*.yaml"))
	if err != nil || len(fixtures) != len(suite.Tests) {
		t.Errorf("%d tests for %d fixtures, %v", len(suite.Tests), len(fixtures), err)
	}
}

// TestActions runs the tests of action_test.yaml, which has the format of Argo CD's own tests.
func TestActions(t *testing.T) {
	folder := filepath.Join(argocd.Folder("PaymentSession"), "actions")
	suite := struct {
		DiscoveryTests []struct {
			InputPath string `json:"inputPath"`
			Result    []struct {
				Name     string `json:"name"`
				Disabled bool   `json:"disabled"`
			} `json:"result"`
		} `json:"discoveryTests"`
		ActionTests []struct {
			Action, InputPath, ExpectedOutputPath string
		} `json:"actionTests"`
	}{}
	read(t, filepath.Join(folder, "action_test.yaml"), &suite)
	for _, tc := range suite.DiscoveryTests {
		session := map[string]any{}
		read(t, filepath.Join(folder, tc.InputPath), &session)
		want := map[string]argocd.Availability{}
		for _, action := range tc.Result {
			want[action.Name] = argocd.Availability{Disabled: action.Disabled}
		}
		if got, err := argocd.Actions(session); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s: %v, %v, want %v", tc.InputPath, got, err, want)
		}
	}
	for _, tc := range suite.ActionTests {
		before, want := map[string]any{}, map[string]any{}
		read(t, filepath.Join(folder, tc.InputPath), &before)
		read(t, filepath.Join(folder, tc.ExpectedOutputPath), &want)
		if got, err := argocd.Act(tc.Action, before); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%s on %s: %v, %v, want %v", tc.Action, tc.InputPath, got, err, want)
		}
	}
}

// TestReconcileRequestsARefresh cannot be a row of action_test.yaml, because the action writes the current time.
func TestReconcileRequestsARefresh(t *testing.T) {
	before := map[string]any{}
	read(t, filepath.Join(argocd.Folder("PaymentSession"), "actions", "testdata", "active.yaml"), &before)
	got, err := argocd.Act("reconcile", before)
	if err != nil {
		t.Fatal(err)
	}
	metadata, _ := got["metadata"].(map[string]any)
	annotations, _ := metadata["annotations"].(map[string]any)
	if annotations[v1alpha1.ReconcileAtAnnotation] == nil {
		t.Errorf("the action requests no refresh: %v", got)
	}
}
