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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/session"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

const (
	// finalizerGrace is how long a new object may lack the finalizer that a manager adds. A deletion waits for it that
	// long.
	finalizerGrace = 10 * time.Second
	// claimsLifetime is the time after the last use for which the claims of a namespace are kept.
	claimsLifetime = time.Minute
)

// claim is a live object that wants a session active.
type claim struct {
	uid       types.UID
	sessionID string
	// effective is true where the object takes the session over: its own deletion expires the session, or its policy
	// retains it. A claim that is not effective yet may still get the finalizer.
	effective bool
}

// duplicates finds other objects that want the same session active. The deletion of an object that was renamed in Git
// must not expire the session. Only objects of the same namespace count: otherwise anyone could prevent the expiry of
// another tenant's session.
type duplicates struct {
	cache, live client.Reader
	now         func() time.Time

	mu sync.Mutex
	// claims holds the claims of each namespace, as the API server has them.
	claims map[string]*namespaceClaims
	// found holds the UIDs of the sessions for which a live read has found a duplicate that the cache may not have.
	found sync.Map
}

type namespaceClaims struct {
	sharedRead[map[string][]claim]

	usedAt time.Time
	// terminating is the UID of the namespace that was first seen being deleted at terminatingSince. Nothing can be
	// created in it any more.
	terminating      types.UID
	terminatingSince time.Time
}

// claimKey returns a key that objects of the same session have in common. It ignores case, because only the class
// knows whether ids that differ in case are the same session.
func claimKey(of *v1alpha1.PaymentSession) string {
	return strings.ToLower(providerOf(of).String() + "/" + of.Spec.SessionID)
}

// claimOf returns an object's claim, if it has one.
func (d *duplicates) claimOf(of *v1alpha1.PaymentSession) (claim, bool) {
	if !of.DeletionTimestamp.IsZero() || session.DesiredBySpec(of, d.now()) != v1alpha1.DesiredStateActive {
		return claim{}, false
	}
	effective := session.HasFinalizer(of) || of.Spec.DeletionPolicy == v1alpha1.DeletionPolicyRetain
	isNew := d.now().Sub(of.CreationTimestamp.Time) < finalizerGrace
	return claim{uid: of.UID, sessionID: of.Spec.SessionID, effective: effective}, effective || isNew
}

// claimed reports whether another object claims the same session, and whether one of these claims is effective.
func claimed(claims []claim, of *v1alpha1.PaymentSession, definition *upstream.Definition) (found, effective bool) {
	for _, other := range claims {
		same := other.sessionID == of.Spec.SessionID || definition != nil && definition.SameSession(
			other.sessionID, of.Spec.SessionID,
		)
		if other.uid != of.UID && same {
			found, effective = true, effective || other.effective
		}
	}
	return found, effective
}

// exists reports whether a session that is being deleted has a duplicate that takes it over. It asks the API server
// only if the cache, or an earlier live read, has found one.
func (d *duplicates) exists(ctx context.Context, of *v1alpha1.PaymentSession,
	definition *upstream.Definition) (bool, error) {
	if session.DesiredBySpec(of, d.now()) != v1alpha1.DesiredStateActive {
		return false, nil
	}
	if _, known := d.found.Load(of.UID); !known {
		found, err := d.inCache(ctx, of, definition)
		if !found || err != nil {
			return false, err
		}
	}
	if _, effective, err := d.inAPI(ctx, of, definition, time.Now()); !effective || err != nil {
		return false, err
	}
	terminating, err := d.terminating(ctx, of.Namespace)
	return !terminating, err
}

// terminating reads from the API server whether a namespace is being deleted. The other object then goes as well,
// whether it expires the session or leaves it payable: it takes nothing over.
func (d *duplicates) terminating(ctx context.Context, name string) (bool, error) {
	namespace := &corev1.Namespace{}
	err := d.live.Get(ctx, types.NamespacedName{Name: name}, namespace)
	switch {
	case apierrors.IsNotFound(err):
		return true, nil
	case err != nil:
		return false, fmt.Errorf("cannot read namespace %s: %w", name, err)
	}
	return !namespace.DeletionTimestamp.IsZero(), nil
}

// none reports whether neither the cache nor the API server has another object that prevents the expiry of a session
// being deleted. All deletions of a namespace share a live read that is recent enough. In a namespace that is being
// deleted nothing can be created, so that one read is enough for all of its sessions.
func (d *duplicates) none(ctx context.Context, of *v1alpha1.PaymentSession, definition *upstream.Definition,
	notBefore time.Time) (bool, error) {
	if session.DesiredBySpec(of, d.now()) != v1alpha1.DesiredStateActive {
		return true, nil
	}
	cached, err := d.inCache(ctx, of, definition)
	if err != nil {
		return false, err
	}
	if since, terminating := d.terminatingSince(ctx, of.Namespace); terminating && since.Before(notBefore) {
		notBefore = since
	}
	live, _, err := d.inAPI(ctx, of, definition, notBefore)
	if !cached && !live || err != nil {
		return err == nil, err
	}
	// The other object may be gone by now.
	live, _, err = d.inAPI(ctx, of, definition, time.Now())
	return !live && err == nil, err
}

// terminatingSince returns when a namespace was first seen being deleted, if it is. A stale cache may miss a
// deletion, but never invents one.
func (d *duplicates) terminatingSince(ctx context.Context, name string) (time.Time, bool) {
	namespace := &corev1.Namespace{}
	if err := d.cache.Get(ctx, types.NamespacedName{Name: name},
		namespace); err != nil || namespace.DeletionTimestamp.IsZero() {
		return time.Time{}, false
	}
	claims := d.namespace(name)
	d.mu.Lock()
	defer d.mu.Unlock()
	if claims.terminating != namespace.UID {
		claims.terminating, claims.terminatingSince = namespace.UID, time.Now()
	}
	return claims.terminatingSince, true
}

// inCache reports whether the cache has a claim of another object.
func (d *duplicates) inCache(ctx context.Context, of *v1alpha1.PaymentSession,
	definition *upstream.Definition) (bool, error) {
	list := &v1alpha1.PaymentSessionList{}
	byClaim := client.MatchingFields{sessionsByClaim: claimKey(of)}
	if err := d.cache.List(ctx, list, client.InNamespace(of.Namespace), byClaim,
		client.UnsafeDisableDeepCopy); err != nil {
		return false, fmt.Errorf("cannot list other objects of the session: %w", err)
	}
	found, _ := claimed(d.claimsOf(list)[claimKey(of)], of, definition)
	return found, nil
}

// inAPI reports whether the API server has a claim of another object, and whether one of these claims is effective.
// It uses a read that began at notBefore or later.
func (d *duplicates) inAPI(
	ctx context.Context, of *v1alpha1.PaymentSession, definition *upstream.Definition, notBefore time.Time,
) (found, effective bool, err error) {
	claims, err := d.namespace(of.Namespace).get(ctx, notBefore)
	if err != nil {
		return false, false, fmt.Errorf("cannot list other objects of the session: %w", err)
	}
	found, effective = claimed(claims[claimKey(of)], of, definition)
	if found {
		d.found.Store(of.UID, true)
	} else {
		d.found.Delete(of.UID)
	}
	return found, effective, nil
}

// namespace returns the shared read of a namespace, and forgets the namespaces that were not used recently.
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
			active := client.MatchingFields{v1alpha1.FieldDesiredState: string(v1alpha1.DesiredStateActive)}
			err := d.live.List(ctx, list, client.InNamespace(name), active)
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

// forgetUnused forgets the namespaces that were not used recently. The mutex must be held.
func (d *duplicates) forgetUnused(now time.Time) {
	for name, idle := range d.claims {
		if now.Sub(idle.usedAt) > claimsLifetime {
			delete(d.claims, name)
		}
	}
}

// forget drops everything about a session that no longer exists.
func (d *duplicates) forget(uid types.UID) {
	d.found.Delete(uid)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.forgetUnused(time.Now())
}
