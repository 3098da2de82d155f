// Copyright The Payment Session Operator Authors.
// SPDX-License-Identifier: Apache-2.0

package simulation

import (
	"context"

	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// userClient is a client of the API server in memory without delays and faults, for the checks of its behaviour.
type userClient struct {
	client.Client

	server *apiServer
}

// Scheme returns the scheme.
func (c *userClient) Scheme() *runtime.Scheme { return c.server.scheme }

// Get reads an object.
func (c *userClient) Get(_ context.Context, name client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	return c.server.get(name, into)
}

// List lists objects.
func (c *userClient) List(_ context.Context, into client.ObjectList, options ...client.ListOption) error {
	kind := c.server.kindOf(into).Kind
	applied := (&client.ListOptions{}).ApplyOptions(options)
	return fill(into, c.server.list(kind[:len(kind)-len("List")], applied.Namespace), applied, selectable)
}

// Create creates an object.
func (c *userClient) Create(_ context.Context, object client.Object, _ ...client.CreateOption) error {
	return c.server.create(object)
}

// Patch patches an object.
func (c *userClient) Patch(_ context.Context, object client.Object, patch client.Patch, _ ...client.PatchOption) error {
	return c.server.patch(object, patch, false)
}

// Delete deletes an object.
func (c *userClient) Delete(_ context.Context, object client.Object, options ...client.DeleteOption) error {
	return c.server.delete(object, *(&client.DeleteOptions{}).ApplyOptions(options))
}

// Status returns the writer of statuses.
func (c *userClient) Status() client.SubResourceWriter { return &userStatus{server: c.server} }

type userStatus struct {
	client.SubResourceWriter

	server *apiServer
}

// Patch patches a status.
func (w *userStatus) Patch(_ context.Context, object client.Object, patch client.Patch,
	_ ...client.SubResourcePatchOption) error {
	return w.server.patch(object, patch, true)
}
