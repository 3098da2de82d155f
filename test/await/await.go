// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

// Package await waits in tests. It waits for objects by watching them, and checks every version that it sees as Flux
// and Helm (kstatus) and Argo CD (the health check of config/argocd) would read it.
package await

import (
	"context"
	"errors"
	"reflect"
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/apiutil"
	"sigs.k8s.io/yaml"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
)

const (
	// timeout is long enough for a busy machine. It is not a statement about speed.
	timeout = 2 * time.Minute
	// interval is the time between two tries of what cannot be watched.
	interval = 5 * time.Millisecond
)

// Reason waits until the Ready condition of an object has the reason, for the current generation.
func Reason[T client.Object](t *testing.T, c client.WithWatch, object T, reason string) T {
	t.Helper()
	return Until(t, c, object, "Ready has the reason "+reason, func(object T) bool {
		ready := apimeta.FindStatusCondition(Conditions(t, object), v1alpha1.ConditionReady)
		return ready != nil && ready.Reason == reason && ready.ObservedGeneration == object.GetGeneration()
	})
}

// Until waits until an object meets a condition, and returns the object that does.
func Until[T client.Object](t *testing.T, c client.WithWatch, object T, what string, holds func(T) bool) T {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	var last T
	for event := range events(ctx, t, c, object) {
		seen, ok := event.Object.(T)
		if !ok || event.Type == watch.Deleted {
			continue
		}
		last = seen
		checkGitOps(t, seen)
		if holds(seen) {
			return seen
		}
	}
	if reflect.ValueOf(last).IsNil() {
		t.Fatalf("waited for: %s; the object was never seen", what)
	}
	text, err := yaml.Marshal(last)
	t.Fatalf("waited for: %s; the object is\n%s%v", what, text, err)
	return last
}

// Gone waits until an object no longer exists.
func Gone(t *testing.T, c client.WithWatch, object client.Object) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), timeout)
	defer cancel()
	seen := events(ctx, t, c, object)
	if err := c.Get(ctx, client.ObjectKeyFromObject(object), object); client.IgnoreNotFound(err) == nil && err != nil {
		return
	}
	for event := range seen {
		if event.Type == watch.Deleted {
			return
		}
	}
	t.Fatalf("waited for %s to be gone", object.GetName())
}

// True waits until a condition holds that cannot be watched.
func True(t *testing.T, what string, holds func() bool) {
	t.Helper()
	Success(t, what, func() error {
		if holds() {
			return nil
		}
		return errors.New("it does not hold")
	})
}

// Success waits until a function succeeds, and reports its last error if it never does. Use True where there is no
// error to report.
func Success(t *testing.T, what string, try func() error) {
	t.Helper()
	var last error
	// Tests wait in their cleanup, too, where their own context is already canceled.
	succeeded := func(context.Context) (bool, error) {
		last = try()
		return last == nil, nil
	}
	if err := wait.PollUntilContextTimeout(context.Background(), interval, timeout, true, succeeded); err != nil {
		t.Fatalf("waited until %s: %v", what, last)
	}
}

// events watches one object, starting with its current state.
func events(ctx context.Context, t *testing.T, c client.WithWatch, object client.Object) <-chan watch.Event {
	t.Helper()
	kind, err := apiutil.GVKForObject(object, c.Scheme())
	if err != nil {
		t.Fatal(err)
	}
	kind.Kind += "List"
	made, err := c.Scheme().New(kind)
	if err != nil {
		t.Fatal(err)
	}
	list, ok := made.(client.ObjectList)
	if !ok {
		t.Fatalf("%s is not a list", kind)
	}
	named := client.MatchingFields{"metadata.name": object.GetName()}
	watched, err := c.Watch(ctx, list, client.InNamespace(object.GetNamespace()), named)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(watched.Stop)
	events := make(chan watch.Event)
	go func() {
		defer close(events)
		for {
			select {
			case <-ctx.Done():
				return
			case event, open := <-watched.ResultChan():
				if !open {
					return
				}
				select {
				case events <- event:
				case <-ctx.Done():
					return
				}
			}
		}
	}()
	return events
}

// Conditions returns the conditions of an object of one of the five kinds, nil for any other object.
func Conditions(t *testing.T, object client.Object) []metav1.Condition {
	t.Helper()
	switch object := object.(type) {
	case *v1alpha1.PaymentSession:
		return object.Status.Conditions
	case v1alpha1.GenericProvider:
		return object.ProviderStatus().Conditions
	case *v1alpha1.PaymentSweep:
		return object.Status.Conditions
	case *v1alpha1.PaymentProviderClass:
		return object.Status.Conditions
	default:
		return nil
	}
}
