// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package class

import (
	"context"
	"fmt"
	"strings"
	"sync"

	"k8s.io/apiextensions-apiserver/pkg/apis/apiextensions"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	structuralschema "k8s.io/apiextensions-apiserver/pkg/apiserver/schema"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/cel"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/listtype"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning"
	"k8s.io/apiextensions-apiserver/pkg/apiserver/validation"
	"k8s.io/apimachinery/pkg/util/validation/field"
	celconfig "k8s.io/apiserver/pkg/apis/cel"
	"sigs.k8s.io/yaml"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/config"
)

// schema validates objects of one kind as the API server does.
type schema struct {
	structural *structuralschema.Structural
	validator  validation.SchemaValidator
	rules      *cel.Validator
}

// schemaOf returns the schema of a kind's CRD.
func schemaOf(plural string) (*schema, error) {
	text, err := config.CRDs.ReadFile(fmt.Sprintf("crd/bases/%s_%s.yaml", v1alpha1.GroupVersion.Group, plural))
	if err != nil {
		return nil, err
	}
	definition := &apiextensionsv1.CustomResourceDefinition{}
	if err := yaml.UnmarshalStrict(text, definition); err != nil {
		return nil, fmt.Errorf("cannot read the CRD of %s: %w", plural, err)
	}
	properties := &apiextensions.JSONSchemaProps{}
	if err := apiextensionsv1.Convert_v1_JSONSchemaProps_To_apiextensions_JSONSchemaProps(
		definition.Spec.Versions[0].Schema.OpenAPIV3Schema, properties, nil); err != nil {
		return nil, fmt.Errorf("cannot convert the schema of %s: %w", plural, err)
	}
	read := &schema{}
	if read.structural, err = structuralschema.NewStructural(properties); err != nil {
		return nil, fmt.Errorf("cannot read the schema of %s: %w", plural, err)
	}
	if read.validator, _, err = validation.NewSchemaValidator(properties); err != nil {
		return nil, fmt.Errorf("cannot read the schema of %s: %w", plural, err)
	}
	read.rules = cel.NewValidator(read.structural, true, celconfig.PerCallLimit)
	return read, nil
}

// classSchema is the schema of PaymentProviderClasses, and sessionSchema that of PaymentSessions.
var (
	classSchema   = sync.OnceValues(func() (*schema, error) { return schemaOf("paymentproviderclasses") })
	sessionSchema = sync.OnceValues(func() (*schema, error) { return schemaOf("paymentsessions") })
)

// unknownFields removes the fields that the schema does not have, and returns their paths.
func (s *schema) unknownFields(values map[string]any) []string {
	return pruning.PruneWithOptions(values, s.structural, true,
		structuralschema.UnknownFieldPathOptions{TrackUnknownFieldPaths: true})
}

// validate sets defaults and returns what the API server would refuse.
func (s *schema) validate(ctx context.Context, values map[string]any) field.ErrorList {
	defaulting.Default(values, s.structural)
	problems := validation.ValidateCustomResource(nil, values, s.validator)
	problems = append(problems, listtype.ValidateListSetsAndMaps(nil, s.structural, values)...)
	if len(problems) > 0 {
		// The rules are evaluated for objects that match the schema.
		return problems
	}
	failed, _ := s.rules.Validate(ctx, nil, s.structural, values, nil, celconfig.RuntimeCELCostBudget)
	return append(problems, failed...)
}

// checkSchema returns what the API server would refuse in a class.
func (m *manifest) checkSchema(ctx context.Context) ([]Finding, error) {
	schema, err := classSchema()
	if err != nil {
		return nil, err
	}
	var findings []Finding
	for _, path := range schema.unknownFields(m.values) {
		name := path[strings.LastIndex(path, ".")+1:]
		findings = append(findings, m.keyFinding(path, fmt.Sprintf("there is no field %q here", name)))
	}
	for _, problem := range schema.validate(ctx, m.values) {
		findings = append(findings, m.finding(Error, problem.Field, problem.ErrorBody(), fixFor(problem)))
	}
	return findings, nil
}

// keyFinding returns an error about a key.
func (m *manifest) keyFinding(path, problem string) Finding {
	found := m.finding(Error, path, problem, "kubectl explain payclass.spec lists the fields")
	parent, _ := m.node(path[:max(0, strings.LastIndex(path, "."))])
	for i := 0; i+1 < len(parent.Content); i += 2 {
		if parent.Content[i].Value == path[strings.LastIndex(path, ".")+1:] {
			found.Line, found.Column = parent.Content[i].Line, parent.Content[i].Column
		}
	}
	return found
}

// fixFor says what to do about a value that the schema refuses, where the schema's words do not say it.
func fixFor(problem *field.Error) string {
	value, _ := problem.BadValue.(string)
	switch {
	case strings.HasSuffix(problem.Field, ".path") && strings.Contains(value, "?"):
		return "put the parameters after ? into query"
	case strings.HasSuffix(problem.Field, ".path") && strings.Contains(strings.ReplaceAll(value, idPlaceholder, ""), "{"):
		return "write {id} for the session's id"
	case strings.HasSuffix(problem.Field, ".path") && !strings.HasPrefix(value, "/"):
		return "begin the path with /"
	case strings.HasPrefix(problem.Field, "spec.state.words"):
		return "a word means one of: active, processing, expired, completed, failed"
	default:
		return ""
	}
}
