// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
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

// fuse blows at the n-th side effect: a write to the API server or a call to a provider. One that kills lets that happen and
// nothing after it, and nobody learns of it.
type fuse struct {
	kills bool

	mu    sync.Mutex
	left  int
	armed bool
	blown chan struct{}
}

func newFuse(kills bool) *fuse { return &fuse{kills: kills, blown: make(chan struct{})} }

// arm lets the fuse blow at the n-th side effect from now.
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

// effect lets one side effect happen, unless the process is dead, and reports whether it dies of it.
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

// story is something that users want of the operator, whose end must be the same wherever the operator was interrupted.
type story struct {
	// prepare is done before the fuse is armed, begin after.
	prepare func(*testing.T, *world) []*v1alpha1.PaymentSession
	begin   func(*testing.T, *world, []*v1alpha1.PaymentSession)
	// awaitEnd waits until all has come to its end.
	awaitEnd func(*testing.T, *world, []*v1alpha1.PaymentSession)
}

var stories = map[string]story{
	"sessions are expired, from the first apply on": {
		prepare: func(*testing.T, *world) []*v1alpha1.PaymentSession { return nil },
		begin: func(t *testing.T, w *world, _ []*v1alpha1.PaymentSession) {
			for _, provider := range []string{"circle", "helio"} {
				w.provide(t, provider)
				w.session(t, provider, simulator.Open, named(provider))
			}
		},
		awaitEnd: func(t *testing.T, w *world, _ []*v1alpha1.PaymentSession) {
			for _, provider := range []string{"circle", "helio"} {
				awaitClosed(t, w, gen.Session(w.namespace, provider, provider, ""))
			}
		},
	},
	"expireAt comes": {
		prepare: func(t *testing.T, w *world) []*v1alpha1.PaymentSession {
			w.provide(t, "txn")
			session := w.session(t, "txn", simulator.Open, gen.ExpireAt(w.clock.now().Add(time.Hour)))
			return []*v1alpha1.PaymentSession{w.reason(t, session, v1alpha1.ReasonScheduled)}
		},
		begin: func(t *testing.T, w *world, sessions []*v1alpha1.PaymentSession) {
			w.clock.step(2 * time.Hour)
			w.change(t, sessions[0], `{"metadata":{"labels":{"touched":"yes"}}}`)
		},
		awaitEnd: func(t *testing.T, w *world, sessions []*v1alpha1.PaymentSession) { awaitClosed(t, w, sessions[0]) },
	},
	"sessions, their providers and their Secrets are deleted": {
		prepare: func(t *testing.T, w *world) []*v1alpha1.PaymentSession {
			var sessions []*v1alpha1.PaymentSession
			for _, provider := range []string{"circle", "omise"} {
				w.provide(t, provider)
				sessions = append(sessions, w.reason(t, w.session(t, provider, simulator.Open, gen.Active), v1alpha1.ReasonObserved))
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
	"the time to live is over": {
		prepare: func(t *testing.T, w *world) []*v1alpha1.PaymentSession {
			w.provide(t, "omise")
			return []*v1alpha1.PaymentSession{awaitClosed(t, w, w.session(t, "omise", simulator.Open, gen.TTLAfterClosed(time.Hour)))}
		},
		begin: func(t *testing.T, w *world, sessions []*v1alpha1.PaymentSession) {
			w.clock.step(2 * time.Hour)
			// It may be gone before it is touched, if anything else has woken it.
			touch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"touched":"yes"}}}`))
			if err := client.IgnoreNotFound(w.Patch(t.Context(), sessions[0], touch)); err != nil {
				t.Error(err)
			}
		},
		awaitEnd: func(t *testing.T, w *world, sessions []*v1alpha1.PaymentSession) { await.Gone(t, w, sessions[0]) },
	},
}

// named gives a session a name that is known before it is there.
func named(name string) gen.SessionOption {
	return func(session *v1alpha1.PaymentSession) { session.Name = name }
}

// awaitClosed waits until a session is expired and bears no finalizer.
func awaitClosed(t *testing.T, w *world, session *v1alpha1.PaymentSession) *v1alpha1.PaymentSession {
	t.Helper()
	return await.Until(t, w, session, "it is expired and has no finalizer", func(s *v1alpha1.PaymentSession) bool {
		return s.Status.State == v1alpha1.SessionStateExpired && len(s.Finalizers) == 0
	})
}

// withProviders are sessions with the providers and Secrets that they use, in a random order.
func withProviders(w *world, sessions []*v1alpha1.PaymentSession) []client.Object {
	var objects []client.Object
	for _, session := range sessions {
		provider := session.Spec.ProviderRef.Name
		objects = append(objects, session, gen.Provider(w.namespace, provider), gen.Secret(w.namespace, provider))
	}
	rand.Shuffle(len(objects), func(i, j int) { objects[i], objects[j] = objects[j], objects[i] })
	return objects
}

// TestInterruptedAtEachSideEffect ends the operator at the first, the second, … side effect of every story, and lets a fresh one
// finish it. It is killed, so that nobody learns of that effect, or it is told to stop, and finishes what is under way.
func TestInterruptedAtEachSideEffect(t *testing.T) {
	t.Parallel()
	const enough = 60
	for name, tells := range stories {
		for _, killed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, killed %v", name, killed), func(t *testing.T) {
				t.Parallel()
				for n := 1; n <= enough; n++ {
					survived := false
					t.Run(fmt.Sprintf("at %d", n), func(t *testing.T) { survived = tells.interrupted(t, n, killed) })
					if survived {
						t.Logf("it has %d side effects", n-1)
						return
					}
				}
				t.Errorf("it has more than %d side effects", enough)
			})
		}
	}
}

// interrupted ends the manager at the n-th side effect. It reports whether there were not as many.
func (s story) interrupted(t *testing.T, n int, killed bool) bool {
	t.Helper()
	w := newWorld(t)
	w.stop()
	burning := newFuse(killed)
	w.fuse.Store(burning)
	w.start(t)
	sessions := s.prepare(t, w)
	burning.arm(n)
	s.begin(t, w, sessions)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		s.awaitEnd(t, w, sessions)
	}()
	survived := false
	select {
	case <-burning.blown:
		w.stop()
		w.fuse.Store(nil)
		w.start(t)
		<-ended
	case <-ended:
		survived = !burning.hasBlown()
	}
	for _, object := range w.upstreams.Objects() {
		if object.State != simulator.Expired {
			t.Errorf("%s %s is %s in the provider's books", object.Provider, object.ID, object.State)
		}
	}
	return survived
}
