// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// Class is a class of a file.
type Class struct {
	Name string
	Spec v1alpha1.PaymentProviderClassSpec
	// Definition is nil where the class does not compile.
	Definition *upstream.Definition

	manifest *manifest
}

// Check returns the classes of a file, and everything that is wrong or looks wrong in it, in the order of the file.
func Check(ctx context.Context, file string, text []byte) ([]*Class, []Finding, error) {
	manifests, findings := parse(file, text)
	var classes []*Class
	for _, read := range manifests {
		class, found, err := read.check(ctx)
		if err != nil {
			return nil, nil, err
		}
		findings = append(findings, found...)
		if class != nil {
			classes = append(classes, class)
		}
	}
	sortFindings(findings)
	return classes, findings, nil
}

// Load returns the class of a file that has one, and compiles.
func Load(ctx context.Context, path string) (*Class, error) {
	text, err := os.ReadFile(filepath.Clean(path))
	if err != nil {
		return nil, err
	}
	classes, findings, err := Check(ctx, path, text)
	if err != nil {
		return nil, err
	}
	if HasErrors(findings) || len(classes) != 1 {
		return nil, fmt.Errorf("%s needs one class that compiles: see kubectl payops class check %s", path, path)
	}
	return classes[0], nil
}

// check checks one class: as the API server does, as the operator does, and for what both admit. It returns nil for a
// class that cannot be read.
func (m *manifest) check(ctx context.Context) (*Class, []Finding, error) {
	findings, err := m.checkSchema(ctx)
	if err != nil {
		return nil, nil, err
	}
	object := &v1alpha1.PaymentProviderClass{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(m.values, object); err != nil {
		if len(findings) == 0 {
			findings = append(findings, m.finding(Error, "spec", err.Error(), ""))
		}
		return nil, findings, nil
	}
	for _, problem := range validation.IsDNS1123Subdomain(object.Name) {
		findings = append(findings, m.finding(Error, "metadata.name", problem, ""))
	}
	read := &Class{Name: object.Name, Spec: object.Spec, manifest: m}
	read.Definition, err = upstream.Compile(&object.Spec)
	if problems, wrong := errors.AsType[upstream.DefinitionErrors](err); wrong {
		findings = append(findings, m.problems(findings, problems)...)
	}
	for _, lint := range lints {
		findings = append(findings, lint(read)...)
	}
	return read, findings, nil
}

// problems returns what the compiler says, without the fields that the schema refuses.
func (m *manifest) problems(refused []Finding, problems upstream.DefinitionErrors) []Finding {
	var findings []Finding
	for _, problem := range problems {
		isKnown := slices.ContainsFunc(refused, func(known Finding) bool { return known.Field == problem.Field })
		if isKnown {
			continue
		}
		found := m.finding(Error, problem.Field, problem.Problem, hintFor(problem))
		findings = append(findings, m.within(found, problem.Line, problem.Column))
	}
	return findings
}

// warn returns a warning about a field.
func (c *Class) warn(field, problem, fix string) Finding {
	return c.manifest.finding(Warning, field, problem, fix)
}

// request is the request of one operation, with its field.
type request struct {
	v1alpha1.RequestTemplate

	operation v1alpha1.Operation
	field     string
}

// requests returns those of a class.
func (c *Class) requests() []request {
	return []request{
		{c.Spec.Expire, v1alpha1.OperationExpire, "spec.expire"},
		{c.Spec.Observe, v1alpha1.OperationObserve, "spec.observe"},
	}
}
