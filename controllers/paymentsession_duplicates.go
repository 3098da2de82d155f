// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

const (
	// newborn is how long an object may live without the finalizer that a manager puts on it. Until then a deletion waits for it.
	newborn = 10 * time.Second
	// unused is after how long without a question the objects of a namespace are forgotten.
	unused = time.Minute
)

// claim is a live object that wants a session active.
type claim struct {
	uid       types.UID
	sessionID string
	// settled is true where the object keeps the session by itself: its own deletion expires it, or its policy retains it. One that is
	// not may still get the finalizer.
	settled bool
}

// duplicates finds other objects that want the same session active. A session that was renamed in Git is not to be expired by the
// deletion of the old object. Only objects of the same namespace count: anyone could create one elsewhere and so prevent the expiry of a
// session of another tenant.
type duplicates struct {
	cache, live client.Reader
	now         func() time.Time

	mu sync.Mutex
	// claims are the live claims of a namespace by session, as the API server has them.
	claims map[string]*namespaceClaims
	// found are the sessions, by UID, of which a live read has found a duplicate that the cache may not hold.
	found sync.Map
}

type namespaceClaims struct {
	sharedRead[map[string][]claim]

	usedAt time.Time
	// sealed is the namespace, by UID, that was first seen being deleted at sealedAt: nothing can be created in it any more.
	sealed   types.UID
	sealedAt time.Time
}

// claimKey names a session as well as that can be said without its class: ids that differ in case may be the same session.
func claimKey(of *v1alpha1.PaymentSession) string {
	return strings.ToLower(providerOf(of).String() + "/" + of.Spec.SessionID)
}

// claimOf is an object's claim, if it has one.
func (d *duplicates) claimOf(of *v1alpha1.PaymentSession) (claim, bool) {
	if !of.DeletionTimestamp.IsZero() || session.DesiredBySpec(of, d.now()) != v1alpha1.DesiredStateActive {
		return claim{}, false
	}
	settled := session.HasFinalizer(of) || of.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain
	young := d.now().Sub(of.CreationTimestamp.Time) < newborn
	return claim{uid: of.UID, sessionID: of.Spec.SessionID, settled: settled}, settled || young
}

// wants reports whether the claims have one of another object to the same session, and whether it is settled.
func wants(claims []claim, of *v1alpha1.PaymentSession, definition *upstream.Definition) (there, settled bool) {
	for _, other := range claims {
		same := other.sessionID == of.Spec.SessionID || definition != nil && definition.SameSession(other.sessionID, of.Spec.SessionID)
		if other.uid != of.UID && same {
			there, settled = true, settled || other.settled
		}
	}
	return there, settled
}

// exists reports whether a session that is being deleted has a duplicate that takes it over. The API server is asked only where the
// cache, or a live read before, has found one: a session that is released because of a duplicate is not expired.
func (d *duplicates) exists(ctx context.Context, of *v1alpha1.PaymentSession, definition *upstream.Definition) (bool, error) {
	if session.DesiredBySpec(of, d.now()) != v1alpha1.DesiredStateActive {
		return false, nil
	}
	if _, known := d.found.Load(of.UID); !known {
		there, err := d.cached(ctx, of, definition)
		if !there || err != nil {
			return false, err
		}
	}
	_, settled, err := d.ask(ctx, of, definition, time.Now())
	return settled, err
}

// none reports whether neither the cache nor the API server has another object that prevents the expiry of a session being deleted.
// The API server is asked once for all deletions of a namespace that can live with an answer of that age. In a namespace that is being
// deleted nothing comes any more, so that one answer is enough for all of its sessions.
func (d *duplicates) none(ctx context.Context, of *v1alpha1.PaymentSession, definition *upstream.Definition, notBefore time.Time) (bool, error) {
	if session.DesiredBySpec(of, d.now()) != v1alpha1.DesiredStateActive {
		return true, nil
	}
	cached, err := d.cached(ctx, of, definition)
	if err != nil {
		return false, err
	}
	if sealedAt, sealed := d.sealedAt(ctx, of.Namespace); sealed && sealedAt.Before(notBefore) {
		notBefore = sealedAt
	}
	there, _, err := d.ask(ctx, of, definition, notBefore)
	if !cached && !there || err != nil {
		return err == nil, err
	}
	// What was found may have gone since.
	there, _, err = d.ask(ctx, of, definition, time.Now())
	return !there && err == nil, err
}

// sealedAt is when a namespace was first seen being deleted, if it is. A stale cache may miss a deletion; it never invents one.
func (d *duplicates) sealedAt(ctx context.Context, name string) (time.Time, bool) {
	namespace := &corev1.Namespace{}
	if err := d.cache.Get(ctx, types.NamespacedName{Name: name}, namespace); err != nil || namespace.DeletionTimestamp.IsZero() {
		return time.Time{}, false
	}
	claims := d.namespace(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if claims.sealed != namespace.UID {
		claims.sealed, claims.sealedAt = namespace.UID, time.Now()
	}
	return claims.sealedAt, true
}

// cached reports whether the cache has a claim of another object.
func (d *duplicates) cached(ctx context.Context, of *v1alpha1.PaymentSession, definition *upstream.Definition) (bool, error) {
	list := &v1alpha1.PaymentSessionList{}
	err := d.cache.List(ctx, list, client.InNamespace(of.Namespace), client.MatchingFields{sessionsByClaim: claimKey(of)}, client.UnsafeDisableDeepCopy)
	if err != nil {
		return false, fmt.Errorf("cannot look for another object of the session: %w", err)
	}
	there, _ := wants(d.claimsOf(list)[claimKey(of)], of, definition)
	return there, nil
}

// ask asks the API server, and remembers what it says.
func (d *duplicates) ask(ctx context.Context, of *v1alpha1.PaymentSession, definition *upstream.Definition, notBefore time.Time) (there, settled bool, err error) {
	claims, err := d.namespace(of.Namespace).get(ctx, notBefore)
	if err != nil {
		return false, false, fmt.Errorf("cannot look for another object of the session: %w", err)
	}
	there, settled = wants(claims[claimKey(of)], of, definition)
	if there {
		d.found.Store(of.UID, true)
	} else {
		d.found.Delete(of.UID)
	}
	return there, settled, nil
}

// namespace gives the shared read of a namespace, and forgets those that nobody has needed for long.
func (d *duplicates) namespace(name string) *namespaceClaims {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := time.Now()
	d.forgetUnused(now)
	if d.claims == nil {
		d.claims = map[string]*namespaceClaims{}
	}
	if d.claims[name] == nil {
		d.claims[name] = &namespaceClaims{}
		d.claims[name].read = func(ctx context.Context) (map[string][]claim, error) {
			list := &v1alpha1.PaymentSessionList{}
			err := d.live.List(ctx, list, client.InNamespace(name), client.MatchingFields{"spec.desiredState": string(v1alpha1.DesiredStateActive)})
			return d.claimsOf(list), err
		}
	}
	d.claims[name].usedAt = now
	return d.claims[name]
}

func (d *duplicates) claimsOf(list *v1alpha1.PaymentSessionList) map[string][]claim {
	claims := map[string][]claim{}
	for i := range list.Items {
		if made, ok := d.claimOf(&list.Items[i]); ok {
			key := claimKey(&list.Items[i])
			claims[key] = append(claims[key], made)
		}
	}
	return claims
}

// forgetUnused forgets the namespaces that nobody has asked about for long. The mutex is held.
func (d *duplicates) forgetUnused(now time.Time) {
	for name, idle := range d.claims {
		if now.Sub(idle.usedAt) > unused {
			delete(d.claims, name)
		}
	}
}

// forget drops what is known of a session that no longer exists.
func (d *duplicates) forget(uid types.UID) {
	d.found.Delete(uid)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgetUnused(time.Now())
}
