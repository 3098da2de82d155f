// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

// Behaviour is something that the operator relies on an API server for. The same check runs against the API server in
// memory and against a real one, so that the simulation cannot drift from Kubernetes.
type Behaviour struct {
	Name  string
	Check func(t *testing.T, api client.Client, namespace string)
}

// made creates a session.
func made(t *testing.T, api client.Client, namespace string, options ...gen.SessionOption) *v1alpha1.PaymentSession {
	t.Helper()
	of := gen.Session(namespace, "session", "omise", gen.ID("omise", 1), options...)
	if err := api.Create(context.Background(), of); err != nil {
		t.Fatal(err)
	}
	return of
}

// read reads a session.
func read(t *testing.T, api client.Client, of *v1alpha1.PaymentSession) *v1alpha1.PaymentSession {
	t.Helper()
	found := &v1alpha1.PaymentSession{}
	if err := api.Get(context.Background(), client.ObjectKeyFromObject(of), found); err != nil {
		t.Fatal(err)
	}
	return found
}

// patch patches an object, and fails the test if that fails.
func patch(t *testing.T, api client.Client, object client.Object, text string) {
	t.Helper()
	if err := api.Patch(context.Background(), object, gen.MergePatch(text)); err != nil {
		t.Fatal(err)
	}
}

func protected(of *v1alpha1.PaymentSession) { of.Finalizers = []string{v1alpha1.ExpireFinalizer} }

// want fails the test if something does not hold.
func want(t *testing.T, holds bool, what string, object any) {
	t.Helper()
	if !holds {
		t.Errorf("want %s; got %+v", what, object)
	}
}

// Behaviours lists what the operator relies on.
var Behaviours = []Behaviour{
	{"a created object is complete", func(t *testing.T, api client.Client, namespace string) {
		of := gen.Session(namespace, "session", "omise", gen.ID("omise", 1))
		of.Spec.DesiredState, of.Spec.DeletionPolicy, of.Spec.ProviderRef.Kind = "", "", ""
		if err := api.Create(t.Context(), of); err != nil {
			t.Fatal(err)
		}
		want(t, of.UID != "" && of.ResourceVersion != "" && of.Generation == 1 && !of.CreationTimestamp.IsZero(), "metadata",
			of.ObjectMeta)
		want(t, of.Spec.DesiredState == "active" && of.Spec.DeletionPolicy == "Expire" && of.Spec.ProviderRef.Kind == "PaymentProvider",
			"defaults", of.Spec)
		want(t, of.Status.ObservedGeneration == -1, "a status that nobody takes for ready", of.Status)
	}},
	{"a provider gets its defaults", func(t *testing.T, api client.Client, namespace string) {
		provider := gen.Provider(namespace, "omise")
		if err := api.Create(t.Context(), provider); err != nil {
			t.Fatal(err)
		}
		spec := provider.Spec
		want(t, spec.RateLimit.Requests == 10 && spec.RateLimit.Burst == 20 && spec.MaxConcurrentRequests == 16 &&
			spec.Timeout.Duration.String() == "10s" && spec.PollInterval.Duration.String() == "10m0s" &&
			spec.RateLimit.Per.Duration.String() == "1s", "defaults", spec)
	}},
	{"a name is taken once", func(t *testing.T, api client.Client, namespace string) {
		made(t, api, namespace)
		err := api.Create(t.Context(), gen.Session(namespace, "session", "omise", gen.ID("omise", 2)))
		want(t, apierrors.IsAlreadyExists(err), "AlreadyExists", err)
	}},
	{"what does not exist is not found", func(t *testing.T, api client.Client, namespace string) {
		missing := gen.Session(namespace, "missing", "omise", gen.ID("omise", 1))
		want(t, apierrors.IsNotFound(api.Get(t.Context(), client.ObjectKeyFromObject(missing), missing)), "NotFound", "Get")
		want(t, apierrors.IsNotFound(api.Delete(t.Context(), missing)), "NotFound", "Delete")
		want(t, apierrors.IsNotFound(api.Patch(t.Context(), missing, gen.MergePatch(`{"spec":{"suspend":true}}`))),
			"NotFound", "Patch")
	}},
	{"a change of the spec is a new generation, another change is not", func(
		t *testing.T, api client.Client, namespace string,
	) {
		of := made(t, api, namespace, gen.Active)
		first := of.ResourceVersion
		patch(t, api, of, `{"metadata":{"labels":{"a":"b"}}}`)
		want(t, of.Generation == 1 && of.ResourceVersion != first, "generation 1 in a new version", of.ObjectMeta)
		second := of.ResourceVersion
		patch(t, api, of, `{"spec":{"suspend":true}}`)
		want(t, of.Generation == 2 && of.ResourceVersion != second, "generation 2 in a new version", of.ObjectMeta)
	}},
	{"a patch that changes nothing makes no version", func(t *testing.T, api client.Client, namespace string) {
		of := made(t, api, namespace)
		// The first patch of a client adds its name to the managed fields.
		patch(t, api, of, `{"spec":{"desiredState":"expired"}}`)
		before := of.ResourceVersion
		patch(t, api, of, `{"spec":{"desiredState":"expired"}}`)
		want(t, of.ResourceVersion == before, "version "+before, of.ObjectMeta)
	}},
	{"a patch of an older version is a conflict", func(t *testing.T, api client.Client, namespace string) {
		of := made(t, api, namespace)
		older := of.DeepCopy()
		patch(t, api, of, `{"metadata":{"labels":{"a":"b"}}}`)
		changed := older.DeepCopy()
		changed.Finalizers = []string{v1alpha1.ExpireFinalizer}
		err := api.Patch(t.Context(), changed, client.MergeFromWithOptions(older, client.MergeFromWithOptimisticLock{}))
		want(t, apierrors.IsConflict(err), "a conflict", err)
		want(t, len(read(t, api, of).Finalizers) == 0, "no finalizer", of.ObjectMeta)
	}},
	{"the status has a door of its own", func(t *testing.T, api client.Client, namespace string) {
		of := made(t, api, namespace)
		patch(t, api, of, `{"status":{"state":"expired"}}`)
		want(t, read(t, api, of).Status.State == "", "no state", of.Status)
		err := api.Status().Patch(t.Context(), of, gen.MergePatch(`{"spec":{"suspend":true},"status":{"state":"active"}}`))
		found := read(t, api, of)
		want(t, err == nil && found.Status.State == "active" && !found.Spec.Suspend && found.Generation == 1,
			"the status alone", found)
	}},
	{"an object without finalizers is deleted at once", func(t *testing.T, api client.Client, namespace string) {
		of := made(t, api, namespace)
		want(t, api.Delete(t.Context(), of) == nil, "no error", "Delete")
		want(t, apierrors.IsNotFound(api.Get(t.Context(), client.ObjectKeyFromObject(of), of)), "NotFound", "Get")
	}},
	{"an object with a finalizer waits for it", func(t *testing.T, api client.Client, namespace string) {
		of := made(t, api, namespace, protected)
		want(t, api.Delete(t.Context(), of) == nil, "no error", "Delete")
		found := read(t, api, of)
		want(t, !found.DeletionTimestamp.IsZero() && found.Generation == 2, "a deletion timestamp and a new generation",
			found.ObjectMeta)
		version := found.ResourceVersion
		want(t, api.Delete(t.Context(), of) == nil && read(t, api, of).ResourceVersion == version,
			"a second deletion without effect", found)
		patch(t, api, found, `{"metadata":{"finalizers":null}}`)
		want(t, apierrors.IsNotFound(api.Get(t.Context(), client.ObjectKeyFromObject(of), of)), "NotFound", "Get")
	}},
	{"a deletion admits no new finalizer", func(t *testing.T, api client.Client, namespace string) {
		of := made(t, api, namespace, protected)
		want(t, api.Delete(t.Context(), of) == nil, "no error", "Delete")
		err := api.Patch(t.Context(), of,
			gen.MergePatch(`{"metadata":{"finalizers":["`+v1alpha1.ExpireFinalizer+`","example.com/new"]}}`))
		want(t, apierrors.IsInvalid(err), "Invalid", err)
		patch(t, api, read(t, api, of), `{"metadata":{"finalizers":null}}`)
	}},
	{"a deletion can be bound to a version", func(t *testing.T, api client.Client, namespace string) {
		of := made(t, api, namespace)
		older := client.Preconditions{UID: new(of.UID), ResourceVersion: new(of.ResourceVersion)}
		patch(t, api, of, `{"metadata":{"labels":{"a":"b"}}}`)
		want(t, apierrors.IsConflict(api.Delete(t.Context(), of, older)), "a conflict", "Delete")
		other := client.Preconditions{UID: new(types.UID("another"))}
		want(t, apierrors.IsConflict(api.Delete(t.Context(), of, other)), "a conflict", "Delete")
	}},
	{"the identity of a session does not change", func(t *testing.T, api client.Client, namespace string) {
		of := made(t, api, namespace)
		for _, text := range []string{
			`{"spec":{"sessionID":"` + gen.ID("omise",
				9) + `"}}`, `{"spec":{"providerRef":{"name":"other"}}}`, `{"spec":{"desiredState":"active"}}`,
		} {
			want(t, apierrors.IsInvalid(api.Patch(t.Context(), of.DeepCopy(), gen.MergePatch(text))), "Invalid", text)
		}
	}},
	{"sessions are selected by their fields", func(t *testing.T, api client.Client, namespace string) {
		made(t, api, namespace)
		other := gen.Session(namespace, "other", "txn", gen.ID("txn", 1), gen.Active)
		if err := api.Create(t.Context(), other); err != nil {
			t.Fatal(err)
		}
		for _, tc := range []struct{ field, value, name string }{
			{v1alpha1.FieldDesiredState, "active", "other"}, {v1alpha1.FieldDesiredState, "expired", "session"},
			{v1alpha1.FieldProviderName, "txn", "other"},
		} {
			list := &v1alpha1.PaymentSessionList{}
			err := api.List(t.Context(), list, client.InNamespace(namespace), client.MatchingFields{tc.field: tc.value})
			want(t, err == nil && len(list.Items) == 1 && list.Items[0].Name == tc.name, tc.name, list.Items)
		}
	}},
	{"metadata is read and patched alone", func(t *testing.T, api client.Client, namespace string) {
		if err := api.Create(t.Context(), gen.Secret(namespace, "omise")); err != nil {
			t.Fatal(err)
		}
		secret := &metav1.PartialObjectMetadata{}
		secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
		name := types.NamespacedName{Namespace: namespace, Name: "omise"}
		want(t, api.Get(t.Context(), name, secret) == nil && secret.UID != "", "metadata", secret)
		before := secret.DeepCopy()
		secret.Finalizers = append(secret.Finalizers, v1alpha1.InUseFinalizer)
		err := api.Patch(t.Context(), secret, client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{}))
		whole := &corev1.Secret{}
		want(t, err == nil && api.Get(t.Context(), name, whole) == nil && slices.Contains(
			whole.Finalizers, v1alpha1.InUseFinalizer,
		) &&
			len(whole.Data["secretKey"]) > 0, "the finalizer beside the data", whole.ObjectMeta)
		patch(t, api, whole, `{"metadata":{"finalizers":null}}`)
	}},
	{"a namespace that is being deleted admits nothing new", func(t *testing.T, api client.Client, namespace string) {
		object := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: namespace}}
		if err := api.Delete(t.Context(), object); err != nil {
			t.Fatal(err)
		}
		err := api.Create(t.Context(), gen.Session(namespace, "late", "omise", gen.ID("omise", 1)))
		want(t, apierrors.HasStatusCause(err, corev1.NamespaceTerminatingCause), "a refusal because of the namespace", err)
	}},
}
