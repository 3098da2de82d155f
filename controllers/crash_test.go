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
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/simulator"
	"github.com/payops-dev/payment-session-operator/test/await"
	"github.com/payops-dev/payment-session-operator/test/gen"
)

var errKilled = errors.New("the process was killed")

// fuse blows at the n-th side effect: a write to the API server or a call to a provider. A fuse that kills lets that
// side effect happen without a reply to the manager, and prevents all later ones.
type fuse struct {
	kills bool

	mu    sync.Mutex
	left  int
	armed bool
	blown chan struct{}
}

func newFuse(kills bool) *fuse { return &fuse{kills: kills, blown: make(chan struct{})} }

// arm makes the fuse blow at the n-th side effect from now on.
func (f *fuse) arm(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.left, f.armed = n, true
}

// hasBlown reports whether the fuse has blown.
func (f *fuse) hasBlown() bool {
	select {
	case <-f.blown:
		return true
	default:
		return false
	}
}

// effect carries out one side effect, unless the process was killed. It returns errKilled if the process is killed.
func (f *fuse) effect(happen func() error) error {
	if f == nil {
		return happen()
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.kills && f.hasBlown() {
		return errKilled
	}
	err := happen()
	if !f.armed || f.hasBlown() {
		return err
	}
	if f.left--; f.left > 0 {
		return err
	}
	close(f.blown)
	if f.kills {
		return errKilled
	}
	return err
}

// client makes a client for the manager. Each of its writes is a side effect.
func (f *fuse) client(config *rest.Config, options client.Options) (client.Client, error) {
	made, err := client.NewWithWatch(config, options)
	if err != nil {
		return nil, err
	}
	return interceptor.NewClient(made, interceptor.Funcs{
		Patch: func(ctx context.Context, c client.WithWatch, object client.Object, patch client.Patch,
			options ...client.PatchOption) error {
			return f.effect(func() error { return c.Patch(ctx, object, patch, options...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, name string, object client.Object, patch client.Patch,
			options ...client.SubResourcePatchOption) error {
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

// story is a use of the operator. It must have the same end, wherever the operator was interrupted.
type story struct {
	// prepare runs before the fuse is armed, begin after it.
	prepare func(*testing.T, *world) []*v1alpha1.PaymentSession
	begin   func(*testing.T, *world, []*v1alpha1.PaymentSession)
	// awaitEnd waits until everything has reached its final state.
	awaitEnd func(*testing.T, *world, []*v1alpha1.PaymentSession)
}

var stories = map[string]story{
	"sessions are expired, starting with the first apply": {
		prepare: func(*testing.T, *world) []*v1alpha1.PaymentSession { return nil },
		begin: func(t *testing.T, w *world, _ []*v1alpha1.PaymentSession) {
			for _, provider := range []string{"circle", "helio"} {
				w.provide(t, provider)
				w.session(t, provider, simulator.Open, named(provider))
			}
		},
		awaitEnd: func(t *testing.T, w *world, _ []*v1alpha1.PaymentSession) {
			for _, provider := range []string{"circle", "helio"} {
				awaitExpired(t, w, gen.Session(w.namespace, provider, provider, ""))
			}
		},
	},
	"expireAt passes": {
		prepare: func(t *testing.T, w *world) []*v1alpha1.PaymentSession {
			w.provide(t, "txn")
			session := w.session(t, "txn", simulator.Open, gen.ExpireAt(w.clock.now().Add(time.Hour)))
			return []*v1alpha1.PaymentSession{w.reason(t, session, v1alpha1.ReasonScheduled)}
		},
		begin: func(t *testing.T, w *world, sessions []*v1alpha1.PaymentSession) {
			w.clock.step(2 * time.Hour)
			w.touch(t, sessions[0])
		},
		awaitEnd: func(t *testing.T, w *world, sessions []*v1alpha1.PaymentSession) { awaitExpired(t, w, sessions[0]) },
	},
	"sessions, their providers and their Secrets are deleted": {
		prepare: func(t *testing.T, w *world) []*v1alpha1.PaymentSession {
			var sessions []*v1alpha1.PaymentSession
			for _, provider := range []string{"circle", "omise"} {
				w.provide(t, provider)
				sessions = append(sessions,
					w.reason(t, w.session(t, provider, simulator.Open, gen.Active), v1alpha1.ReasonObserved))
			}
			return sessions
		},
		begin: func(t *testing.T, w *world, sessions []*v1alpha1.PaymentSession) {
			for _, object := range withProviders(w, sessions) {
				if err := w.Delete(t.Context(), object); err != nil {
					t.Error(err)
				}
			}
		},
		awaitEnd: func(t *testing.T, w *world, sessions []*v1alpha1.PaymentSession) {
			for _, object := range withProviders(w, sessions) {
				await.Gone(t, w, object)
			}
		},
	},
	"ttlAfterClosed passes": {
		prepare: func(t *testing.T, w *world) []*v1alpha1.PaymentSession {
			w.provide(t, "omise")
			return []*v1alpha1.PaymentSession{awaitExpired(t, w,
				w.session(t, "omise", simulator.Open, gen.TTLAfterClosed(time.Hour)))}
		},
		begin: func(t *testing.T, w *world, sessions []*v1alpha1.PaymentSession) {
			w.clock.step(2 * time.Hour)
			// If anything else requeues the session first, it is deleted before it is touched.
			if err := client.IgnoreNotFound(w.Patch(t.Context(), sessions[0], gen.Touch())); err != nil {
				t.Error(err)
			}
		},
		awaitEnd: func(t *testing.T, w *world, sessions []*v1alpha1.PaymentSession) { await.Gone(t, w, sessions[0]) },
	},
}

// TestInterruptedAtEachSideEffect interrupts the operator at the first, the second, … side effect of every story, and
// starts another one that must finish the story. The operator is either killed, and never learns that the side effect
// happened, or stopped, and finishes what is in progress.
func TestInterruptedAtEachSideEffect(t *testing.T) {
	t.Parallel()
	const limit = 60
	for name, story := range stories {
		for _, killed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, killed %v", name, killed), func(t *testing.T) {
				t.Parallel()
				for n := 1; n <= limit; n++ {
					survived := false
					t.Run(fmt.Sprintf("at %d", n), func(t *testing.T) { survived = story.interrupted(t, n, killed) })
					if survived {
						t.Logf("the story has %d side effects", n-1)
						return
					}
				}
				t.Errorf("the story has more than %d side effects", limit)
			})
		}
	}
}

// interrupted interrupts the manager at the n-th side effect. It reports whether the story has fewer side effects.
func (s story) interrupted(t *testing.T, n int, killed bool) bool {
	t.Helper()
	w := newWorld(t)
	w.stop()
	fuse := newFuse(killed)
	w.fuse.Store(fuse)
	w.start(t)
	sessions := s.prepare(t, w)
	fuse.arm(n)
	s.begin(t, w, sessions)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.awaitEnd(t, w, sessions)
	}()
	survived := false
	select {
	case <-fuse.blown:
		w.stop()
		w.fuse.Store(nil)
		w.start(t)
		<-ended
	case <-ended:
		survived = !fuse.hasBlown()
	}
	for _, object := range w.upstreams.Objects() {
		if object.State != simulator.Expired {
			t.Errorf("%s %s is %s in the provider's books", object.Provider, object.ID, object.State)
		}
	}
	return survived
}
