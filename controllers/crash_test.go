// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

var errKilled = errors.New("the process was killed")

// fuse kills a manager after a number of side effects: writes to the API server and calls to providers. The last of them still
// has its effect; nobody learns of it.
type fuse struct {
	mu    sync.Mutex
	left  int
	armed bool
	blown chan struct{}
}

func newFuse() *fuse { return &fuse{blown: make(chan struct{})} }

// arm lets the fuse blow at the n-th side effect from now.
func (f *fuse) arm(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.armed = n, true
}

// dead reports whether the fuse has blown.
func (f *fuse) dead() bool {
	select {
	case <-f.blown:
		return true
	default:
		return false
	}
}

// effect lets one side effect happen, unless the process is dead, and reports whether it dies of it.
func (f *fuse) effect(happen func() error) error {
	if f == nil {
		return happen()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.dead() {
		return errKilled
	}
	err := happen()
	if !f.armed {
		return err
	}
	if f.left--; f.left == 0 {
		close(f.blown)
		return errKilled
	}
	return err
}

// client makes a manager's client, whose every write is a side effect.
func (f *fuse) client(config *rest.Config, options client.Options) (client.Client, error) {
	made, err := client.NewWithWatch(config, options)
	if err != nil {
		return nil, err
	}
	return interceptor.NewClient(made, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch, options ...client.PatchOption) error {
			return f.effect(func() error { return c.Patch(ctx, object, patch, options...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, object client.Object, patch client.Patch, options ...client.SubResourcePatchOption) error {
			return f.effect(func() error { return c.SubResource(name).Patch(ctx, object, patch, options...) })
		},
		Delete: func(ctx context.Context, c client.WithWatch, object client.Object, options ...client.DeleteOption) error {
			return f.effect(func() error { return c.Delete(ctx, object, options...) })
		},
	}), nil
}

// guarded makes every call to a provider a side effect.
func (w *world) guarded(providers http.Handler) http.Handler {
	return http.HandlerFunc(func(out http.ResponseWriter, request *http.Request) {
		reply := httptest.NewRecorder()
		err := w.fuse.Load().effect(func() error {
			providers.ServeHTTP(reply, request)
			return nil
		})
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		maps.Copy(out.Header(), reply.Header())
		out.WriteHeader(reply.Code)
		_, _ = out.Write(reply.Body.Bytes())
	})
}

// TestKilledAfterEachSideEffectOfADeletion kills the operator after the first, the second, … side effect of deleting sessions,
// their providers and their Secrets, and lets a fresh one finish. The end is always the same.
func TestKilledAfterEachSideEffectOfADeletion(t *testing.T) {
	const enough = 40
	for n := 1; n <= enough; n++ {
		survived := false
		t.Run(fmt.Sprintf("after %d", n), func(t *testing.T) { survived = killedAfter(t, n) })
		if survived {
			t.Logf("a deletion has %d side effects", n-1)
			return
		}
	}
	t.Errorf("a deletion has more than %d side effects", enough)
}

// killedAfter kills the manager after n side effects. It reports whether there were not as many.
func killedAfter(t *testing.T, n int) bool {
	t.Helper()
	w := newWorld(t)
	w.stop()
	burning := newFuse()
	w.fuse.Store(burning)
	w.start(t)
	var objects []client.Object
	var sessions []*v1alpha1.PaymentSession
	for _, provider := range []string{"circle", "omise"} {
		objects = append(objects, w.provide(t, provider), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: w.namespace, Name: provider}})
		sessions = append(sessions, w.session(t, provider, simulator.Open, gen.Active))
	}
	for _, session := range sessions {
		w.reason(t, session, v1alpha1.ReasonObserved)
		objects = append(objects, session)
	}
	burning.arm(n)
	for _, object := range objects {
		if err := w.Delete(t.Context(), object); err != nil {
			t.Fatal(err)
		}
	}
	gone := make(chan struct{})
	go func() {
		defer close(gone)
		for _, object := range objects {
			await.Gone(t, w, object)
		}
	}()
	survived := false
	select {
	case <-burning.blown:
		w.stop()
		w.fuse.Store(nil)
		w.start(t)
		<-gone
	case <-gone:
		survived = !burning.dead()
	}
	for _, session := range sessions {
		if state := w.upstreams.State(session.Spec.ProviderRef.Name, session.Spec.SessionID); state != simulator.Expired {
			t.Errorf("%s is %s in the provider's books", session.Name, state)
		}
	}
	return survived
}
