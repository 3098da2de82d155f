// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package controllers

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/payops-dev/payment-session-operator/api/v1alpha1"
	"github.com/payops-dev/payment-session-operator/internal/upstream"
)

// deletedSecretDelay is the time until a Secret that is being deleted is checked. During the teardown of a namespace
// its provider reads it again and again.
const deletedSecretDelay = 5 * time.Second

// unready is why a provider has no account.
type unready struct {
	// reason of the provider's Ready condition, and sessionReason of its sessions'.
	reason        string
	sessionReason string
	message       string
	// stalls is true where it cannot resolve itself.
	stalls bool
}

func (u *unready) Error() string { return u.message }

func notReady(reason, format string, arguments ...any) error {
	return &unready{
		reason: reason, sessionReason: v1alpha1.ReasonProviderNotReady, message: fmt.Sprintf(format, arguments...),
	}
}

func credentialsMissing(format string, arguments ...any) error {
	const reason = v1alpha1.ReasonCredentialsMissing
	return &unready{reason: reason, sessionReason: reason, message: fmt.Sprintf(format, arguments...)}
}

// errUnprotected reports that a provider, or its Secret, could be gone before the sessions that need it.
var errUnprotected = errors.New("the provider or its Secret does not have the in-use finalizer yet")

// connection is what a provider's spec, class and Secret amount to.
type connection struct {
	settings settings
	endpoint *upstream.Endpoint
}

// connect resolves a provider's spec, class and Secret. The error is an *unready or errUnprotected, unless the API
// server failed. The connection then has what was resolved before.
func (r *ProviderReconciler) connect(ctx context.Context, provider v1alpha1.GenericProvider) (connection, error) {
	made := connection{settings: settingsOf(provider)}
	class, definition, err := r.class(ctx, provider.ProviderSpec().ClassName)
	if err != nil {
		return made, err
	}
	base, err := definition.BaseURL(provider.ProviderSpec().Environment, provider.ProviderSpec().Endpoint)
	if err != nil {
		return made, notReady(v1alpha1.ReasonInvalidEnvironment, "%s.", err)
	}
	token := definition.TokenURL(provider.ProviderSpec().Environment, provider.ProviderSpec().Endpoint, base)
	if isPlain := base.Scheme != "https" || token != nil && token.Scheme != "https"; isPlain && !r.AllowPrivate {
		return made, notReady(v1alpha1.ReasonEndpointNotAllowed,
			"the endpoint is plain http. Use https: the operator sends credentials there.")
	}
	ownership, err := r.ownership(provider.ProviderSpec().Ownership)
	if err != nil {
		return made, err
	}
	// The rule is a part of how replies are read: those that were read by another one prove nothing about the owner.
	rule := provider.ProviderSpec().Ownership
	made.settings.access.endpoint = fmt.Sprintln(class.UID, class.Generation, base, token, rule)
	credentials, err := r.credentials(ctx, provider, definition)
	if err != nil {
		return made, err
	}
	made.settings.access.credentials = digest(credentials)
	made.endpoint = &upstream.Endpoint{
		Definition: definition, BaseURL: base, TokenURL: token, Credentials: credentials, Ownership: ownership,
	}
	return made, nil
}

// ownership compiles a provider's ownership rule; nil where it has none.
func (r *ProviderReconciler) ownership(rule v1alpha1.Ownership) (*upstream.Ownership, error) {
	compiled, err := upstream.CompileOwnership(rule)
	switch {
	case err != nil:
		return nil, &unready{
			reason: v1alpha1.ReasonInvalidOwnership, sessionReason: v1alpha1.ReasonProviderNotReady, stalls: true,
			message: fmt.Sprintf("its ownership rule is not valid: %s.", err),
		}
	case compiled.UsesCluster() && r.ClusterName == "":
		const reason = v1alpha1.ReasonOwnershipIncomplete
		return nil, &unready{
			reason: reason, sessionReason: reason, stalls: true,
			message: "its ownership rule uses cluster.name, and the operator runs without --cluster-name. Set the flag to a " +
				"name that no other cluster with the account has.",
		}
	default:
		return compiled, nil
	}
}

// class returns a class and its definition.
func (r *ProviderReconciler) class(ctx context.Context, name string) (*v1alpha1.PaymentProviderClass,
	*upstream.Definition, error) {
	class := &v1alpha1.PaymentProviderClass{}
	err := r.Client.Get(ctx, types.NamespacedName{Name: name}, class)
	if apierrors.IsNotFound(err) {
		return nil, nil, notReady(v1alpha1.ReasonClassNotFound,
			"PaymentProviderClass %s does not exist. Create it, or set className to one that does.", name)
	}
	if err != nil {
		return nil, nil, fmt.Errorf("cannot read PaymentProviderClass %s: %w", name, err)
	}
	definition, err := r.Definitions.Of(class)
	if err != nil {
		return nil, nil, notReady(v1alpha1.ReasonClassNotReady, "PaymentProviderClass %s is not valid; its own status says where.", name)
	}
	return class, definition, nil
}

// credentials returns the credentials in the provider's Secret.
func (r *ProviderReconciler) credentials(
	ctx context.Context, provider v1alpha1.GenericProvider, definition *upstream.Definition,
) (upstream.Credentials, error) {
	name := secretOf(provider, provider.ProviderSpec().CredentialsSecretRef.Name, r.SecretNamespace)
	secret, err := r.secret(ctx, name)
	if err != nil {
		return nil, err
	}
	if !isProtected(provider) || !isProtected(secret) {
		return nil, errUnprotected
	}
	credentials, err := definition.Credentials(secret.Data)
	var missing *upstream.MissingCredentialsError
	switch {
	case errors.As(err, &missing):
		className := provider.ProviderSpec().ClassName
		return nil, credentialsMissing("Secret %s: %s. Add the keys that class %s needs.", name, missing, className)
	case err != nil:
		return nil, notReady(v1alpha1.ReasonInvalidCredentials, "Secret %s: %s.", name, err)
	}
	if !secret.DeletionTimestamp.IsZero() {
		// Release it once no session needs it.
		r.InUse.Enqueue(ctrl.Request{NamespacedName: client.ObjectKeyFromObject(provider)}, deletedSecretDelay, urgent)
	}
	return credentials, nil
}

// secret reads a Secret from the API server.
func (r *ProviderReconciler) secret(ctx context.Context, name types.NamespacedName) (*corev1.Secret, error) {
	secret := &corev1.Secret{}
	err := r.SecretReader.Get(ctx, name, secret)
	switch {
	case apierrors.IsNotFound(err):
		return nil, credentialsMissing("Secret %s does not exist. Create it with the keys that the class needs.", name)
	case apierrors.IsForbidden(err):
		return nil, credentialsMissing("the operator may not read Secret %s. Allow its ServiceAccount to get it.", name)
	case err != nil:
		return nil, fmt.Errorf("cannot read Secret %s: %w", name, err)
	}
	return secret, nil
}

// isProtected reports whether an object has the finalizer that keeps it as long as sessions need it. An object that
// is being deleted cannot get the finalizer any more, and is used as long as it exists.
func isProtected(object client.Object) bool {
	return !object.GetDeletionTimestamp().IsZero() || controllerutil.ContainsFinalizer(object, v1alpha1.InUseFinalizer)
}

func digest(credentials upstream.Credentials) [sha256.Size]byte {
	var text []byte
	for _, name := range slices.Sorted(maps.Keys(credentials)) {
		text = fmt.Appendln(text, name, []byte(credentials[name]))
	}
	return sha256.Sum256(text)
}
