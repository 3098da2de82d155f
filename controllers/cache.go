// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

// CacheOptions returns the options for a cache of the selected sessions, in the given namespaces or in all of them.
// The cache keeps only what the operator reads.
func CacheOptions(namespaces []string, sessions labels.Selector) cache.Options {
	options := cache.Options{
		// A cached read of a Secret must fail, and not start a watch on all Secrets of the cluster.
		ReaderFailOnMissingInformer: true,
		DefaultTransform:            cache.TransformStripManagedFields(),
		ByObject: map[client.Object]cache.ByObject{
			&v1alpha1.PaymentSession{}: {Label: sessions, Transform: stripSession},
			&corev1.Namespace{}:        {Transform: stripNamespace},
		},
	}
	for _, name := range namespaces {
		if options.DefaultNamespaces == nil {
			options.DefaultNamespaces = map[string]cache.Config{}
		}
		options.DefaultNamespaces[name] = cache.Config{}
	}
	return options
}

// stripSession drops the parts of a session that are never read, and shares the memory of texts that most sessions
// have in common. There may be very many sessions.
func stripSession(object any) (any, error) {
	session, ok := object.(*v1alpha1.PaymentSession)
	if !ok {
		return object, nil
	}
	session.ManagedFields = nil
	delete(session.Annotations, corev1.LastAppliedConfigAnnotation)
	share(&session.Kind, &session.APIVersion, &session.Namespace, &session.Spec.ProviderRef.Kind,
		&session.Spec.ProviderRef.Name)
	share(&session.Spec.DesiredState)
	share(&session.Spec.DeletionPolicy)
	share(&session.Status.State)
	if session.Status.Upstream != nil {
		share(&session.Status.Upstream.Status)
	}
	for i := range session.Status.Conditions {
		condition := &session.Status.Conditions[i]
		share(&condition.Type, &condition.Reason, &condition.Message)
		share(&condition.Status)
	}
	for i := range session.Finalizers {
		share(&session.Finalizers[i])
	}
	return session, nil
}

// share makes equal texts share their memory.
func share[T ~string](texts ...*T) {
	for _, text := range texts {
		*text = unique.Make(*text).Value()
	}
}

// stripNamespace keeps the name, the labels, the annotations and the deletion timestamp of a namespace.
func stripNamespace(object any) (any, error) {
	if namespace, ok := object.(*corev1.Namespace); ok {
		kept := metav1.ObjectMeta{
			Name: namespace.Name, UID: namespace.UID, ResourceVersion: namespace.ResourceVersion,
			Labels: namespace.Labels, Annotations: namespace.Annotations, DeletionTimestamp: namespace.DeletionTimestamp,
		}
		delete(kept.Annotations, corev1.LastAppliedConfigAnnotation)
		*namespace = corev1.Namespace{TypeMeta: namespace.TypeMeta, ObjectMeta: kept}
	}
	return object, nil
}
