// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	fieldpath "k8s.io/apimachinery/pkg/util/validation/field"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// setDefaults sets what the CRDs' schemas set.
func setDefaults(object client.Object) {
	switch object := object.(type) {
	case *v1alpha1.PaymentSession:
		setDefault(&object.Spec.ProviderRef.Kind, v1alpha1.KindPaymentProvider)
		setDefault(&object.Spec.DesiredState, v1alpha1.DesiredStateActive)
		setDefault(&object.Spec.DeletionPolicy, v1alpha1.DeletionPolicyExpire)
		setDefault(&object.Status.ObservedGeneration, -1)
	case *v1alpha1.PaymentSweep:
		setDefault(&object.Spec.ProviderRef.Kind, v1alpha1.KindPaymentProvider)
		setDefault(&object.Spec.DesiredState, v1alpha1.DesiredStateActive)
		setDefault(&object.Spec.DeletionPolicy, v1alpha1.DeletionPolicyRetain)
		setDefault(&object.Spec.Limits.Sessions, 200)
		setDefault(&object.Spec.Limits.Pages, 100)
		setDefaultDuration(&object.Spec.Interval, 10*time.Minute)
		setDefaultDuration(&object.Spec.Lookback, 7*24*time.Hour)
		setDefault(&object.Status.ObservedGeneration, -1)
	case *v1alpha1.PaymentProvider:
		setProviderDefaults(&object.Spec, &object.Status)
	case *v1alpha1.ClusterPaymentProvider:
		setProviderDefaults(&object.Spec.PaymentProviderSpec, &object.Status)
	case *v1alpha1.PaymentProviderClass:
		setDefault(&object.Status.ObservedGeneration, -1)
	case *corev1.Secret:
		for name, value := range object.StringData {
			if object.Data == nil {
				object.Data = map[string][]byte{}
			}
			object.Data[name] = []byte(value)
		}
		object.StringData = nil
	}
}

func setProviderDefaults(spec *v1alpha1.PaymentProviderSpec, status *v1alpha1.PaymentProviderStatus) {
	setDefault(&spec.RateLimit.Requests, 10)
	setDefault(&spec.RateLimit.Burst, 20)
	setDefault(&spec.MaxConcurrentRequests, 16)
	setDefaultDuration(&spec.RateLimit.Per, time.Second)
	setDefaultDuration(&spec.Timeout, 10*time.Second)
	setDefaultDuration(&spec.PollInterval, 10*time.Minute)
	setDefault(&status.ObservedGeneration, -1)
}

func setDefault[T comparable](value *T, otherwise T) {
	if *value == *new(T) {
		*value = otherwise
	}
}

func setDefaultDuration(value **metav1.Duration, otherwise time.Duration) {
	if *value == nil {
		*value = &metav1.Duration{Duration: otherwise}
	}
}

// immutableFields refuses what the CRD of PaymentSessions refuses in an update.
func immutableFields(before, after client.Object) error {
	was, isSession := before.(*v1alpha1.PaymentSession)
	is, _ := after.(*v1alpha1.PaymentSession)
	if !isSession || was == nil {
		return nil
	}
	const expired = v1alpha1.DesiredStateExpired
	unexpired := was.Spec.DesiredState == expired && is.Spec.DesiredState != expired
	if was.Spec.ProviderRef != is.Spec.ProviderRef || was.Spec.SessionID != is.Spec.SessionID || unexpired {
		wrong := fieldpath.ErrorList{fieldpath.Invalid(fieldpath.NewPath("spec"), "", "cannot be changed")}
		return apierrors.NewInvalid(schema.GroupKind{Kind: v1alpha1.KindPaymentSession}, after.GetName(), wrong)
	}
	return nil
}

// finalizerPolicy is the admission policy of Kubernetes 1.36 in config/admission: it adds the finalizer to each
// session that needs it.
func finalizerPolicy(_, after client.Object) error {
	session, ok := after.(*v1alpha1.PaymentSession)
	needed := ok && session.DeletionTimestamp.IsZero() && session.Spec.DeletionPolicy != v1alpha1.DeletionPolicyRetain &&
		!session.Status.State.Closed()
	if needed && !slices.Contains(session.Finalizers, v1alpha1.ExpireFinalizer) {
		session.Finalizers = append(session.Finalizers, v1alpha1.ExpireFinalizer)
	}
	return nil
}
