// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"reflect"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// throughClass are the fields that get into the settings through the class and the Secret: connect turns them into
// access.endpoint and access.credentials.
var throughClass = map[string]bool{"ClassName": true, "Environment": true, "Endpoint": true, "CredentialsSecretRef": true}

// TestEveryProviderFieldIsInTheSettings changes each field of the spec of both kinds, nested fields included, and
// expects other settings. A field that is missing in settingsOf would have no effect until the manager is restarted.
func TestEveryProviderFieldIsInTheSettings(t *testing.T) {
	for _, provider := range []v1alpha1.GenericProvider{&v1alpha1.PaymentProvider{}, &v1alpha1.ClusterPaymentProvider{}} {
		changeEach(t, provider, reflect.ValueOf(provider).Elem().FieldByName("Spec"), provider.ProviderKind())
	}
}

// changeEach changes each field of a struct, compares the settings, and undoes the change.
func changeEach(t *testing.T, provider v1alpha1.GenericProvider, value reflect.Value, path string) {
	t.Helper()
	for i := range value.NumField() {
		field, name := value.Field(i), value.Type().Field(i).Name
		at := path + "." + name
		if throughClass[name] {
			continue
		}
		before, undo := settingsOf(provider), reflect.New(field.Type()).Elem()
		undo.Set(field)
		switch {
		case field.Type() == reflect.TypeFor[*metav1.Duration]():
			field.Set(reflect.ValueOf(&metav1.Duration{Duration: 77 * time.Second}))
		case field.Type() == reflect.TypeFor[*v1alpha1.NamespaceSelector]():
			field.Set(reflect.ValueOf(&v1alpha1.NamespaceSelector{MatchLabels: map[string]v1alpha1.LabelValue{"team": "shop"}}))
		case field.CanInt():
			field.SetInt(77)
		case field.Kind() == reflect.String:
			field.SetString("changed")
		case field.Kind() == reflect.Bool:
			field.SetBool(!field.Bool())
		case field.Kind() == reflect.Struct:
			changeEach(t, provider, field, at)
			continue
		default:
			t.Errorf("%s: this test cannot change a %s yet; add a case for it", at, field.Type())
			continue
		}
		if settingsOf(provider) == before {
			t.Errorf("%s is not in the settings, so that a change has no effect; add it to settingsOf", at)
		}
		field.Set(undo)
	}
}
